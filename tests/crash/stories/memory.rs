//! What a sink's loop remembers ahead of the ledger: full, or of bodies that were dropped meanwhile.

use super::{HOUR, MINUTE, after, arrived_once, books, calm, live_until_settled, missing, published};
use crate::{
    checks,
    sinks::{Poison, Says},
    stage::{SinkPlan, Stage},
};

fn stage(end: std::time::Duration) -> Stage {
    let mut profile = calm(10 * MINUTE, 6 * HOUR);
    profile.tenants[0].records_per_content = 20;
    profile.tenants[0].end = Some(after(&profile, end));
    let mut stage = Stage::new(profile);
    stage.start = 6 * HOUR;
    stage
}

/// As Kafka with a partition that nobody leads: a few messages of every batch are not taken, and the others are remembered behind them.
#[test]
fn a_full_memory_empties_once_what_waits_is_taken() {
    let mut stage = stage(4 * HOUR);
    stage.positions = 60;
    let plan = SinkPlan::fake("siem");
    let siem = stage.destination("siem");
    siem.poison(Some(Poison { every: 8, says: Says::Alone }));
    let begun = stage.now();
    let healed = |stage: &Stage| {
        if stage.now() - begun > 2 * 3_600_000 {
            siem.poison(None);
        }
    };
    super::live(&mut stage, std::slice::from_ref(&plan), 3 * HOUR, healed);
    live_until_settled(&mut stage, std::slice::from_ref(&plan), 2 * HOUR, 4 * HOUR);
    arrived_once(&stage, "siem");
    // what came back for hours while others were taken is in quarantine
    checks::at_the_end(&stage, &[plan], 0).unwrap();
}

#[test]
fn a_body_that_was_dropped_and_fetched_again_is_delivered_by_the_agent_that_remembers_the_first() {
    let mut stage = stage(12 * HOUR);
    stage.body_budget = 40_000;
    let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    let lake = stage.destination("lake");
    lake.block(true);
    let begun = stage.now();
    let healed = |stage: &Stage| {
        if stage.now() - begun > 12 * 3_600_000 {
            lake.block(false);
        }
    };
    super::live(&mut stage, &sinks, 26 * HOUR, healed);
    assert_eq!(crate::scenario::owed(&stage), 0);
    assert!(books(&stage).stored_bytes < 40_000);
    for sink in ["siem", "lake"] {
        assert_eq!(missing(&stage, sink, &published(&stage)), Vec::<String>::new());
        arrived_once(&stage, sink);
    }
}
