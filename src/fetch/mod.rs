//! Loop 2: fetches the bodies of owed contents and stores their records (design §4, 3 and 4).

mod body;
pub mod chunk;
mod select;
pub mod split;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tracing::{debug, error, info, warn};

use crate::{
    activity::Activity,
    agent::{Stop, millis},
    budget::{self, Fetch as Wanted},
    config::Select,
    ledger::{Entered, FetchTarget, Ledger, LedgerError, Millis, Need},
    refrain::{Line, Refrain},
    retry,
    source::office365::{Office365, SourceError},
    world::World,
};

/// Bodies fetched at once, in all.
const TOGETHER: usize = 16;
/// Of one tenant.
const PER_TENANT: usize = 4;
/// While the ledger can't be written, it is tried again after this (milliseconds).
const LEDGER_PAUSE: Millis = 30_000;
/// Contents created within this time are live (milliseconds).
pub const LIVE: Millis = 3_600_000;

/// The service says that a content has expired; every other refusal is tried again until the content's own expiry.
const EXPIRED: &str = "AF20051";

/// Where a tenant's bodies come from, and what of them is kept.
#[derive(Clone)]
pub struct Origin {
    /// Tenant GUID.
    pub(crate) tenant: String,
    pub(crate) source: Office365,
    pub(crate) select: Select,
}

/// Fetches what is owed, within the body budget.
pub struct Fetch {
    pub(crate) world: World,
    pub(crate) ledger: Ledger,
    /// By stream.
    pub(crate) origins: BTreeMap<i64, Origin>,
    /// Compressed bytes.
    pub(crate) body_budget: u64,
    pub(crate) activity: Activity,
    /// What the log said of bodies that could not be fetched.
    pub(crate) said: Mutex<Refrain>,
}

/// Why a body is not in the ledger.
#[derive(Debug)]
pub(crate) enum Trouble {
    Source(SourceError),
    /// Not the array that it should be.
    Malformed(String),
    Ledger(LedgerError),
}

impl From<LedgerError> for Trouble {
    fn from(error: LedgerError) -> Self {
        Trouble::Ledger(error)
    }
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        Trouble::Source(error)
    }
}

impl Fetch {
    /// Runs until `stop`; what is being fetched then is fetched again at the next start.
    pub async fn run(self, mut stop: Stop) -> Result<(), LedgerError> {
        let mut running = FuturesUnordered::new();
        let mut busy: BTreeMap<i64, String> = BTreeMap::new();
        // while the ledger can't be written nothing is fetched: it could not be kept
        let mut not_before = Millis::MIN;
        let this = &self;
        while !stop.is_set() {
            let mut targets = Vec::new();
            if retry::is_due_within(not_before, millis(&self.world), LEDGER_PAUSE) {
                let found = async {
                    self.resume(&busy).await?;
                    self.targets(&busy).await
                };
                match found.await {
                    Ok(found) => targets = found,
                    Err(error) => not_before = self.forgive(error)?,
                }
            }
            for target in targets {
                busy.insert(target.content, target.tenant.clone());
                running.push(async move {
                    let result = this.one(&target).await;
                    (target.content, result)
                });
            }
            let due = self.said().due(millis(&self.world));
            say(due);
            self.activity.pulse("fetch", millis(&self.world), millis(&self.world) + 60_000);
            tokio::select! {
                biased;
                () = stop.wait() => break,
                Some((content, result)) = running.next(), if !busy.is_empty() => {
                    busy.remove(&content);
                    if let Err(error) = result {
                        not_before = self.forgive(error)?;
                    }
                }
                () = self.activity.hints.fetch.notified() => {}
                () = self.world.sleep(self.idle(not_before).await) => {}
            }
        }
        let rest = self.said().rest(millis(&self.world));
        say(rest);
        Ok(())
    }

