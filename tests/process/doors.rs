//! Simulator, agent and receivers, each a process of its own; a file, standard output and the three doors of a SIEM.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use crate::{
    agent::{Process, Stage, lines},
    receivers::{Receivers, Row, agent},
    support::{delivered, file_sink, get, pending, series, signal, timed_end, wanted},
};

const DOORS: [&str; 3] = ["hec", "kafka", "syslog"];
const ALL: [&str; 5] = ["file", "hec", "kafka", "out", "syslog"];
/// Messages in a batch.
const BATCH: u64 = 100;
/// Batches that may be on their way at once.
const IN_FLIGHT: [(&str, u64); 3] = [("file", 1), ("out", 1), ("kafka", 4)];

fn sinks(stage: &Stage, receivers: &Receivers) -> String {
    let out = "[[sink]]\nname = \"out\"\nkind = \"stdout\"\ncodec = \"ocsf\"\nraw_data = false\n\n".to_owned();
    let all =
        file_sink(stage, "file", "file.jsonl") + &out + &receivers.sinks.replace("\n\n", "\nraw_data = false\n\n");
    all.replace("\ncodec ", &format!("\nbatch = {{ messages = {BATCH} }}\ncodec "))
}

/// How often each record arrived, by Microsoft's `Id`.
fn arrived(path: &Path) -> BTreeMap<String, u64> {
    let mut arrived = BTreeMap::new();
    for line in lines(path) {
        let id = line["metadata"]["original_event_uid"].as_str().unwrap_or_default();
        *arrived.entry(id.to_owned()).or_default() += 1;
    }
    arrived
}

fn whole(name: &str, row: &Row, records: usize) {
    assert!(row.whole() && row.events == records as u64, "{name}: {records} records, {row:?}");
}

#[test]
fn killed_again_and_again_every_record_reaches_five_sinks() {
    let kills: u64 = std::env::var("KILLS").ok().map_or(6, |kills| kills.parse().expect("KILLS is a number"));
    let mut stage = Stage::new(&["--profile", "busy", "--seed", "11", "--rate", "300", "--report-ids"]);
    let receivers = Receivers::start(&stage.path("file.jsonl"));
    stage.configure("", &sinks(&stage, &receivers));
    let mut unconfirmed: BTreeMap<String, u64> = BTreeMap::new();
    let mut with_pending = 0;
    for kill in 1..=kills {
        let before: BTreeMap<_, _> = ALL.map(|name| (name, delivered(&stage, name))).into();
        let mut process = agent(&stage);
        stage.wait(60, "something delivered in this life, and something pending everywhere", || {
            let now = stage.sinks();
            // syslog settles for 10 s: most lives are shorter than that, and all that they sent goes out again
            let moved = |name: &&str| (*name == "syslog" && kill % 7 != 0) || now[*name].delivered > before[name];
            now.len() == ALL.len() && now.values().all(|sink| sink.pending > 0) && ALL.iter().all(moved)
        });
        process.0.kill().unwrap();
        process.0.wait().unwrap();
        let left = pending(&stage);
        println!("kill {kill}: pending {left:?}");
        with_pending += u64::from(left.values().all(|(records, _)| *records > 0));
        for (name, (records, _)) in left {
            *unconfirmed.entry(name).or_default() += records;
        }
    }
    println!("{with_pending} of {kills} kills with something pending at all five sinks");

    let wanted = last_life(&mut stage);
    assert!(wanted.len() > 1000, "the simulator published {} records: too few to prove anything", wanted.len());
    let mut repeats: BTreeMap<String, u64> = BTreeMap::new();
    for (name, file) in [("file", "file.jsonl"), ("out", "stdout.jsonl")] {
        let arrived = arrived(&stage.path(file));
        let missing: Vec<_> = wanted.iter().filter(|id| !arrived.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{name}: {} of {} never arrived: {missing:?}", missing.len(), wanted.len());
        repeats.insert(name.into(), arrived.values().map(|times| times - 1).sum());
    }
    let rows = receivers.report();
    for door in DOORS {
        whole(door, &rows[door], wanted.len());
        repeats.insert(door.into(), rows[door].repeats);
    }
    for (name, repeats) in &repeats {
        // whatever is repeated was not confirmed when the agent died
        let left = unconfirmed[name];
        let flight = IN_FLIGHT.iter().find(|(sink, _)| sink == name).map_or(left, |(_, calls)| kills * calls * BATCH);
        println!("{name}: {} records, {repeats} repeats, at most {} allowed", wanted.len(), flight.min(left));
        assert!(*repeats <= flight.min(left), "{name}");
    }
    assert_eq!(stage.status().unwrap()["closed"], true);
    // of few kills one may miss by luck
    let enough = if kills < 20 { kills - 1 } else { (kills * 9).div_ceil(10) };
    assert!(with_pending >= enough, "the kills missed the moments that matter");
}

/// Nothing more is published, an agent delivers the rest, and both end; the ids of what was published.
fn last_life(stage: &mut Stage) -> BTreeSet<String> {
    stage.last_orders();
    let mut process = agent(stage);
    let since = std::time::Instant::now();
    stage.wait(240, "everything delivered", || {
        // the last content is listed with the next poll, a second later
        since.elapsed() > Duration::from_secs(5) && pending(stage).values().all(|owed| *owed == (0, 0))
    });
    in_time(&mut process);
    stage.simulator.terminate();
    wanted(stage)
}

/// SIGTERM ends it within 10 s and with 0.
fn in_time(process: &mut Process) {
    let (code, took) = timed_end(process);
    println!("ended in {took:?}");
    assert!(code == Some(0) && took < Duration::from_secs(10), "{code:?} after {took:?}");
}

/// How the receivers are away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Away {
    Refusing,
    /// They accept and never answer.
    Stopped,
}

