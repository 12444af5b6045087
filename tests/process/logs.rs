//! What is said where: mistakes before anything starts, log lines as asked for, nothing confidential among them.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use crate::{
    agent::{Stage, lines},
    support::{PATIENCE, delivered, file_sink, start},
};

fn stage() -> Stage {
    let stage = Stage::new(&["--profile", "demo", "--publish-for", "1s"]);
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    stage
}

#[test]
fn with_a_mistake_in_the_configuration_nothing_starts() {
    let stage = stage();
    let text = stage.said("auditferry.toml").replace("codec = \"ocsf\"", "codek = \"ocsf\"");
    fs::write(stage.path("auditferry.toml"), text).unwrap();
    let output = stage.command(&["run"]).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("unknown key `codek`") && words.contains("did you mean `codec`?"), "{words}");
    assert!(words.ends_with("1 mistake in the configuration\nnothing was started\n"), "{words}");
    assert!(!stage.path("state").exists() && !stage.path("one.jsonl").exists());
}

#[test]
fn an_unreadable_filter_of_the_log_is_a_mistake_too() {
    let stage = stage();
    let output = stage.command(&["run"]).env("AUDITFERRY_LOG", "garbage[").output().unwrap();
    let words =
        "auditferry: AUDITFERRY_LOG=garbage[ is no filter: invalid filter directive; try AUDITFERRY_LOG=debug\n";
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(2), words));
    assert!(!stage.path("state").exists());
}

#[test]
fn a_bad_line_does_not_keep_map_from_the_rest() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditferry"));
    let pipes = command.arg("map").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let good = r#"{"Id":"4f5a9a39-9ad0-4bf3-9ab7-2e22d2ee7c01","CreationTime":"2026-01-02T03:04:05","Operation":"CreateFlow","RecordType":30,"Workload":"MicrosoftFlow","OrganizationId":"41463f53-8812-40f4-890f-865bf6e35190","UserId":"a@b.example"}"#;
    let mut input = child.stdin.take().unwrap();
    write!(input, "{good}\nno record\n{good}\n").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "line 2: not a JSON object\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 2);
}

/// Runs with this filter until something was delivered; the log.
fn log_at(filter: &str, arguments: &[&str]) -> (Stage, String) {
    let stage = stage();
    let mut command = stage.command(&["run"]);
    command.args(arguments).env("AUDITFERRY_LOG", filter);
    let mut agent = start(&stage, &mut command, "agent.log");
    stage.wait(PATIENCE, "something delivered", || delivered(&stage, "one") > 100);
    assert_eq!(agent.terminate(), Some(0));
    let log = stage.said("agent.log");
    (stage, log)
}

#[test]
fn json_log_lines_are_json() {
    let (_stage, log) = log_at("info", &["--log", "json"]);
    assert!(log.lines().count() > 2, "{log}");
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}

#[test]
fn no_content_of_an_event_is_logged_above_trace() {
    let (stage, log) = log_at("debug", &[]);
    assert!(log.contains("DEBUG"), "debug lines: {log}");
    let mut looked_for = 0;
    for line in lines(&stage.path("one.jsonl")) {
        for text in [&line["actor"]["user"]["email_addr"], &line["actor"]["user"]["name"], &line["metadata"]["uid"]] {
            let Some(text) = text.as_str().filter(|text| text.len() > 5) else { continue };
            assert!(!log.contains(text), "{text} is in the log");
            looked_for += 1;
        }
    }
    assert!(looked_for > 200, "{looked_for} texts are too few to prove anything");
}

#[test]
fn no_secret_and_no_token_is_logged_even_at_trace() {
    let (_stage, log) = log_at("trace", &[]);
    assert!(log.contains("TRACE"), "trace lines");
    assert!(!log.contains("simulated-secret"), "the secret is in the log");
    // a token of the simulator is a JWT, as a real one: its head is {"typ":"JWT"… or {"alg"…
    assert!(!log.contains("eyJ"), "a token is in the log");
}