    fn said(&self) -> MutexGuard<'_, Refrain> {
        // counts of what was said: a panic elsewhere leaves plain data
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A body can't be had, now (`then`: what follows) or ever: the log says the first of each cause, and counts the others.
    fn say_failed(&self, target: &FetchTarget, code: &str, words: &str, then: &str) {
        let (content, attempt, tenant) = (&target.content_id, target.attempts + 1, &target.tenant);
        // by tenant: what one tenant has had for days must not keep quiet what another one begins to have
        match self.said().fails(tenant, code, words, then, millis(&self.world)) {
            Some(words) => warn!(tenant, content, code, "{words}"),
            None => debug!(tenant, content, code, attempt, "{words}"),
        }
    }

    /// Streams of which something can be fetched now: configured, not throttled, their tenant not busy enough. Those that
    /// are busiest come last, so that none is left out for long.
    fn ready(&self, busy: &BTreeMap<i64, String>) -> Vec<i64> {
        let running = |origin: &Origin| busy.values().filter(|tenant| **tenant == origin.tenant).count();
        let mut streams: Vec<(usize, i64)> = self
            .origins
            .iter()
            .filter(|(_, origin)| origin.source.backed_off().is_none() && running(origin) < PER_TENANT)
            .map(|(stream, origin)| (running(origin), *stream))
            .collect();
        streams.sort_unstable();
        streams.into_iter().map(|(_, stream)| stream).collect()
    }

    fn origin(&self, target: &FetchTarget) -> Option<&Origin> {
        self.origins.get(&target.stream)
    }

    /// A ledger that can't be written now is said, and tried again at the time returned; one that is broken ends the agent.
    fn forgive(&self, error: LedgerError) -> Result<Millis, LedgerError> {
        if !error.passes() {
            return Err(error);
        }
        if self.activity.ledger_fails(error.to_string(), millis(&self.world)) {
            error!("{error}");
        }
        Ok(millis(&self.world) + LEDGER_PAUSE)
    }

    /// How long there is nothing to do without a wake-up: until the next failed content may be tried again, a tenant may be asked again, or the
    /// ledger is tried again (`not_before`). What waits for room is mostly told when there is some, and looks once a minute.
    async fn idle(&self, not_before: Millis) -> Duration {
        let now = millis(&self.world);
        let retry_at = self.ledger.next_retry(now).await.ok().flatten();
        let opens = self.origins.values().filter_map(|origin| origin.source.backed_off());
        let opens = opens.map(|wait| now.saturating_add(wait.as_millis() as Millis));
        let next = opens.chain(retry_at).chain([not_before]).filter(|at| *at > now).min();
        Duration::from_millis(next.map_or(60_000, |at| (at - now).clamp(1_000, 60_000)) as u64)
    }

    /// Finishes contents whose ids were being entered when the agent died.
    async fn resume(&self, busy: &BTreeMap<i64, String>) -> Result<(), LedgerError> {
        for content in self.ledger.complete_contents().await? {
            if !busy.contains_key(&content) {
                self.enter_ids(content).await?;
            }
        }
        Ok(())
    }

    async fn enter_ids(&self, content: i64) -> Result<(), LedgerError> {
        while self.ledger.enter_ids(content, millis(&self.world)).await? == Entered::More {}
        self.activity.hints.deliver.notify_waiters();
        Ok(())
    }

