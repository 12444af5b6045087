//! This machine's clock is wrong by weeks for a while: what counts is the service's.

use std::cell::Cell;

use auditferry::ledger::Millis;

use super::{
    DAY, HOUR, MINUTE, after, arrived_once, books, calm, live, live_until_settled, missing, published, tenth_minute,
};
use crate::{
    checks,
    stage::{SinkPlan, Stage},
};

/// For two hours the clock is wrong by so many days, while one sink takes nothing and its bodies don't fit; then it is right again.
fn wrong_for_two_hours(days: i64) {
    let mut profile = calm(10 * MINUTE, 6 * HOUR);
    profile.tenants[0].records_per_content = 20;
    profile.tenants[0].end = Some(after(&profile, 5 * HOUR));
    let mut stage = Stage::new(profile);
    stage.start = 6 * HOUR;
    stage.body_budget = 40_000;
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    stage.destination("lake").block(true);
    let by = days * DAY.as_millis() as Millis;
    let (begun, jumped, most) = (stage.now(), Cell::new(0), Cell::new(0));
    let hour = HOUR.as_millis() as Millis;
    live(&mut stage, &sinks, 4 * HOUR, |stage| {
        let now = stage.now();
        let due = i64::from(now >= begun + hour) + i64::from(now >= begun + 3 * hour);
        if due > jumped.get() {
            stage.clock.jump(if due == 1 { by } else { -by });
            jumped.set(due);
        }
        if (begun + hour..begun + 3 * hour).contains(&now) {
            most.set(most.get().max(books(stage).stored_bytes));
        }
        if now > begun + hour / 2 && tenth_minute(stage) {
            let contents = published(stage);
            // a clock that is set back lets what waits for a time wait for an hour at most
            let visible = contents.iter().filter(|content| content.created < now - 70 * 60_000);
            assert_eq!(missing(stage, "siem", visible), Vec::<String>::new(), "the living sink goes on");
        }
    });
    assert_eq!(jumped.get(), 2);
    let largest: i64 = checks::sql(&stage, "SELECT max(bytes) FROM content", |row| row.get(0)).unwrap();
    let bound = stage.body_budget + 2 * largest as u64;
    assert!(most.get() <= bound, "{} bytes were stored meanwhile, {bound} may be", most.get());
    let known = checks::column(&stage, "SELECT content_id FROM content", |row| row.get::<_, String>(0)).unwrap();
    let all = published(&stage);
    let before = all.iter().filter(|content| content.created < stage.now() - 15 * 60_000);
    let forgotten: Vec<_> = before.filter(|content| !known.contains(&content.content_id)).collect();
    assert!(forgotten.is_empty(), "{} of {} contents were forgotten", forgotten.len(), all.len());
    stage.destination("lake").block(false);
    live_until_settled(&mut stage, &sinks, 2 * HOUR, 6 * HOUR);
    checks::at_the_end(&stage, &sinks, 0).unwrap();
    let gaps = checks::column(&stage, "SELECT reason FROM gap", |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(gaps, [""; 0], "nothing was lost");
    for sink in ["siem", "lake"] {
        arrived_once(&stage, sink);
        assert_eq!(missing(&stage, sink, &published(&stage)), Vec::<String>::new());
    }
}

#[test]
fn a_clock_that_is_40_days_ahead_for_two_hours_forgets_nothing_and_loses_nothing() {
    wrong_for_two_hours(40);
}

#[test]
fn a_clock_that_is_40_days_behind_for_two_hours_forgets_nothing_and_loses_nothing() {
    wrong_for_two_hours(-40);
}
