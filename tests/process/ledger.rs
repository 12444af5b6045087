//! The state directory belongs to one agent; a ledger that can't be used is refused in exact words.

use std::fs;

use auditferry::ledger::SCHEMA;

use crate::{
    agent::{Stage, lines},
    support::{PATIENCE, drained, file_sink, level, run},
};

fn stage() -> Stage {
    let stage = Stage::new(&["--profile", "quiet"]);
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    stage
}

fn refused(stage: &Stage, command: &str) -> (Option<i32>, String) {
    let output = stage.command(&[command]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_second_agent_on_the_same_directory_is_told_who_holds_it() {
    let stage = stage();
    let mut first = stage.agent();
    stage.wait(PATIENCE, "a first agent with a ledger", || stage.status().is_some());
    let (code, log) = refused(&stage, "run");
    assert_eq!(code, Some(3), "{log}");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let words = format!(
        "{} is in use by another agent (process {} on {}); stop that one, or give this one a state_dir of its own [TwoAgents]",
        stage.path("state").display(),
        first.0.id(),
        host.trim()
    );
    assert_eq!(level(&log, "ERROR"), [words]);
    assert_eq!(first.terminate(), Some(0), "the first one goes on unharmed");
    // its death, however it comes, frees the directory
    let mut third = stage.agent();
    stage.wait(PATIENCE, "a successor", || stage.said("agent.log").matches("/metrics").count() == 2);
    assert_eq!(third.terminate(), Some(0));
}

#[test]
fn a_ledger_of_a_newer_auditferry_is_refused_by_run_and_status_and_left_alone() {
    let stage = stage();
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "a ledger", || stage.status().is_some());
    assert_eq!(agent.terminate(), Some(0));
    let file = stage.path("state").join("ledger.sqlite");
    let ledger = rusqlite::Connection::open(&file).unwrap();
    ledger.pragma_update(None, "user_version", 9).unwrap();
    ledger.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(ledger);
    let before = fs::read(&file).unwrap();
    let words = format!(
        "{} has schema 9, this auditferry knows up to {SCHEMA}; use the newer auditferry that wrote it, or restore the backup made before the upgrade [NewerLedger]",
        file.display()
    );
    let (code, log) = refused(&stage, "run");
    assert_eq!((code, level(&log, "ERROR")), (Some(3), vec![words.clone()]), "{log}");
    assert_eq!(refused(&stage, "status"), (Some(3), format!("auditferry: {words}\n")));
    assert_eq!(fs::read(&file).unwrap(), before, "nothing of it was changed");
}

#[test]
fn a_ledger_of_an_older_auditferry_is_copied_and_brought_up_to_date_and_nothing_comes_twice() {
    let stage = Stage::new(&["--profile", "demo", "--publish-for", "1s"]);
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    let mut agent = stage.agent();
    drained(&stage, "one");
    assert_eq!(agent.terminate(), Some(0));
    let file = stage.path("state").join("ledger.sqlite");
    let ledger = rusqlite::Connection::open(&file).unwrap();
    // what the schema of version 1 lacked
    ledger
        .execute_batch(
            "ALTER TABLE stream DROP COLUMN newest; ALTER TABLE stream DROP COLUMN registered; PRAGMA user_version = 1",
        )
        .unwrap();
    drop(ledger);
    let (code, out, err) = run(&stage, &["status"]);
    assert_eq!((code, out.as_str()), (3, ""), "{err}");
    assert!(err.contains("has schema 1, older than "), "{err}");
    let before = lines(&stage.path("one.jsonl")).len();

    let mut agent = stage.agent();
    stage.wait(PATIENCE, "a ledger that status can read, listed once more", || {
        let log = stage.said("agent.log");
        log.contains(&format!("the ledger was brought from schema 1 to {SCHEMA}")) && stage.status().is_some()
    });
    drained(&stage, "one");
    let status = stage.status().unwrap();
    let stream = status["streams"].as_array().unwrap().iter().find(|it| it["name"] != "agent").unwrap();
    assert!(stream["newest"].as_i64() > Some(0), "{stream}");
    assert_eq!(status["closed"], true);
    assert_eq!(agent.terminate(), Some(0));
    assert_eq!(lines(&stage.path("one.jsonl")).len(), before, "all of it had been delivered");
    // the copy is the way back: the older auditferry takes it
    let copy = stage.path("state").join("ledger-schema-1.sqlite");
    let (code, out, err) = run(&stage, &["restore", copy.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{err}");
    let version =
        rusqlite::Connection::open(&file).unwrap().pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    assert_eq!(version, Ok(1));
}

#[test]
fn status_without_a_ledger_says_so_and_makes_none() {
    let stage = stage();
    let state = stage.path("state");
    let words = format!(
        "auditferry: there is no ledger in {}; has `auditferry run` been started with this state_dir?\n",
        state.display()
    );
    assert_eq!(refused(&stage, "status"), (Some(3), words));
    assert!(!state.exists());
}

#[test]
fn a_state_directory_that_can_not_be_looked_into_is_not_called_empty() {
    let stage = stage();
    fs::write(stage.path("state"), "a file where a folder should be").unwrap();
    let state = stage.path("state");
    let (code, words) = refused(&stage, "status");
    assert_eq!(code, Some(3), "{words}");
    assert!(words.starts_with(&format!("auditferry: state_dir {} can't be used: ", state.display())), "{words}");
    let (code, log) = refused(&stage, "run");
    assert_eq!(code, Some(3), "{log}");
    assert!(level(&log, "ERROR")[0].starts_with(&format!("state_dir {} can't be used: ", state.display())), "{log}");
}
