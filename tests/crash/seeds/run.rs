//! Plays a scenario: life after life until everything that can be delivered is delivered.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use auditferry::ledger::{Millis, Selection, Wanted};
use futures_util::FutureExt;

use super::{
    lawful,
    plan::{DAY, HOUR, Life, MINUTE, Plan},
};
use crate::{
    checks, disk,
    keeper::{Keeper, Kill, Watch},
    stage::{self, SinkPlan, Stage},
    strikes::{self, Struck},
    touched::Touched,
};

/// What a scenario that passed tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How often each kind of fault has shown itself.
    pub struck: Struck,
    /// Names and times of all gates of all lives.
    pub hash: u64,
    pub gates: u64,
    pub lives: u64,
    pub kills: u64,
    /// Calls of the ledger that failed.
    pub faults: u64,
    pub records: u64,
    pub repeats: u64,
    pub minutes: u64,
    /// Deliveries that were lost, and gaps.
    pub lost: u64,
    pub dropped: u64,
    pub quarantined: u64,
}

/// What happens while agents live, and between their lives.
struct Events<'a> {
    plan: &'a Plan,
    jumped: Cell<usize>,
    retried: Cell<usize>,
    full: Cell<bool>,
    /// Since it was last asked.
    was_full: Cell<bool>,
    checked: Cell<Millis>,
    violation: RefCell<Option<String>>,
}

/// Nothing ends later than so long after the last trouble and its longest outage.
const PATIENCE: Millis = 2 * HOUR;

pub fn run(seed: u64, mutant: Option<&'static str>) -> Result<Report, String> {
    play(&Plan::new(seed), mutant)
}

pub fn play(plan: &Plan, mutant: Option<&'static str>) -> Result<Report, String> {
    let mut stage = Stage::new(plan.profile.clone());
    stage.start = plan.start;
    stage.poll = plan.poll;
    stage.body_budget = plan.budget;
    Touched::mutate(&stage, mutant);
    for line in &plan.sinks {
        stage.destination(line.plan.name);
    }
    let events = Events {
        plan,
        jumped: Cell::new(0),
        retried: Cell::new(0),
        full: Cell::new(false),
        was_full: Cell::new(false),
        checked: Cell::new(0),
        violation: RefCell::new(None),
    };
    let bound = lawful::bound(plan, &stage);
    let mut report = Report::default();
    let mut lives = plan.lives.iter();
    loop {
        let life = lives.next().filter(|_| stage.now() < plan.calm_at);
        events.happen(&stage);
        let sinks = configured(plan, &stage, report.lives as usize);
        let end = next_change(plan, stage.now());
        let last = life.is_none() && end.is_none();
        let deadline = plan.calm_at.max(stage.now()) + plan.longest + PATIENCE;
        let limit = match (&life, end) {
            (Some(life), _) => life.limit,
            (None, Some(end)) => Duration::from_millis((end - stage.now()) as u64),
            (None, None) => Duration::from_millis((deadline - stage.now()) as u64),
        };
        let limit = end.map_or(limit, |end| limit.min(Duration::from_millis((end - stage.now()) as u64)));
        let kill = life.map_or(Kill::Never, |life| life.kill.clone());
        let keeper = Arc::new(Keeper::with(kill, mutant, Some(watch(plan, &stage, &sinks, bound))));
        let count_failures = |name: &&'static str| (*name, stage.destinations[name].failures.load(Ordering::Relaxed));
        let failures: BTreeMap<&str, u64> = plan.sinks.iter().map(|line| count_failures(&line.plan.name)).collect();
        let before: BTreeMap<&str, u64> = sinks
            .iter()
            .map(|sink| Ok((sink.name, checks::unconfirmed(&stage, sink, false)?)))
            .collect::<Result<_, String>>()?;
        let restarts = one(&mut stage, &events, &keeper, &sinks, limit, last);
        count(&mut report, &keeper);
        let context = |error: String| {
            let at = (stage.now() - stage.profile.start.as_millisecond()) / MINUTE;
            let names: Vec<&str> = sinks.iter().map(|sink| sink.name).collect();
            let gates = keeper.last(6).join(" · ");
            format!("{error}\n  in life {} after {at} min, sinks {names:?}, last gates: {gates}", report.lives)
        };
        let restarts = restarts.map_err(&context)?;
        // a clean stop confirms nothing of a sink that fails or does not answer in time, or with a ledger that can't be written or is slow
        let was_full = events.was_full.take();
        for sink in &sinks {
            let destination = &stage.destinations[sink.name];
            let failed = destination.failures.load(Ordering::Relaxed) - failures.get(sink.name).copied().unwrap_or(0);
            let slow = sink.script.as_ref().is_some_and(|(script, _)| script.is_slow());
            lawful::little_is_unconfirmed(&stage, sink, before[sink.name], failed).map_err(&context)?;
            lawful::only_the_refused_is_kept(&stage, sink).map_err(&context)?;
            if keeper.is_dead() || restarts || keeper.troubled() || was_full || failed > 0 || slow {
                destination.may_repeat(checks::unconfirmed(&stage, sink, true)?);
            }
        }
        checks::note_unknown_subscriptions(&stage)?;
        checks::always(&stage, &sinks).map_err(&context)?;
        if last && !keeper.is_dead() && !restarts {
            lawful::everything_arrived(&stage, plan).map_err(&context)?;
            let kills = report.lives;
            for line in plan.sinks.iter().filter(|line| line.away.is_some()) {
                stage.destinations[line.plan.name]
                    .may_repeat(checks::copies_of_what_was_owed_before(&stage, &line.plan)?);
            }
            checks::at_the_end(&stage, &sinks, kills).map_err(&context)?;
            lawful::token_stays_home(&stage).map_err(&context)?;
            break;
        }
        let pause = life.filter(|_| keeper.is_dead()).map_or(Duration::from_secs(60), |life: &Life| life.pause);
        stage.pass(pause.saturating_sub(Duration::from_secs(60)));
    }
    sum_up(&mut report, &stage, plan, events.jumped.get());
    Ok(report)
}

