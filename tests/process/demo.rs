//! The demo from outside: what it prints, what it leaves, and what it does not touch.

use std::{
    fs,
    process::{Command, Output},
};

use crate::agent::lines;

fn demo(folder: &std::path::Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditferry"));
    command.args(["demo", "--seconds", "3", "--folder"]).arg(folder).output().unwrap()
}

#[test]
fn the_demo_ends_by_itself_with_closed_books_and_can_be_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("demo");
    for run in 1..=2 {
        let output = demo(&folder);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "run {run}: {said}");
        assert!(said.contains("\nauditferry demo: the books\n"), "{said}");
        assert!(said.contains("\nthe books close\n"), "{said}");
        let mut files: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        assert_eq!(files, ["auditferry.toml", "events.ocsf.jsonl", "records.jsonl", "state"]);
        let shown = String::from_utf8(output.stdout).unwrap();
        let shown: Vec<serde_json::Value> =
            shown.lines().map(|line| serde_json::from_str(line).expect("standard output is JSON lines")).collect();
        let events = lines(&folder.join("events.ocsf.jsonl")).len();
        assert!(shown.iter().all(|event| event["class_uid"].is_u64()), "standard output is events");
        assert!(events > 100, "run {run}: {events} events");
        assert_eq!((shown.len(), lines(&folder.join("records.jsonl")).len()), (events, events));
    }
}

#[test]
fn a_folder_with_anything_else_in_it_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let output = demo(dir.path());
    assert_eq!(output.status.code(), Some(1));
    let words = format!(
        "auditferry demo: folder {} holds thesis.txt, which no demo made; choose another with --folder\n",
        dir.path().display()
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), words);
    assert!(output.stdout.is_empty());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made, nothing removed");
}
