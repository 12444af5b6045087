//! A scenario out of one number: what the service, the sinks, the disk, the clock and the agent's lives will be like.

use std::{sync::Arc, time::Duration};

use auditferry::{
    config::Filter,
    ledger::Millis,
    simulator::{Profile, TenantProfile},
    world::LedgerFault,
};
use auditferry_contract::Limits;

use super::{
    dice::Dice,
    moody::{Mood, Script},
    service,
};
use crate::{
    keeper::{Broken, Kill},
    sinks::{Poison, Says},
    stage::SinkPlan,
};

pub const MINUTE: Millis = 60_000;
pub const HOUR: Millis = 60 * MINUTE;
pub const DAY: Millis = 24 * HOUR;

/// One life of the agent.
#[derive(Clone, Debug)]
pub struct Life {
    pub kill: Kill,
    /// It is stopped then, if it lives.
    pub limit: Duration,
    /// Until the next one begins.
    pub pause: Duration,
}

/// One sink over all lives.
pub struct SinkLine {
    pub plan: SinkPlan,
    pub script: Arc<Script>,
    /// Its settings change from life to life.
    pub limits: Vec<Limits>,
    pub joins: Millis,
    /// It is not in the configuration then.
    pub away: Option<(Millis, Millis)>,
}

/// A whole scenario.
pub struct Plan {
    pub profile: Profile,
    pub start: Duration,
    pub poll: Duration,
    pub budget: u64,
    pub sinks: Vec<SinkLine>,
    pub lives: Vec<Life>,
    pub broken: Vec<Broken>,
    /// The disk is full.
    pub full: Vec<(Millis, Millis)>,
    /// The machine's clock jumps: when, by how much.
    pub jumps: Vec<(Millis, Millis)>,
    /// A person has everything in the quarantines offered again.
    pub retries: Vec<Millis>,
    /// All trouble is over.
    pub calm_at: Millis,
    pub longest: Millis,
    /// Nothing but sinks and lives gives trouble: then no living sink may be delayed by another.
    pub serene: bool,
}

/// How long a scenario is, before anything in it is decided.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub begun: Millis,
    /// Contents are published until then.
    pub end: Millis,
    /// Every trouble that has an end ends before this.
    pub calm: Millis,
    pub long: bool,
}

impl Frame {
    /// A span of time inside it.
    pub fn span(&self, dice: &mut Dice, least: Millis, most: Millis) -> (Millis, Millis) {
        let length = dice.magnitude(least as u64, most as u64) as Millis;
        let from = self.begun + dice.below((self.calm - self.begun) as u64) as Millis;
        (from, (from + length).min(self.calm))
    }
}

const NAMES: [&str; 4] = ["siem", "lake", "soc", "cold"];

/// Where an agent dies, besides at a gate of any number.
pub const GATES: [&str; 20] = [
    "clock: sweep",
    "clock: fetch",
    "clock: collect",
    "clock: deliver",
    "http: fetch",
    "http answered: fetch",
    "http answered: collect",
    "http answered: subscriptions",
    "ledger committed: admit",
    "ledger: ids",
    "ledger committed: ids",
    "ledger committed: complete",
    "ledger committed: confirm",
    "ledger: confirm",
    "ledger: drop body",
    "ledger committed: drop body",
    "ledger committed: expire",
    "ledger committed: own event",
    "ledger committed: register",
    "sink: answered",
];

impl Plan {
    pub fn new(seed: u64) -> Plan {
        let mut dice = Dice::new(&[seed]);
        let profile = Profile { seed, ..Profile::default() };
        let begun = profile.start.as_millisecond();
        let long = dice.percent(6);
        let hours = if long { dice.span(24, 60) } else { dice.span(1, 5) } as Millis;
        let end = begun + hours * HOUR;
        let more = if long { dice.span(1, 60) } else { dice.span(1, 6) } as Millis;
        let frame = Frame { begun, end, calm: end + more * HOUR / 2, long };
        let serene = dice.percent(25);
        let mut plan = Plan {
            profile,
            start: Duration::ZERO,
            poll: if long { dice.minutes(15, 60) } else { dice.minutes(1, 10) },
            budget: if dice.percent(45) { dice.magnitude(3_000, 60_000) } else { 1 << 30 },
            sinks: Vec::new(),
            lives: Vec::new(),
            broken: Vec::new(),
            full: Vec::new(),
            jumps: Vec::new(),
            retries: Vec::new(),
            calm_at: frame.calm,
            longest: 0,
            serene,
        };
        service::publish(&mut plan, &frame, &mut dice);
        if !serene {
            service::fail(&mut plan, &frame, &mut dice);
            plan.break_disk(&frame, &mut dice);
            plan.turn_clocks(&frame, &mut dice);
        }
        let sinks = dice.pick(&[1, 2, 2, 2, 3, 3, 4]);
        for name in &NAMES[..sinks] {
            let line = plan.sink(name, &frame, &mut dice);
            plan.sinks.push(line);
        }
        // what happens at the service happens by its clock
        plan.calm_at += (-plan.profile.skew_ms).max(0);
        plan.live(&frame, &mut dice);
        let poisoned = plan.sinks.iter().any(|line| !line.script.poison.is_empty());
        if poisoned && dice.percent(60) {
            // before the last good message: where a poison stays and nothing else comes, nobody can tell whose fault the refusals are
            let early = Frame { calm: begun + (end - begun) / 2, ..frame };
            plan.retries = (0..dice.span(1, 3)).map(|_| early.span(&mut dice, 1, 2).0).collect();
            plan.retries.sort_unstable();
        }
        plan
    }

