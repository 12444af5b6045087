//! One listing of one stream: its windows, page by page. What a failure interrupts is gone on with, not begun anew: a service that fails at
//! every tenth request would never be listed to its end.

use jiff::Timestamp;
use tracing::warn;

use super::Collect;
use crate::{
    agent::millis,
    ledger::{Admission, LedgerError, Listed, Millis, StreamRow},
    retry,
    source::office365::{
        Class, PageToken, Paging, SourceError,
        window::{self, Window},
    },
};

/// How often in a row the same page may fail before its window is listed from the first page again: it may be the service that no longer knows
/// the page, and does not say so with AF20031.
const TRIES: u32 = 3;

/// Why a stream was not listed to its end.
pub(super) enum Trouble {
    Source(SourceError),
    Paging(String),
    Ledger(LedgerError),
}

impl Trouble {
    /// Whether the pages that were listed so far may be gone on from.
    fn keeps_pages(&self) -> bool {
        match self {
            Trouble::Source(error) => matches!(error.class, Class::Retry | Class::Backoff | Class::FixConfig),
            Trouble::Ledger(_) => true,
            Trouble::Paging(_) => false,
        }
    }
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        Trouble::Source(error)
    }
}

impl From<LedgerError> for Trouble {
    fn from(error: LedgerError) -> Self {
        Trouble::Ledger(error)
    }
}

/// What a listing that failed has begun.
#[derive(Default)]
pub(super) struct Started {
    /// A window of those that end with the present.
    live: Option<Broken>,
    past: Option<Past>,
    /// When those were last listed to the end of the last; 0: not by this listing.
    pub live_at: Millis,
    /// How often something was gone on with: pages of a window that had broken off, windows of the past.
    pub steps: u64,
}

/// The last 7 days, window by window, oldest first.
struct Past {
    /// The machine's time.
    begun: Millis,
    /// Listed up to here.
    through: Timestamp,
    window: Option<Broken>,
}

/// A window that is listed up to a page.
struct Broken {
    window: Window,
    pages: Pages,
}

/// How far a window is listed.
#[derive(Default)]
struct Pages {
    /// `None`: the first page.
    next: Option<PageToken>,
    paging: Paging,
    /// The service's time with the first page: what was published later may be on none of them.
    present: Option<Millis>,
    /// How often the next page has failed.
    tries: u32,
}

impl Collect {
    /// Lists one stream: from 2 h before its cursor, and once an hour the rest of the last 7 days.
    pub(super) async fn list(&self, stream: &StreamRow, started: &mut Started) -> Result<(), Trouble> {
        let mut row = self.ledger.stream(&stream.tenant, &stream.content_type).await?;
        let now = millis(&self.world);
        if let Some(window) = started.live.as_ref().map(|broken| broken.window) {
            self.list_window(&row, window, true, &mut started.live, &mut started.steps).await?;
            // the cursor has moved
            row = self.ledger.stream(&stream.tenant, &stream.content_type).await?;
        }
        let mut service_now = self.source.service_now();
        let bound = timestamp(row.lower_bound);
        // a stream that was never listed begins at its cursor, too: what it was to begin with may be out of reach by now
        // and a cursor that a wrong clock has put into the future still lists the last hours
        let plan = |now: Timestamp| window::live(Some(timestamp(row.cursor).min(now)), bound, now);
        let mut recent = plan(service_now);
        if recent.gap.is_some() {
            // before a loss is written down, the service is asked for the time: it may be this machine's clock that jumped
            self.source.subscriptions_off().await?;
            service_now = self.source.service_now();
            recent = plan(service_now);
        }
        if let Some((from, to)) = recent.gap {
            warn!(
                tenant = row.tenant,
                content_type = row.content_type,
                "could not be listed for more than 7 days: that is a gap"
            );
            let (from, to) = (from.as_millisecond(), to.as_millisecond());
            self.ledger.unlisted(row.id, from, to, row.listed.is_none(), now).await?;
        }
        let listed_from = recent.slices.first().map(Window::start);
        let overlap = !self.world.gate.mutant("no overlap");
        // a listing of the past that is gone on with needs no other one of the present before each try
        let fresh = started.past.is_some() && (0..self.poll.as_millis() as Millis).contains(&(now - started.live_at));
        for slice in recent.slices.into_iter().filter(|_| !fresh) {
            let new_only = Window::new(slice.start().max(timestamp(row.cursor)), slice.end());
            let Some(slice) = Some(slice).filter(|_| overlap).or(new_only) else { continue };
            self.list_window(&row, slice, true, &mut started.live, &mut started.steps).await?;
        }
        if !fresh {
            started.live_at = millis(&self.world);
        }
        if overlap && (started.past.is_some() || row.listed_past.is_none_or(|at| retry::hourly(at, now))) {
            self.list_past(&row, bound, listed_from.unwrap_or(service_now), started).await?;
        }
        Ok(())
    }

