//! A disk that is slow, a service and a sink that are: nobody waits for another's, and little goes out that a crash would bring again.

use std::{cell::Cell, sync::Arc, time::Duration};

use auditferry::{
    ledger::Millis,
    simulator::{
        Profile, TenantProfile,
        faults::{AnswerFault, Operation, When, Wrong},
    },
    world::LedgerFault,
};
use auditferry_contract::Limits;

use super::{DAY, HOUR, MINUTE, after, arrived_once, calm, calm_tenant, live, live_until_settled, missing, published};
use crate::{
    checks,
    keeper::{Broken, Keeper, Kill, Watch},
    seeds::moody::{Mood, Script},
    sinks::{BATCH, Destination, IN_FLIGHT, Lossy},
    stage::{SinkPlan, Stage},
};

#[test]
fn while_a_confirmation_is_written_for_a_minute_at_most_a_window_goes_out() {
    let mut profile = calm(MINUTE, 4 * HOUR);
    profile.tenants[0].end = Some(profile.start);
    let mut stage = Stage::new(profile);
    stage.start = 4 * HOUR;
    stage.look = Duration::from_secs(1);
    let begun = stage.now();
    let slow = Broken { from: begun, until: Millis::MAX, call: "confirm", every: 1, fault: LedgerFault::Slow(MINUTE) };
    let watch = Watch { broken: vec![slow], ..Watch::of(&stage) };
    let keeper = Arc::new(Keeper::with(Kill::Never, None, Some(watch)));
    let sinks = [SinkPlan::fake("siem")];
    let most = Cell::new(0);
    stage
        .live(&keeper, &sinks, HOUR, |stage| {
            most.set(most.get().max(checks::unconfirmed(stage, &sinks[0], true).unwrap()));
            false
        })
        .unwrap();
    // what is being confirmed, and what has gone out since
    let window = (BATCH * IN_FLIGHT) as u64;
    println!("{} records taken and not confirmed, {} in all", most.get(), stage.taken("siem").len());
    assert!(most.get() > window && most.get() <= 2 * window, "{} records would come again", most.get());
    assert!(stage.taken("siem").len() > 20 * BATCH, "and yet it goes on");
}

#[test]
fn while_confirmations_fail_for_two_hours_nothing_more_goes_out() {
    for fault in [LedgerFault::Commit, LedgerFault::Full, LedgerFault::Call] {
        confirmations_fail(fault, None).unwrap();
    }
}

/// There is enough to send, and no confirmation succeeds for two hours. An error is of I4.
pub fn confirmations_fail(fault: LedgerFault, mutant: Option<&'static str>) -> Result<(), String> {
    let mut profile = calm(MINUTE, 4 * HOUR);
    profile.tenants[0].end = Some(profile.start);
    let mut stage = Stage::new(profile);
    stage.start = 4 * HOUR;
    let (from, until) = (stage.now(), stage.now() + 3 * 3_600_000);
    let broken = vec![Broken { from, until, call: "confirm", every: 1, fault }];
    let keeper = Arc::new(Keeper::with(Kill::Never, mutant, Some(Watch { broken, ..Watch::of(&stage) })));
    let sinks = [SinkPlan::fake("siem")];
    stage.live(&keeper, &sinks, 2 * HOUR, |_| false).map_err(|error| error.to_string())?;
    let (waits, failures) = (checks::unconfirmed(&stage, &sinks[0], true)?, keeper.faults());
    println!("{waits} records taken and not confirmed after {failures} failures");
    assert!(failures > 100 && waits > 0, "{failures} failures, {waits} records");
    // what is confirmed, what was in flight when that began, and what went out since
    if waits > 3 * (BATCH * IN_FLIGHT) as u64 {
        return Err(format!("I4: {waits} records would come again after a crash"));
    }
    live_until_settled(&mut stage, &sinks, HOUR, HOUR);
    assert_eq!(stage.destinations["siem"].repeats(), waits, "that, and no more, came again");
    Ok(())
}

/// Two tenants: one with a past of six days, one that lives in the present.
fn two_streams() -> Profile {
    let mut profile = calm(5 * MINUTE, 6 * DAY);
    profile.tenants.push(TenantProfile { interval: 5 * MINUTE, backfill: HOUR, ..TenantProfile::numbered(2) });
    profile.tenants[1].power_platform_per_mille = calm_tenant().power_platform_per_mille;
    let end = after(&profile, 3 * HOUR);
    for tenant in &mut profile.tenants {
        tenant.end = Some(end);
    }
    profile
}