    /// For a person who looks for the cause.
    pub fn describe(&self) -> String {
        let since = |at: Millis| (at - self.profile.start.as_millisecond()) / MINUTE;
        let span = |(from, until): (Millis, Millis)| format!("{}..{}", since(from), since(until));
        let mut lines = vec![format!(
            "start {:?} poll {:?} budget {} skew {} ms, jumps {:?}, full {:?}, calm at {}, longest {} min, serene {}",
            self.start,
            self.poll,
            self.budget,
            self.profile.skew_ms,
            self.jumps.iter().map(|(at, by)| (since(*at), by / MINUTE)).collect::<Vec<_>>(),
            self.full.iter().copied().map(span).collect::<Vec<_>>(),
            since(self.calm_at),
            self.longest / MINUTE,
            self.serene
        )];
        for broken in &self.broken {
            let Broken { from, until, call, every, fault } = broken;
            lines.push(format!("ledger {call:?} every {every}: {fault:?} in {}", span((*from, *until))));
        }
        for tenant in &self.profile.tenants {
            lines.push(format!(
                "tenant interval {:?} records {} backfill {:?} keep {:?} subscribed {:?} {:?}",
                tenant.interval,
                tenant.records_per_content,
                tenant.backfill,
                tenant.keep,
                tenant.subscribed,
                tenant.faults
            ));
        }
        for line in &self.sinks {
            let moods: Vec<_> = line
                .script
                .moods
                .iter()
                .map(|(from, until, mood)| (span((*from, (*until).min(self.calm_at))), mood))
                .collect();
            let (start, joins, away) = (line.plan.start, since(line.joins), line.away.map(span));
            lines.push(format!(
                "sink {} joins {joins} away {away:?} start {start:?} tenants {:?} filter {:?} {moods:?} {:?} {:?}",
                line.plan.name, line.plan.tenants, line.plan.filter.record_type, line.script.poison, line.limits
            ));
        }
        lines.extend(self.lives.iter().map(|life| format!("{life:?}")));
        lines.join("\n")
    }

    /// A trouble that ends then, after so long.
    pub fn until(&mut self, (from, until): (Millis, Millis)) {
        self.calm_at = self.calm_at.max(until);
        self.longest = self.longest.max(until - from);
    }

    fn break_disk(&mut self, frame: &Frame, dice: &mut Dice) {
        const CALLS: [&str; 16] = [
            "",
            "",
            "read",
            "admit",
            "chunk",
            "complete",
            "ids",
            "confirm",
            "confirm",
            "expire",
            "forget",
            "drop body",
            "own event",
            "subscription",
            "fetch failed",
            "register",
        ];
        if dice.percent(40) {
            for _ in 0..dice.span(1, 3) {
                let often = dice.percent(60);
                let (from, until) =
                    if often { frame.span(dice, HOUR, 8 * HOUR) } else { frame.span(dice, MINUTE, HOUR) };
                let every = if often { dice.span(2, 9) } else { 1 };
                let call = dice.pick(&CALLS);
                let slow = LedgerFault::Slow(Duration::from_millis(dice.magnitude(1, 5_000)));
                let locked = LedgerFault::Locked(Duration::from_secs(10));
                let fault = dice.pick(&[
                    LedgerFault::Call,
                    LedgerFault::Commit,
                    LedgerFault::Commit,
                    slow,
                    LedgerFault::Full,
                    locked,
                ]);
                self.until((from, until));
                self.broken.push(Broken { from, until, call, every, fault });
            }
        }
        if dice.percent(15) {
            let full = frame.span(dice, MINUTE, 2 * HOUR);
            self.until(full);
            self.full.push(full);
        }
    }

    fn turn_clocks(&mut self, frame: &Frame, dice: &mut Dice) {
        if dice.percent(40) {
            let most = if dice.percent(50) { 30_000 } else { 3 * HOUR as u64 };
            let skew = dice.magnitude(1_000, most) as i64;
            self.profile.skew_ms = if dice.percent(50) { skew } else { -skew };
        }
        if dice.percent(20) {
            let by = dice.magnitude(MINUTE as u64, 60 * DAY as u64) as i64;
            let by = if dice.percent(50) { by } else { -by };
            let (from, until) = frame.span(dice, MINUTE, 6 * HOUR);
            self.jumps.push((from, by));
            if dice.percent(60) {
                self.jumps.push((until, -by));
            }
            self.until((from, until));
        }
    }

