//! A quarantine that is full: its sink is blocked, loses nothing, and goes on by itself once a person has made room.

use std::{cell::Cell, collections::BTreeSet, sync::Arc};

use auditferry::ledger::{Selection, Wanted};
use auditferry_contract::EventId;
use futures_util::FutureExt;

use super::{HOUR, MINUTE, after, arrived_once, books, calm, live, missing, published, tenth_minute};
use crate::{
    checks,
    keeper::Keeper,
    scenario::owed,
    sinks::{IN_FLIGHT, Poison, Says},
    stage::{SinkPlan, Stage},
};

const POISON: Poison = Poison { every: 8, says: Says::Which };

/// A service of many contents, a quarantine for a few dozen records, and a sink that refuses one in eight.
fn stage() -> Stage {
    let mut profile = calm(10 * MINUTE, 6 * HOUR);
    profile.tenants[0].records_per_content = 20;
    profile.tenants[0].end = Some(after(&profile, 2 * HOUR));
    let mut stage = Stage::new(profile);
    stage.start = 6 * HOUR;
    stage.quarantine = 20_000;
    stage.requests_every = MINUTE;
    stage.destination("siem").poison(Some(POISON));
    stage
}

fn plans() -> [SinkPlan; 2] {
    [SinkPlan::fake("siem"), SinkPlan::fake("lake")]
}

fn kept(stage: &Stage) -> BTreeSet<EventId> {
    checks::quarantined(stage, &plans()[0]).unwrap().into_iter().collect()
}

fn held(stage: &Stage) -> u64 {
    books(stage).sinks.iter().find(|sink| sink.name == "siem").unwrap().quarantine_bytes
}

fn ask(stage: &Stage, wanted: fn(Selection) -> Wanted) {
    let up_to = stage.ledger().quarantine_last().now_or_never().unwrap().unwrap();
    let selection = Selection { sink: Some("siem".into()), ids: vec![], up_to };
    stage.ledger().ask("somebody".into(), wanted(selection), stage.now()).now_or_never().unwrap().unwrap();
}

fn error(stage: &Stage) -> Option<String> {
    stage.activity.sinks().remove("siem").and_then(|known| known.error)
}

/// Runs for three hours; the quarantine is full after the first.
fn fill(stage: &mut Stage) {
    let (begun, calls) = (stage.now(), Cell::new(0));
    live(stage, &plans(), 3 * HOUR, |stage| {
        assert!(held(stage) <= stage.quarantine, "{} bytes", held(stage));
        if stage.now() > begun + 3_600_000 {
            let words = error(stage).unwrap_or_default();
            assert!(
                words.starts_with("its quarantine is full (20000 bytes): look at what it refused with `auditferry ")
            );
            for command in ["quarantine list --sink siem", "quarantine retry", "quarantine drop"] {
                assert!(words.contains(&format!("`auditferry {command}`")), "{words}");
            }
            // nothing more is sent to it: what it takes could not be confirmed
            let before = calls.replace(stage.destinations["siem"].calls());
            assert!(before == 0 || before == calls.get());
            let told = books(stage).troubles.iter().any(|it| it.name == "siem" && it.words == words);
            assert!(told, "status says it, too");
        }
        if tenth_minute(stage) && stage.now() > begun + 1_800_000 {
            let due = stage.now() - 10 * 60_000;
            let contents = published(stage);
            let due = contents.iter().filter(|content| content.created < due);
            assert_eq!(missing(stage, "lake", due), Vec::<String>::new(), "the other sink is not held up");
        }
    });
    assert!(kept(stage).len() > 10 && kept(stage).iter().all(|id| POISON.spoils(id)));
    assert!(owed(stage) > 10, "{} contents wait", owed(stage));
    let spoiled =
        published(stage).iter().flat_map(|content| content.ids.clone()).filter(|id| POISON.spoils(id)).count();
    assert!(spoiled > 2 * kept(stage).len(), "{spoiled} would be refused");
}