/// While the first stream's past is worked off, what the second publishes is there within three minutes.
fn the_second_stream_is_in_time(stage: &mut Stage, sinks: &[SinkPlan]) {
    stage.start = 6 * DAY;
    stage.poll = MINUTE;
    let start = stage.now();
    let looks = Cell::new(0);
    live(stage, sinks, 3 * HOUR, |stage| {
        let now = stage.now();
        let few = 3 * MINUTE.as_millis() as Millis;
        let contents = published(stage);
        let behind = missing(stage, "siem", contents.iter().filter(|content| content.tenant == 0));
        if now < start + few || behind.len() < 100 {
            return;
        }
        looks.set(looks.get() + 1);
        let due = contents.iter().filter(|it| it.tenant == 1 && (start..=now - few).contains(&it.created));
        assert_eq!(missing(stage, "siem", due), Vec::<String>::new(), "with {} of another stream behind", behind.len());
    });
    println!("looked {} times", looks.get());
    assert!(looks.get() > 50, "looked {} times only", looks.get());
    live_until_settled(stage, sinks, HOUR, 24 * HOUR);
    checks::at_the_end(stage, sinks, 0).unwrap();
    arrived_once(stage, "siem");
}

#[test]
fn the_past_of_a_stream_whose_bodies_come_slowly_delays_no_live_event_of_another() {
    let mut profile = two_streams();
    profile.tenants[0].faults.answers = vec![AnswerFault {
        when: When::ALWAYS,
        on: Some(Operation::Blob),
        wrong: Wrong::Late(Duration::from_secs(25)),
    }];
    let mut stage = Stage::new(profile);
    the_second_stream_is_in_time(&mut stage, &[SinkPlan::fake("siem")]);
}

#[test]
fn the_past_of_a_stream_delays_no_live_event_of_another_at_a_slow_sink() {
    let mut stage = Stage::new(two_streams());
    let script = Script { moods: vec![(0, Millis::MAX, Mood::Slow(Duration::from_secs(5)))], ..Script::default() };
    let limits =
        Limits { batch_messages: 5, in_flight: 1, in_hand: 1, deadline: Duration::from_secs(20), ..Limits::default() };
    let sink = SinkPlan { script: Some((Arc::new(script), limits)), ..SinkPlan::fake("siem") };
    the_second_stream_is_in_time(&mut stage, &[sink]);
}

/// One sink is down and its backlog does not fit; a body is dropped or sent, never both, however long the disk takes to do or to read what it was asked.
#[test]
fn what_is_on_its_way_is_not_dropped_though_the_disk_is_slow() {
    for (call, every, slow) in [("", 9, 2_205), ("drop body", 1, 4_000), ("read", 3, 3_000)] {
        let mut profile = calm(MINUTE, 3 * HOUR);
        profile.tenants[0].records_per_content = 20;
        profile.tenants[0].end = Some(after(&profile, 2 * HOUR));
        let mut stage = Stage::new(profile);
        stage.start = 3 * HOUR;
        stage.body_budget = 40_000;
        let fault = LedgerFault::Slow(Duration::from_millis(slow));
        let broken = vec![Broken { from: stage.now(), until: Millis::MAX, call, every, fault }];
        let keeper = Arc::new(Keeper::with(Kill::Never, None, Some(Watch { broken, ..Watch::of(&stage) })));
        let script = Arc::new(Script::default());
        let limits = Limits { batch_messages: 20, in_flight: 1, settle: Duration::from_secs(10), ..Limits::default() };
        let siem = SinkPlan { script: Some((script, limits)), ..SinkPlan::fake("siem") };
        let sinks = [siem, SinkPlan::fake("lake")];
        stage.destination("lake").block(true);
        stage.live(&keeper, &sinks, 12 * HOUR, |_| false).unwrap();
        let dropped = "SELECT ifnull(sum(generation), 0) FROM content";
        let dropped: i64 = checks::sql(&stage, dropped, |row| row.get(0)).unwrap();
        let taken = stage.taken("siem").len();
        println!("{taken} records taken, {dropped} bodies dropped, every {every} call {call:?} slow by {slow} ms");
        assert!(dropped > 20, "{dropped} bodies were dropped");
        assert_eq!(missing(&stage, "siem", &published(&stage)), Vec::<String>::new());
        arrived_once(&stage, "siem");
    }
}

