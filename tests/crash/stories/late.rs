//! Publication time is not the time at which a content can be seen, and what is not owed stays so.

use std::{cell::Cell, time::Duration};

use auditferry::{
    ledger::Millis,
    simulator::faults::{Odd, When},
};

use super::{DAY, HOUR, MINUTE, after, arrived_once, calm, live, missing, odd, published, tenth_minute};
use crate::{
    checks,
    stage::{SinkPlan, Stage},
};

/// A content of the first hours that becomes visible `late`; it is there `within` that time.
fn arrives(late: Duration, interval: Duration, poll: Duration, within: Duration) {
    let mut profile = calm(interval, 2 * interval);
    profile.tenants[0].end = Some(after(&profile, 12 * interval));
    // number 5 is created after the start, so that the cursor passes it unseen
    profile.tenants[0].faults.contents = vec![odd(When::only(5), Odd::Late(late))];
    let mut stage = Stage::new(profile);
    stage.poll = poll;
    stage.start = 2 * interval;
    let sinks = [SinkPlan::fake("siem")];
    let visible_at = Cell::new(None);
    live(&mut stage, &sinks, (6 * interval + late + within).max(14 * interval), |stage| {
        let now = stage.now();
        if !tenth_minute(stage) && visible_at.get().is_none() {
            return;
        }
        if visible_at.get().is_some_and(|visible| now <= visible + within.as_millis() as Millis) {
            return;
        }
        let contents = published(stage);
        let Some(content) = contents.iter().find(|content| content.late) else { return };
        visible_at.set(Some(content.visible));
        assert!(content.visible - content.created >= late.as_millis() as Millis);
        if now > content.visible + within.as_millis() as Millis {
            assert_eq!(missing(stage, "siem", [content]), Vec::<String>::new(), "late by {late:?}");
        }
    });
    let visible_at = visible_at.get().expect("it became visible");
    assert!(stage.now() > visible_at + within.as_millis() as Millis, "the story ran long enough");
    checks::at_the_end(&stage, &sinks, 0).unwrap();
    arrived_once(&stage, "siem");
}

#[test]
fn a_content_that_becomes_visible_90_minutes_late_arrives() {
    // within the two hours that every poll looks back
    arrives(90 * MINUTE, 20 * MINUTE, 5 * MINUTE, 7 * MINUTE);
}

#[test]
fn a_content_that_becomes_visible_20_hours_late_arrives() {
    arrives(20 * HOUR, HOUR, 15 * MINUTE, HOUR + 20 * MINUTE);
}

#[test]
fn a_content_that_becomes_visible_6_days_late_arrives() {
    arrives(6 * DAY, 2 * HOUR, HOUR, 2 * HOUR + 5 * MINUTE);
}

#[test]
fn a_start_of_24_hours_owes_nothing_older_days_later_either() {
    let mut profile = calm(2 * HOUR, 6 * DAY);
    // one from before the start, and one from after it, that show only days later
    let since = profile.start.as_millisecond() - DAY.as_millis() as Millis;
    profile.tenants[0].faults.contents =
        vec![odd(When::only(58), Odd::Late(3 * DAY)), odd(When::only(63), Odd::Late(3 * DAY))];
    profile.tenants[0].end = Some(after(&profile, 4 * DAY - 6 * HOUR));
    let mut stage = Stage::new(profile);
    stage.start = DAY;
    stage.poll = HOUR;
    let sinks = [SinkPlan::fake("siem")];
    live(&mut stage, &sinks, 4 * DAY, |_| {});
    let contents = published(&stage);
    let late: Vec<bool> = contents.iter().filter(|it| it.late).map(|it| it.created < since).collect();
    assert_eq!(late, [true, false], "the story has a late content on either side of the start");
    let oldest: Millis = checks::sql(&stage, "SELECT min(created) FROM content", |row| row.get(0)).unwrap();
    assert!(oldest >= since);
    let simulator = stage.simulator.lock().unwrap();
    let now = jiff::Timestamp::from_millisecond(stage.now()).unwrap();
    let older: Vec<_> = simulator.truth(now).filter(|truth| truth.content.created < since).collect();
    assert!(older.len() > 50);
    assert!(
        older.iter().all(|truth| truth.fetched == Some(0) || truth.fetched.is_none()),
        "something older was fetched"
    );
    drop(simulator);
    let owed: std::collections::BTreeSet<_> =
        contents.iter().filter(|content| content.created >= since).flat_map(|content| content.ids.clone()).collect();
    let taken = stage.taken("siem");
    assert!(taken.iter().all(|id| owed.contains(id)), "something older was delivered");
    checks::at_the_end(&stage, &sinks, 0).unwrap();
    arrived_once(&stage, "siem");
}
