//! Sinks that come later or stand still.

use std::cell::Cell;

use auditferry::ledger::Millis;

use super::{
    DAY, HOUR, MINUTE, after, arrived_once, books, calm, live, live_until_settled, missing, published, records,
    tenth_minute,
};
use crate::{
    checks,
    stage::{SinkPlan, Stage},
};

#[test]
fn a_sink_added_later_with_a_start_of_7_days_gets_everything_that_the_service_still_has() {
    let mut profile = calm(2 * HOUR, 8 * DAY);
    profile.tenants[0].end = Some(after(&profile, 2 * DAY + HOUR));
    let mut stage = Stage::new(profile);
    stage.start = DAY;
    stage.poll = HOUR / 2;
    let first = SinkPlan::fake("siem");
    live(&mut stage, std::slice::from_ref(&first), 2 * DAY, |_| {});
    let had = stage.taken("siem").len();
    assert!(had > 50, "bodies were delivered, and deleted: {had}");
    assert_eq!(books(&stage).stored_bytes, 0);
    let added = stage.now();
    let both = [first, SinkPlan { start: Some(7 * DAY), ..SinkPlan::fake("lake") }];
    live_until_settled(&mut stage, &both, 3 * HOUR, 8 * HOUR);
    let contents = published(&stage);
    // ten minutes for listing and fetching what expires next
    let there: Vec<_> = contents.iter().filter(|content| content.expires > added + 600_000).collect();
    let own_start = stage.profile.start.as_millisecond() - DAY.as_millis() as Millis;
    assert!(there.iter().filter(|content| content.created < own_start).count() > 40, "older than the stream's start");
    assert_eq!(missing(&stage, "lake", there.iter().copied()), Vec::<String>::new());
    arrived_once(&stage, "lake");
    // the first one gets nothing of that
    arrived_once(&stage, "siem");
    let new: usize = contents.iter().filter(|content| content.created >= own_start).map(|it| it.ids.len()).sum();
    assert_eq!(records(&stage, "siem"), new);
}

#[test]
fn a_sink_that_takes_nothing_delays_no_other_stays_within_the_budget_and_later_gets_every_record_once() {
    let mut profile = calm(10 * MINUTE, 6 * HOUR);
    profile.tenants[0].records_per_content = 20;
    profile.tenants[0].end = Some(after(&profile, 12 * HOUR));
    let mut stage = Stage::new(profile);
    stage.start = 6 * HOUR;
    stage.body_budget = 40_000;
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    stage.destination("lake").block(true);
    let begun = stage.now();
    let (most, backlog) = (Cell::new(0), Cell::new(0));
    live(&mut stage, &sinks, 12 * HOUR, |stage| {
        let now = stage.now();
        let books = books(stage);
        most.set(most.get().max(books.stored_bytes));
        backlog.set(books.sinks.iter().find(|sink| sink.name == "lake").map_or(0, |sink| sink.contents));
        if now > begun + 30 * 60_000 && tenth_minute(stage) {
            let contents = published(stage);
            let due = contents.iter().filter(|content| content.created < now - 10 * 60_000);
            assert_eq!(missing(stage, "siem", due), Vec::<String>::new(), "the other sink is late at {now}");
        }
    });
    let largest: u64 =
        checks::sql(&stage, "SELECT max(bytes) FROM content", |row| row.get::<_, i64>(0)).unwrap() as u64;
    assert!(backlog.get() > 90, "the backlog: {} contents", backlog.get());
    assert!(backlog.get() * largest > 3 * stage.body_budget, "the backlog does not fit");
    assert!(most.get() <= stage.body_budget + 2 * largest, "{} bytes were stored", most.get());
    assert!(stage.taken("lake").is_empty());
    let known = stage.activity.sinks();
    assert_eq!(known["lake"].error.as_deref(), Some("the index is gone"));
    assert_eq!(known["siem"].error, None);
    stage.destination("lake").block(false);
    live_until_settled(&mut stage, &sinks, HOUR, 6 * HOUR);
    checks::at_the_end(&stage, &sinks, 0).unwrap();
    arrived_once(&stage, "lake");
    arrived_once(&stage, "siem");
    assert_eq!(stage.taken("lake").len(), stage.taken("siem").len());
}
