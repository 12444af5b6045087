//! Starts the simulator and the agent as processes of their own, and reads what they left.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const BINARY: &str = env!("CARGO_BIN_EXE_auditferry");
/// The simulator's first tenant, its application and its secret.
pub const SECRET: &str = "SIMULATED_SECRET";

/// Kills the process when the test ends, however it ends.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// SIGTERM, then waits for the end; the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("process {pid} did not end within 20 s of SIGTERM");
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What `status` says of one sink, over all streams.
#[derive(Clone, Copy, Debug, Default)]
pub struct SinkState {
    pub pending: u64,
    pub delivered: u64,
    pub contents_owed: u64,
}

/// A simulated tenant and the folder in which everything happens.
pub struct Stage {
    pub dir: tempfile::TempDir,
    pub simulator: Process,
    source: String,
    started: Instant,
}

impl Stage {
    /// Starts the simulator with further arguments.
    pub fn new(arguments: &[&str]) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let said = fs::File::create(dir.path().join("simulator.out")).unwrap();
        let child = Command::new(BINARY)
            .args(["simulate", "--listen", &listen, "--report"])
            .arg(dir.path().join("report.json"))
            .args(arguments)
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        let mut stage = Stage { dir, simulator: Process(child), source: String::new(), started: Instant::now() };
        let deadline = Instant::now() + Duration::from_secs(10);
        // it prints the source to paste once it listens
        while !stage.source.contains("authority") {
            assert!(Instant::now() < deadline, "the simulator did not start:\n{}", stage.said("simulator.out"));
            std::thread::sleep(Duration::from_millis(20));
            stage.source = source_block(&stage.said("simulator.out"));
        }
        stage
    }

    /// Seconds since the simulator began to publish.
    pub fn published_for(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// The simulator publishes nothing more.
    pub fn last_orders(&self) {
        let pid = self.simulator.0.id().to_string();
        assert!(Command::new("kill").args(["-USR1", &pid]).status().unwrap().success());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn said(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes the configuration: the simulated tenant, and these sinks.
    pub fn configure(&self, agent: &str, sinks: &str) -> PathBuf {
        let listen = free_port();
        let state = self.path("state");
        let text = format!(
            "[agent]\nstate_dir = {state:?}\nlisten = \"127.0.0.1:{listen}\"\n{agent}\n\n{}\npoll = \"1s\"\n\n{sinks}\n",
            self.source
        );
        let path = self.path("auditferry.toml");
        fs::write(&path, text).unwrap();
        path
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).arg("--config").arg(self.path("auditferry.toml")).env(SECRET, "simulated-secret");
        command
    }

    /// Starts the agent; its log goes to `agent.log`.
    pub fn agent(&self) -> Process {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.path("agent.log")).unwrap();
        Process(self.command(&["run"]).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// What `status --json` says; `None` while there is no ledger.
    pub fn status(&self) -> Option<serde_json::Value> {
        let output = self.command(&["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// How each sink stands, by name.
    pub fn sinks(&self) -> BTreeMap<String, SinkState> {
        let mut sinks: BTreeMap<String, SinkState> = BTreeMap::new();
        let Some(status) = self.status() else { return sinks };
        for sink in status["sinks"].as_array().unwrap() {
            sinks.entry(sink["name"].as_str().unwrap().to_owned()).or_default().contents_owed =
                sink["contents_owed"].as_u64().unwrap();
        }
        for stream in status["streams"].as_array().unwrap() {
            for account in stream["sinks"].as_array().unwrap() {
                let sink = sinks.entry(account["sink"].as_str().unwrap().to_owned()).or_default();
                sink.pending += account["pending"].as_u64().unwrap();
                sink.delivered += account["delivered"].as_u64().unwrap();
            }
        }
        sinks
    }

    /// Waits until `done`, looking every 50 ms.
    pub fn wait(&self, seconds: u64, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !done() {
            assert!(
                Instant::now() < deadline,
                "{what}: not within {seconds} s; the agent said:\n{}",
                self.said("agent.log")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The `[[source]]` block among what the simulator printed.
fn source_block(said: &str) -> String {
    let from = said.find("[[source]]").unwrap_or(said.len());
    // the test has a poll of its own
    let lines =
        said[from..].lines().take_while(|line| !line.trim().is_empty()).filter(|line| !line.starts_with("poll"));
    lines.map(|line| format!("{}\n", line.trim())).collect()
}

/// The lines of a file, each of which must be whole JSON.
pub fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read(path).unwrap();
    assert!(text.is_empty() || text.ends_with(b"\n"), "the last line is torn");
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("a whole line of JSON")).collect()
}