/// A hint that comes while a sink's loop reads, or while a drop that fails is under way, is not forgotten until the next one.
#[test]
fn what_is_stored_goes_out_within_seconds_though_it_comes_while_the_ledger_is_read() {
    let slow = |call, every, millis| (call, every, LedgerFault::Slow(Duration::from_millis(millis)));
    for faults in [vec![slow("read", 1, 3_000)], vec![slow("read", 2, 900), ("drop body", 2, LedgerFault::Commit)]] {
        // a few contents a minute, fetched one after the other, which is little for a sink of large batches
        let mut stage = Stage::new(calm(Duration::from_secs(20), HOUR));
        stage.start = HOUR;
        stage.body_budget = 100_000;
        stage.look = Duration::from_secs(1);
        let from = stage.now();
        let broken = faults.iter().map(|(call, every, fault)| Broken {
            from,
            until: Millis::MAX,
            call,
            every: *every,
            fault: *fault,
        });
        let watch = Watch { broken: broken.collect(), ..Watch::of(&stage) };
        let keeper = Arc::new(Keeper::with(Kill::Never, None, Some(watch)));
        let limits = Limits { batch_messages: 500, ..Limits::default() };
        let siem = SinkPlan { script: Some((Arc::new(Script::default()), limits)), ..SinkPlan::fake("siem") };
        let sinks = [siem, SinkPlan::fake("lake")];
        stage.destination("lake").block(true);
        let waits = "SELECT ifnull(min(c.fetched), ?) FROM delivery d JOIN content c ON c.id = d.content JOIN sink k ON k.id = d.sink
             WHERE k.name = 'siem' AND d.ready = 1 AND d.lost = 0";
        let longest = Cell::new(0);
        stage
            .live(&keeper, &sinks, 2 * HOUR, |stage| {
                let now = stage.now();
                let oldest: i64 = checks::sql(stage, &waits.replace('?', &now.to_string()), |row| row.get(0)).unwrap();
                longest.set(longest.get().max(now - oldest));
                false
            })
            .unwrap();
        println!(
            "{} taken, the last that waited did so for {} ms: {faults:?}",
            stage.taken("siem").len(),
            longest.get()
        );
        assert!(stage.taken("siem").len() > 1_500);
        assert!(longest.get() < 30_000, "a body was there for {} ms before it was confirmed", longest.get());
        arrived_once(&stage, "siem");
    }
}

/// For three hours this call of the ledger is slow, and all that is published arrives once.
fn all_arrives_once_though_slow(call: &'static str, by: Duration, siem: impl FnOnce(&Destination)) {
    let mut profile = calm(10 * MINUTE, 4 * HOUR);
    profile.tenants[0].records_per_content = 20;
    profile.tenants[0].end = Some(after(&profile, HOUR));
    let mut stage = Stage::new(profile);
    stage.start = 4 * HOUR;
    let slow = Broken { from: stage.now(), until: Millis::MAX, call, every: 1, fault: LedgerFault::Slow(by) };
    let keeper = Arc::new(Keeper::with(Kill::Never, None, Some(Watch { broken: vec![slow], ..Watch::of(&stage) })));
    siem(&stage.destination("siem"));
    stage.live(&keeper, &[SinkPlan::fake("siem")], 3 * HOUR, |_| false).unwrap();
    println!("{} taken in {} calls", stage.taken("siem").len(), stage.destinations["siem"].calls());
    assert!(keeper.troubled(), "the ledger was slow over nothing");
    assert_eq!(missing(&stage, "siem", &published(&stage)), Vec::<String>::new());
    arrived_once(&stage, "siem");
}

/// The peer ends each connection in an orderly way and has what was sent; the next batch is made, and waits for the new connection, when what was
/// taken before is confirmed.
#[test]
fn a_batch_that_waits_for_its_sink_to_be_opened_goes_out_once() {
    all_arrives_once_though_slow("confirm", Duration::from_secs(3), |siem| {
        siem.lossy(Some(Lossy { every: 1, orderly: true }));
        siem.opens_within(Duration::from_secs(5));
    });
}

/// That a sink works is written down when it takes its first batch; the ledger is slow over it, and what else is out is answered meanwhile.
#[test]
fn answers_are_heard_while_the_ledger_is_told_of_the_sink() {
    all_arrives_once_though_slow("trouble", MINUTE, |siem| siem.answers_within(Duration::from_secs(15)));
}
