//! Plays phases one after the other; a death begins the next life within its phase.

use std::{sync::Arc, time::Duration};

use auditferry::ledger::Millis;

use super::Outcome;
use crate::{
    checks,
    keeper::{Broken, Keeper, Kill, Watch},
    prompt,
    stage::{self, SinkPlan, Stage},
    touched::Touched,
};

/// A stretch of time with one configuration.
pub struct Phase<'a> {
    pub sinks: Vec<SinkPlan>,
    /// Until then, or until `over` says so.
    pub until: Millis,
    pub over: Box<dyn Fn(&Stage) -> bool + 'a>,
    /// Once, before it begins.
    pub before: Box<dyn Fn(&mut Stage) + 'a>,
    /// At every look.
    pub meanwhile: Box<dyn Fn(&Stage) + 'a>,
    /// When it is over, this sink has waited for nothing.
    pub prompt: Option<&'static str>,
    /// When it is over, everything has arrived at every sink.
    pub complete: bool,
}

impl Phase<'_> {
    pub fn new<'a>(sinks: &[SinkPlan], until: Millis) -> Phase<'a> {
        Phase {
            sinks: sinks.to_vec(),
            until,
            over: Box::new(|_| false),
            before: Box::new(|_| {}),
            meanwhile: Box::new(|_| {}),
            prompt: None,
            complete: false,
        }
    }
}

/// Runs the phases. The last one must have come to its end before its time is over.
pub fn play(
    stage: &mut Stage,
    phases: Vec<Phase<'_>>,
    broken: &[Broken],
    bound: i64,
    kill_at: Option<u64>,
    mutant: Option<&'static str>,
) -> Result<Outcome, String> {
    let sinks: Vec<SinkPlan> = phases.iter().flat_map(|phase| phase.sinks.clone()).collect();
    let watch = |stage: &mut Stage| {
        sinks.iter().for_each(|sink| drop(stage.destination(sink.name)));
        let touched = Some(Touched::begin(stage, &sinks));
        Some(Watch { bound, broken: broken.to_vec(), touched, ..Watch::of(stage) })
    };
    Touched::mutate(stage, mutant);
    let first = Arc::new(Keeper::with(kill_at.map_or(Kill::Never, Kill::At), mutant, watch(stage)));
    let mut keeper = Arc::clone(&first);
    let (mut kills, mut configured) = (0, Vec::new());
    for phase in phases {
        (phase.before)(stage);
        configured = phase.sinks;
        loop {
            let limit = Duration::from_millis((phase.until - stage.now()).max(60_000) as u64);
            let done = |stage: &Stage| {
                (phase.meanwhile)(stage);
                (phase.over)(stage)
            };
            let lived = stage.live(&keeper, &configured, limit, done);
            let context = |error: String| format!("{error}\n  last gates: {}", keeper.last(4).join(" · "));
            let restarts = stage::restarts(&keeper, &lived);
            if !restarts {
                lived.map_err(|error| context(format!("the agent ended: {error}")))?;
            }
            if let Some(words) = keeper.violation() {
                return Err(words);
            }
            checks::always(stage, &configured).map_err(context)?;
            if !keeper.is_dead() && !restarts {
                for sink in configured.iter().filter(|sink| Some(sink.name) == phase.prompt) {
                    prompt::nothing_waits(stage, sink, 80 * 60_000).map_err(context)?;
                }
                if phase.complete {
                    checks::at_the_end(stage, &configured, kills).map_err(context)?;
                }
                break;
            }
            kills += u64::from(keeper.is_dead());
            // the next life is not killed, but is the same mutant
            keeper = Arc::new(Keeper::with(Kill::Never, mutant, watch(stage)));
        }
    }
    let owed = super::owed(stage);
    if owed != 0 {
        return Err(format!("I3: {owed} deliveries are still owed when all should have been delivered"));
    }
    checks::at_the_end(stage, &configured, kills)?;
    let records = configured.iter().map(|sink| checks::received(stage, sink).len()).min().unwrap_or(0);
    Ok(Outcome {
        passed: first.passed(),
        gates: first.by_seam(),
        records,
        log: first.last(usize::MAX),
        hash: first.hash(),
    })
}
