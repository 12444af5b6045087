//! What commands ask for is done once, whenever the agent dies while it does it.

use std::{collections::BTreeSet, sync::Arc};

use auditferry::{
    fetch::chunk,
    ledger::{Books, Progress, Refused, Selection, Wanted},
};
use auditferry_contract::EventId;
use futures_util::FutureExt;

use super::{HOUR, MINUTE, after, books, calm, live};
use crate::{
    checks,
    keeper::Keeper,
    scenario::owed,
    sinks::BATCH,
    stage::{SinkPlan, Stage},
};

/// One content that a sink is owed whole: its keys and its records.
struct Owed {
    sink: i64,
    content: i64,
    frames: Vec<(EventId, i64, Vec<u8>)>,
}

fn owed_whole(stage: &Stage, sink: &str) -> Vec<Owed> {
    let query = format!(
        "SELECT d.sink, d.content, b.body FROM delivery d JOIN sink k ON k.id = d.sink JOIN chunk b ON b.content = d.content
         JOIN stream s ON s.id = d.stream WHERE k.name = '{sink}' AND d.ready = 1 AND d.progress = 0 AND s.origin = 'listed' ORDER BY d.content"
    );
    let rows = checks::column(stage, &query, |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?))).unwrap();
    let owed = rows.into_iter().map(|(sink, content, body)| {
        let opened = chunk::open(&body).unwrap();
        let frames = chunk::frames(&opened).map(Result::unwrap).map(|it| (it.id, it.second, it.record.to_vec()));
        Owed { sink, content, frames: frames.collect() }
    });
    owed.collect()
}

/// Moves a delivery past its first records, which the sink refuses.
fn refuse(stage: &Stage, owed: &Owed, number: usize) -> Vec<EventId> {
    let refused = owed.frames[..number].iter().enumerate().map(|(position, (id, second, record))| Refused {
        content: owed.content,
        position: position as i64,
        id: *id,
        operation: String::new(),
        words: "refused".into(),
        record: record.clone(),
        second: *second,
        unreadable: false,
        no_id: false,
    });
    let step = Progress { content: owed.content, to: number as i64, quarantined: number as u64, ..Progress::default() };
    let refused: Vec<_> = refused.collect();
    let ids = refused.iter().map(|one| one.id).collect();
    let confirmed = stage.ledger().confirm(owed.sink, vec![step], refused, stage.now()).now_or_never().unwrap();
    assert_eq!(confirmed, Ok(vec![true]));
    ids
}

/// Sinks that stand still for an hour, records in their quarantines, and three requests that nobody has taken up.
fn asked() -> Stage {
    let mut profile = calm(10 * MINUTE, HOUR);
    profile.tenants[0].end = Some(after(&profile, 10 * MINUTE));
    let mut stage = Stage::new(profile);
    stage.start = HOUR;
    stage.poll = 5 * MINUTE;
    stage.requests_every = MINUTE;
    for sink in ["siem", "gone"] {
        stage.destination(sink).block(true);
    }
    live(&mut stage, &[SinkPlan::fake("siem"), SinkPlan::fake("gone")], HOUR, |_| {});
    let contents = owed_whole(&stage, "siem");
    assert!(contents.len() > 3, "{} contents", contents.len());
    let mut refused = refuse(&stage, &contents[0], 2);
    refused.extend(refuse(&stage, &contents[1], 1));
    refuse(&stage, &owed_whole(&stage, "gone")[0], 2);
    stage.dropped.insert("siem", BTreeSet::from([refused[2]]));
    let ask = |wanted| stage.ledger().ask("somebody".into(), wanted, stage.now()).now_or_never().unwrap().unwrap();
    let of = |ids: Vec<i64>| Selection { sink: Some("siem".into()), ids, up_to: 5 };
    ask(Wanted::QuarantineDrop(of(vec![3])));
    ask(Wanted::QuarantineRetry(of(vec![])));
    ask(Wanted::RetireSink { name: "gone".into() });
    stage.destination("siem").block(false);
    stage
}

/// Lives until everything is done; dies at `kill_at`, when it is there. Returns the gates of the first life.
fn worked_off(stage: &mut Stage, kill_at: Option<u64>) -> Vec<String> {
    let plans = [SinkPlan::fake("siem")];
    let first = Arc::new(Keeper::new(kill_at, None));
    let mut keeper = Arc::clone(&first);
    loop {
        let done = |stage: &Stage| owed(stage) == 0 && books(stage).open_requests == 0;
        stage.live(&keeper, &plans, 4 * HOUR, done).expect("the agent never ends by itself");
        checks::always(stage, &plans).unwrap();
        if !keeper.is_dead() {
            return first.last(usize::MAX);
        }
        keeper = Arc::new(Keeper::new(None, None));
    }
}

/// Everything that must not depend on when the agent died.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    requests: Vec<Option<String>>,
    /// Sink, reason, records.
    gaps: Vec<(String, String, Option<u64>)>,
    /// Stream and sink; owed, delivered, lost.
    accounts: Vec<(String, i64, i64, i64)>,
}

fn result(stage: &Stage) -> Outcome {
    let Books { requests, streams, .. } = books(stage);
    let mut outcomes: Vec<_> = requests.into_iter().map(|request| (request.id, request.outcome)).collect();
    outcomes.sort();
    let mut gaps: Vec<_> = stage
        .ledger()
        .gaps(99)
        .now_or_never()
        .unwrap()
        .unwrap()
        .into_iter()
        .map(|gap| (gap.sink.unwrap_or_default(), gap.reason, gap.records))
        .collect();
    gaps.sort();
    let accounts = streams.iter().filter(|stream| stream.origin != "agent").flat_map(|stream| {
        stream.accounts.iter().map(|it| (format!("{} {}", stream.origin, it.sink), it.owed, it.delivered, it.lost))
    });
    let requests = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    Outcome { requests, gaps, accounts: accounts.collect() }
}

#[test]
fn what_was_asked_is_done_once_wherever_the_agent_dies() {
    let mut stage = asked();
    let log = worked_off(&mut stage, None);
    let whole = result(&stage);
    assert!(whole.requests.iter().all(Option::is_some), "{whole:?}");
    // of `gone` the records, and what the agent said of both that were blocked
    let gone: Vec<_> = whole.gaps.iter().filter(|(sink, ..)| sink == "gone").map(|(.., records)| *records).collect();
    assert_eq!((whole.gaps.len(), gone), (3, vec![Some(2), Some(28)]), "{whole:?}");
    assert_eq!(whole.gaps[2], ("siem".into(), "dropped by an operator".into(), Some(1)));
    let all = stage.taken("siem").len();
    let gates: Vec<u64> = log
        .iter()
        .filter(|gate| gate.ends_with(": request") || gate.ends_with("clock: requests"))
        .map(|gate| gate.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(gates.len() >= 16, "both sides of every step: {gates:?}");
    for gate in gates {
        let mut stage = asked();
        worked_off(&mut stage, Some(gate));
        assert_eq!(result(&stage), whole, "killed at gate {gate}");
        checks::at_the_end(&stage, &[SinkPlan::fake("siem")], 1).unwrap();
        assert!(stage.taken("siem").len() <= all + BATCH, "killed at gate {gate}");
    }
}