#[test]
fn doors_that_refuse_hold_up_nobody_and_get_everything_once() {
    doors_away(Away::Refusing);
}

#[test]
fn doors_that_never_answer_hold_up_nobody_and_get_everything() {
    doors_away(Away::Stopped);
}

fn doors_away(away: Away) {
    let mut stage = Stage::new(&["--profile", "busy", "--seed", "12", "--rate", "120", "--report-ids"]);
    let receivers = Receivers::start(&stage.path("file.jsonl"));
    match away {
        Away::Refusing => receivers.refuse(true),
        Away::Stopped => signal(&receivers.process, "-STOP"),
    }
    stage.configure("", &sinks(&stage, &receivers));
    let mut process = agent(&stage);
    // what the service has from the minute before is worked off first
    let oldest = |name: &str| {
        let (_, metrics) = get(&stage, "/metrics").filter(|(status, _)| *status == 200)?;
        series(&metrics, &format!("auditferry_sink_oldest_pending_seconds{{sink=\"{name}\"}}"))
    };
    stage.wait(120, "the living sinks have caught up", || {
        ["file", "out"].iter().all(|name| delivered(&stage, name) > 1000 && oldest(name).is_some_and(|age| age < 3.0))
    });
    let mut worst: f64 = 0.0;
    let since = std::time::Instant::now();
    stage.wait(120, "the living sinks go on", || {
        for name in ["file", "out"] {
            worst = worst.max(oldest(name).unwrap_or(0.0));
        }
        let now = pending(&stage);
        since.elapsed() > Duration::from_secs(12)
            && DOORS.iter().all(|name| now.get(*name).is_some_and(|(records, _)| *records > 1000))
    });
    // poll + 5 s
    println!("oldest content owed to a living sink: {worst} s");
    assert!(worst < 6.0, "a sink that is away held up the others: {worst} s");
    for door in DOORS {
        // over syslog nobody answers: what the stopped receiver's machine has acknowledged waits in its memory, and counts after 10 s
        if door != "syslog" || away == Away::Refusing {
            assert_eq!(delivered(&stage, door), 0, "{door} confirmed what nobody took");
        }
    }
    in_time(&mut process);

    match away {
        Away::Refusing => receivers.refuse(false),
        Away::Stopped => signal(&receivers.process, "-CONT"),
    }
    let wanted = last_life(&mut stage);
    let rows = receivers.report();
    for door in DOORS {
        println!("{door}: {:?}", rows[door]);
        whole(door, &rows[door], wanted.len());
        if away == Away::Refusing {
            assert_eq!(rows[door].messages, wanted.len() as u64, "{door} got something twice");
        }
    }
    assert_eq!(stage.status().unwrap()["closed"], true);
}
