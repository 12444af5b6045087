//! /livez and /readyz: what makes them false, and what doesn't.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Duration,
};

use auditferry::{admin::Answer, ledger::Millis, simulator::TenantProfile, world::LedgerFault};

use super::{HOUR, MINUTE, after, arrived_once, calm, live, live_until_settled};
use crate::{
    checks,
    keeper::{Broken, Keeper, Kill, Watch},
    sinks::{Poison, Says},
    stage::{SinkPlan, Stage},
};

fn is(answer: &Answer) -> bool {
    answer.0 == 200
}

fn stage(tenants: u32) -> Stage {
    let mut profile = calm(5 * MINUTE, HOUR);
    profile
        .tenants
        .extend((2..=tenants).map(|number| TenantProfile { backfill: HOUR, ..TenantProfile::numbered(number) }));
    let end = Some(after(&profile, 2 * HOUR));
    profile.tenants.iter_mut().for_each(|tenant| tenant.end = end);
    let mut stage = Stage::new(profile);
    stage.poll = MINUTE;
    // in step with no loop
    stage.look = Duration::from_secs(7);
    stage
}

const MINUTES: Millis = 60_000;

#[test]
fn with_every_sink_down_for_half_an_hour_it_is_live_and_ready() {
    let mut stage = stage(1);
    // one is blocked, one is not there
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    stage.destination("siem").block(true);
    stage.destination("lake").poison(Some(Poison { every: 1, says: Says::Retry }));
    let begun = stage.now();
    live(&mut stage, &sinks, 40 * MINUTE, |stage| {
        let admin = stage.admin();
        assert!(is(&admin.live()), "{:?}", admin.live());
        if stage.now() > begun + MINUTES {
            assert_eq!(admin.ready(), (axum::http::StatusCode::OK, "ready\n".into()));
        }
    });
    assert!(stage.taken("siem").is_empty() && stage.taken("lake").is_empty());
    let known = stage.activity.sinks();
    assert!(known["siem"].error.is_some() && known["lake"].error.is_some());
    let page = stage.page().1;
    assert!(page.contains("sink siem") && page.contains("sink lake") && page.contains("takes nothing"), "{page}");
}

/// SQLite waits 10 s for its turn, and then says that the file is locked. That the real file behaves so is shown by `tests/process/locked.rs`.
#[test]
fn while_another_process_has_the_ledger_locked_for_6_minutes_it_is_live_and_not_ready() {
    let mut stage = stage(20);
    let (locked, free) = (stage.now() + 20 * MINUTES + 3_000, stage.now() + 26 * MINUTES + 3_000);
    let fault = LedgerFault::Locked(Duration::from_secs(10));
    let lock = Broken { from: locked, until: free, call: "", every: 1, fault };
    let watch = Watch { broken: vec![lock], ..Watch::of(&stage) };
    let keeper = Arc::new(Keeper::with(Kill::Never, None, Some(watch)));
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    let (not_ready, back) = (Cell::new(None), Cell::new(None));
    let look = |stage: &Stage| {
        let (now, admin) = (stage.now(), stage.admin());
        assert!(is(&admin.live()), "{} s after the lock: {:?}", (now - locked) / 1000, admin.live());
        let (status, words) = admin.ready();
        match () {
            () if now < locked => assert!(now < locked - 19 * MINUTES || status == 200, "{words}"),
            () if now < free => match status == 200 {
                true => assert_eq!(not_ready.get(), None, "it flickers: {words}"),
                false => {
                    assert!(words.contains("not ready: the ledger can't be used at the moment: database is locked"));
                    not_ready.set(not_ready.get().or(Some(now)));
                    assert!(stage.page().1.contains("database is locked"));
                }
            },
            () if status == 200 => back.set(back.get().or(Some(now))),
            () => assert_eq!(back.get(), None, "it flickers: {words}"),
        }
        false
    };
    stage.live(&keeper, &sinks, HOUR, look).unwrap();
    let (not_ready, back) = (not_ready.get().expect("not ready"), back.get().expect("ready again"));
    println!(
        "not ready {} s after the lock, ready {} s after its end",
        (not_ready - locked) / 1000,
        (back - free) / 1000
    );
    assert!(not_ready < locked + 2 * MINUTES && back < free + 2 * MINUTES);
    live_until_settled(&mut stage, &sinks, 2 * HOUR, 4 * HOUR);
    checks::at_the_end(&stage, &sinks, 0).unwrap();
    arrived_once(&stage, "siem");
}

const LOOPS: [&str; 5] = ["collect contoso.onmicrosoft.com", "fetch", "deliver siem", "requests", "sweep"];

fn hang(name: &'static str, at_once: bool) {
    let mut stage = stage(1);
    stage.requests_every = MINUTE;
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    let keeper = Arc::new(Keeper::new(None, None));
    let hangs = stage.now() + if at_once { 0 } else { 20 * MINUTES };
    if at_once {
        keeper.hang(name);
    }
    let (told, turned) = (Cell::new(None), RefCell::new(hangs));
    let look = |stage: &Stage| {
        let (now, (status, words)) = (stage.now(), stage.admin().live());
        if now < hangs {
            assert_eq!(status, 200, "{words}");
        } else {
            keeper.hang(name);
            if told.get().is_none() {
                *turned.borrow_mut() = stage.activity.pulses()[name].turned;
            }
            if status != 200 {
                assert_eq!(words, format!("these loops have not turned for 5 minutes: {name}\n"));
                told.set(told.get().or(Some(now)));
            } else {
                assert_eq!(told.get(), None, "{name} hangs, and does not any more");
            }
        }
        told.get().is_some_and(|told| now > told + 5 * MINUTES)
    };
    stage.live(&keeper, &sinks, HOUR, look).unwrap();
    let (told, turned) = (told.get().unwrap_or_else(|| panic!("nobody noticed that {name} hangs")), turned.take());
    println!(
        "{name}: noticed {} s after its last turn, {} s after it hung",
        (told - turned) / 1000,
        (told - hangs) / 1000
    );
    assert!(told > turned + 5 * MINUTES && told <= hangs.max(turned) + 5 * MINUTES + 8_000);
    let page = stage.page().1;
    assert!(page.contains("these loops have not turned for 5 minutes") && page.contains(name), "{page}");
}

#[test]
fn a_loop_that_hangs_makes_it_dead_after_5_minutes() {
    for name in LOOPS {
        hang(name, false);
    }
}

#[test]
fn a_loop_that_never_turns_at_all_is_noticed_too() {
    for name in LOOPS {
        hang(name, true);
    }
}
