//! The state directory belongs to one agent; a ledger that can't be used is refused in exact words.

use std::fs;

use crate::{
    agent::Stage,
    support::{PATIENCE, file_sink, level},
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
        "{} has schema 9, this auditferry knows up to 1; use the newer auditferry that wrote it, or restore the backup made before the upgrade [NewerLedger]",
        file.display()
    );
    let (code, log) = refused(&stage, "run");
    assert_eq!((code, level(&log, "ERROR")), (Some(3), vec![words.clone()]), "{log}");
    assert_eq!(refused(&stage, "status"), (Some(3), format!("auditferry: {words}\n")));
    assert_eq!(fs::read(&file).unwrap(), before, "nothing of it was changed");
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
