//! The scenarios that are killed at every gate. The first: four hours of contents, a service and a sink that fail, a sink that is added on
//! the way; [`bodies`] and [`requests`] reach what it doesn't.

pub mod bodies;
pub mod play;
pub mod requests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use auditferry::simulator::{
    Profile,
    faults::{AnswerFault, ContentFault, Faults, Odd, Operation, Paging, PagingFault, When, Wrong},
};
use jiff::SignedDuration;

use crate::{
    checks,
    keeper::{Keeper, Kill, Watch},
    sinks::{Lossy, Poison, Says},
    stage::{SinkPlan, Stage},
    touched::Touched,
};

pub const MINUTE: Duration = Duration::from_secs(60);

/// What a run that passed tells.
pub struct Outcome {
    pub passed: u64,
    pub gates: BTreeMap<String, u64>,
    pub records: usize,
    /// Every gate of the first life, in order.
    pub log: Vec<String>,
    /// Names and times of all gates of the first life.
    pub hash: u64,
}

fn profile() -> Profile {
    let mut profile = Profile::default();
    let start = profile.start;
    let after = |minutes: i64| start.checked_add(SignedDuration::from_mins(minutes)).unwrap();
    let tenant = &mut profile.tenants[0];
    tenant.interval = 10 * MINUTE;
    tenant.records_per_content = 8;
    tenant.backfill = 180 * MINUTE;
    tenant.end = Some(after(75));
    let answer = |when, on, wrong| AnswerFault { when, on: Some(on), wrong };
    let content = |every, odd| ContentFault { when: When::every(every), odd };
    tenant.faults = Faults {
        answers: vec![
            // long enough for a fetch to fail more than three times
            answer(When::between(start, after(2)), Operation::Blob, Wrong::Internal),
            answer(When::every(5), Operation::Blob, Wrong::Cut(700)),
            answer(When::only(9), Operation::Blob, Wrong::Throttled { status: 403, retry_after: None }),
            answer(When::only(3), Operation::Contents, Wrong::Html),
            answer(When::only(6), Operation::Contents, Wrong::Unauthorized),
        ],
        contents: vec![
            content(3, Odd::Repeats { every: 2, back: 4 }),
            content(4, Odd::Twice),
            content(5, Odd::Late(40 * MINUTE)),
            content(7, Odd::BrokenRecord),
            content(11, Odd::Panic),
        ],
        paging: vec![
            PagingFault { when: When::every(2), paging: Paging::Overlap },
            PagingFault { when: When::every(3), paging: Paging::LowerCase },
        ],
        repeat_before_window: 3,
        ..Faults::default()
    };
    profile
}

/// Runs it once; `kill_at`: the gate at which the agent dies. The error begins with the name of the invariant.
pub fn run(kill_at: Option<u64>, mutant: Option<&'static str>) -> Result<Outcome, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut stage = Stage::new(profile());
    let border = stage.now() + 30 * 60_000;
    let first = vec![SinkPlan::file("file", folder.path()), SinkPlan::shaky("shaky")];
    // added on the way, without a start: it is owed only what is published from then on
    let late = SinkPlan { settle: Duration::from_secs(10), ..SinkPlan::fake("late") };
    let all = [first.clone(), vec![late]].concat();
    stage.destination("shaky").poison(Some(Poison { every: 24, says: Says::Which }));
    stage.destination("late").lossy(Some(Lossy { every: 4, orderly: false }));
    for sink in &all {
        stage.destination(sink.name);
    }
    Touched::mutate(&stage, mutant);
    // whoever looks for where two runs part wants all gates
    let watch =
        |stage: &Stage| Watch { touched: Some(Touched::begin(stage, &all)), log: usize::MAX, ..Watch::of(stage) };
    let keeper = Arc::new(Keeper::with(kill_at.map_or(Kill::Never, Kill::At), mutant, Some(watch(&stage))));
    let mut lives = vec![Arc::clone(&keeper)];
    // two hours after the last content can be seen
    let end = stage.profile.start.as_millisecond() + 250 * 60_000;
    loop {
        let now = stage.now();
        let (sinks, limit, ending) = match now < border {
            true => (&first, Duration::from_millis((border - now) as u64), false),
            false => (&all, Duration::from_millis((end - now).max(0) as u64), true),
        };
        let keeper = lives.last().map(Arc::clone).ok_or("no life")?;
        let lived = stage.live(&keeper, sinks, limit, |stage| ending && settled(stage));
        let context = |error: String| format!("{error}\n  last gates: {}", keeper.last(4).join(" · "));
        lived.map_err(|error| context(format!("the agent ended: {error}")))?;
        if let Some(words) = keeper.violation() {
            return Err(words);
        }
        checks::always(&stage, sinks).map_err(context)?;
        if keeper.is_dead() {
            // the next life is not killed, but is the same mutant
            lives.push(Arc::new(Keeper::with(Kill::Never, mutant, Some(watch(&stage)))));
        } else if ending {
            break;
        }
    }
    let owed = owed(&stage);
    if owed != 0 {
        return Err(format!("I3: {owed} deliveries are still owed when all should have been delivered"));
    }
    let kills = lives.len() as u64 - 1;
    checks::at_the_end(&stage, &all, kills)?;
    let records = checks::received(&stage, &all[0]).len();
    Ok(Outcome {
        passed: keeper.passed(),
        gates: keeper.by_seam(),
        records,
        log: keeper.last(usize::MAX),
        hash: keeper.hash(),
    })
}

/// Nothing more is to come: the schedule is over, everything late is visible, nothing is owed.
fn settled(stage: &Stage) -> bool {
    let over = stage.profile.start.as_millisecond() + 130 * 60_000;
    stage.now() > over && owed(stage) == 0
}

pub fn owed(stage: &Stage) -> i64 {
    stage
        .memory
        .with(|connection| connection.query_row("SELECT count(*) FROM delivery WHERE lost = 0", [], |row| row.get(0)))
        .unwrap_or(-1)
}
