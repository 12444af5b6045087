//! Messages that a sink will never take, and sinks whose `Ok` is disproved.

use std::{cell::Cell, collections::BTreeSet, sync::Arc, time::Duration};

use auditferry::ledger::{Selection, Wanted};
use auditferry_contract::EventId;
use futures_util::FutureExt;

use super::{DAY, HOUR, MINUTE, after, arrived_once, books, calm, live, live_until_settled, published};
use crate::{
    checks,
    keeper::Keeper,
    sinks::{Deaf, Lossy, Poison, Says},
    stage::{SinkPlan, Stage},
};

fn stage(minutes: u32) -> Stage {
    let mut profile = calm(10 * MINUTE, 6 * HOUR);
    profile.tenants[0].records_per_content = 20;
    profile.tenants[0].end = Some(after(&profile, minutes * MINUTE));
    let mut stage = Stage::new(profile);
    stage.start = 6 * HOUR;
    stage
}

fn quarantined(stage: &Stage, plan: &SinkPlan) -> BTreeSet<EventId> {
    checks::quarantined(stage, plan).unwrap().into_iter().collect()
}

/// Every record was either taken once or refused, and refused was just the poison.
fn only_poison_is_kept(stage: &Stage, plan: &SinkPlan, poison: Poison) {
    let kept = quarantined(stage, plan);
    assert!(kept.len() > 5 && kept.iter().all(|id| poison.spoils(id)), "{} are kept", kept.len());
    let taken: BTreeSet<EventId> = stage.taken(plan.name).into_iter().collect();
    let all: BTreeSet<EventId> = published(stage).iter().flat_map(|content| content.ids.clone()).collect();
    assert!(all.iter().all(|id| kept.contains(id) != taken.contains(id)), "each is taken or kept");
    arrived_once(stage, plan.name);
    assert_eq!(books(stage).imbalances(), []);
}

#[test]
fn what_a_sink_refuses_by_name_goes_to_quarantine_and_holds_up_nobody() {
    let mut stage = stage(60);
    let plan = SinkPlan::fake("siem");
    let poison = Poison { every: 16, says: Says::Which };
    stage.destination("siem").poison(Some(poison));
    live_until_settled(&mut stage, std::slice::from_ref(&plan), 2 * HOUR, 5 * HOUR);
    only_poison_is_kept(&stage, &plan, poison);
    // once the cause is gone, what lies there is offered again
    let kept = quarantined(&stage, &plan);
    stage.destination("siem").poison(None);
    let selection = Selection { sink: Some("siem".into()), ids: vec![], up_to: i64::MAX };
    let ledger = stage.ledger();
    let asked = ledger.ask("a person".into(), Wanted::QuarantineRetry(selection), stage.now());
    asked.now_or_never().unwrap().unwrap();
    live_until_settled(&mut stage, std::slice::from_ref(&plan), 2 * HOUR, 5 * HOUR);
    assert_eq!(quarantined(&stage, &plan), BTreeSet::new());
    let taken: BTreeSet<EventId> = stage.taken("siem").into_iter().collect();
    assert!(kept.is_subset(&taken));
    arrived_once(&stage, "siem");
    assert_eq!(books(&stage).imbalances(), []);
}

#[test]
fn when_a_sink_refuses_a_batch_without_saying_which_it_is_halved_until_the_culprit_is_found() {
    let mut stage = stage(60);
    let plan = SinkPlan::fake("siem");
    let poison = Poison { every: 16, says: Says::Refused };
    stage.destination("siem").poison(Some(poison));
    live_until_settled(&mut stage, std::slice::from_ref(&plan), 2 * HOUR, 5 * HOUR);
    only_poison_is_kept(&stage, &plan, poison);
    let (records, kept) = (stage.taken("siem").len() as u64, quarantined(&stage, &plan).len() as u64);
    // three halvings of seven, two calls each, beside the batches that are taken
    let calls = stage.destination("siem").calls();
    assert!(calls < records / 3 + 8 * kept, "{calls} calls for {records} records, {kept} of them refused");
}

#[test]
fn a_message_that_only_ever_gets_retry_ends_in_quarantine_while_the_others_arrive() {
    let mut stage = stage(18 * 60);
    let plan = SinkPlan::fake("siem");
    let poison = Poison { every: 64, says: Says::Retry };
    stage.destination("siem").poison(Some(poison));
    // that others are taken is the proof: the service goes on
    live(&mut stage, std::slice::from_ref(&plan), 16 * HOUR, |_| {});
    let (kept, taken) = (quarantined(&stage, &plan), stage.taken("siem").into_iter().collect::<BTreeSet<_>>());
    assert!(kept.len() > 5 && kept.iter().all(|id| poison.spoils(id)), "{kept:?}");
    let border = stage.now() - 5 * HOUR.as_millis() as i64;
    for content in published(&stage).iter().filter(|content| content.created < border) {
        assert!(content.ids.iter().all(|id| kept.contains(id) || taken.contains(id)), "{} waits", content.content_id);
    }
    arrived_once(&stage, "siem");
}

