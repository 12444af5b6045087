//! A panic in a sink's own code ends that sink's connection; one in a loop ends the process, which is started again (I10).

use std::sync::Arc;

use auditferry::{agent::AgentError, ledger::Millis};
use auditferry_contract::Limits;

use super::{HOUR, MINUTE, after, arrived_once, calm, live, live_until_settled, missing, published};
use crate::{
    checks,
    keeper::Keeper,
    seeds::{
        moody::{Mood, Script},
        quiet,
    },
    stage::{SinkPlan, Stage},
};

fn stage() -> Stage {
    quiet();
    let mut profile = calm(5 * MINUTE, HOUR);
    profile.tenants[0].end = Some(after(&profile, 2 * HOUR));
    let mut stage = Stage::new(profile);
    stage.start = HOUR;
    stage
}

#[test]
fn a_sink_that_panics_at_each_call_is_opened_again_and_harms_nobody() {
    let mut stage = stage();
    let end = stage.now() + 2 * HOUR.as_millis() as Millis;
    let script = Script { moods: vec![(Millis::MIN, end, Mood::Panics)], ..Script::default() };
    let lake = SinkPlan { script: Some((Arc::new(script), Limits::default())), ..SinkPlan::fake("lake") };
    let sinks = [SinkPlan::fake("siem"), lake];
    live(&mut stage, &sinks, HOUR, |_| {});
    let error = stage.activity.sinks()["lake"].error.clone();
    assert_eq!(error.as_deref(), Some("the sink panicked; it is opened again"));
    assert_eq!(
        missing(&stage, "siem", published(&stage).iter().filter(|it| it.created < stage.now() - 10 * 60_000)),
        [""; 0]
    );
    assert!(stage.destinations["lake"].calls() > 5, "it is tried again and again");
    live_until_settled(&mut stage, &sinks, 2 * HOUR, 6 * HOUR);
    assert_eq!(stage.activity.sinks()["lake"].error, None);
    for sink in ["siem", "lake"] {
        assert_eq!(missing(&stage, sink, &published(&stage)), [""; 0]);
        arrived_once(&stage, sink);
    }
}

#[test]
fn a_panic_in_a_loop_ends_the_agent_with_words_and_nothing_is_lost() {
    for gate in ["clock: sweep", "clock: fetch", "clock: collect", "clock: deliver", "ledger: confirm", "http: fetch"] {
        let mut stage = stage();
        let sinks = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
        let keeper = Arc::new(Keeper::new(None, None));
        keeper.panics(gate);
        let ended = stage.live(&keeper, &sinks, HOUR, |_| false);
        assert!(matches!(ended, Err(AgentError::Panicked(_))), "{gate}: {ended:?}");
        checks::always(&stage, &sinks).unwrap();
        live_until_settled(&mut stage, &sinks, 3 * HOUR, 6 * HOUR);
        assert_eq!(missing(&stage, "siem", &published(&stage)), [""; 0], "{gate}");
    }
}
