//! The program `receivers`, from outside.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A running one; killed when the test fails.
struct Receivers {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Receivers {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_receivers"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Receivers { child, output }
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a process");
        kill_process(pid, signal).expect("it is there");
    }

    /// What it writes from here on, and its exit code.
    fn end(&mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        (rest, self.child.wait().expect("it ends").code())
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn uid(n: u32) -> String {
    format!("{n:08x}-0000-8000-8000-000000000000")
}

/// Sends the events and waits until the receiver has read the connection to its end.
fn syslog(address: &str, events: &[u32]) {
    let mut socket = TcpStream::connect(address).expect("it listens");
    for n in events {
        let data = format!("[auditferry@32473 id=\"{}\"]", uid(*n));
        let message = format!("<110>1 2026-01-01T00:00:00Z host auditferry - - {data} {{}}");
        socket.write_all(format!("{} {message}", message.len()).as_bytes()).expect("it reads");
    }
    finish(socket);
}

fn finish(mut socket: TcpStream) -> String {
    socket.shutdown(std::net::Shutdown::Write).expect("still open");
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer);
    answer
}

/// Posts the events; the status line.
fn hec(address: &str, token: &str, events: &[u32]) -> String {
    let event = |n: &u32| format!("{{\"time\":1,\"event\":{{\"n\":{n}}},\"fields\":{{\"event_id\":\"{}\"}}}}", uid(*n));
    let body: String = events.iter().map(event).collect();
    let mut socket = TcpStream::connect(address).expect("it listens");
    let head =
        "POST /services/collector/event HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json";
    let channel = "x-splunk-request-channel: 01234567-89ab-4def-8123-456789abcdef";
    let length = body.len();
    let request =
        format!("{head}\r\n{channel}\r\nauthorization: Splunk {token}\r\ncontent-length: {length}\r\n\r\n{body}");
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer);
    answer.lines().next().unwrap_or_default().to_string()
}

/// The report file, read until it says so; the program writes it every second.
fn reported(path: &Path, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = String::new();
    for _ in 0..600 {
        last = fs::read_to_string(path).unwrap_or_default();
        if let Ok(report) = serde_json::from_str::<Value>(&last)
            && wanted(&report)
        {
            return report;
        }
        // another process writes the file; nothing tells when
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the report does not say so within 30 s: {last}");
}

#[test]
fn it_says_what_is_missing_and_what_came_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, expected) = (folder.path().join("report.json"), folder.path().join("events.jsonl"));
    let mut running = Receivers::start(&[
        "--hec=127.0.0.1:0",
        "--tokens=one,two",
        "--syslog=127.0.0.1:0",
        "--json",
        "--report",
        path.to_str().expect("a path"),
        "--expect",
        expected.to_str().expect("a path"),
    ]);
    let first = running.line();
    let place = |name: &str| first["listening"][name].as_str().and_then(|p| p.split("//").nth(1)).expect("an address");
    let sinks = first["sinks"].as_str().expect("sinks");
    assert!(sinks.contains(place("hec")) && sinks.contains("kind    = \"syslog\""), "{sinks}");
    syslog(place("syslog"), &[1, 2, 2]);
    let answer = hec(place("hec"), "two", &[1, 3]);
    assert!(answer.contains("200"), "{answer}");
    assert!(hec(place("hec"), "three", &[2]).contains("403"), "a token that nobody named");
    let line = |n: u32| format!("{{\"metadata\":{{\"uid\":\"{}\"}}}}\n", uid(n));
    fs::write(&expected, line(1) + &line(3)).expect("written");
    let report = reported(&path, |report| report["rows"][2]["events"] == 2 && report["rows"][1]["events"] == 2);
    assert_eq!((&report["expected"], &report["complete"]), (&2.into(), &false.into()));
    let row = |n: usize, key: &str| report["rows"][n][key].clone();
    assert_eq!([row(0, "name"), row(0, "messages"), row(0, "missing")], [Value::from("hec"), 2.into(), 0.into()]);
    assert_eq!([row(1, "name"), row(1, "messages"), row(1, "missing")], [Value::from("syslog"), 3.into(), 1.into()]);
    assert_eq!([row(1, "came_twice"), row(1, "repeats"), row(1, "unexpected")], [1, 1, 1].map(Value::from));
    assert_eq!(row(1, "first_missing"), Value::from(vec![uid(3)]));
    assert_eq!(row(1, "faults"), Value::Array(vec![]), "this test speaks syslog");

    // refused, and back
    running.signal(Signal::USR1);
    let refused = || TcpStream::connect(place("syslog")).is_err();
    let until = |wanted: bool| (0..10_000_000).any(|_| refused() == wanted);
    assert!(until(true), "it still listens");
    running.signal(Signal::USR2);
    assert!(until(false), "it does not listen again");
    syslog(place("syslog"), &[3]);
    running.signal(Signal::TERM);
    let (rest, code) = running.end();
    let last: Value = serde_json::from_str(&rest).expect("one line of JSON");
    assert_eq!((&last["complete"], code), (&true.into(), Some(0)));
}

