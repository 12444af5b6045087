//! Loop 1: lists what the service has published and admits it to the ledger (design §4, 1 and 2).
//!
//! One task per tenant; its streams are listed side by side, so that the backlog of one does not delay another.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use tracing::{error, info, warn};

use crate::{
    activity::Activity,
    agent::{Stop, millis},
    ledger::{Admission, Ledger, LedgerError, Millis, StreamRow},
    retry::Policy,
    source::office365::{Class, Office365, Paging, SourceError, SubscriptionState, window},
    world::World,
};

const HOUR: Millis = 3_600_000;

/// Lists the streams of one tenant, every poll.
pub struct Collect {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    pub(crate) source: Office365,
    /// The tenant's streams as registered.
    pub(crate) streams: Vec<StreamRow>,
    /// Between two listings of a stream.
    pub(crate) poll: Duration,
    pub(crate) activity: Activity,
    pub(crate) name: String,
}

/// Why a stream was not listed to its end.
enum Trouble {
    Source(SourceError),
    Ledger(LedgerError),
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

/// What the loop remembers of a stream between two turns.
#[derive(Default)]
struct Attempt {
    failures: u32,
    not_before: Millis,
    /// The next listing asks for the subscriptions first.
    unsure: bool,
}

impl Collect {
    /// Runs until `stop`; ends early only when the ledger is broken.
    pub async fn run(self, mut stop: Stop) -> Result<(), LedgerError> {
        let mut attempts: BTreeMap<i64, Attempt> = BTreeMap::new();
        let mut subscriptions_at = Millis::MIN;
        while !stop.is_set() {
            let now = millis(&self.world);
            let unsure = attempts.values().any(|attempt| attempt.unsure);
            if unsure || now.saturating_sub(subscriptions_at) >= HOUR {
                match self.subscriptions(&mut attempts).await {
                    Ok(()) => subscriptions_at = now,
                    Err(Trouble::Source(error)) => {
                        for stream in &self.streams {
                            self.failed(stream, attempts.entry(stream.id).or_default(), &error);
                        }
                    }
                    Err(Trouble::Ledger(error)) => self.ledger_trouble(error)?,
                }
            }
            if subscriptions_at > Millis::MIN {
                self.list_streams(&mut attempts).await?;
            }
            let wait = self.wait(&attempts);
            self.activity.pulse(&self.name, millis(&self.world), millis(&self.world) + wait.as_millis() as Millis);
            stop.sleep(&self.world, wait).await;
        }
        Ok(())
    }

    fn wait(&self, attempts: &BTreeMap<i64, Attempt>) -> Duration {
        let now = millis(&self.world);
        let earliest = attempts.values().filter(|attempt| attempt.failures > 0).map(|attempt| attempt.not_before - now).min();
        match earliest {
            Some(wait) => Duration::from_millis(wait.max(1000) as u64).min(self.poll),
            None => self.poll,
        }
    }

    async fn subscriptions(&self, attempts: &mut BTreeMap<i64, Attempt>) -> Result<(), Trouble> {
        let now = millis(&self.world);
        for (content_type, state) in self.source.ensure_subscriptions().await? {
            let Some(stream) = self.streams.iter().find(|stream| stream.content_type.eq_ignore_ascii_case(&content_type)) else {
                continue;
            };
            let attempt = attempts.entry(stream.id).or_default();
            match state {
                Ok(state) => {
                    attempt.unsure = false;
                    let was_off = state != SubscriptionState::Enabled;
                    if was_off {
                        warn!(tenant = stream.tenant, content_type, "the subscription was not enabled: started it");
                    }
                    self.ledger.subscription_enabled(stream.id, was_off, now).await?;
                }
                Err(error) => self.failed(stream, attempt, &error),
            }
        }
        Ok(())
    }

    async fn list_streams(&self, attempts: &mut BTreeMap<i64, Attempt>) -> Result<(), LedgerError> {
        let now = millis(&self.world);
        let due: Vec<&StreamRow> = self
            .streams
            .iter()
            .filter(|stream| attempts.get(&stream.id).is_none_or(|attempt| attempt.not_before <= now))
            .collect();
        let results = join_all(due.iter().map(|stream| self.list(stream))).await;
        for (stream, result) in due.into_iter().zip(results) {
            let attempt = attempts.entry(stream.id).or_default();
            match result {
                Ok(new) => {
                    if attempt.failures > 0 {
                        info!(tenant = stream.tenant, content_type = stream.content_type, "listing works again");
                    }
                    *attempt = Attempt::default();
                    self.activity.ledger_error(None);
                    self.activity.stream(&name(stream), |known| {
                        known.listed_at = Some(millis(&self.world));
                        known.error = None;
                        known.code = None;
                    });
                    if new > 0 {
                        self.activity.hints.fetch.notify_one();
                    }
                }
                Err(Trouble::Source(error)) => self.failed(stream, attempt, &error),
                Err(Trouble::Ledger(error)) => {
                    self.ledger_trouble(error)?;
                    attempt.not_before = now + 30_000;
                    attempt.failures += 1;
                }
            }
        }
        Ok(())
    }