/// Lives on, asks for `wanted` once the sink is known to be blocked in this life too, and returns when nothing is owed. `mended`: from then on it
/// refuses nothing, so that asking once is enough.
fn ask_when_blocked(stage: &mut Stage, wanted: fn(Selection) -> Wanted, mended: bool) -> BTreeSet<EventId> {
    let destination = stage.destination("siem");
    let (asked, given) = (Cell::new(None), Cell::new(BTreeSet::new()));
    let done = |stage: &Stage| {
        let idle = asked.get().is_none_or(|at| stage.now() > at + 30 * 60_000);
        if error(stage).is_some_and(|words| words.contains("is full")) && idle {
            assert!(!mended || asked.get().is_none(), "still blocked half an hour after room was made");
            if mended {
                destination.poison(None);
            }
            let mut all = given.take();
            all.extend(kept(stage));
            given.set(all);
            ask(stage, wanted);
            asked.set(Some(stage.now()));
        }
        asked.get().is_some() && owed(stage) == 0
    };
    let limit = if mended { 2 * HOUR } else { 24 * HOUR };
    stage.live(&Arc::new(Keeper::new(None, None)), &plans(), limit, done).expect("the agent never ends by itself");
    assert!(asked.get().is_some(), "it was blocked after a restart");
    assert_eq!(owed(stage), 0, "all that waited was delivered, by itself");
    given.take()
}

fn nothing_is_lost(stage: &Stage) {
    checks::at_the_end(stage, &plans(), 1).unwrap();
    assert_eq!(books(stage).imbalances(), []);
}

#[test]
fn it_blocks_its_sink_until_the_records_are_offered_again_and_taken() {
    let mut stage = stage();
    fill(&mut stage);
    ask_when_blocked(&mut stage, Wanted::QuarantineRetry, true);
    nothing_is_lost(&stage);
    arrived_once(&stage, "lake");
    assert_eq!(error(&stage), None);
    // what it had refused already, and what waited for room since, took that room
    assert!(kept(&stage).len() <= IN_FLIGHT, "{:?}", kept(&stage));
    each_has_one_end(&stage, &BTreeSet::new());
}

#[test]
fn it_blocks_its_sink_until_the_records_are_dropped_and_again_when_it_is_full_again() {
    let mut stage = stage();
    fill(&mut stage);
    let dropped = ask_when_blocked(&mut stage, Wanted::QuarantineDrop, false);
    assert!(dropped.len() > 20 && dropped.iter().all(|id| POISON.spoils(id)));
    stage.dropped.insert("siem", dropped.clone());
    nothing_is_lost(&stage);
    arrived_once(&stage, "lake");
    each_has_one_end(&stage, &dropped);
}

/// Each record was taken, dropped, or is in quarantine.
fn each_has_one_end(stage: &Stage, dropped: &BTreeSet<EventId>) {
    let taken: BTreeSet<EventId> = stage.taken("siem").into_iter().collect();
    let last = kept(stage);
    let all = published(stage).into_iter().flat_map(|content| content.ids);
    for id in all {
        let once = [taken.contains(&id), dropped.contains(&id), last.contains(&id)];
        assert_eq!(once.iter().filter(|is| **is).count(), 1, "{id}: taken, dropped, kept: {once:?}");
    }
}

#[test]
fn killed_while_it_is_full_and_while_room_is_made_nothing_is_lost() {
    for kill_at in (20..260).step_by(48) {
        let mut stage = stage();
        fill(&mut stage);
        ask(&stage, Wanted::QuarantineRetry);
        let keeper = Arc::new(Keeper::new(Some(kill_at), None));
        stage.live(&keeper, &plans(), 2 * HOUR, |_| false).expect("the agent never ends by itself");
        assert!(keeper.is_dead(), "gate {kill_at} is passed");
        checks::always(&stage, &plans()).unwrap();
        stage.destination("siem").poison(None);
        live(&mut stage, &plans(), 2 * HOUR, |_| {});
        assert_eq!(owed(&stage), 0, "killed at gate {kill_at}");
        nothing_is_lost(&stage);
        assert!(kept(&stage).iter().all(|id| POISON.spoils(id)), "killed at gate {kill_at}");
    }
}