#[test]
fn a_sink_that_refuses_everything_is_blocked_and_quarantines_nothing() {
    for says in [Says::Which, Says::Refused] {
        let mut stage = stage(120);
        let plan = SinkPlan::fake("siem");
        stage.destination("siem").poison(Some(Poison { every: 1, says }));
        live(&mut stage, std::slice::from_ref(&plan), 4 * HOUR, |_| {});
        assert_eq!(quarantined(&stage, &plan), BTreeSet::new());
        let error = stage.activity.sinks()["siem"].error.clone().unwrap_or_default();
        assert!(error.contains("the fault may be a setting"), "{error}");
        stage.destination("siem").poison(None);
        live_until_settled(&mut stage, std::slice::from_ref(&plan), 2 * HOUR, 5 * HOUR);
        assert_eq!(quarantined(&stage, &plan), BTreeSet::new());
        checks::at_the_end(&stage, &[plan], 0).unwrap();
        arrived_once(&stage, "siem");
    }
}

#[test]
fn more_than_twenty_refused_messages_of_a_quiet_tenant_do_not_stop_the_sink() {
    let mut profile = calm(2 * HOUR, HOUR);
    profile.tenants[0].records_per_content = 25;
    profile.tenants[0].end = Some(after(&profile, 12 * HOUR));
    let mut stage = Stage::new(profile);
    stage.start = HOUR;
    let plan = SinkPlan::fake("siem");
    stage.destination("siem").refuse_first(25);
    let begun = stage.now();
    live(&mut stage, std::slice::from_ref(&plan), 14 * HOUR, |stage| {
        let hours = (stage.now() - begun) / 3_600_000;
        // nothing else is there to tell by until the next content comes; then it is clear whose fault it is
        if hours >= 3 {
            assert_eq!(quarantined(stage, &plan).len(), 25, "after {hours} hours");
            assert_eq!(stage.activity.sinks()["siem"].error, None, "after {hours} hours");
        }
    });
    assert_eq!(crate::scenario::owed(&stage), 0);
    arrived_once(&stage, "siem");
}

#[test]
fn a_blocked_sink_is_tried_again_as_soon_as_its_secret_has_changed() {
    let mut stage = stage(4 * 60);
    let plan = SinkPlan { token: true, ..SinkPlan::fake("siem") };
    let siem = stage.destination("siem");
    siem.block(true);
    let begun = stage.now();
    let changed = Cell::new(None);
    live(&mut stage, std::slice::from_ref(&plan), 4 * HOUR, |stage| {
        if changed.get().is_none() && stage.now() > begun + 2 * 3_600_000 {
            *stage.token.lock().unwrap() = "second".into();
            siem.block(false);
            changed.set(Some(stage.now()));
        }
        // the pause has grown to a quarter of an hour by then, and what was read is looked at every 30 s
        if changed.get().is_some_and(|at| stage.now() >= at + 2 * 60_000) {
            assert!(stage.taken("siem").len() > 100, "{:?}", stage.activity.sinks()["siem"].error);
        }
    });
    assert!(changed.get().is_some());
    arrived_once(&stage, "siem");
}

#[test]
fn what_was_not_settled_when_the_connection_broke_goes_out_again() {
    let mut stage = stage(60);
    let plan = SinkPlan { settle: Duration::from_secs(10), ..SinkPlan::fake("soc") };
    stage.destination("soc").lossy(Some(Lossy { every: 5, orderly: false }));
    live_until_settled(&mut stage, std::slice::from_ref(&plan), 2 * HOUR, 8 * HOUR);
    let failures = stage.destinations["soc"].failures.load(std::sync::atomic::Ordering::Relaxed);
    assert!(failures > 5, "{failures} connections were lost");
    checks::at_the_end(&stage, &[plan], 0).unwrap();
}

#[test]
fn a_stop_settles_only_what_the_peer_has_read() {
    let slow = SinkPlan { settle: 6 * HOUR, ..SinkPlan::fake("soc") };
    for deaf in [Deaf::Hangs, Deaf::Breaks] {
        let mut stage = stage(60);
        stage.destination("soc").deaf(Some(deaf));
        // I2 is looked at after it
        live(&mut stage, std::slice::from_ref(&slow), HOUR, |_| {});
        assert!(stage.destination("soc").calls() > 5, "nothing went out");
        stage.destination("soc").deaf(None);
        let plan = SinkPlan { settle: Duration::from_secs(10), ..slow.clone() };
        live_until_settled(&mut stage, std::slice::from_ref(&plan), 2 * HOUR, 8 * HOUR);
        checks::at_the_end(&stage, &[plan], 0).unwrap();
    }
    let mut stage = stage(60);
    live(&mut stage, std::slice::from_ref(&slow), HOUR, |_| {});
    assert!(stage.taken("soc").len() > 5);
    live(&mut stage, std::slice::from_ref(&slow), 5 * HOUR, |_| {});
    arrived_once(&stage, "soc");
}