#[test]
fn the_exit_code_says_what_is_missing() {
    let mut running = Receivers::start(&["--hec=127.0.0.1:0", "--syslog=127.0.0.1:0", "--json", "--for=2s"]);
    let first = running.line();
    let place = first["listening"]["syslog"].as_str().and_then(|p| p.split("//").nth(1)).expect("an address");
    syslog(place, &[1]);
    let (rest, code) = running.end();
    let last: Value = serde_json::from_str(&rest).expect("one line of JSON");
    assert_eq!((&last["rows"][0]["missing"], code), (&1.into(), Some(1)), "the collector has nothing");
}

#[test]
fn for_people_there_are_sinks_and_a_table() {
    let (text, code) = Receivers::start(&["--syslog-tls=127.0.0.1:0", "--hec=127.0.0.1:0", "--for=1s"]).end();
    assert_eq!(code, Some(0), "{text}");
    let sinks = text.split("\n\n0 events are expected").next().expect("a table at the end");
    auditferry_contract::toml_span::parse(sinks).unwrap_or_else(|error| panic!("{error}: {sinks}"));
    for words in ["# syslog_tls listens at tls://127.0.0.1:", "ca      = \"", "RECEIVERS_TOKEN=", "came twice"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn it_does_not_listen_to_the_world_and_says_what_it_lacks() {
    for (arguments, words) in [
        (&["--syslog=0.0.0.0:0"][..], "no loopback address"),
        (&[], "nothing to receive"),
        #[cfg(not(feature = "kafka"))]
        (&["--kafka=audit"], "--features kafka"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_receivers")).args(arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(words), "{arguments:?}: {said}");
    }
}

/// One record, as the sink sends it: the event's id is a header.
#[cfg(feature = "kafka")]
#[test]
fn kafka_is_counted_by_the_events_header() {
    use rdkafka::{
        ClientConfig,
        message::{Header, OwnedHeaders},
        producer::{BaseProducer, BaseRecord, Producer},
    };
    let mut running = Receivers::start(&["--kafka=audit", "--json"]);
    let first = running.line();
    let brokers = first["listening"]["kafka"].as_str().expect("an address");
    assert!(first["sinks"].as_str().is_some_and(|sinks| sinks.contains("topic   = \"audit\"")), "{first}");
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a producer");
    for n in [1, 2, 2] {
        let headers = OwnedHeaders::new().insert(Header { key: "event_id", value: Some(&uid(n)) });
        let record = BaseRecord::to("audit").key("key").payload("{}").headers(headers);
        producer.send(record).map_err(|(error, _)| error).expect("queued");
    }
    producer.flush(std::time::Duration::from_secs(30)).expect("taken");
    running.signal(Signal::TERM);
    let (rest, code) = running.end();
    let last: Value = serde_json::from_str(&rest).expect("one line of JSON");
    let row = &last["rows"][0];
    assert_eq!([&row["messages"], &row["events"], &row["came_twice"]], [3, 2, 1].map(Value::from).each_ref());
    assert_eq!((code, &row["faults"]), (Some(0), &Value::Array(vec![])));
}
