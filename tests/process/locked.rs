//! Another process has the ledger's file locked: a person with `sqlite3`, a backup.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::{
    agent::Stage,
    support::{PATIENCE, delivered, drained, file_sink, get, ids, level, timed_end, wanted},
};

/// The whole 6 minutes: `LOCKED=360 cargo test --test process locked`. That 5 of them pass without a loop that hangs is shown on the
/// crash test's clock; here it is SQLite that waits for its turn, for 10 s at a time.
fn seconds() -> u64 {
    std::env::var("LOCKED").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(25)
}

#[test]
fn while_the_file_is_locked_it_is_live_and_not_ready_and_goes_on_by_itself() {
    let mut stage = Stage::new(&["--profile", "demo", "--report-ids"]);
    stage.configure("", &(file_sink(&stage, "siem", "siem.jsonl") + &file_sink(&stage, "gone", "missing/gone.jsonl")));
    let mut agent = stage.agent();
    let answer = |path: &str| get(&stage, path).unwrap_or_default();
    stage.wait(PATIENCE, "listings", || answer("/readyz").0 == 200);
    drained_once(&stage);

    let other = Connection::open(stage.path("state/ledger.sqlite")).unwrap();
    other.busy_timeout(Duration::from_secs(20)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (locked, mut told) = (Instant::now(), None);
    while locked.elapsed() < Duration::from_secs(seconds()) {
        let (status, words) = answer("/livez");
        assert_eq!(status, 200, "{words} after {:?}", locked.elapsed());
        let (status, words) = answer("/readyz");
        if status == 200 {
            assert_eq!(told, None, "it flickers");
        } else {
            assert!(words.contains("not ready: the ledger can't be used at the moment: database is locked"), "{words}");
            told = told.or(Some(locked.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let told = told.expect("it says that it is not ready");
    println!("not ready {told:?} after the lock");
    assert!(told < Duration::from_secs(22), "{told:?}");
    assert!(answer("/").1.contains("database is locked"), "the page says why");
    assert!(stage.status().is_some(), "commands still read");
    other.execute_batch("ROLLBACK").unwrap();

    // it tries every 30 s
    stage.wait(PATIENCE, "readiness", || answer("/readyz").0 == 200);
    stage.last_orders();
    std::thread::sleep(Duration::from_secs(2));
    drained(&stage, "siem");
    assert_eq!(agent.terminate(), Some(0));
    assert_eq!(stage.status().unwrap()["closed"], true);
    stage.simulator.terminate();
    let wanted = wanted(&stage).len();
    let arrived = ids(&stage.path("siem.jsonl")).len();
    // the agent's own words of the blocked sink may be among them
    assert!((wanted..wanted + 3).contains(&arrived), "{arrived} of {wanted}");
}

/// At the signal a confirmation waits for the lock, longer than the agent waits for its sink's answers, and has its turn just before the end.
#[test]
fn a_stop_while_a_confirmation_waits_for_the_lock_is_clean() {
    let mut stage = Stage::new(&["--profile", "busy", "--rate", "200", "--report-ids"]);
    let batches = "batch = { messages = 100, age = \"50ms\" }\n";
    stage.configure("", &(file_sink(&stage, "siem", "siem.jsonl") + batches));
    let mut agent = stage.agent();
    drained_once(&stage);
    let other = Connection::open(stage.path("state/ledger.sqlite")).unwrap();
    other.busy_timeout(Duration::from_secs(20)).unwrap();
    let taken = || ids(&stage.path("siem.jsonl")).len() as u64;
    let mut before = 0;
    stage.wait(PATIENCE, "a lock, and something taken behind it", || {
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        before = delivered(&stage, "siem");
        let until = Instant::now() + Duration::from_millis(300);
        while taken() == before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let waits = taken() > before;
        if !waits {
            other.execute_batch("ROLLBACK").unwrap();
        }
        waits
    });
    let signalled = Instant::now();
    let unlocked = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(7_900));
        other.execute_batch("ROLLBACK").unwrap();
        signalled.elapsed()
    });
    let (code, took) = timed_end(&mut agent);
    println!("ended with {code:?} after {took:?}, unlocked after {:?}", unlocked.join().unwrap());
    assert_eq!(code, Some(0), "{}", stage.said("agent.log"));
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(delivered(&stage, "siem"), taken(), "what was taken is in the books");
    assert_eq!(stage.status().unwrap()["closed"], true);
    stage.simulator.terminate();
}

#[test]
fn an_agent_that_starts_while_the_file_is_locked_does_not_call_it_broken() {
    let stage = Stage::new(&["--profile", "demo"]);
    stage.configure("", &file_sink(&stage, "siem", "siem.jsonl"));
    let mut agent = stage.agent();
    drained_once(&stage);
    assert_eq!(agent.terminate(), Some(0));
    let file = stage.path("state/ledger.sqlite");
    let other = Connection::open(&file).unwrap();
    // as somebody who vacuums it, or a copy by a tool that locks whole files
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let output = stage.command(&["run"]).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = level(&log, "ERROR");
    assert!(output.status.code() == Some(3) && said.len() == 1, "{:?} {log}", output.status);
    let begin = format!("the ledger {} can't be used at the moment: database is locked", file.display());
    assert!(said[0].starts_with(&begin) && said[0].ends_with("[LedgerUnavailable]"), "{said:?}");
    drop(other);
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "an agent that goes on", || get(&stage, "/livez").is_some());
    assert_eq!(agent.terminate(), Some(0));
}

fn drained_once(stage: &Stage) {
    stage.wait(PATIENCE, "something delivered", || crate::support::delivered(stage, "siem") > 100);
}
