//! What the tests of this folder share beyond the stage: HTTP, signals, the agent's log in pieces.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::agent::{Process, Stage, lines};

/// Enough for anything that the tests wait for, on a machine that does five other things.
pub const PATIENCE: u64 = 60;

/// `[[sink]]` of kind file, codec ocsf.
pub fn file_sink(stage: &Stage, name: &str, file: &str) -> String {
    let path = stage.path(file);
    format!("[[sink]]\nname = \"{name}\"\nkind = \"file\"\ncodec = \"ocsf\"\nraw_data = false\npath = {path:?}\n\n")
}

/// Where the agent of this stage listens.
pub fn listen(stage: &Stage) -> String {
    let text = stage.said("auditferry.toml");
    let line = text.lines().find_map(|line| line.strip_prefix("listen = \"")).expect("a configured stage");
    line.trim_end_matches('"').to_owned()
}

/// Status and body of an answer; `None` while nobody listens.
pub fn get(stage: &Stage, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(listen(stage)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Starts `command` with its standard error appended to this file of the stage.
pub fn start(stage: &Stage, command: &mut Command, log: &str) -> Process {
    let log = fs::OpenOptions::new().append(true).create(true).open(stage.path(log)).unwrap();
    Process(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
}

/// The log's lines of this level without their time stamps.
pub fn level(log: &str, level: &str) -> Vec<String> {
    let parts = log.lines().filter_map(|line| line.split_once(' '));
    let wanted = parts.filter_map(|(_, rest)| rest.trim_start().strip_prefix(level));
    wanted.map(|rest| rest.trim_start().to_owned()).collect()
}

/// SIGTERM; how it ended and how long that took.
pub fn timed_end(process: &mut Process) -> (Option<i32>, Duration) {
    let begun = Instant::now();
    (process.terminate(), begun.elapsed())
}

pub fn signal(process: &Process, name: &str) {
    let sent = Command::new("kill").args([name, &process.0.id().to_string()]).status().unwrap();
    assert!(sent.success(), "kill {name}");
}

/// Waits until this sink is owed nothing, and something was delivered to it.
pub fn drained(stage: &Stage, sink: &str) {
    stage.wait(PATIENCE, &format!("everything delivered to {sink}"), || {
        let pending = pending(stage);
        pending.get(sink) == Some(&(0, 0)) && delivered(stage, sink) > 0
    });
}

/// Records pending and contents owed, by sink.
pub fn pending(stage: &Stage) -> BTreeMap<String, (u64, u64)> {
    let sinks = stage.sinks().into_iter();
    sinks.map(|(name, sink)| (name, (sink.pending, sink.contents_owed))).collect()
}

pub fn delivered(stage: &Stage, sink: &str) -> u64 {
    account(stage, sink, "delivered")
}

/// A term of this sink's books, over all streams.
pub fn account(stage: &Stage, sink: &str, term: &str) -> u64 {
    let Some(status) = stage.status() else { return 0 };
    let streams = status["streams"].as_array().unwrap().iter();
    let accounts = streams.flat_map(|stream| stream["sinks"].as_array().unwrap());
    accounts.filter(|account| account["sink"] == sink).map(|account| account[term].as_u64().unwrap()).sum()
}

/// The event ids of a file of lines, none twice.
pub fn ids(path: &Path) -> BTreeSet<String> {
    let all = lines(path);
    let ids: BTreeSet<_> = all.iter().map(|line| line["metadata"]["uid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), all.len(), "an event arrived twice in {}", path.display());
    ids
}

/// The value of a series, named as in the exposition.
pub fn series(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    if value == "+Inf" { Some(f64::INFINITY) } else { value.parse().ok() }
}

/// Ids of all selected records that the simulator has published; it has ended, and was started with `--report-ids`.
pub fn wanted(stage: &Stage) -> BTreeSet<String> {
    let report: serde_json::Value = serde_json::from_str(&stage.said("report.json")).unwrap();
    report["selected"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// Runs a command of the agent to its end: exit code, standard output, standard error.
pub fn run(stage: &Stage, arguments: &[&str]) -> (i32, String, String) {
    let done = stage.command(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr))
}
