//! Sinks that come later or stand still.

use std::{cell::Cell, collections::BTreeSet, sync::Arc, time::Duration};

use auditferry::{
    ledger::Millis,
    simulator::{
        TenantProfile,
        faults::{AnswerFault, Odd, When, Wrong},
    },
};
use auditferry_contract::Limits;

use super::{
    DAY, HOUR, MINUTE, after, arrived_once, books, calm, live, live_until_settled, missing, odd, published, records,
    tenth_minute,
};
use crate::{
    checks,
    seeds::moody::{Mood, Script},
    stage::{SinkPlan, Stage},
};

#[test]
fn a_sink_added_later_with_a_start_of_7_days_gets_everything_that_the_service_still_has() {
    let mut profile = calm(2 * HOUR, 8 * DAY);
    profile.tenants[0].end = Some(after(&profile, 2 * DAY + HOUR));
    // also copies of records that the new sink is not owed, or can't have any more, with their first content
    profile.tenants[0].faults.contents = vec![odd(When::every(3), Odd::Repeats { every: 2, back: 3 })];
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
    let own = contents.iter().filter(|content| content.created >= own_start);
    let own: BTreeSet<_> = own.flat_map(|content| content.ids.iter().copied()).collect();
    assert_eq!(records(&stage, "siem"), own.len());
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

#[test]
fn a_sink_that_is_down_for_longer_than_contents_live_gets_what_is_stored_and_the_rest_is_its_gap() {
    let mut profile = calm(10 * MINUTE, 2 * HOUR);
    profile.tenants[0].records_per_content = 20;
    profile.tenants[0].keep = 6 * HOUR;
    profile.tenants[0].end = Some(after(&profile, 8 * HOUR));
    let mut stage = Stage::new(profile);
    stage.start = 2 * HOUR;
    stage.body_budget = 40_000;
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    stage.destination("lake").block(true);
    live(&mut stage, &sinks, 16 * HOUR, |_| {});
    let stored = books(&stage).stored_bytes;
    assert!(stored > stage.body_budget / 4, "its share is kept though it has expired: {stored} bytes");
    stage.destination("lake").block(false);
    live_until_settled(&mut stage, &sinks, HOUR, 6 * HOUR);
    checks::at_the_end(&stage, &sinks, 0).unwrap();
    let contents = published(&stage);
    assert_eq!(missing(&stage, "siem", &contents), Vec::<String>::new());
    let lost = missing(&stage, "lake", &contents).len();
    assert!(lost > 10 && lost + 5 < contents.len(), "{lost} of {}", contents.len());
    let sinks_of_gaps: Vec<Option<String>> =
        checks::column(&stage, "SELECT k.name FROM gap g LEFT JOIN sink k ON k.id = g.sink", |row| row.get(0)).unwrap();
    assert!(!sinks_of_gaps.is_empty() && sinks_of_gaps.iter().all(|sink| sink.as_deref() == Some("lake")));
    let marked: i64 = checks::sql(&stage, "SELECT count(*) FROM delivery WHERE lost = 1", |row| row.get(0)).unwrap();
    assert_eq!(marked, lost as i64);
    let of = |metric: &str, sink: &str| stage.metric(metric, &[sink]);
    let books: i64 = books(&stage).streams.iter().flat_map(|stream| &stream.accounts).map(|account| account.lost).sum();
    assert!(books > 0, "records that had been read, and were dropped");
    assert_eq!(of("auditferry_sink_lost_total", "sink=\"lake\""), books as f64);
    assert_eq!(of("auditferry_sink_lost_total", "sink=\"siem\""), 0.0);
    for sink in ["siem", "lake"] {
        assert!(!stage.destinations[sink].of_operation("AuditGapOpened").is_empty(), "{sink} hears of it");
        arrived_once(&stage, sink);
    }
}

#[test]
fn a_sink_that_never_answers_delays_no_other() {
    let mut profile = calm(5 * MINUTE, 2 * HOUR);
    profile.tenants[0].end = Some(after(&profile, 4 * HOUR));
    let mut stage = Stage::new(profile);
    stage.start = 2 * HOUR;
    stage.body_budget = 40_000;
    let begun = stage.now();
    let moods = vec![(Millis::MIN, begun + 6 * 3_600_000, Mood::Hangs)];
    let limits = Limits { deadline: Duration::from_secs(20), ..Limits::default() };
    let lake =
        SinkPlan { script: Some((Arc::new(Script { moods, ..Script::default() }), limits)), ..SinkPlan::fake("lake") };
    let sinks = [SinkPlan::fake("siem"), lake];
    live(&mut stage, &sinks, 5 * HOUR, |stage| {
        let now = stage.now();
        if now > begun + 10 * 60_000 && tenth_minute(stage) {
            let contents = published(stage);
            let due = contents.iter().filter(|content| content.created < now - 7 * 60_000);
            assert_eq!(missing(stage, "siem", due), Vec::<String>::new(), "the other sink is late at {now}");
        }
    });
    assert!(stage.taken("lake").is_empty());
    let tried = stage.destinations["lake"].strikes.all()["sink Hangs"];
    assert!(tried > 10, "it was tried {tried} times");
    live_until_settled(&mut stage, &sinks, 2 * HOUR, 6 * HOUR);
    for sink in ["siem", "lake"] {
        assert_eq!(missing(&stage, sink, &published(&stage)), Vec::<String>::new());
        arrived_once(&stage, sink);
    }
}

/// The permission for a stream is withdrawn while a sink takes nothing and bodies for it had to be dropped: what is stored goes out, other
/// streams go on, and what was dropped comes when it can be read again.
#[test]
fn a_stream_that_can_not_be_read_during_the_outage_of_a_sink_holds_up_no_other_and_comes_later() {
    let mut profile = calm(10 * MINUTE, 6 * HOUR);
    profile.tenants[0].records_per_content = 20;
    profile.tenants.push(TenantProfile { interval: 10 * MINUTE, backfill: HOUR, ..TenantProfile::numbered(2) });
    profile.tenants[1].power_platform_per_mille = 1000;
    let (from, until) = (after(&profile, 2 * HOUR), after(&profile, 6 * HOUR));
    profile.tenants[0].faults.answers = vec![AnswerFault {
        when: When::between(from, until),
        on: None,
        wrong: Wrong::Service {
            status: 401,
            code: "AF10001".into(),
            message: "The permission set () sent in the request did not include the expected permission.".into(),
        },
    }];
    let end = after(&profile, 7 * HOUR);
    profile.tenants.iter_mut().for_each(|tenant| tenant.end = Some(end));
    let mut stage = Stage::new(profile);
    stage.start = 6 * HOUR;
    stage.body_budget = 40_000;
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    stage.destination("lake").block(true);
    let (begun, hour) = (stage.now(), HOUR.as_millis() as Millis);
    let (lacking, stored) = (Cell::new(0), Cell::new(0));
    live(&mut stage, &sinks, 8 * HOUR, |stage| {
        let now = stage.now();
        if now < begun + 4 * hour {
            stored.set(books(stage).stored_bytes);
        } else {
            stage.destinations["lake"].block(false);
        }
        if now < begun + hour || !tenth_minute(stage) {
            return;
        }
        let contents = published(stage);
        let due =
            |tenant: usize, until: Millis| contents.iter().filter(move |it| it.tenant == tenant && it.created < until);
        assert_eq!(missing(stage, "siem", due(1, now - 10 * 60_000)), Vec::<String>::new(), "another stream waits");
        if (begun + 4 * hour + 20 * 60_000..begun + 6 * hour).contains(&now) {
            assert_eq!(missing(stage, "lake", due(1, now - 20 * 60_000)), Vec::<String>::new(), "another stream waits");
            assert_eq!(stage.activity.sinks()["lake"].error, None);
            lacking.set(missing(stage, "lake", due(0, begun + 2 * hour)).len());
        }
    });
    assert!(stored.get() > stage.body_budget / 2, "{} bytes were stored", stored.get());
    assert!(lacking.get() > 5, "{} contents had been dropped, and could not be had", lacking.get());
    live_until_settled(&mut stage, &sinks, HOUR, 6 * HOUR);
    checks::at_the_end(&stage, &sinks, 0).unwrap();
    for sink in ["siem", "lake"] {
        arrived_once(&stage, sink);
        assert_eq!(missing(&stage, sink, &published(&stage)), Vec::<String>::new());
    }
}