/// One life of the agent. True: it could not even start.
fn one(
    stage: &mut Stage,
    events: &Events<'_>,
    keeper: &Arc<Keeper>,
    sinks: &[SinkPlan],
    limit: Duration,
    last: bool,
) -> Result<bool, String> {
    let begun = stage.now();
    let done = |stage: &Stage| {
        events.happen(stage);
        if events.violation.borrow().is_none() {
            let noted = checks::note_unknown_subscriptions(stage);
            let wrong = noted.and_then(|()| events.look(stage, keeper, sinks, begun)).err();
            *events.violation.borrow_mut() = wrong.or_else(|| keeper.violation());
        }
        // everything late has been listed, and by this life
        let listed = (events.plan.calm_at + HOUR).max(begun) + events.plan.poll.as_millis() as Millis + 5 * MINUTE;
        let over = last && stage.now() > listed;
        events.violation.borrow().is_some() || over && lawful::owed(stage, events.plan) == 0
    };
    let ended = stage.live(keeper, sinks, limit, done);
    if let Some(words) = keeper.violation().or_else(|| events.violation.take()) {
        return Err(words);
    }
    if stage::restarts(keeper, &ended) {
        return Ok(true);
    }
    ended.map(|()| false).map_err(|error| format!("the agent ended: {error}"))
}

fn count(report: &mut Report, keeper: &Keeper) {
    report.hash = report.hash.rotate_left(7) ^ keeper.hash();
    report.gates += keeper.passed();
    report.lives += 1;
    report.kills += u64::from(keeper.is_dead());
    report.faults += keeper.faults();
    strikes::add(&mut report.struck, &keeper.struck());
}

