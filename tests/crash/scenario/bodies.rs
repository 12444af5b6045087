//! The second scenario: a budget for few bodies, a sink that stands still for hours, bodies that are dropped and differ when they are fetched
//! again, contents that expire meanwhile, a sink that is added with a start, and ten days later everything is forgotten.

use std::time::Duration;

use auditferry::{
    ledger::Millis,
    simulator::{
        Profile,
        faults::{AnswerFault, ContentFault, Odd, Operation, When, Wrong},
    },
};
use jiff::SignedDuration;

use super::{
    MINUTE, Outcome, owed,
    play::{Phase, play},
};
use crate::{
    checks,
    stage::{SinkPlan, Stage},
    truth,
};

const BUDGET: u64 = 6_000;
const HOUR: Duration = Duration::from_secs(3600);

fn profile() -> Profile {
    let mut profile = Profile { skew_ms: -40 * 60_000, ..Profile::default() };
    // the machine is ahead of the service
    let end = profile.start.checked_add(SignedDuration::from_mins(60)).unwrap();
    let tenant = &mut profile.tenants[0];
    tenant.interval = 12 * MINUTE;
    tenant.records_per_content = 10;
    tenant.power_platform_per_mille = 900;
    tenant.backfill = 2 * HOUR;
    tenant.keep = 5 * HOUR;
    tenant.end = Some(end);
    let content = |every, odd| ContentFault { when: When::every(every), odd };
    tenant.faults.contents = vec![
        content(2, Odd::Differs),
        content(3, Odd::Reordered),
        content(3, Odd::Repeats { every: 2, back: 2 }),
        content(13, Odd::Expired),
    ];
    tenant.faults.answers =
        vec![AnswerFault { when: When::every(6), on: Some(Operation::Blob), wrong: Wrong::Cut(2_000) }];
    profile
}

pub fn run(kill_at: Option<u64>, mutant: Option<&'static str>) -> Result<Outcome, String> {
    let mut stage = Stage::new(profile());
    stage.poll = 10 * MINUTE;
    stage.start = 2 * HOUR;
    stage.body_budget = BUDGET;
    let after = |minutes: Millis| stage.profile.start.as_millisecond() + minutes * 60_000;
    let times = [after(140), after(200), after(265), after(440)];
    stage.destination("lake").block(true);
    let first = [SinkPlan::fake("siem"), SinkPlan::fake("lake")];
    let late = SinkPlan { start: Some(3 * HOUR), ..SinkPlan::fake("late") };
    let all = [&first[..], &[late]].concat();
    let calm = times[2] + 70 * 60_000;
    let phases = vec![
        Phase { prompt: Some("siem"), ..Phase::new(&first, times[0]) },
        Phase { prompt: Some("siem"), ..Phase::new(&all, times[1]) },
        // some of what the blocked sink is owed expires now
        Phase { prompt: Some("late"), ..Phase::new(&all, times[2]) },
        Phase {
            before: Box::new(|stage| stage.destination("lake").block(false)),
            over: Box::new(move |stage| stage.now() > calm && owed(stage) == 0),
            // later even what is remembered of it is forgotten
            complete: true,
            ..Phase::new(&all, times[3])
        },
        Phase {
            before: Box::new(|stage| stage.pass(10 * 24 * HOUR)),
            over: Box::new(|stage| {
                let contents =
                    "SELECT count(*) FROM content c JOIN stream s ON s.id = c.stream WHERE s.origin = 'listed'";
                owed(stage) == 0 && checks::sql(stage, contents, |row| row.get::<_, i64>(0)) == Ok(0)
            }),
            ..Phase::new(&all, times[3] + 10 * 24 * 3_600_000 + 30 * 60_000)
        },
    ];
    // one content per sink above the budget, and the four that may be fetched at once
    let bound = BUDGET as i64 + 7 * truth::largest(&stage.profile, times[3]);
    let outcome = play(&mut stage, phases, &[], bound, kill_at, mutant)?;
    let seen: i64 = checks::sql(&stage, "SELECT value FROM meta WHERE key = 'seen'", |row| row.get(0))?;
    let rows: i64 = checks::sql(&stage, "SELECT count(*) FROM seen", |row| row.get(0))?;
    if (seen, rows) != (0, 0) {
        return Err(format!("I6: after ten days {rows} ids are remembered, {seen} by the count"));
    }
    Ok(outcome)
}
