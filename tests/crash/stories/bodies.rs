//! Bodies that can't be had, can't be read, or change.

use std::collections::BTreeSet;

use auditferry::{
    ledger::Millis,
    simulator::faults::{Odd, When},
};

use super::{HOUR, MINUTE, after, arrived_once, books, calm, live_until_settled, missing, odd, published};
use crate::{
    checks,
    stage::{SinkPlan, Stage},
};

#[test]
fn expired_contents_and_bodies_that_are_no_json_are_gaps_of_each_sink_and_hold_up_nobody() {
    let mut profile = calm(10 * MINUTE, 2 * HOUR);
    profile.tenants[0].end = Some(after(&profile, HOUR));
    profile.tenants[0].keep = 6 * HOUR;
    profile.tenants[0].faults.contents = vec![odd(When::every(5), Odd::Expired), odd(When::every(7), Odd::NotJson)];
    let mut stage = Stage::new(profile);
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    live_until_settled(&mut stage, &sinks, 2 * HOUR, 12 * HOUR);
    let now = jiff::Timestamp::from_millisecond(stage.now()).unwrap();
    let lost = {
        let simulator = stage.simulator.lock().unwrap();
        let spoilt = |odd: &Odd| matches!(odd, Odd::Expired | Odd::NotJson);
        simulator.truth(now).filter(|truth| truth.content.odds.iter().any(spoilt)).count() as u64
    };
    assert!(lost >= 5, "{lost}");
    let tenant = &stage.profile.tenants[0].id;
    let name = format!("{tenant}/Audit.General");
    let reason = "expired before it could be fetched";
    let mut counted = books(&stage).lost_contents;
    counted.sort();
    let row = |sink: &str| (name.clone(), sink.to_owned(), reason.to_owned(), lost);
    assert_eq!(counted, [row("lake"), row("siem")]);
    for sink in ["siem", "lake"] {
        let gaps: Vec<(String, Option<i64>)> = checks::column(
            &stage,
            &format!("SELECT g.reason, g.records FROM gap g JOIN sink k ON k.id = g.sink WHERE k.name = '{sink}'"),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
        assert!(!gaps.is_empty());
        assert!(gaps.iter().all(|gap| *gap == (reason.to_owned(), None)), "{gaps:?}");
        assert!(stage.destinations[sink].of_operation("AuditGapOpened").len() >= gaps.len());
        let contents = published(&stage);
        let whole = contents.iter().filter(|content| content.expires > content.created);
        assert!(whole.clone().count() > 10);
        assert_eq!(missing(&stage, sink, whole), Vec::<String>::new());
        arrived_once(&stage, sink);
    }
    // unreadable bodies were tried again until they expired, and no longer
    assert!(stage.activity.fetch_failures()["MalformedBody"] > 10);
    checks::at_the_end(&stage, &sinks, 0).unwrap();
}

#[test]
fn a_body_that_was_dropped_and_differs_when_fetched_again_owes_what_is_new_and_notes_what_is_gone() {
    let mut profile = calm(10 * MINUTE, 6 * HOUR);
    profile.tenants[0].records_per_content = 20;
    profile.tenants[0].end = Some(after(&profile, HOUR));
    profile.tenants[0].faults.contents = vec![odd(When::ALWAYS, Odd::Differs)];
    let mut stage = Stage::new(profile);
    stage.start = 6 * HOUR;
    stage.body_budget = 40_000;
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    stage.destination("lake").block(true);
    super::live(&mut stage, &sinks, 2 * HOUR, |_| {});
    let finished: BTreeSet<_> = stage.taken("siem").into_iter().collect();
    stage.destination("lake").block(false);
    live_until_settled(&mut stage, &sinks, HOUR, 6 * HOUR);
    let now = jiff::Timestamp::from_millisecond(stage.now()).unwrap();
    let since = stage.profile.start.as_millisecond() - 6 * HOUR.as_millis() as Millis;
    let simulator = stage.simulator.lock().unwrap();
    let truth: Vec<_> = simulator.truth(now).filter(|truth| truth.content.created >= since).collect();
    drop(simulator);
    let taken = |sink: &str| stage.taken(sink).into_iter().collect::<BTreeSet<_>>();
    let (siem, lake) = (taken("siem"), taken("lake"));
    let mut differing = 0;
    for truth in &truth {
        let first = checks::ids_in(&stage.profile, truth, false);
        let second = checks::ids_in(&stage.profile, truth, true);
        let id = &truth.content.id;
        match truth.fetched {
            Some(1) => assert!(first.is_subset(&siem) && first.is_subset(&lake), "{id} was fetched once"),
            Some(2..) => {
                differing += 1;
                assert!(first.is_subset(&finished), "{id}: the sink that had finished had the first one");
                assert!(second.is_subset(&siem), "{id}: what is new is owed to the sink that had finished");
                assert!(second.is_subset(&lake), "{id}: the other one gets what there is");
            }
            other => panic!("{id} was fetched {other:?}"),
        }
    }
    assert!(differing > 5);
    let books = books(&stage);
    assert_eq!(books.imbalances(), []);
    let listed = books.streams.iter().find(|stream| stream.origin == "listed").unwrap();
    assert_eq!(listed.differing, differing);
    let gone: i64 = checks::sql(
        &stage,
        "SELECT sum(records) FROM gap WHERE reason = 'gone when fetched again' AND sink IS NULL",
        |row| row.get(0),
    )
    .unwrap();
    assert_eq!(gone, differing, "one record of each is gone");
    arrived_once(&stage, "siem");
    arrived_once(&stage, "lake");
}
