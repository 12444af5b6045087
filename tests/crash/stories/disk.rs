//! The disk is full for an hour.

use std::{cell::RefCell, collections::BTreeSet, time::Duration};

use auditferry::ledger::Millis;

use super::{HOUR, MINUTE, after, arrived_once, calm, live};
use crate::{
    checks,
    disk::{fill, make_room},
    stage::{SinkPlan, Stage},
};

#[test]
fn while_the_disk_is_full_the_agent_says_so_and_goes_on_by_itself_when_there_is_space_again() {
    let mut profile = calm(5 * MINUTE, HOUR);
    profile.tenants[0].records_per_content = 40;
    profile.tenants[0].end = Some(after(&profile, 4 * HOUR));
    let mut stage = Stage::new(profile);
    stage.poll = MINUTE;
    // in step with no loop: what is said must not flicker between their turns
    stage.look = Duration::from_secs(7);
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    let begun = stage.now();
    let (full, room) = (begun + HOUR.as_millis() as Millis, begun + 2 * HOUR.as_millis() as Millis);
    let said = RefCell::new(Vec::new());
    let state = std::cell::Cell::new(0);
    live(&mut stage, &sinks, 5 * HOUR, |stage| {
        let now = stage.now();
        if state.get() == 0 && now >= full {
            fill(stage);
            state.set(1);
        } else if state.get() == 1 && now >= room {
            make_room(stage);
            state.set(2);
        } else if state.get() == 1 {
            said.borrow_mut().push(stage.activity.ledger_state());
            // a loop that turns and has nothing to write knows nothing of the disk
            stage.activity.hints.sweep.notify_one();
        } else if now > room + 5 * 60_000 || now < full {
            assert_eq!(stage.activity.ledger_state(), None);
        }
    });
    let said = said.into_inner();
    let silent = said.iter().filter(|words| words.is_none()).count();
    let words = "the ledger can't be written, the disk is full: database or disk is full; free some space under state_dir, the agent goes on by itself [DiskFull]";
    let other: BTreeSet<_> = said.iter().flatten().filter(|said| *said != words).collect();
    assert_eq!(other, BTreeSet::new());
    // a content is published every 5 minutes: from the first one on there is something that can't be kept
    assert!(said[60..].iter().all(Option::is_some), "silent at {silent} of {} looks", said.len());
    checks::at_the_end(&stage, &sinks, 0).unwrap();
    arrived_once(&stage, "siem");
    arrived_once(&stage, "lake");
}