#[test]
fn a_peer_that_always_closes_early_does_not_stop_the_stream() {
    let mut stage = stage(60);
    let plan = SinkPlan { settle: Duration::from_secs(10), ..SinkPlan::fake("soc") };
    stage.destination("soc").lossy(Some(Lossy { every: 1, orderly: true }));
    live_until_settled(&mut stage, std::slice::from_ref(&plan), 2 * HOUR, DAY);
    checks::at_the_end(&stage, &[plan], 0).unwrap();
    assert!(stage.activity.sinks()["soc"].settled_unproven > 50);
}

#[test]
fn a_sink_is_opened_anew_when_its_secret_has_changed() {
    let mut stage = stage(60);
    let plan = SinkPlan { token: true, ..SinkPlan::fake("siem") };
    let changed = Cell::new(None);
    let begun = stage.now();
    live(&mut stage, std::slice::from_ref(&plan), HOUR, |stage| {
        if changed.get().is_none() && stage.now() > begun + 20 * 60_000 {
            *stage.token.lock().unwrap() = "second".into();
            changed.set(Some(stage.now()));
        }
        // looked at every 30 s, and the next batch goes out within a poll
        if changed.get().is_some_and(|at| stage.now() > at + 12 * 60_000) {
            assert_eq!(stage.destinations["siem"].tokens().last().map(String::as_str), Some("second"));
        }
    });
    assert!(changed.get().is_some());
    assert_eq!(stage.destinations["siem"].tokens(), ["first", "second"], "once each");
    arrived_once(&stage, "siem");
    assert_eq!(stage.destinations["siem"].failures.load(std::sync::atomic::Ordering::Relaxed), 0);
}

/// What was sent before has not settled when the secret changes, and the stop comes while the sink is being closed for that.
#[test]
fn a_stop_while_a_sink_is_closed_to_be_opened_anew_repeats_nothing() {
    let mut profile = calm(Duration::from_secs(1), MINUTE);
    profile.tenants[0].records_per_content = 1;
    profile.tenants[0].end = Some(after(&profile, 4 * MINUTE));
    let mut stage = Stage::new(profile);
    stage.start = MINUTE;
    (stage.poll, stage.look) = (Duration::from_secs(5), Duration::from_secs(1));
    let sinks = [SinkPlan { token: true, settle: Duration::from_secs(10), ..SinkPlan::fake("siem") }];
    let siem = stage.destination("siem");
    siem.closes_within(Duration::from_secs(3));
    let (begun, open) = (stage.now(), Cell::new(0));
    let over = |stage: &Stage| {
        if stage.now() > begun + 60_000 {
            *stage.token.lock().unwrap() = "second".into();
        }
        open.set(checks::unconfirmed(stage, &sinks[0], true).unwrap());
        siem.closes() > 0
    };
    stage.live(&Arc::new(Keeper::new(None, None)), &sinks, HOUR, over).expect("the agent never ends by itself");
    println!("{} records were not confirmed when it was stopped", open.get());
    assert!(open.get() > 0 && siem.closes() == 1);
    stage.look = MINUTE;
    live_until_settled(&mut stage, &sinks, 10 * MINUTE, HOUR);
    arrived_once(&stage, "siem");
}

#[test]
fn a_batch_waits_for_others_as_long_as_its_sink_allows() {
    let calls = |age| {
        let mut profile = calm(Duration::from_secs(1), 10 * MINUTE);
        profile.tenants[0].records_per_content = 1;
        let mut stage = Stage::new(profile);
        stage.start = 10 * MINUTE;
        let plan = SinkPlan { age, ..SinkPlan::fake("siem") };
        stage.destination("siem");
        live(&mut stage, std::slice::from_ref(&plan), 20 * MINUTE, |_| {});
        arrived_once(&stage, "siem");
        (stage.taken("siem").len(), stage.destinations["siem"].calls())
    };
    let (at_once, waiting) = (calls(Duration::ZERO), calls(Duration::from_secs(5)));
    assert!(at_once.0 > 500 && waiting.0 > 500, "{at_once:?} {waiting:?}");
    assert!(waiting.1 * 2 < at_once.1, "{} calls at once, {} when waiting", at_once.1, waiting.1);
}
