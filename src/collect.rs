//! Loop 1: lists what the service has published and admits it to the ledger (design §4, 1 and 2).
//!
//! One task per tenant; its streams are listed side by side, so that the backlog of one does not delay another.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join_all;
use jiff::Timestamp;
use tracing::{error, info, warn};

use crate::{
    activity::Activity,
    agent::{Stop, millis},
    ledger::{Admission, Ledger, LedgerError, Listed, Millis, StreamRow},
    retry,
    source::office365::{
        Class, Office365, Paging, SourceError, Subscription,
        window::{self, Window},
    },
    world::World,
};

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
    Paging(String),
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
        // found off, and not in the ledger yet
        let mut off = BTreeSet::new();
        // asking for the subscriptions has a patience of its own: when it fails, streams that are known go on being listed
        let mut asked = Attempt::default();
        let mut told = BTreeMap::new();
        while !stop.is_set() {
            let now = millis(&self.world);
            let unsure = attempts.values().any(|attempt| attempt.unsure);
            if retry::is_due(asked.not_before, now)
                && (unsure || !off.is_empty() || retry::hourly(subscriptions_at, now))
            {
                // what is under way when the agent stops is asked for again at the next start
                let found = tokio::select! {
                    biased;
                    () = stop.wait() => break,
                    found = self.subscriptions(&mut attempts, &mut off) => found,
                };
                match found {
                    Ok(()) => {
                        subscriptions_at = now;
                        asked = Attempt::default();
                    }
                    Err(Trouble::Source(error)) => {
                        let policy = error.policy(retry::LISTING);
                        asked.failures += 1;
                        let delay =
                            error.retry_after.unwrap_or_else(|| policy.after(asked.failures, &*self.world.random));
                        asked.not_before = now + delay.as_millis() as Millis;
                        if subscriptions_at == Millis::MIN {
                            for stream in &self.streams {
                                self.noted(stream, &mut Attempt::default(), &error.code, error.to_string(), delay);
                            }
                        } else {
                            warn!(source = self.name, "{error}; listing goes on");
                        }
                    }
                    Err(Trouble::Ledger(error)) => self.ledger_trouble(error)?,
                    Err(Trouble::Paging(_)) => {}
                }
            }
            if subscriptions_at > Millis::MIN {
                tokio::select! {
                    biased;
                    () = stop.wait() => break,
                    listed = self.list_streams(&mut attempts) => listed?,
                }
            }
            self.tell(&mut told).await?;
            let wait = self.wait(&attempts, &asked);
            self.activity.pulse(&self.name, millis(&self.world), millis(&self.world) + wait.as_millis() as Millis);
            stop.sleep(&self.world, wait).await;
        }
        Ok(())
    }

    /// Writes into the ledger which streams fail, when that has changed: `status` is another process.
    async fn tell(&self, told: &mut BTreeMap<i64, Option<String>>) -> Result<(), LedgerError> {
        let known = self.activity.streams();
        for stream in &self.streams {
            let Some(now_known) = known.get(&name(stream)) else { continue };
            if told.get(&stream.id) == Some(&now_known.code) {
                continue;
            }
            let words = now_known.error.clone();
            match self.ledger.trouble("stream", name(stream), words, millis(&self.world)).await {
                Ok(()) => drop(told.insert(stream.id, now_known.code.clone())),
                Err(error) => self.ledger_trouble(error)?,
            }
        }
        Ok(())
    }

    fn wait(&self, attempts: &BTreeMap<i64, Attempt>, asked: &Attempt) -> Duration {
        let now = millis(&self.world);
        let failed = attempts.values().chain([asked]).filter(|attempt| attempt.failures > 0);
        let earliest = failed.map(|attempt| attempt.not_before - now).min();
        match earliest {
            Some(wait) => Duration::from_millis(wait.max(1000) as u64).min(self.poll),
            None => self.poll,
        }
    }

    async fn subscriptions(
        &self,
        attempts: &mut BTreeMap<i64, Attempt>,
        off: &mut BTreeSet<i64>,
    ) -> Result<(), Trouble> {
        for content_type in self.source.subscriptions_off().await? {
            off.extend(self.stream_of(&content_type).map(|stream| stream.id));
        }
        // known before anything is started: who dies in between must still say that something may be missing. But with a ledger that can't be
        // written now it is started all the same: while it is off, nothing is kept for anybody
        for stream in off.clone() {
            match self.ledger.subscription_off(stream, self.service_millis(), millis(&self.world)).await {
                Ok(()) => drop(off.remove(&stream)),
                Err(error) if error.passes() => {}
                Err(error) => return Err(error.into()),
            }
        }
        for state in self.source.ensure_subscriptions().await? {
            let Some(stream) = self.stream_of(&state.content_type) else { continue };
            let attempt = attempts.entry(stream.id).or_default();
            match state.outcome {
                // shown as enabled in a while: not known yet what it was before
                Ok(Subscription::Pending) => attempt.unsure = false,
                Ok(found) => {
                    attempt.unsure = false;
                    let was_off = found != Subscription::AlreadyEnabled;
                    if was_off && stream.listed.is_none() {
                        info!(tenant = stream.tenant, content_type = stream.content_type, "started the subscription");
                    } else if was_off {
                        warn!(
                            tenant = stream.tenant,
                            content_type = stream.content_type,
                            "the subscription was not enabled: started it"
                        );
                    }
                    let (until, now) = (self.service_millis(), millis(&self.world));
                    self.ledger.subscription_enabled(stream.id, was_off, until, now).await?;
                }
                Err(error) => self.failed(stream, attempt, &error),
            }
        }
        Ok(())
    }

    fn stream_of(&self, content_type: &str) -> Option<&StreamRow> {
        self.streams.iter().find(|stream| stream.content_type.eq_ignore_ascii_case(content_type))
    }

    /// The service's time: what gaps are reckoned in, as publication times are.
    fn service_millis(&self) -> Millis {
        self.source.service_now().as_millisecond()
    }

    async fn list_streams(&self, attempts: &mut BTreeMap<i64, Attempt>) -> Result<(), LedgerError> {
        let now = millis(&self.world);
        let due: Vec<&StreamRow> = self
            .streams
            .iter()
            .filter(|stream| attempts.get(&stream.id).is_none_or(|attempt| retry::is_due(attempt.not_before, now)))
            .collect();
        let results = join_all(due.iter().map(|stream| self.list(stream))).await;
        for (stream, result) in due.into_iter().zip(results) {
            let attempt = attempts.entry(stream.id).or_default();
            match result {
                Ok(_) => {
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
                }
                Err(Trouble::Source(error)) => {
                    self.failed(stream, attempt, &error);
                    if error.class == Class::StartSubscription
                        && let Err(error) = self.ledger.subscription_off(stream.id, self.service_millis(), now).await
                    {
                        self.ledger_trouble(error)?;
                    }
                }
                Err(Trouble::Paging(words)) => {
                    let delay = retry::LISTING.after(attempt.failures + 1, &*self.world.random);
                    self.noted(stream, attempt, "Paging", words, delay);
                }
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
        attempt.unsure |= error.class == Class::StartSubscription;
        let policy = error.policy(retry::LISTING);
        let delay = error.retry_after.unwrap_or_else(|| policy.after(attempt.failures + 1, &*self.world.random));
        self.noted(stream, attempt, &error.code, error.to_string(), delay);
    }

    /// Notes a failure. Repeated ones are folded: the state is in `status`, the log says what changed.
    fn noted(&self, stream: &StreamRow, attempt: &mut Attempt, code: &str, words: String, delay: Duration) {
        attempt.failures += 1;
        attempt.not_before = millis(&self.world) + delay.as_millis() as Millis;
        let mut changed = false;
        self.activity.stream(&name(stream), |known| {
            changed = known.code.as_deref() != Some(code);
            known.error = Some(words.clone());
            known.code = Some(code.to_owned());
        });
        if changed {
            let (tenant, content_type) = (&stream.tenant, &stream.content_type);
            error!(tenant, content_type, code, "{words}; the next try is in {} s", delay.as_secs());
        }
    }

    /// Lists one stream: from 2 h before its cursor, and once an hour the rest of the last 7 days. Returns how many contents were new.
    async fn list(&self, stream: &StreamRow) -> Result<u64, Trouble> {
        let row = self.ledger.stream(&stream.tenant, &stream.content_type).await?;
        let now = millis(&self.world);
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
        let mut new = 0;
        let listed_from = recent.slices.first().map(Window::start);
        let overlap = !self.world.gate.mutant("no overlap");
        for slice in recent.slices {
            let new_only = Window::new(slice.start().max(timestamp(row.cursor)), slice.end());
            let Some(slice) = Some(slice).filter(|_| overlap).or(new_only) else { continue };
            new += self.list_window(&row, slice, Some(slice.end().as_millisecond()), None).await?;
        }
        if overlap && row.listed_past.is_none_or(|at| retry::hourly(at, now)) {
            let past = window::past(bound, listed_from.unwrap_or(service_now)).slices;
            let last = past.len();
            if last == 0 {
                self.admit(&row, Vec::new(), None, Some(now)).await?;
            }
            for (n, slice) in past.into_iter().enumerate() {
                let ends = (n + 1 == last).then_some(now);
                // time has passed: the oldest window may have left the service's reach
                match window::clamp(slice, self.source.service_now()) {
                    Some(slice) => new += self.list_window(&row, slice, None, ends).await?,
                    None => new += self.admit(&row, Vec::new(), None, ends).await?,
                }
            }
        }
        Ok(new)
    }

    /// Lists one window page by page; the cursor moves with the last page only (I1).
    async fn list_window(
        &self,
        row: &StreamRow,
        slice: Window,
        cursor: Option<Millis>,
        listed_past: Option<Millis>,
    ) -> Result<u64, Trouble> {
        let mut paging = Paging::default();
        let mut token = None;
        let mut new = 0;
        loop {
            let page = self.source.list(&row.content_type, slice, token.as_ref()).await?;
            for words in &page.warnings {
                warn!(tenant = row.tenant, content_type = row.content_type, "{words}");
            }
            let last = matches!(page.next, Ok(None)) || self.world.gate.mutant("cursor moved with the first page");
            let contents = page.contents.into_iter().map(|content| Listed {
                content_id: content.content_id,
                uri: content.uri,
                created: content.created.as_millisecond(),
                expires: content.expires.as_millisecond(),
            });
            // a window that ends after the service's present holds nothing beyond it yet: this machine's clock has jumped
            let cursor = cursor.map(|end| page.service_time.map_or(end, |time| end.min(time.as_millisecond())));
            // what this page lists is owed, whatever comes of the next one
            new += self.admit(row, contents.collect(), cursor.filter(|_| last), listed_past.filter(|_| last)).await?;
            match page.next? {
                Some(next) => {
                    paging.follow(&next).map_err(|error| Trouble::Paging(error.to_string()))?;
                    token = Some(next);
                }
                None => return Ok(new),
            }
        }
    }

    async fn admit(
        &self,
        row: &StreamRow,
        contents: Vec<Listed>,
        cursor: Option<Millis>,
        listed_past: Option<Millis>,
    ) -> Result<u64, LedgerError> {
        let now = millis(&self.world);
        // a long listing is no loop that hangs
        self.activity.pulse(&self.name, now, now);
        let new = self.ledger.admit(Admission { stream: row.id, contents, cursor, listed_past, now }).await?;
        if new > 0 {
            self.activity.hints.fetch.notify_one();
        }
        Ok(new)
    }
}

fn timestamp(millis: Millis) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The stream's name in words, metrics and `status`.
fn name(stream: &StreamRow) -> String {
    format!("{}/{}", stream.tenant, stream.content_type)
}
