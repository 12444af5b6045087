//! `check --connect` and `subscriptions`, the real binary against the simulator as a process.

use crate::{
    agent::Stage,
    support::{file_sink, run},
};

#[test]
fn subscriptions_are_listed_started_and_stopped() {
    let stage = Stage::new(&["--profile", "quiet"]);
    let sink = file_sink(&stage, "file", "file.jsonl");
    stage.configure("", &sink);
    let row = |output: &str| output.split_whitespace().last().unwrap_or_default().to_owned();

    let (code, out, _) = run(&stage, &["subscriptions", "list"]);
    assert_eq!((code, row(&out).as_str()), (0, "none"), "{out}");
    let (code, out, _) = run(&stage, &["subscriptions", "start"]);
    assert_eq!((code, row(&out).as_str()), (0, "enabled"), "{out}");
    let (code, out, err) = run(&stage, &["subscriptions", "stop"]);
    assert_eq!((code, out.as_str()), (1, ""), "without --yes nothing is stopped");
    assert!(err.contains("say --yes if that is meant"), "{err}");
    let (code, out, _) = run(&stage, &["subscriptions", "list"]);
    assert_eq!((code, row(&out).as_str()), (0, "enabled"), "{out}");
    let (code, out, _) = run(&stage, &["subscriptions", "stop", "--yes"]);
    assert_eq!((code, row(&out).as_str()), (0, "disabled"), "{out}");
    let (code, _, err) = run(&stage, &["subscriptions", "list", "--source", "fabrikam"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("auditferry: no source is named `fabrikam`; there are: "), "{err}");

    // a running agent starts it again, so it is in the way of a stop
    let _agent = stage.agent();
    stage.wait(60, "a ledger", || stage.status().is_some());
    let (code, _, err) = run(&stage, &["subscriptions", "stop", "--yes"]);
    assert_eq!(code, 1);
    assert!(err.contains("an agent runs with this configuration (process "), "{err}");
}

#[test]
fn an_audit_log_that_is_off_is_found_by_starting() {
    let stage = Stage::new(&["--profile", "quiet", "--fault", "audit-off"]);
    let sink = file_sink(&stage, "file", "file.jsonl");
    stage.configure("", &sink);
    let (code, _, err) = run(&stage, &["subscriptions", "start"]);
    let first = err.lines().next().unwrap_or_default();
    assert_eq!(code, 1, "{err}");
    assert!(
        first.contains("Set-AdminAuditLogConfig -UnifiedAuditLogIngestionEnabled $true") && first.contains("AuditOff"),
        "{err}"
    );
}

#[test]
fn check_connect_tells_what_works_and_exits_by_it() {
    let stage = Stage::new(&["--profile", "quiet"]);
    let sink = file_sink(&stage, "file", "file.jsonl");
    stage.configure("", &sink);
    let (code, out, err) = run(&stage, &["check", "--connect"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.ends_with("everything that the agent needs was there\n"), "{out}");
    assert!(!stage.path("file.jsonl").exists(), "looking made the sink's file");

    let (code, out, _) = run(&stage, &["check", "--connect", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["connect"][1]["table"]), (0, &"source".into()), "{told}");

    let gone = file_sink(&stage, "file", "gone/file.jsonl");
    stage.configure("", &gone);
    let (code, _, err) = run(&stage, &["check", "--connect"]);
    assert_eq!(code, 1, "{err}");
    let first = err.lines().next().unwrap_or_default();
    assert!(first.starts_with("error: sink `file`, open: can't open ") && first.ends_with(" [FilePath]"), "{err}");
}
