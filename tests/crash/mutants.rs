//! The checker is checked: agents with a fault built in, each of which an invariant must name.

use crate::{Run, scenario, seeds};

/// Every fault that must be noticed, and the invariants of which one must name it.
const MUTANTS: [(&str, &[&str]); 15] = [
    ("cursor moved with the first page", &["I1"]),
    ("no overlap", &["I3"]),
    ("confirm before deliver", &["I2", "I3"]),
    ("seen without owner", &["I2", "I3"]),
    ("an id in `seen` before the body is complete", &["I2", "I3"]),
    ("give up after 3 attempts", &["I2", "I3"]),
    ("settled at once", &["I2", "I3"]),
    ("untaken is taken", &["I2", "I3"]),
    ("refused is delivered", &["I2", "I3"]),
    ("one shared delivery loop", &["I5"]),
    ("a memory of an hour", &["I1", "I4"]),
    ("expiry by the machine's clock", &["I3"]),
    ("a new sink is not owed the past", &["I3", "I5"]),
    ("new ids of a changed body are not owed", &["I2", "I3"]),
    ("a subscription that was off is no gap", &["I3"]),
];

/// Nothing has caught these yet within a minute: a hole in the scenarios, or in how long they are looked at. `MUTANT=name` plays one.
const UNPROVED: [(&str, &[&str]); 4] = [
    ("copies of what was lost are skipped", &["I3"]),
    ("a begun body is dropped", &["I2", "I3", "books", "the agent ended"]),
    ("no body is dropped", &["I6"]),
    ("what is lost is no gap", &["I3"]),
];

const SCENARIOS: [(&str, Run); 3] =
    [("first", scenario::run), ("bodies", scenario::bodies::run), ("requests", scenario::requests::run)];

/// Seeds that are played for each mutant before it counts as unnoticed.
const SEEDS: u64 = 40;

#[test]
fn every_mutant_is_caught_by_an_invariant() {
    seeds::quiet();
    let wanted = std::env::var("MUTANT").ok();
    println!("| mutant | where | caught by |\n| --- | --- | --- |");
    let mut missed = Vec::new();
    let all = MUTANTS.iter().chain(UNPROVED.iter().filter(|_| wanted.is_some()));
    for (mutant, expected) in all.filter(|it| wanted.as_ref().is_none_or(|wanted| it.0.contains(wanted))) {
        let Some((place, words)) = catch(mutant) else {
            println!("| {mutant} | nowhere | |");
            missed.push(*mutant);
            continue;
        };
        println!("| {mutant} | {place} | {} |", words.lines().next().unwrap_or_default());
        if !expected.iter().any(|name| words.starts_with(name)) {
            println!("  not by one of {expected:?}: {words}");
            missed.push(*mutant);
        }
    }
    assert!(missed.is_empty(), "nothing catches {missed:?}: the scenarios have a hole");
}

/// Without a kill, killed at some gates of the first scenario, by seeds, and killed at some gates of the others, until something is noticed. Returns where, and the words.
fn catch(mutant: &'static str) -> Option<(String, String)> {
    let whole = SCENARIOS.iter().find_map(|(name, run)| {
        let words = run(None, Some(mutant)).err()?;
        Some((format!("scenario {name}"), words))
    });
    let seeds =
        || (1..=SEEDS).find_map(|seed| Some((format!("SEED={seed}"), seeds::run::run(seed, Some(mutant)).err()?)));
    let killed = |scenarios: &[(&'static str, Run)]| {
        scenarios.iter().find_map(|(name, run)| {
            let gates = (1..=40).chain((60..=2_000).step_by(20));
            gates
                .into_iter()
                .find_map(|gate| Some((format!("scenario {name}, gate {gate}"), run(Some(gate), Some(mutant)).err()?)))
        })
    };
    let whole = whole.or_else(|| killed(&SCENARIOS[..1]));
    whole.or_else(seeds).or_else(|| killed(&SCENARIOS[1..]))
}