    /// The rest of the last 7 days up to `until`, from where the last attempt broke off.
    async fn list_past(
        &self,
        row: &StreamRow,
        bound: Timestamp,
        until: Timestamp,
        started: &mut Started,
    ) -> Result<(), Trouble> {
        let Started { past, steps, .. } = started;
        let begun = millis(&self.world);
        let listing = past.get_or_insert(Past { begun, through: bound, window: None });
        if let Some(window) = listing.window.as_ref().map(|broken| broken.window) {
            self.list_window(row, window, false, &mut listing.window, steps).await?;
            listing.through = window.end();
        }
        for slice in window::past(bound.max(listing.through), until).slices {
            // time has passed: the oldest window may have left the service's reach
            if let Some(slice) = window::clamp(slice, self.source.service_now()) {
                self.list_window(row, slice, false, &mut listing.window, steps).await?;
                *steps += 1;
            }
            listing.through = slice.end();
        }
        let begun = listing.begun;
        self.admit(row, Vec::new(), None, Some(begun)).await?;
        *past = None;
        Ok(())
    }

    /// Lists one window page by page; with a `live` one the cursor moves to its end, with the last page only (I1). `broken`: where it goes on,
    /// and where it broke off, if it did.
    async fn list_window(
        &self,
        row: &StreamRow,
        window: Window,
        live: bool,
        broken: &mut Option<Broken>,
        steps: &mut u64,
    ) -> Result<(), Trouble> {
        let resumed = broken.is_some();
        let mut pages = broken.take().map(|broken| broken.pages).unwrap_or_default();
        loop {
            match self.list_page(row, window, live, &mut pages).await {
                Ok(more) => {
                    *steps += u64::from(resumed);
                    if !more {
                        return Ok(());
                    }
                }
                Err(trouble) => {
                    pages.tries += 1;
                    let keeps = trouble.keeps_pages() && pages.next.is_some() && pages.tries < TRIES;
                    *broken = keeps.then_some(Broken { window, pages });
                    return Err(trouble);
                }
            }
        }
    }

    /// The next page, admitted; false when it was the last.
    async fn list_page(&self, row: &StreamRow, window: Window, live: bool, pages: &mut Pages) -> Result<bool, Trouble> {
        let page = self.source.list(&row.content_type, window, pages.next.as_ref()).await?;
        for words in &page.warnings {
            warn!(tenant = row.tenant, content_type = row.content_type, "{words}");
        }
        if pages.next.is_none() {
            pages.present = page.service_time.map(Timestamp::as_millisecond);
        }
        let last = matches!(page.next, Ok(None)) || self.world.gate.mutant("cursor moved with the first page");
        let contents = page.contents.into_iter().map(|content| Listed {
            content_id: content.content_id,
            uri: content.uri,
            created: content.created.as_millisecond(),
            expires: content.expires.as_millisecond(),
        });
        // a window that ends after the service's present holds nothing beyond it yet: this machine's clock has jumped
        let end = window.end().as_millisecond();
        let end = pages.present.map_or(end, |present| end.min(present));
        // what this page lists is owed, whatever comes of the next one
        self.admit(row, contents.collect(), (live && last).then_some(end), None).await?;
        let Some(next) = page.next? else { return Ok(false) };
        pages.paging.follow(&next).map_err(|error| Trouble::Paging(error.to_string()))?;
        (pages.next, pages.tries) = (Some(next), 0);
        Ok(true)
    }

    async fn admit(
        &self,
        row: &StreamRow,
        contents: Vec<Listed>,
        cursor: Option<Millis>,
        listed_past: Option<Millis>,
    ) -> Result<(), LedgerError> {
        let now = millis(&self.world);
        // a long listing is no loop that hangs
        self.activity.pulse(&self.name, now, now);
        let new = self.ledger.admit(Admission { stream: row.id, contents, cursor, listed_past, now }).await?;
        if new > 0 {
            self.activity.hints.fetch.notify_one();
        }
        Ok(())
    }
}

fn timestamp(millis: Millis) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
