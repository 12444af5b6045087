//! The fake receivers as a third process beside the simulator and the agent: `sinks/conformance`'s program `receivers`.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{ChildStdout, Command, Stdio},
};

use crate::{
    agent::{Process, Stage},
    support::signal,
};

/// What the agent's configuration calls the collector's token, and the token.
pub const TOKEN: (&str, &str) = ("RECEIVERS_TOKEN", "receivers");

/// A running one.
pub struct Receivers {
    pub process: Process,
    output: BufReader<ChildStdout>,
    /// `[[sink]]` tables that lead to it.
    pub sinks: String,
}

/// What one receiver, or a file, has.
#[derive(Debug)]
pub struct Row {
    pub messages: u64,
    pub events: u64,
    pub missing: u64,
    pub repeats: u64,
    pub nameless: u64,
    pub unexpected: u64,
    pub faults: u64,
}

impl Receivers {
    /// HEC with acknowledgements, syslog and a Kafka cluster; `expect`: the file that has what everybody must have.
    pub fn start(expect: &Path) -> Receivers {
        let any = "127.0.0.1:0";
        let mut command = Command::new(program());
        command.args(["--json", "--hec", any, "--hec-acks", "--syslog", any, "--kafka", "audit", "--expect"]);
        let mut child = command.arg(expect).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        output.read_line(&mut first).unwrap();
        let said: serde_json::Value = serde_json::from_str(&first).expect("receivers say what listens where");
        let sinks = said["sinks"].as_str().unwrap().to_owned();
        Receivers { process: Process(child), output, sinks }
    }

    /// Every receiver refuses connections, open ones included; or takes everything again.
    pub fn refuse(&self, refuse: bool) {
        signal(&self.process, if refuse { "-USR1" } else { "-USR2" });
    }

    /// Ends it; what everybody has, by name.
    pub fn report(mut self) -> BTreeMap<String, Row> {
        signal(&self.process, "-TERM");
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        let report: serde_json::Value = serde_json::from_str(rest.trim()).expect("a report");
        let rows = report["rows"].as_array().unwrap().iter();
        rows.map(|row| {
            let count = |key: &str| row[key].as_u64().unwrap();
            let read = Row {
                messages: count("messages"),
                events: count("events"),
                missing: count("missing"),
                repeats: count("repeats"),
                nameless: count("nameless"),
                unexpected: count("unexpected"),
                faults: row["faults"].as_array().unwrap().len() as u64,
            };
            (row["name"].as_str().unwrap().to_owned(), read)
        })
        .collect()
    }
}

impl Row {
    /// Everything expected is there, and nothing else; the client kept to the protocol.
    pub fn whole(&self) -> bool {
        self.events > 0 && [self.missing, self.nameless, self.unexpected, self.faults] == [0; 4]
    }
}

/// Beside the agent's binary; built when this test was started without the rest of the workspace.
fn program() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_auditferry")).with_file_name("receivers");
    if !path.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "-p", "auditferry-conformance", "--features", "kafka", "--bin", "receivers"]);
        let target = path.parent().and_then(Path::parent).unwrap();
        assert!(cargo.arg("--target-dir").arg(target).status().unwrap().success(), "`receivers` can't be built");
    }
    path
}

/// The agent of this stage, with the collector's token; what it writes to standard output is added to `stdout.jsonl`.
pub fn agent(stage: &Stage) -> Process {
    let append = |name: &str| std::fs::OpenOptions::new().append(true).create(true).open(stage.path(name)).unwrap();
    let mut command = stage.command(&["run"]);
    command.env(TOKEN.0, TOKEN.1).stdout(append("stdout.jsonl")).stderr(append("agent.log"));
    Process(command.spawn().unwrap())
}
