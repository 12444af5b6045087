//! A sink that is blocked is an event at every sink, once, and its end another.

use std::{cell::Cell, sync::Arc};

use super::{HOUR, MINUTE, after, arrived_once, books, calm, live, live_until_settled};
use crate::{
    checks,
    keeper::Keeper,
    scenario::owed,
    stage::{SinkPlan, Stage},
};

const BLOCKED: &str = "AuditSinkBlocked";
const OVER: &str = "AuditSinkUnblocked";

fn stage(publishing: u32) -> Stage {
    let mut profile = calm(10 * MINUTE, HOUR);
    profile.tenants[0].end = Some(after(&profile, publishing * HOUR));
    let mut stage = Stage::new(profile);
    stage.start = HOUR;
    stage.destination("siem");
    stage.destination("lake");
    stage
}

fn plans() -> [SinkPlan; 2] {
    [SinkPlan::fake("siem"), SinkPlan::fake("lake")]
}

/// How often a sink heard that another one was blocked, and that it was over.
fn heard(stage: &Stage, sink: &str) -> (usize, usize) {
    let destination = &stage.destinations[sink];
    (destination.of_operation(BLOCKED).len(), destination.of_operation(OVER).len())
}

fn nothing_is_lost(stage: &Stage, kills: u64) {
    checks::at_the_end(stage, &plans(), kills).unwrap();
    assert_eq!(books(stage).imbalances(), []);
}

#[test]
fn it_is_said_once_however_long_it_lasts_and_over_restarts_and_its_end_once() {
    let mut stage = stage(4);
    stage.destination("lake").block(true);
    live(&mut stage, &plans(), 3 * HOUR, |_| {});
    assert_eq!(heard(&stage, "siem"), (1, 0));
    let event = stage.destinations["siem"].of_operation(BLOCKED).remove(0);
    for part in ["\"lake\"", "the index is gone"] {
        assert!(event.body.contains(part), "{part} in {}", event.body);
    }
    // another life, in which it is still blocked
    live(&mut stage, &plans(), 3 * HOUR, |_| {});
    assert_eq!(heard(&stage, "siem"), (1, 0));
    let troubles = books(&stage).troubles;
    assert!(troubles.iter().any(|it| it.name == "lake" && it.words == "the index is gone"), "{troubles:?}");
    stage.destination("lake").block(false);
    live_until_settled(&mut stage, &plans(), HOUR, 4 * HOUR);
    for sink in ["siem", "lake"] {
        assert_eq!(heard(&stage, sink), (1, 1), "{sink}");
        arrived_once(&stage, sink);
    }
    let over = stage.destinations["siem"].of_operation(OVER).remove(0);
    assert!(over.body.contains("\"lake\""), "{}", over.body);
    nothing_is_lost(&stage, 0);
}

#[test]
fn a_sink_that_is_blocked_every_few_minutes_is_spoken_of_once_an_hour() {
    let mut stage = stage(8);
    let destination = stage.destination("lake");
    let (begun, changes) = (stage.now(), Cell::new((false, 0)));
    live(&mut stage, &plans(), 8 * HOUR, |stage| {
        let on = (stage.now() - begun) / 60_000 % 30 >= 15;
        let (was, times) = changes.get();
        changes.set((on, times + u32::from(on != was)));
        destination.block(on);
    });
    stage.destination("lake").block(false);
    live_until_settled(&mut stage, &plans(), HOUR, 4 * HOUR);
    assert!(changes.get().1 > 25, "{:?}", changes.get());
    for sink in ["siem", "lake"] {
        let (blocked, over) = heard(&stage, sink);
        assert!((5..=8).contains(&blocked) && over == blocked, "{sink} heard {blocked} and {over}");
        arrived_once(&stage, sink);
    }
    nothing_is_lost(&stage, 0);
}

#[test]
fn what_the_agent_says_itself_makes_no_further_event_when_it_is_not_taken() {
    let mut stage = stage(1);
    // everything is delivered, then both are blocked: only the agent's own events are left for them
    live(&mut stage, &plans(), 2 * HOUR, |_| {});
    stage.memory.with(|ledger| ledger.execute(
        "INSERT INTO gap (stream, from_time, to_time, reason, suspected, found_at, changed_at) SELECT id, 1, 2, 'a test', 0, 3, 4 FROM stream WHERE origin = 'listed'",
        [],
    )).unwrap();
    for sink in ["siem", "lake"] {
        stage.destination(sink).block(true);
    }
    live(&mut stage, &plans(), 24 * HOUR, |_| {});
    let own = books(&stage).streams.into_iter().find(|stream| stream.origin == "agent").unwrap();
    assert_eq!(own.read, 2, "the gap was opened, and closed");
    assert_eq!(owed(&stage), 4);
    for sink in ["siem", "lake"] {
        stage.destination(sink).block(false);
    }
    live_until_settled(&mut stage, &plans(), HOUR, 4 * HOUR);
    assert_eq!((heard(&stage, "siem"), heard(&stage, "lake")), ((0, 0), (0, 0)));
    nothing_is_lost(&stage, 0);
}

/// Both sinks are shaken: `lake` is blocked for an hour, then not. Dies at `kill_at`.
fn shaken(kill_at: Option<u64>) -> (Stage, Vec<String>) {
    let mut stage = stage(2);
    stage.destination("lake").block(true);
    let first = Arc::new(Keeper::new(kill_at, None));
    let mut keeper = Arc::clone(&first);
    let (begun, end) = (stage.now(), stage.now() + 5 * 3_600_000);
    let destination = stage.destination("lake");
    loop {
        let done = |stage: &Stage| {
            destination.block(stage.now() < begun + 3_600_000);
            stage.now() > begun + 3 * 3_600_000 && owed(stage) == 0
        };
        let limit = std::time::Duration::from_millis((end - stage.now()).max(0) as u64);
        stage.live(&keeper, &plans(), limit, done).expect("the agent never ends by itself");
        checks::always(&stage, &plans()).unwrap();
        if !keeper.is_dead() {
            return (stage, first.last(usize::MAX));
        }
        keeper = Arc::new(Keeper::new(None, None));
    }
}

#[test]
fn it_is_said_once_wherever_the_agent_dies_while_it_says_it() {
    let (whole, log) = shaken(None);
    assert_eq!((heard(&whole, "siem"), heard(&whole, "lake")), ((1, 1), (1, 1)));
    let said: Vec<u64> = log
        .iter()
        .filter(|gate| gate.ends_with(": own event"))
        .map(|gate| gate.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(said.len(), 4, "both sides of both");
    for gate in said.iter().flat_map(|gate| gate - 2..=gate + 2) {
        let (stage, _) = shaken(Some(gate));
        for sink in ["siem", "lake"] {
            let ids = |operation| {
                let taken = stage.destinations[sink].of_operation(operation);
                taken.into_iter().map(|event| event.id).collect::<std::collections::BTreeSet<_>>().len()
            };
            assert_eq!((ids(BLOCKED), ids(OVER)), (1, 1), "{sink}, killed at gate {gate}");
        }
        nothing_is_lost(&stage, 1);
    }
}