    fn sink(&mut self, name: &'static str, frame: &Frame, dice: &mut Dice) -> SinkLine {
        let (script, first) = (self.script(frame, dice), self.sinks.is_empty());
        self.calm_at = self.calm_at.max(script.calm_at());
        self.longest = self.longest.max(script.longest());
        let settle = Duration::from_secs(dice.pick(&[0, 0, 0, 5, 10]));
        let changes = dice.percent(25);
        let limits: Vec<Limits> = (0..if changes { 3 } else { 1 }).map(|_| limits(settle, dice)).collect();
        let joins = if !first && dice.percent(25) { frame.span(dice, 1, 2).0 } else { frame.begun };
        let start = dice.percent(40).then(|| dice.minutes(0, if frame.long { 3 * 1440 } else { 720 }));
        let steady = self.profile.skew_ms == 0 && self.jumps.is_empty();
        let away = (!first && steady && dice.percent(10)).then(|| frame.span(dice, MINUTE, 4 * HOUR));
        let others = self.profile.tenants.len() > 1 && !first && dice.percent(20);
        let tenants =
            others.then(|| vec![dice.pick(&self.profile.tenants.iter().collect::<Vec<&TenantProfile>>()).id.clone()]);
        let filter = dice.percent(15).then(|| Filter { record_type: vec![30, 45, 256], ..Filter::default() });
        let script = Arc::new(script);
        let plan = SinkPlan { start, tenants, filter: filter.unwrap_or_default(), ..SinkPlan::fake(name) };
        SinkLine { plan, script, limits, joins, away }
    }

    fn script(&self, frame: &Frame, dice: &mut Dice) -> Script {
        let mut script = Script { seed: dice.next(), ..Script::default() };
        if dice.percent(25) {
            if dice.percent(50) {
                let slow = Duration::from_millis(dice.magnitude(10, 15_000));
                script.moods.push((frame.begun, Millis::MAX, Mood::Slow(slow)));
            }
            return script;
        }
        if dice.percent(50) {
            script.moods.push((frame.begun, frame.calm, Mood::Flaky(dice.pick(&[3, 10, 25, 50]))));
        }
        for _ in 0..dice.below(3) {
            let mood = dice.pick(&[
                Mood::Down,
                Mood::Down,
                Mood::Hangs,
                Mood::Blocked,
                Mood::Wrong(Says::Which),
                Mood::Wrong(Says::Refused),
                Mood::Wrong(Says::Retry),
            ]);
            let most = if frame.long { 4 * DAY } else { 6 * HOUR };
            let (from, until) = frame.span(dice, MINUTE, most);
            script.moods.push((from, until, mood));
        }
        if frame.long && dice.percent(40) {
            let from = frame.begun + dice.below(6 * HOUR as u64) as Millis;
            let until = (from + dice.span(2 * DAY as u64, 4 * DAY as u64) as Millis).min(frame.calm);
            script.moods.push((from, until, dice.pick(&[Mood::Down, Mood::Hangs, Mood::Blocked])));
        }
        if dice.percent(30) {
            let poison = Poison {
                every: dice.pick(&[12, 24, 64]),
                says: dice.pick(&[Says::Which, Says::Refused, Says::Retry, Says::Alone]),
            };
            let ends = matches!(poison.says, Says::Retry | Says::Alone) || dice.percent(50);
            let (from, until) = frame.span(dice, HOUR, 6 * HOUR);
            script.poison.push(if ends { (from, until, poison) } else { (frame.begun, Millis::MAX, poison) });
        }
        script
    }

    fn live(&mut self, frame: &Frame, dice: &mut Dice) {
        let length = (frame.calm - frame.begun) as u64 / 1000;
        for _ in 0..dice.pick(&[0, 1, 1, 2, 3, 4, 6, 8]) {
            let kill = match dice.below(10) {
                0 => Kill::Never,
                1..=5 => {
                    let gate = dice.pick(&GATES);
                    // these come a few times in a life
                    let seldom =
                        ["drop body", "expire", "own event", "register"].iter().any(|call| gate.ends_with(call));
                    Kill::On(gate, if seldom { dice.span(1, 2) } else { dice.magnitude(1, 20) })
                }
                _ => Kill::At(dice.magnitude(1, 3_000)),
            };
            let limit = Duration::from_secs(dice.magnitude(60, length));
            let pause = dice.percent(15).then(|| dice.magnitude(600, length / 2));
            let pause = Duration::from_secs(pause.unwrap_or_else(|| dice.magnitude(1, 600)));
            self.longest = self.longest.max(pause.as_millis() as Millis);
            self.lives.push(Life { kill, limit, pause });
        }
    }
}

fn limits(settle: Duration, dice: &mut Dice) -> Limits {
    let in_flight = dice.pick(&[1, 1, 2, 4, 16]);
    Limits {
        message_bytes: dice.pick(&[1 << 20, 1 << 20, 1 << 20, 2_500]),
        batch_bytes: 1 << 20,
        batch_messages: dice.pick(&[1, 5, 7, 20, 50]),
        batch_age: Duration::from_millis(dice.pick(&[0, 0, 0, 200, 5_000])),
        in_flight,
        in_hand: dice.span(1, in_flight as u64) as usize,
        deadline: Duration::from_secs(20),
        settle,
    }
}
