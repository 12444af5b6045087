//! A service manager that this test plays: it hears that the agent is ready, that it is alive, and that it stops.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::{
    agent::{Process, Stage},
    support::{PATIENCE, file_sink, get, timed_end},
};

/// The service manager's end.
struct Listener {
    socket: UnixDatagram,
    /// Every line so far.
    heard: Vec<String>,
}

impl Listener {
    fn new(stage: &Stage) -> Listener {
        let socket = UnixDatagram::bind(stage.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Listener { socket, heard: Vec::new() }
    }

    fn count(&self, line: &str) -> usize {
        self.heard.iter().filter(|heard| *heard == line).count()
    }

    /// Waits until this line was said so often.
    fn hear(&mut self, line: &str, times: usize) {
        let deadline = Instant::now() + Duration::from_secs(PATIENCE);
        let mut buffer = [0; 4096];
        while self.count(line) < times {
            assert!(Instant::now() < deadline, "{line} was not said within {PATIENCE} s; heard: {:?}", self.heard);
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            self.heard.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
        }
    }
}

/// The agent, started as systemd starts it.
fn start(stage: &Stage, watchdog: Option<&str>) -> Process {
    let log = fs::OpenOptions::new().append(true).create(true).open(stage.path("agent.log")).unwrap();
    let mut command = stage.command(&["run"]);
    command.env("NOTIFY_SOCKET", stage.path("notify")).stdout(Stdio::null()).stderr(log);
    command.env_remove("WATCHDOG_PID").env_remove("WATCHDOG_USEC");
    if let Some(watchdog) = watchdog {
        command.env("WATCHDOG_USEC", watchdog);
    }
    Process(command.spawn().unwrap())
}

#[test]
fn a_service_manager_hears_ready_beats_failing_sinks_and_the_stop() {
    let stage = Stage::new(&["--profile", "demo"]);
    stage.configure("", &file_sink(&stage, "stuck", "missing/stuck.jsonl"));
    let mut manager = Listener::new(&stage);
    let mut agent = start(&stage, Some("500000"));
    manager.hear("READY=1", 1);
    assert_eq!(manager.heard[0], "READY=1", "nothing comes before it");
    assert!(get(&stage, "/livez").is_some_and(|(status, _)| status == 200), "ready, so it answers");
    let begun = Instant::now();
    // the first beat comes with READY, and then one every 250 ms
    manager.hear("WATCHDOG=1", 5);
    assert!(begun.elapsed() > Duration::from_millis(500), "beats without a pause");
    manager.hear("STATUS=carrying events; failing sinks: stuck", 1);
    let (code, _) = timed_end(&mut agent);
    assert_eq!(code, Some(0));
    manager.hear("STOPPING=1", 1);
    assert_eq!(manager.count("READY=1"), 1);
    assert!(
        manager.heard.iter().position(|line| line == "STOPPING=1")
            > manager.heard.iter().rposition(|line| line == "WATCHDOG=1")
    );
}

#[test]
fn without_a_watchdog_there_are_no_beats_and_a_deaf_service_manager_is_no_fault() {
    let stage = Stage::new(&["--profile", "demo"]);
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    let mut manager = Listener::new(&stage);
    let mut agent = start(&stage, None);
    manager.hear("READY=1", 1);
    assert_eq!(manager.count("WATCHDOG=1"), 0);
    drop(manager);
    fs::remove_file(stage.path("notify")).unwrap();
    let (code, took) = timed_end(&mut agent);
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let log = stage.said("agent.log");
    assert!(log.contains("the service manager could not be told how the agent fares"), "{log}");
}
