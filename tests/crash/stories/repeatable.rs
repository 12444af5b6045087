//! The crash test can only be believed when a run repeats exactly.

use crate::scenario;

#[test]
fn two_runs_of_the_scenario_pass_the_same_gates_in_the_same_order() {
    let first = scenario::run(None, None).unwrap();
    let second = scenario::run(None, None).unwrap();
    let differs = first.log.iter().zip(&second.log).position(|(a, b)| a != b);
    if let Some(at) = differs {
        let around = |log: &[String]| log[at.saturating_sub(5)..(at + 5).min(log.len())].join("\n  ");
        panic!("the runs part at gate {}:\n  {}\nand\n  {}", at + 1, around(&first.log), around(&second.log));
    }
    assert_eq!(first.log.len(), second.log.len());
}
