//! The checker is checked: agents with a fault built in, each of which an invariant must name.

use auditferry::world::LedgerFault;

use crate::{
    Run, scenario, seeds,
    stories::{bodies::begun_bodies, slow::confirmations_fail},
    touched::{COUNTS_SHORT, LOST_BESIDE},
};

/// Every fault that must be noticed, the invariants of which one must name it, and a seed that is known to show it soon.
const MUTANTS: [(&str, &[&str], Option<u64>); 22] = [
    ("cursor moved with the first page", &["I1"], Some(10)),
    ("no overlap", &["I3"], None),
    ("confirm before deliver", &["I2", "I3"], None),
    ("seen without owner", &["I2", "I3"], None),
    ("an id in `seen` before the body is complete", &["I2", "I3"], None),
    ("give up after 3 attempts", &["I2", "I3"], None),
    ("settled at once", &["I2", "I3"], None),
    ("untaken is taken", &["I2", "I3"], None),
    ("untaken is refused", &["I2"], None),
    ("refused is delivered", &["I2", "I3"], None),
    ("one shared delivery loop", &["I5"], None),
    ("a memory of an hour", &["I1", "I4"], None),
    ("expiry by the machine's clock", &["I3"], None),
    ("a new sink is not owed the past", &["I3", "I5"], None),
    ("new ids of a changed body are not owed", &["I2", "I3"], None),
    ("a subscription that was off is no gap", &["I3"], None),
    ("no body is dropped", &["I6"], None),
    ("a body that a sink has begun is dropped", &["I2", "I3"], None),
    ("what is lost is no gap", &["I2", "I3"], Some(14)),
    (LOST_BESIDE, &["I3"], Some(33)),
    (COUNTS_SHORT, &["I3"], None),
    ("sends on while nothing can be confirmed", &["I4"], None),
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
    let all = MUTANTS.iter().filter(|it| wanted.as_ref().is_none_or(|wanted| it.0.contains(wanted)));
    for (mutant, expected, known) in all {
        let Some((place, words)) = catch(mutant, *known) else {
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

/// By the seed that is known for it, without a kill, by the first seeds, and killed at some gates, until something is noticed. Returns where, and the
/// words.
fn catch(mutant: &'static str, known: Option<u64>) -> Option<(String, String)> {
    let seed = |seed| Some((format!("SEED={seed}"), seeds::run::run(seed, Some(mutant)).err()?));
    let whole = |(name, run): &(&str, Run)| Some((format!("scenario {name}"), run(None, Some(mutant)).err()?));
    let killed = |(name, run): &(&str, Run)| {
        let mut gates = (1..=40).chain((60..=2_000).step_by(20));
        gates.find_map(|gate| Some((format!("scenario {name}, gate {gate}"), run(Some(gate), Some(mutant)).err()?)))
    };
    // what fails without the fault, too, would prove nothing
    let known = known.filter(|seed| seeds::run::run(*seed, None).is_ok());
    let story = || {
        let begun = || Some(("story of begun bodies", begun_bodies(Some(mutant)).err()?));
        let fails =
            || Some(("story of confirmations that fail", confirmations_fail(LedgerFault::Commit, Some(mutant)).err()?));
        fails().or_else(begun).map(|(place, words)| (place.to_owned(), words))
    };
    let caught = known.and_then(seed).or_else(|| SCENARIOS.iter().find_map(whole)).or_else(story);
    let caught = caught.or_else(|| (1..=seeds_played()).find_map(seed));
    caught.or_else(|| SCENARIOS.iter().find_map(killed))
}

/// Seeds that are played for each mutant; `SEEDS=1000` looks further.
fn seeds_played() -> u64 {
    std::env::var("SEEDS").ok().map_or(SEEDS, |it| it.parse().expect("a number"))
}
