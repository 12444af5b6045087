//! kill -9 and SIGTERM at random moments under load: every selected record arrives, whole lines only, repeats within I4.
//!
//! `KILLS=200 cargo test --test process killed_at_random -- --nocapture` is the whole; `SEED=…` repeats the moments, as far as a real machine lets
//! them be repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    agent::{Process, SinkState, Stage, lines},
    support::{PATIENCE, get, timed_end, wanted},
};

/// Small, so that the sinks are slower than the records come and something is pending at any moment.
const BATCH: u64 = 20;
/// Batches that a file sink may have written without their being confirmed, per kill: the one under way, and the one whose confirmation is.
const UNCONFIRMED: u64 = 2;
const LIVING: [&str; 2] = ["one", "two"];
const DEAD: &str = "dead";

/// What `random` gives: SplitMix64, the same on every machine.
struct Dice(u64);

impl Dice {
    /// `SEED`, or another one each time; printed, so that a failure can be looked at again.
    fn new() -> Dice {
        let asked = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
        let seed = asked.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            now.as_nanos() as u64
        });
        println!("SEED={seed}");
        Dice(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Two file sinks that live, and one whose folder is missing.
fn sinks(stage: &Stage) -> String {
    let sink = |name: &str, file: String| {
        let path = stage.path(&file);
        format!(
            "[[sink]]\nname = \"{name}\"\nkind = \"file\"\ncodec = \"ocsf\"\nraw_data = false\npath = {path:?}\nbatch = {{ messages = {BATCH}, age = \"50ms\" }}\n\n"
        )
    };
    let living: String = LIVING.iter().map(|name| sink(name, format!("{name}.jsonl"))).collect();
    living + &sink(DEAD, format!("missing/{DEAD}.jsonl"))
}

fn file(stage: &Stage, sink: &str) -> std::path::PathBuf {
    stage.path(&if sink == DEAD { format!("missing/{DEAD}.jsonl") } else { format!("{sink}.jsonl") })
}

/// How often each record stands in the file of a sink, by its own id.
fn arrived(stage: &Stage, sink: &str) -> BTreeMap<String, u64> {
    let mut arrived = BTreeMap::new();
    for line in lines(&file(stage, sink)) {
        let id = line["metadata"]["original_event_uid"].as_str().unwrap_or_default().to_owned();
        *arrived.entry(id).or_default() += 1;
    }
    arrived
}

/// Nobody misses a record; how many came again.
fn repeats(stage: &Stage, sink: &str, wanted: &BTreeSet<String>) -> u64 {
    let arrived = arrived(stage, sink);
    let missing: Vec<_> = wanted.iter().filter(|id| !arrived.contains_key(*id)).collect();
    assert!(missing.is_empty(), "{sink}: {} of {} records never arrived: {missing:?}", missing.len(), wanted.len());
    let repeats = arrived.values().map(|times| times - 1).sum();
    println!("{sink}: {} records, {repeats} repeats", wanted.len());
    repeats
}

fn pending_at_all(sinks: &BTreeMap<String, SinkState>) -> bool {
    LIVING.iter().all(|name| sinks.get(*name).is_some_and(|sink| sink.pending > 0))
}

/// Whether the last content of a schedule of so many seconds has been listed, by what `status` says of the cursor.
pub fn listed_to_the_end(stage: &Stage, status: &serde_json::Value, published: u64) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    // a second more, since the time of the start is known to the second
    let end = now.as_secs() - stage.published_for() + published + 1;
    let streams =
        status["streams"].as_array().unwrap().iter().filter(|it| it["name"].as_str().unwrap().contains("Audit."));
    streams.map(|it| it["cursor"].as_u64().unwrap()).all(|cursor| cursor / 1000 > end)
}

/// Waits for the end of the schedule and until nobody is owed anything, ends the agent as a service manager does, and the simulator.
fn drain(stage: &mut Stage, agent: &mut Process, published: u64, patience: u64) {
    stage.wait(patience, "everything delivered", || {
        stage.status().is_some_and(|status| listed_to_the_end(stage, &status, published)) && {
            let sinks = stage.sinks();
            sinks.len() == 3 && sinks.values().all(|sink| (sink.pending, sink.contents_owed) == (0, 0))
        }
    });
    let (code, took) = timed_end(agent);
    assert_eq!(code, Some(0), "SIGTERM ends the agent as asked");
    assert!(took < Duration::from_secs(10), "{took:?}");
    stage.simulator.terminate();
    let status = stage.status().unwrap();
    assert_eq!(status["closed"], true, "{status:#}");
}

