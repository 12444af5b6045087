//! The whole agent, killed at every gate, over one simulated service: design §8.
//!
//! `GATES=100..120 cargo test --test crash` looks at some gates only; a failure names its gate.

mod checks;
mod keeper;
mod kept;
mod scenario;
mod sinks;
mod stage;
mod stories;
mod world;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use scenario::Outcome;

/// Every fault that the crash test must notice, and the invariants of which one must name it.
const MUTANTS: [(&str, &[&str]); 7] = [
    ("cursor moved with the first page", &["I1"]),
    ("confirm before deliver", &["I2", "I3"]),
    ("seen without owner", &["I2", "I3"]),
    ("give up after 3 attempts", &["I2", "I3"]),
    ("settled at once", &["I2", "I3"]),
    ("untaken is taken", &["I2", "I3"]),
    ("refused is delivered", &["I2", "I3"]),
];

#[test]
fn killed_at_every_gate_nothing_is_lost() {
    let whole = scenario::run(None, None).expect("the scenario passes without a kill");
    assert_eq!(
        scenario::run(None, None).unwrap().gates.len(),
        whole.gates.len(),
        "two runs pass the same kinds of gates"
    );
    let last = whole.passed;
    print_gates(&whole);
    let range = range(last);
    let next = AtomicU64::new(range.start);
    let failures = std::sync::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let gate = next.fetch_add(1, Ordering::Relaxed);
                    if gate >= range.end {
                        return;
                    }
                    if let Err(error) = scenario::run(Some(gate), None) {
                        failures.lock().unwrap().insert(gate, error);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("killed at {} gates of {last}; {} failures", range.end - range.start, failures.len());
    for (gate, error) in failures.iter().take(10) {
        println!("gate {gate}: {error}\n  again with GATES={gate}..{}", gate + 1);
    }
    assert!(failures.is_empty());
}

#[test]
fn every_mutant_is_caught_by_an_invariant() {
    println!("| mutant | caught by |\n| --- | --- |");
    for (mutant, expected) in MUTANTS {
        let caught = catch(mutant);
        let caught = caught.unwrap_or_else(|| panic!("mutant `{mutant}` was not caught: the scenario has a hole"));
        println!("| {mutant} | {caught} |");
        assert!(expected.iter().any(|name| caught.starts_with(name)), "{mutant}: {caught}");
    }
}

/// Runs a mutant without a kill, then with kills at every 20th gate and at the first 40, until something is noticed.
fn catch(mutant: &'static str) -> Option<String> {
    let whole = match scenario::run(None, Some(mutant)) {
        Err(error) => return Some(error),
        Ok(whole) => whole,
    };
    let gates = (1..=40).chain((60..=whole.passed).step_by(20));
    gates.into_iter().find_map(|gate| scenario::run(Some(gate), Some(mutant)).err())
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
    for seam in ["http", "sink", "clock", "ledger", "ledger committed"] {
        assert!(whole.gates.keys().any(|gate| gate.starts_with(&format!("{seam}: "))), "no gate on seam {seam}");
    }
}