    fn ledger_trouble(&self, error: LedgerError) -> Result<(), LedgerError> {
        if !error.passes() {
            return Err(error);
        }
        error!("{error}");
        self.activity.ledger_error(Some(error.to_string()));
        Ok(())
    }

    fn failed(&self, stream: &StreamRow, attempt: &mut Attempt, error: &SourceError) {
        attempt.failures += 1;
        attempt.unsure |= error.class == Class::StartSubscription;
        let delay = Policy::for_class(error.class).delay(attempt.failures, error.retry_after, &*self.world.random);
        attempt.not_before = millis(&self.world) + delay.as_millis() as Millis;
        let (tenant, content_type) = (&stream.tenant, &stream.content_type);
        let changed = {
            let mut changed = false;
            self.activity.stream(&name(stream), |known| {
                changed = known.code.as_deref() != Some(error.code.as_str());
                known.error = Some(error.to_string());
                known.code = Some(error.code.clone());
            });
            changed
        };
        // repeated errors are folded: the state is in `status`, the log says what changed
        if changed {
            error!(tenant, content_type, code = error.code, "{error}; the next try is in {} s", delay.as_secs());
        }
    }

    /// Lists one stream: from 2 h before its cursor, and once an hour the rest of the last 7 days. Returns how many contents were new.
    async fn list(&self, stream: &StreamRow) -> Result<u64, Trouble> {
        let row = self.ledger.stream(&stream.tenant, &stream.content_type).await?;
        let now = millis(&self.world);
        let service_now = now + self.source.service_offset().as_millis() as Millis;
        let oldest = service_now - window::REACH;
        if row.cursor < oldest && row.listed.is_some() {
            warn!(tenant = row.tenant, content_type = row.content_type, "could not be listed for more than 7 days: that is a gap");
            self.ledger.unlisted(row.id, row.cursor, oldest, now).await?;
        }
        let bound = row.lower_bound.max(oldest);
        let recent = (row.cursor - window::OVERLAP).max(bound).min(service_now);
        let mut new = 0;
        for slice in window::slices(recent, service_now) {
            new += self.list_window(&row, slice, Some(slice.end), None).await?;
        }
        if row.listed_past.is_none_or(|at| now - at >= HOUR) {
            let past = window::slices(bound, recent);
            let last = past.len();
            if last == 0 {
                self.admit(&row, Vec::new(), None, Some(now)).await?;
            }
            for (n, slice) in past.into_iter().enumerate() {
                let ends = (n + 1 == last).then_some(now);
                new += self.list_window(&row, slice, None, ends).await?;
            }
        }
        Ok(new)
    }

    /// Lists one window page by page; the cursor moves with the last page only (I1).
    async fn list_window(
        &self,
        row: &StreamRow,
        slice: window::Window,
        cursor: Option<Millis>,
        listed_past: Option<Millis>,
    ) -> Result<u64, Trouble> {
        let mut paging = Paging::default();
        let mut token = None;
        let mut new = 0;
        loop {
            let page = self.source.list(&row.content_type, slice, token.as_ref()).await?;
            let next = paging.next(page.next)?;
            let last = next.is_none() || self.world.gate.mutant("cursor moved with the first page");
            for refused in page.refused {
                warn!(tenant = row.tenant, "{refused}");
            }
            new += self.admit(row, page.contents, cursor.filter(|_| last), listed_past.filter(|_| last)).await?;
            match next {
                Some(next) => token = Some(next),
                None => return Ok(new),
            }
        }
    }

    async fn admit(
        &self,
        row: &StreamRow,
        contents: Vec<crate::ledger::Listed>,
        cursor: Option<Millis>,
        listed_past: Option<Millis>,
    ) -> Result<u64, LedgerError> {
        let now = millis(&self.world);
        self.ledger.admit(Admission { stream: row.id, contents, cursor, listed_past, now }).await
    }
}

/// The stream's name in words, metrics and `status`.
fn name(stream: &StreamRow) -> String {
    format!("{}/{}", stream.tenant, stream.content_type)
}