#[test]
fn killed_at_random_moments_every_record_arrives_at_every_sink() {
    let kills: u64 = std::env::var("KILLS").ok().map_or(6, |kills| kills.parse().expect("KILLS is a number"));
    let mut dice = Dice::new();
    // about as long as the kills take: the load must not end before them
    let publish = 10 + kills + kills / 3;
    let length = format!("{publish}s");
    let mut stage = Stage::new(&[
        "--profile",
        "busy",
        "--seed",
        "7",
        "--rate",
        "1000",
        "--backfill",
        "20s",
        "--publish-for",
        &length,
        "--report-ids",
    ]);
    stage.configure("", &sinks(&stage));
    let (mut with_pending, mut early) = (0, 0);
    let mut last: BTreeMap<String, SinkState> = BTreeMap::new();
    for kill in 1..=kills {
        let mut agent = stage.agent();
        // one in eight dies while it starts; of the others most while something is on its way, since all that is there goes out within moments
        let starting = dice.below(8) == 0;
        let busy = !starting && dice.below(4) > 0;
        let moment = Duration::from_millis(dice.below(500));
        let soon = Duration::from_millis(dice.below(40));
        // the moment itself is what is tested: nothing is waited for
        let pass = std::thread::sleep;
        if busy {
            pass(moment);
        }
        if !starting {
            let over = || stage.published_for() > publish;
            let works = || get(&stage, "/livez").is_some() && (pending_at_all(&stage.sinks()) || over());
            stage.wait(PATIENCE, "an agent that answers, and something pending", works);
        }
        pass(if busy { soon } else { moment });
        agent.0.kill().unwrap();
        agent.0.wait().unwrap();
        // the ledger of the dead agent says what was pending when it died
        let sinks = stage.sinks();
        for (name, before) in &last {
            assert!(sinks[name].delivered >= before.delivered, "{name}: a confirmation was forgotten");
        }
        let pending = pending_at_all(&sinks);
        with_pending += u64::from(pending);
        early += u64::from(starting);
        let when = match (starting, busy) {
            (true, _) => format!("{moment:?} of starting"),
            (_, true) => format!("{moment:?}, and {soon:?} of something pending"),
            _ => format!("{moment:?} of something pending"),
        };
        println!("kill {kill} after {when}: {sinks:?}");
        last = sinks;
    }
    println!("{with_pending} of {kills} kills with something pending at both living sinks; {early} while it started");
    let dead = last[DEAD];
    assert!(dead.delivered == 0 && dead.pending > 0, "the dead sink's backlog is kept: {dead:?}");

    std::fs::create_dir(stage.path("missing")).unwrap();
    let mut agent = stage.agent();
    drain(&mut stage, &mut agent, publish, 120 + 3 * kills);
    let wanted = wanted(&stage);
    assert!(wanted.len() > 1000, "the simulator published {} records: too few to prove anything", wanted.len());
    for name in LIVING {
        let (repeats, bound) = (repeats(&stage, name, &wanted), kills * UNCONFIRMED * BATCH);
        assert!(repeats <= bound, "{name}: {repeats} repeats, at most {bound} allowed");
    }
    assert_eq!(repeats(&stage, DEAD, &wanted), 0, "nothing went out to it before it was there");
    // of few kills, those while it starts are by luck more than their share
    let counted = if kills < 20 { kills - early } else { kills };
    let enough = (counted * 3).div_ceil(4);
    assert!(with_pending >= enough, "the kills missed the moments that matter");
}

#[test]
fn sigterm_under_load_ends_within_10_s_and_repeats_nothing() {
    const STOPS: u64 = 5;
    let mut dice = Dice::new();
    let mut stage = Stage::new(&[
        "--profile",
        "busy",
        "--seed",
        "8",
        "--rate",
        "300",
        "--backfill",
        "10s",
        "--publish-for",
        "15s",
        "--report-ids",
    ]);
    stage.configure("", &sinks(&stage));
    let mut with_pending = 0;
    for stop in 1..=STOPS {
        let before = stage.sinks();
        let mut agent = stage.agent();
        stage.wait(PATIENCE, "something delivered in this life, and something pending, at both sinks", || {
            let now = stage.sinks();
            pending_at_all(&now)
                && LIVING.iter().all(|name| now[*name].delivered > before.get(*name).map_or(0, |it| it.delivered))
        });
        std::thread::sleep(Duration::from_millis(dice.below(300)));
        let begun = Instant::now();
        let (code, took) = timed_end(&mut agent);
        let sinks = stage.sinks();
        println!("stop {stop}: {code:?} after {took:?}: {sinks:?}");
        assert_eq!(code, Some(0));
        assert!(took < Duration::from_secs(10), "{took:?}, {:?}", begun.elapsed());
        with_pending += u64::from(pending_at_all(&sinks));
    }
    assert!(with_pending > STOPS / 2, "{with_pending} of {STOPS} stops under load: the others prove nothing");
    std::fs::create_dir(stage.path("missing")).unwrap();
    let mut agent = stage.agent();
    drain(&mut stage, &mut agent, 15, 180);
    let wanted = wanted(&stage);
    for name in [LIVING[0], LIVING[1], DEAD] {
        assert_eq!(repeats(&stage, name, &wanted), 0, "{name}: a clean stop repeats nothing");
    }
}
