//! Loop 1: lists what the service has published and admits it to the ledger (design §4, 1 and 2).
//!
//! One task per tenant; its streams are listed side by side, so that the backlog of one does not delay another.

mod list;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use list::{Started, Trouble};
use tracing::{error, info, warn};

use crate::{
    activity::Activity,
    agent::{Stop, millis},
    ledger::{Ledger, LedgerError, Millis, StreamRow},
    refrain::{Line, Refrain},
    retry,
    source::office365::{Class, Office365, SourceError, Subscription},
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
    /// What the log said, by content type; [`SUBSCRIPTIONS`] for those.
    pub(crate) said: Mutex<Refrain>,
}

/// Asking for the subscriptions, where content types are named.
const SUBSCRIPTIONS: &str = "subscriptions";

/// What the loop remembers of a stream between two turns.
#[derive(Default)]
struct Attempt {
    failures: u32,
    /// After a success: until the next poll. Others that fail don't make this one be listed more often.
    not_before: Millis,
    /// The next listing asks for the subscriptions first.
    unsure: bool,
    /// What the next listing goes on with.
    started: Started,
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
            // it woke: a poll may be longer than the time after which a loop hangs
            self.activity.pulse(&self.name, now, now);
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
                        if let Some(words) = self.said().works(SUBSCRIPTIONS, millis(&self.world)) {
                            info!(source = self.name, "asking for the subscriptions {words}");
                        }
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
                            let (code, words, now) = (&error.code, error.to_string(), millis(&self.world));
                            if let Some(words) =
                                self.said().fails(SUBSCRIPTIONS, code, &words, "; listing goes on", now)
                            {
                                warn!(source = self.name, "{words}");
                            }
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
            let due = self.said().due(millis(&self.world));
            self.say(due);
            let wait = self.wait(&attempts, &asked);
            self.activity.pulse(&self.name, millis(&self.world), millis(&self.world) + wait.as_millis() as Millis);
            stop.sleep(&self.world, wait).await;
        }
        let rest = self.said().rest(millis(&self.world));
        self.say(rest);
        Ok(())
    }

    fn said(&self) -> MutexGuard<'_, Refrain> {
        // counts of what was said: a panic elsewhere leaves plain data
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what has waited for its time.
    fn say(&self, lines: Vec<Line>) {
        for Line { about, code, words, over } in lines {
            match (about.as_str(), over) {
                (SUBSCRIPTIONS, false) => warn!(source = self.name, "{words}"),
                (_, false) => error!(source = self.name, content_type = about, code, "{words}"),
                (_, true) => info!(source = self.name, content_type = about, code, "{words}"),
            }
        }
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
        let waiting = attempts.values().chain(Some(asked).filter(|asked| asked.failures > 0));
        let earliest = waiting.map(|attempt| attempt.not_before - now).min();
        match earliest {
            Some(wait) => Duration::from_millis(wait.max(1000) as u64).min(self.poll),
            None => self.poll,
        }
    }

    fn is_due(&self, attempt: &Attempt, now: Millis) -> bool {
        match attempt.failures {
            0 => retry::is_due_within(attempt.not_before, now, self.poll.as_millis() as Millis),
            _ => retry::is_due(attempt.not_before, now),
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

    /// The service's time: what gaps are reckoned in, as publication times are. It tells whole seconds only, and the one that has begun counts.
    fn service_millis(&self) -> Millis {
        self.source.service_now().as_millisecond() + 1_000
    }

    async fn list_streams(&self, attempts: &mut BTreeMap<i64, Attempt>) -> Result<(), LedgerError> {
        let now = millis(&self.world);
        let mut due = Vec::new();
        for stream in &self.streams {
            let attempt = attempts.entry(stream.id).or_default();
            if self.is_due(attempt, now) {
                due.push((stream, std::mem::take(&mut attempt.started)));
            }
        }
        let results = join_all(due.into_iter().map(|(stream, mut started)| async move {
            let known = started.steps;
            let result = self.list(stream, &mut started).await;
            (stream, result, started.steps > known, started)
        }));
        for (stream, result, moved, started) in results.await {
            let attempt = attempts.entry(stream.id).or_default();
            attempt.started = started;
            if moved && result.is_err() {
                // a service that fails now and then, and not always: no reason to wait longer each time
                attempt.failures = 0;
            }
            match result {
                Ok(()) => {
                    if let Some(words) = self.said().works(&stream.content_type, millis(&self.world)) {
                        info!(tenant = stream.tenant, content_type = stream.content_type, "listing {words}");
                    }
                    let not_before = attempt.started.live_at + self.poll.as_millis() as Millis;
                    *attempt = Attempt { not_before, ..Attempt::default() };
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
        if self.activity.ledger_fails(error.to_string(), millis(&self.world)) {
            error!("{error}");
        }
        Ok(())
    }

    fn failed(&self, stream: &StreamRow, attempt: &mut Attempt, error: &SourceError) {
        attempt.unsure |= error.class == Class::StartSubscription;
        let policy = error.policy(retry::LISTING);
        let delay = error.retry_after.unwrap_or_else(|| policy.after(attempt.failures + 1, &*self.world.random));
        self.noted(stream, attempt, &error.code, error.to_string(), delay);
    }

    /// Notes a failure. Repeated ones are folded: the state is in `status`, the log says what changed, and how often.
    fn noted(&self, stream: &StreamRow, attempt: &mut Attempt, code: &str, words: String, delay: Duration) {
        attempt.failures += 1;
        attempt.not_before = millis(&self.world) + delay.as_millis() as Millis;
        self.activity.stream(&name(stream), |known| {
            known.error = Some(words.clone());
            known.code = Some(code.to_owned());
        });
        let (tenant, content_type) = (&stream.tenant, &stream.content_type);
        let then = format!("; the next try is in {} s", delay.as_secs());
        if let Some(words) = self.said().fails(content_type, code, &words, &then, millis(&self.world)) {
            error!(tenant, content_type, code, "{words}");
        }
    }
}

/// The stream's name in words, metrics and `status`.
fn name(stream: &StreamRow) -> String {
    format!("{}/{}", stream.tenant, stream.content_type)
}
