//! Bodies that can't be had, can't be read, or change.

use std::{collections::BTreeSet, sync::Arc};

use auditferry::{
    ledger::Millis,
    simulator::faults::{Odd, When},
};

use super::{HOUR, MINUTE, after, arrived_once, books, calm, live_until_settled, missing, odd, published};
use crate::{
    checks,
    keeper::{Keeper, Kill, Watch},
    sinks::{Poison, Says},
    stage::{SinkPlan, Stage},
    touched::Touched,
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

#[test]
fn bodies_that_a_sink_has_begun_stay_though_they_are_many_and_come_in_another_order_again() {
    begun_bodies(None).unwrap();
}

/// A message of most contents is not taken for hours, and what lies behind it is: bodies that are begun and wait are more than the budget.
pub fn begun_bodies(mutant: Option<&'static str>) -> Result<(), String> {
    let mut profile = calm(5 * MINUTE, 6 * HOUR);
    profile.tenants[0].records_per_content = 20;
    profile.tenants[0].end = Some(after(&profile, HOUR));
    profile.tenants[0].faults.contents = vec![odd(When::ALWAYS, Odd::Reordered)];
    let mut stage = Stage::new(profile);
    stage.start = 6 * HOUR;
    stage.body_budget = 40_000;
    let sinks = [SinkPlan::fake("siem")];
    let siem = stage.destination("siem");
    siem.poison(Some(Poison { every: 16, says: Says::Alone }));
    // by then all that was published has been listed
    let listed = stage.now() + 80 * 60_000;
    for hours in [1, 6] {
        let watch = Watch { touched: Some(Touched::begin(&stage, &sinks)), ..Watch::of(&stage) };
        let keeper = Arc::new(Keeper::with(Kill::Never, mutant, Some(watch)));
        let over = |stage: &Stage| hours > 1 && stage.now() > listed && crate::scenario::owed(stage) == 0;
        let lived = stage.live(&keeper, &sinks, hours * HOUR, over);
        if let Some(words) = keeper.violation() {
            return Err(words);
        }
        lived.map_err(|error| format!("the agent ended: {error}"))?;
        checks::always(&stage, &sinks)?;
        let begun = "SELECT count(*) FROM delivery WHERE lost = 0 AND progress > 0";
        let begun: i64 = checks::sql(&stage, begun, |row| row.get(0))?;
        let dropped: i64 = checks::sql(&stage, "SELECT sum(generation) FROM content", |row| row.get(0))?;
        println!("{begun} bodies are begun, {dropped} were dropped");
        // a mutant may tell another story
        let told = begun > 0 && dropped > 0 || hours > 1 || mutant.is_some();
        assert!(told, "the story is of begun bodies, and of a budget that is too small");
        // what was taken behind what was not comes again after a stop
        siem.may_repeat(checks::unconfirmed(&stage, &sinks[0], true)?);
        siem.poison(None);
    }
    checks::at_the_end(&stage, &sinks, 0)
}
