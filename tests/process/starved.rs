//! A sink that can't be written harms nobody, shows its backlog, and gets every record once when it can be written again.

use std::{fs, io::Write};

use crate::{
    agent::Stage,
    support::{PATIENCE, account, delivered, drained, file_sink, get, ids, pending, series},
};

#[test]
fn a_sink_without_its_folder_keeps_its_backlog_and_gets_every_record_once_later() {
    let stage = Stage::new(&["--profile", "demo", "--publish-for", "1s"]);
    let sinks = file_sink(&stage, "whole", "whole.jsonl") + &file_sink(&stage, "stuck", "missing/stuck.jsonl");
    stage.configure("", &sinks);
    let mut agent = stage.agent();
    drained(&stage, "whole");
    let (records, contents) = pending(&stage)["stuck"];
    assert!(records > 1000 && contents > 50, "{records} records of {contents} contents: too few to prove anything");
    assert_eq!(records, account(&stage, "stuck", "owed"));

    let text = String::from_utf8(stage.command(&["status"]).output().unwrap().stdout).unwrap();
    let owed = text.lines().find(|line| line.starts_with("sink stuck: ")).unwrap();
    assert!(owed.starts_with(&format!("sink stuck: {contents} contents owed, the oldest published ")), "{text}");
    assert!(text.contains("sink whole: nothing owed\n"), "{text}");
    let fails =
        text.lines().find(|line| line.starts_with("sink stuck fails since ")).unwrap_or_else(|| panic!("{text}"));
    assert!(fails.ends_with("missing is not there; create it [FilePath]"), "{fails}");

    let (_, metrics) = get(&stage, "/metrics").unwrap();
    let value = |name: &str| series(&metrics, name).unwrap_or_else(|| panic!("{name} is not in\n{metrics}"));
    assert_eq!(value("auditferry_sink_contents_owed{sink=\"stuck\"}"), contents as f64);
    assert!(value("auditferry_sink_oldest_pending_seconds{sink=\"stuck\"}") > 60.0);
    assert!(value("auditferry_sink_failures_in_a_row{sink=\"stuck\"}") >= 1.0);
    assert!(value("auditferry_sink_attempts_total{outcome=\"blocked\",sink=\"stuck\"}") >= 1.0);
    assert_eq!(value("auditferry_sink_oldest_pending_seconds{sink=\"whole\"}"), 0.0);
    assert_eq!(value("auditferry_sink_failures_in_a_row{sink=\"whole\"}"), 0.0);
    let series = metrics
        .lines()
        .find(|line| line.starts_with("auditferry_sink_pending{sink=\"stuck\"") && line.contains("Audit.General"));
    // one is the agent's own event that this sink is blocked
    assert!(series.is_some_and(|line| line.ends_with(&format!(" {}", records - 1))), "{metrics}");
    assert_eq!(get(&stage, "/readyz").unwrap().0, 200, "no sink matters to readiness");

    // a blocked sink is tried after a minute at the earliest; a restart tries at once
    assert_eq!(agent.terminate(), Some(0));
    fs::create_dir(stage.path("missing")).unwrap();
    let mut agent = stage.agent();
    for (sink, file) in [("stuck", "missing/stuck.jsonl"), ("whole", "whole.jsonl")] {
        stage.wait(PATIENCE, "the event that the block is over", || stage.said(file).contains("AuditSinkUnblocked"));
        drained(&stage, sink);
    }
    assert_eq!(agent.terminate(), Some(0));
    let whole = ids(&stage.path("whole.jsonl"));
    assert_eq!(whole.len() as u64, delivered(&stage, "whole"));
    assert_eq!(ids(&stage.path("missing/stuck.jsonl")), whole);
    let status = stage.status().unwrap();
    assert_eq!(status["closed"], true);
    assert_eq!(status["sinks"][1]["error"], serde_json::Value::Null, "it fails no more: {status:#}");
}

#[test]
fn half_a_line_left_by_a_crash_is_cut_off_and_nothing_else() {
    let stage = Stage::new(&["--profile", "demo"]);
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "a first part", || delivered(&stage, "one") > 100);
    assert_eq!(agent.terminate(), Some(0));
    let path = stage.path("one.jsonl");
    let whole = fs::read(&path).unwrap();
    let before = delivered(&stage, "one");
    let half = b"{\"metadata\":{\"uid\":\"torn";
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(half).unwrap();
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "a second part", || delivered(&stage, "one") > before);
    assert_eq!(agent.terminate(), Some(0));
    let after = fs::read(&path).unwrap();
    assert!(after.starts_with(&whole) && !after.windows(half.len()).any(|part| part == half));
    assert_eq!(ids(&path).len() as u64, delivered(&stage, "one"), "each whole line once");
}
