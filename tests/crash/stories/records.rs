//! Hostile and repeated records.

use auditferry::simulator::{
    Fate,
    faults::{Odd, When},
};

use super::{HOUR, MINUTE, after, arrived_once, books, calm, live_until_settled, odd};
use crate::{
    checks,
    stage::{SinkPlan, Stage},
};

#[test]
fn a_record_that_makes_mapping_panic_arrives_as_unreadable_and_all_others_arrive() {
    let mut profile = calm(10 * MINUTE, 2 * HOUR);
    profile.tenants[0].end = Some(after(&profile, HOUR));
    profile.tenants[0].faults.contents = vec![odd(When::every(3), Odd::Panic)];
    let mut stage = Stage::new(profile);
    let sinks = [SinkPlan::fake("siem")];
    // settles within one life: the agent was not restarted
    live_until_settled(&mut stage, &sinks, 2 * HOUR, 3 * HOUR);
    let truth = |stage: &Stage, fate| {
        let simulator = stage.simulator.lock().unwrap();
        simulator
            .owed(stage.profile.start.checked_sub(jiff::SignedDuration::from_hours(3)).unwrap(), now(stage))
            .filter(|record| record.fate == fate)
            .count()
    };
    let (unreadable, readable) = (truth(&stage, Fate::Unreadable), truth(&stage, Fate::Selected));
    assert!(unreadable >= 5 && readable > 3 * unreadable, "{unreadable} {readable}");
    let arrived = stage.destinations["siem"].of_operation("unreadable");
    assert_eq!(arrived.len(), unreadable);
    for message in &arrived {
        assert!(message.body.contains("auditferry-test-panic"), "it holds the original: {}", message.body);
    }
    assert_eq!(stage.taken("siem").len(), unreadable + readable);
    assert_eq!(stage.activity.sinks()["siem"].unreadable, unreadable as u64);
    assert_eq!(stage.activity.sinks()["siem"].failures, 0);
    checks::at_the_end(&stage, &sinks, 0).unwrap();
    arrived_once(&stage, "siem");
}

fn now(stage: &Stage) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(stage.now()).unwrap()
}

#[test]
fn a_record_that_comes_in_two_contents_and_twice_in_one_arrives_once_and_the_books_count_the_copies() {
    let mut profile = calm(10 * MINUTE, 2 * HOUR);
    profile.tenants[0].end = Some(after(&profile, HOUR));
    profile.tenants[0].faults.contents =
        vec![odd(When::every(3), Odd::Repeats { every: 2, back: 2 }), odd(When::every(4), Odd::Twice)];
    let mut stage = Stage::new(profile);
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    live_until_settled(&mut stage, &sinks, 2 * HOUR, 3 * HOUR);
    let simulator = stage.simulator.lock().unwrap();
    let (mut copies, mut records, mut contents) = (0, 0, 0);
    for truth in simulator.truth(now(&stage)) {
        for record in simulator.records(&truth, false) {
            copies += i64::from(record.copy);
            records += i64::from(!record.copy);
        }
        contents += 1;
    }
    drop(simulator);
    assert!(copies > 10 && contents > 15, "{copies} {contents}");
    let books = books(&stage);
    let stream = books.streams.iter().find(|stream| stream.origin == "listed").unwrap();
    assert_eq!((stream.copies, stream.accepted, stream.read), (copies, records, copies + records));
    for account in &stream.accounts {
        assert_eq!((account.skipped, account.delivered), (copies, records), "{}", account.sink);
    }
    for sink in ["siem", "lake"] {
        arrived_once(&stage, sink);
        assert_eq!(stage.taken(sink).len() as i64, records);
    }
    checks::at_the_end(&stage, &sinks, 0).unwrap();
}