fn sum_up(report: &mut Report, stage: &Stage, plan: &Plan, jumped: usize) {
    let count = |query: &str| checks::sql(stage, query, |row| row.get::<_, i64>(0)).unwrap_or(-1) as u64;
    report.lost = count("SELECT count(*) FROM delivery WHERE lost = 1");
    report.dropped = count("SELECT ifnull(sum(generation), 0) FROM content");
    report.quarantined = count("SELECT count(*) FROM quarantine");
    report.minutes = ((stage.now() - stage.profile.start.as_millisecond()) / MINUTE) as u64;
    let note = |report: &mut Report, what: &str, times: usize| {
        *report.struck.entry(what.to_owned()).or_default() += times as u64;
    };
    note(report, "clock jump", jumped);
    note(report, "clock skew", usize::from(plan.profile.skew_ms != 0));
    note(report, "disk full", plan.full.len());
    note(report, "sink away", plan.sinks.iter().filter(|line| line.away.is_some()).count());
    note(report, "sink outage of two days", plan.sinks.iter().filter(|line| line.script.longest() >= 2 * DAY).count());
    note(report, "body dropped", report.dropped as usize);
    strikes::add(&mut report.struck, stage.simulator.lock().unwrap().struck());
    for line in &plan.sinks {
        let destination = &stage.destinations[line.plan.name];
        strikes::add(&mut report.struck, &destination.strikes.all());
        report.records += destination.known().len() as u64;
        report.repeats += destination.repeats();
    }
}

fn watch(plan: &Plan, stage: &Stage, sinks: &[SinkPlan], bound: i64) -> Watch {
    Watch { bound, broken: plan.broken.clone(), touched: Some(Touched::begin(stage, sinks)), ..Watch::of(stage) }
}

/// The configuration with which a life begins.
fn configured(plan: &Plan, stage: &Stage, life: usize) -> Vec<SinkPlan> {
    let now = stage.now();
    let here = plan.sinks.iter().filter(|line| {
        let away = line.away.is_some_and(|(from, until)| (from..until).contains(&now));
        line.joins <= now && !away
    });
    here.map(|line| {
        let limits = line.limits[life % line.limits.len()].clone();
        SinkPlan { script: Some((Arc::clone(&line.script), limits)), ..line.plan.clone() }
    })
    .collect()
}

/// When the configuration is another one.
fn next_change(plan: &Plan, now: Millis) -> Option<Millis> {
    let times = plan.sinks.iter().flat_map(|line| {
        let (from, until) = line.away.unzip();
        [Some(line.joins), from, until].into_iter().flatten()
    });
    times.filter(|at| *at > now).min()
}

impl Events<'_> {
    /// What is due happens, whether an agent lives or not.
    fn happen(&self, stage: &Stage) {
        let now = stage.now();
        while let Some((at, by)) = self.plan.jumps.get(self.jumped.get())
            && *at <= now
        {
            self.jumped.set(self.jumped.get() + 1);
            stage.clock.jump(*by);
        }
        let full = self.plan.full.iter().any(|(from, until)| (*from..*until).contains(&now));
        self.was_full.set(self.was_full.get() || full);
        if full != self.full.replace(full) {
            if full { disk::fill(stage) } else { disk::make_room(stage) }
        }
        while let Some(at) = self.plan.retries.get(self.retried.get())
            && *at <= now
        {
            self.retried.set(self.retried.get() + 1);
            let selection = Selection { sink: None, ids: vec![], up_to: i64::MAX };
            // a person whose disk is full is told so
            let _ = stage.ledger().ask("a person".into(), Wanted::QuarantineRetry(selection), now).now_or_never();
        }
    }

    /// Every ten minutes what is cheap to look at, every three hours everything.
    fn look(&self, stage: &Stage, keeper: &Keeper, sinks: &[SinkPlan], begun: Millis) -> Result<(), String> {
        let now = stage.now();
        if now - self.checked.get() < 10 * MINUTE {
            return Ok(());
        }
        let whole = now / (3 * HOUR) != self.checked.get() / (3 * HOUR);
        self.checked.set(now);
        if self.full.get() || keeper.is_dead() {
            return Ok(());
        }
        if self.plan.serene {
            lawful::nobody_waits(stage, self.plan, sinks, begun)?;
        }
        if whole {
            checks::always(stage, sinks)?;
        }
        Ok(())
    }
}
