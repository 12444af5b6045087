//! The whole agent, killed at every gate, over one simulated service: design §8.
//!
//! `cargo test` kills each of three scenarios at [`KILLS`] gates, evenly spread; `STRIDE=1 cargo test --profile proof --test crash killed` takes them
//! all, `STRIDE=10` every tenth, and `GATES=100..120` only some. A failure names its gate.

mod checks;
mod clues;
mod disk;
mod in_place;
mod keeper;
mod kept;
mod mutants;
mod prompt;
mod rows;
mod scenario;
mod seeds;
mod sinks;
mod stage;
mod stories;
mod strikes;
mod touched;
mod truth;
mod world;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use scenario::Outcome;

/// Every run of the tests kills each scenario at so many gates.
const KILLS: u64 = 50;

type Run = fn(Option<u64>, Option<&'static str>) -> Result<Outcome, String>;

#[test]
fn killed_at_every_gate_nothing_is_lost() {
    let whole = at_every_gate(scenario::run, stride());
    for seam in ["http", "sink", "clock", "ledger", "ledger committed"] {
        assert!(whole.gates.keys().any(|gate| gate.starts_with(&format!("{seam}: "))), "no gate on seam {seam}");
    }
}

#[test]
fn killed_at_every_gate_while_bodies_are_dropped_changed_expired_and_forgotten_nothing_is_lost() {
    let whole = at_every_gate(scenario::bodies::run, stride());
    for gate in ["drop body", "forget", "expire", "own event", "register", "ids"] {
        assert!(whole.gates.contains_key(&format!("ledger: {gate}")), "no gate `{gate}`");
    }
}

#[test]
fn killed_at_every_gate_while_the_ledger_fails_and_requests_are_worked_off_nothing_is_lost() {
    let whole = at_every_gate(scenario::requests::run, stride());
    for gate in ["request", "subscription off", "gap news", "confirm"] {
        assert!(whole.gates.contains_key(&format!("ledger: {gate}")), "no gate `{gate}`");
    }
}

/// Every so many gates; `None`: as many as make [`KILLS`].
fn stride() -> Option<u64> {
    std::env::var("STRIDE").ok().map(|it| it.parse().expect("a number"))
}

fn at_every_gate(run: Run, stride: Option<u64>) -> Outcome {
    seeds::quiet();
    let whole = run(None, None).expect("the scenario passes without a kill");
    let again = run(None, None).unwrap();
    assert_eq!(
        (again.hash, &again.gates),
        (whole.hash, &whole.gates),
        "two runs pass the same gates at the same times"
    );
    print_gates(&whole);
    let last = whole.passed;
    let range = range(last);
    let stride = stride.unwrap_or((range.end - range.start).div_ceil(KILLS).max(1));
    let (next, killed) = (AtomicU64::new(range.start), AtomicU64::new(0));
    let failures = std::sync::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let gate = next.fetch_add(stride, Ordering::Relaxed);
                    if gate >= range.end {
                        return;
                    }
                    killed.fetch_add(1, Ordering::Relaxed);
                    if let Err(error) = run(Some(gate), None) {
                        failures.lock().unwrap().insert(gate, error);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("killed at {} gates of {last}; {} failures", killed.into_inner(), failures.len());
    for (gate, error) in failures.iter().take(10) {
        println!("gate {gate}: {error}\n  again with GATES={gate}..{}", gate + 1);
    }
    assert!(failures.is_empty());
    whole
}

fn range(last: u64) -> std::ops::Range<u64> {
    let all = 1..last + 1;
    let Ok(wanted) = std::env::var("GATES") else { return all };
    let (from, to) = wanted.split_once("..").expect("GATES=from..to");
    from.parse().expect("a number")..to.parse().expect("a number")
}

fn print_gates(whole: &Outcome) {
    println!("{} gates, {} records at each sink; by seam and loop or call:", whole.passed, whole.records);
    for (gate, number) in &whole.gates {
        println!("{number:>7}  {gate}");
    }
}
