//! One story each: what an operator is promised, told on the crash test's stage (real agent, simulated service, paused clock).

mod blocked;
pub mod bodies;
mod clocks;
mod disk;
mod doors;
mod full;
mod gaps;
mod late;
mod leaving;
mod log;
mod many;
mod memory;
mod panics;
mod records;
mod refusals;
mod repeatable;
mod requests;
mod service;
mod sinks;
pub mod slow;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use auditferry::{
    activity::StreamActivity,
    ledger::{Books, Millis},
    simulator::{
        Profile, TenantProfile,
        faults::{ContentFault, Odd, When},
    },
};
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};

use crate::{
    checks::{self, Published},
    keeper::Keeper,
    scenario::owed,
    stage::{SinkPlan, Stage},
};

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// A service in which nothing goes wrong: small contents that are selected as a whole.
pub fn calm(interval: Duration, backfill: Duration) -> Profile {
    let tenant = TenantProfile { interval, backfill, records_per_content: 4, ..calm_tenant() };
    Profile { tenants: vec![tenant], ..Profile::default() }
}

/// A tenant of such a service.
pub fn calm_tenant() -> TenantProfile {
    TenantProfile { power_platform_per_mille: 1000, page_size: 50, ..TenantProfile::default() }
}

/// What is odd about some contents.
pub fn odd(when: When, odd: Odd) -> ContentFault {
    ContentFault { when, odd }
}

/// A time on the story's clock.
pub fn after(profile: &Profile, span: Duration) -> Timestamp {
    profile.start.checked_add(SignedDuration::try_from(span).unwrap()).unwrap()
}

/// One life that nobody kills; `every_minute` looks on.
pub fn live(stage: &mut Stage, sinks: &[SinkPlan], limit: Duration, every_minute: impl Fn(&Stage)) {
    let watch = |stage: &Stage| {
        every_minute(stage);
        false
    };
    stage.live(&Arc::new(Keeper::new(None, None)), sinks, limit, watch).expect("the agent never ends by itself");
    checks::always(stage, sinks).unwrap();
}

/// As [`live`], until nothing is owed any more (looked at from `not_before` on), for `limit` at most.
pub fn live_until_settled(stage: &mut Stage, sinks: &[SinkPlan], not_before: Duration, limit: Duration) {
    let not_before = stage.now() + not_before.as_millis() as Millis;
    let done = |stage: &Stage| stage.now() >= not_before && owed(stage) == 0;
    stage.live(&Arc::new(Keeper::new(None, None)), sinks, limit, done).expect("the agent never ends by itself");
    assert_eq!(owed(stage), 0, "still owed after {limit:?}");
    checks::always(stage, sinks).unwrap();
}

/// True every tenth minute: working out what is published costs more than a minute of the agent.
pub fn tenth_minute(stage: &Stage) -> bool {
    stage.now() / 60_000 % 10 == 0
}

/// What `sink` took but the agent's own events.
pub fn records(stage: &Stage, sink: &str) -> usize {
    let own = ["AuditGapOpened", "AuditGapGrown", "AuditGapClosed", "AuditSinkBlocked", "AuditSinkUnblocked"];
    let own = own.map(|operation| stage.destinations[sink].of_operation(operation).len());
    stage.taken(sink).len() - own.iter().sum::<usize>()
}

/// Everything visible now that can be read.
pub fn published(stage: &Stage) -> Vec<Published> {
    checks::published(stage, &stage.simulator.lock().unwrap(), stage.now())
}

/// The contents of which `sink` lacks something.
pub fn missing<'a>(stage: &Stage, sink: &str, contents: impl IntoIterator<Item = &'a Published>) -> Vec<String> {
    let taken: BTreeSet<_> = stage.taken(sink).into_iter().collect();
    let lacking = contents.into_iter().filter(|content| !content.ids.is_subset(&taken));
    lacking.map(|content| content.content_id.clone()).collect()
}

/// Asserts that nothing arrived twice.
pub fn arrived_once(stage: &Stage, sink: &str) {
    let mut count: BTreeMap<_, u32> = BTreeMap::new();
    for id in stage.taken(sink) {
        *count.entry(id).or_default() += 1;
    }
    let repeated: Vec<_> = count.iter().filter(|(_, times)| **times > 1).collect();
    assert!(repeated.is_empty(), "{sink} got records more than once: {repeated:?}");
}

pub fn books(stage: &Stage) -> Books {
    stage.ledger().books().now_or_never().unwrap().unwrap()
}

/// What `status` would say of the only stream.
pub fn stream(stage: &Stage) -> StreamActivity {
    stage.activity.streams().into_values().next().unwrap_or_default()
}
