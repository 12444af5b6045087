//! Random scenarios: the whole agent over a service, sinks, a disk and a clock that fail in every way, killed at random gates.
//!
//! `SEEDS=10000 cargo test --profile proof --test crash seeds -- --nocapture` for the long run (`SEEDS=from..to` for a range);
//! `SEED=7 cargo test --test crash seeds -- --nocapture` plays one again, gate by gate the same.

mod dice;
mod lawful;
pub mod moody;
mod plan;
pub mod run;
mod service;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, Once,
        atomic::{AtomicU64, Ordering},
    },
};

use run::Report;

/// A scenario that takes so many seconds is worth a look.
const SLOW: u64 = 10;
/// What every run of the tests plays; CI plays 300 (design §8).
const SEEDS: u64 = 25;

#[test]
#[expect(clippy::disallowed_methods, reason = "how long the test takes is told to who runs it")]
fn whatever_fails_nothing_is_lost() {
    quiet();
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().expect("a number");
        println!("{}", plan::Plan::new(seed).describe());
        match run::run(seed, None) {
            Ok(report) => return println!("SEED={seed} passed: {report:?}"),
            Err(error) => panic!("SEED={seed} failed: {error}"),
        }
    }
    let range = range();
    let (next, total) = (AtomicU64::new(range.start), Mutex::new((0_u64, Report::default())));
    let failures = Mutex::new(BTreeMap::new());
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= range.end {
                        return;
                    }
                    let started = std::time::Instant::now();
                    let result = std::panic::catch_unwind(|| run::run(seed, None));
                    if started.elapsed().as_secs() >= SLOW {
                        println!("SEED={seed} took {} s", started.elapsed().as_secs());
                    }
                    match result {
                        Ok(Ok(report)) => add(&mut total.lock().unwrap(), &report),
                        Ok(Err(error)) => failed(&failures, seed, error),
                        Err(_) => failed(&failures, seed, "the test itself panicked".into()),
                    }
                    let played = seed + 1 - range.start;
                    if played.is_multiple_of(100) {
                        let failed = failures.lock().unwrap().len();
                        println!(
                            "{played} of {} seeds, {failed} failures, {} s",
                            range.end - range.start,
                            begun.elapsed().as_secs()
                        );
                    }
                }
            });
        }
    });
    let (played, total) = total.into_inner().unwrap();
    println!("{played} scenarios passed in {} s, in all: {total:?}", begun.elapsed().as_secs());
    if played >= SEEDS {
        let happened = [total.kills, total.faults, total.repeats, total.lost, total.dropped, total.quarantined];
        assert!(happened.iter().all(|number| *number > 0), "something never happened: {total:?}");
    }
    let failures = failures.into_inner().unwrap();
    for (seed, error) in failures.iter().take(20) {
        println!("SEED={seed} failed: {error}");
    }
    let seeds: Vec<u64> = failures.keys().copied().collect();
    assert!(failures.is_empty(), "failing seeds: {seeds:?}");
}

#[test]
fn a_seed_repeats_exactly() {
    quiet();
    for seed in [1, 2, 3, 5, 8, 13] {
        assert_eq!(run::run(seed, None), run::run(seed, None), "SEED={seed}");
    }
}

fn failed(failures: &Mutex<BTreeMap<u64, String>>, seed: u64, error: String) {
    println!("SEED={seed} failed: {}", error.lines().next().unwrap_or_default());
    failures.lock().unwrap().insert(seed, error);
}

fn add((played, total): &mut (u64, Report), one: &Report) {
    *played += 1;
    total.gates += one.gates;
    total.lives += one.lives;
    total.kills += one.kills;
    total.faults += one.faults;
    total.records += one.records;
    total.repeats += one.repeats;
    total.minutes += one.minutes;
    total.lost += one.lost;
    total.dropped += one.dropped;
    total.quarantined += one.quarantined;
}

fn range() -> std::ops::Range<u64> {
    let Ok(wanted) = std::env::var("SEEDS") else { return 1..SEEDS + 1 };
    match wanted.split_once("..") {
        Some((from, to)) => from.parse().expect("a number")..to.parse().expect("a number"),
        None => 1..wanted.parse::<u64>().expect("a number") + 1,
    }
}

/// Panics that belong to a scenario are not worth a page each.
pub fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let words = panic.payload_as_str().unwrap_or_default();
            if !words.contains("asked for this panic") && words != "the sink panics" {
                usual(panic);
            }
        }));
    });
}