    async fn targets(&self, busy: &BTreeMap<i64, String>) -> Result<Vec<FetchTarget>, LedgerError> {
        let room = TOGETHER - busy.len().min(TOGETHER);
        if room == 0 {
            return Ok(Vec::new());
        }
        let now = millis(&self.world);
        let streams = self.ready(busy);
        let view = self.ledger.budget_view(streams.clone(), now).await?;
        let plan = self.activity.sizes(|sizes| budget::plan(&view.states(), view.total, self.body_budget, sizes));
        if plan.drop.is_some() {
            self.activity.hints.sweep.notify_one();
        }
        let found = match plan.fetch {
            Wanted::Only(contents) => self.ledger.to_fetch(Need::Only(contents), now, 2 * TOGETHER).await?,
            Wanted::Everything { first, room } => self.fitting(first, room, streams, busy, now).await?,
        };
        let mut per_tenant: BTreeMap<&str, usize> = BTreeMap::new();
        for tenant in busy.values() {
            *per_tenant.entry(tenant).or_default() += 1;
        }
        let mut chosen = BTreeSet::new();
        for target in &found {
            let running = per_tenant.entry(&target.tenant).or_default();
            let ready = self.origin(target).is_some_and(|origin| origin.source.backed_off().is_none());
            if ready && *running < PER_TENANT && chosen.len() < room && !busy.contains_key(&target.content) {
                *running += 1;
                chosen.insert(target.content);
            }
        }
        Ok(found.into_iter().filter(|target| chosen.remove(&target.content)).collect())
    }

    /// What there is room for: first what a sink waits for, and then all that is owed.
    async fn fitting(
        &self,
        first: Vec<i64>,
        mut room: u64,
        streams: Vec<i64>,
        busy: &BTreeMap<i64, String>,
        now: Millis,
    ) -> Result<Vec<FetchTarget>, LedgerError> {
        let mut found = self.ledger.to_fetch(Need::Only(first), now, 2 * TOGETHER).await?;
        // more than there is room for, since some of them are being fetched
        let need = Need::Everything { live: now - LIVE, streams, each: 2 * PER_TENANT };
        let others = self.ledger.to_fetch(need, now, 2 * TOGETHER).await?;
        self.activity.sizes(|sizes| {
            let under_way: u64 = busy.keys().map(|content| sizes.of(*content)).sum();
            room = room.saturating_sub(under_way);
            for other in others {
                let known = found.iter().any(|target| target.content == other.content);
                if !known && !busy.contains_key(&other.content) && sizes.take(other.content, &mut room) {
                    found.push(other);
                }
            }
        });
        Ok(found)
    }

    /// One body, to its end: stored, to be tried again, or lost.
    async fn one(&self, target: &FetchTarget) -> Result<(), LedgerError> {
        let Some(origin) = self.origin(target) else { return Ok(()) };
        match body::store(&self.world, &self.ledger, origin, target).await {
            Ok(()) => {
                self.activity.ledger_error(None);
                self.enter_ids(target.content).await
            }
            Err(Trouble::Ledger(error)) => Err(error),
            Err(Trouble::Source(error)) if error.code == EXPIRED => {
                self.say_failed(target, &error.code, &error.to_string(), "");
                self.ledger.lose(target.content, "expired before it could be fetched", millis(&self.world)).await
            }
            Err(Trouble::Source(error)) => {
                let policy = error.policy(retry::FETCH);
                let delay = error.retry_after.unwrap_or_else(|| policy.after(target.attempts + 1, &*self.world.random));
                self.again(target, &error.code, error.to_string(), delay).await
            }
            Err(Trouble::Malformed(words)) => {
                let delay = retry::FETCH.after(target.attempts + 1, &*self.world.random);
                self.again(target, "MalformedBody", words, delay).await
            }
        }
    }

    async fn again(&self, target: &FetchTarget, code: &str, words: String, delay: Duration) -> Result<(), LedgerError> {
        if self.world.gate.mutant("give up after 3 attempts") && target.attempts >= 2 {
            return self.ledger.give_up(target.content).await;
        }
        let retry_at = millis(&self.world) + delay.as_millis() as Millis;
        self.activity.fetch_failed(code);
        self.say_failed(target, code, &words, "; tried again until it expires");
        self.ledger.fetch_failed(target.content, words, retry_at).await
    }
}

/// Writes what has waited for its time.
fn say(lines: Vec<Line>) {
    for Line { about: tenant, code, words, over } in lines {
        if over {
            info!(tenant, code, "{words}");
        } else {
            warn!(tenant, code, "{words}");
        }
    }
}
