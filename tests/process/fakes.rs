//! The fake receivers of the conformance suite, run by the test for an agent that is a process of its own.

use std::{collections::BTreeMap, sync::Arc};

use auditferry_conformance::{
    SECRET,
    fakes::{
        Arrivals,
        hec::{Behaviour, Hec},
        kafka::{Inspector, Kafka},
        syslog::Syslog,
    },
};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{agent::Stage, support::PATIENCE};

/// Runs the receivers; they end with it.
pub struct Receivers(Runtime);

impl Receivers {
    pub fn new() -> Receivers {
        Receivers(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
    }

    pub fn hec(&self, behaviour: Behaviour) -> (Hec, Arc<Arrivals>) {
        let arrivals = Arc::new(Arrivals::with_bodies());
        let listener = self.0.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let _inside = self.0.enter();
        (Hec::start(listener, None, arrivals.clone(), behaviour), arrivals)
    }

    pub fn syslog(&self) -> (Syslog, Arc<Arrivals>) {
        let arrivals = Arc::new(Arrivals::with_bodies());
        let listener = self.0.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let _inside = self.0.enter();
        (Syslog::start(listener, None, arrivals.clone()).unwrap(), arrivals)
    }

    pub fn syslog_tls(&self, config: Arc<ServerConfig>) -> Syslog {
        let _inside = self.0.enter();
        Syslog::local(Some(config), Arc::new(Arrivals::counting())).unwrap()
    }

    /// A broker with a topic of one partition, and what looks into it.
    pub fn kafka(&self, topic: &str) -> (Inspector, Arc<Kafka>, Arc<Arrivals>) {
        let arrivals = Arc::new(Arrivals::with_bodies());
        let kafka = Arc::new(Kafka::start(1, topic, 1, arrivals.clone()).unwrap());
        (self.0.block_on(Inspector::start(kafka.clone())).unwrap(), kafka, arrivals)
    }
}

/// The options that lead to this collector with this token, which lies in a file of the stage.
pub fn hec_options(stage: &Stage, hec: &Hec, token: &str) -> String {
    let path = stage.path(&format!("{token}.token"));
    std::fs::write(&path, if token == "right" { SECRET } else { token }).unwrap();
    format!("kind = \"splunk_hec\"\nendpoint = \"http://{}\"\ntoken = {{ file = {path:?} }}", hec.address())
}

/// A record as Microsoft sends it, with further members; `number` makes its id.
pub fn record(number: usize, more: &[(&str, &str)]) -> String {
    let mut record = json!({
        "CreationTime": "2026-03-01T09:00:00", "Id": format!("{number:08x}-aaaa-4000-8000-000000000000"), "Operation": "CreatePowerApp",
        "OrganizationId": "41463f53-8812-40f4-890f-865bf6e35190", "RecordType": 45, "ResultStatus": "Success",
        "UserKey": "maker@contoso.onmicrosoft.com", "UserType": 0, "Version": 1, "Workload": "PowerApps",
        "UserId": "maker@contoso.onmicrosoft.com", "AppName": "e10e4d9c-9094-434a-87b0-09ff41f7ee1c",
    });
    more.iter().for_each(|(name, value)| record[*name] = json!(value));
    record.to_string()
}

/// A stage whose simulator publishes these records, ten to a content, all of them before its start.
pub fn stage(records: &[String]) -> Stage {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, records.join("\n")).unwrap();
    Stage::new(&["--profile", "quiet", "--report-ids", "--records", file.path().to_str().unwrap()])
}

/// The agent's command answers as asked; what it said.
pub fn said(stage: &Stage, arguments: &[&str]) -> String {
    let output = stage.command(arguments).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {words}");
    String::from_utf8(output.stdout).unwrap() + &words
}

/// `quarantine list --json`, by sink.
pub fn quarantine(stage: &Stage) -> BTreeMap<String, Vec<Value>> {
    let mut by_sink: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let rows: Vec<Value> =
        serde_json::from_slice(&stage.command(&["quarantine", "list", "--json"]).output().unwrap().stdout).unwrap();
    for row in rows {
        by_sink.entry(row["sink"].as_str().unwrap().to_owned()).or_default().push(row);
    }
    by_sink
}

/// `sinks --json`, by name.
pub fn states(stage: &Stage) -> BTreeMap<String, Value> {
    let rows: Vec<Value> = serde_json::from_str(&said(stage, &["sinks", "--json"])).unwrap();
    rows.into_iter().map(|row| (row["name"].as_str().unwrap().to_owned(), row)).collect()
}

/// What each sink got delivered, has in quarantine and is owed, over all streams of records.
pub fn books(stage: &Stage) -> BTreeMap<String, [u64; 3]> {
    let mut books: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    let Some(status) = stage.status() else { return books };
    // what the agent says itself is left out: nobody published it
    let streams = status["streams"].as_array().unwrap().iter().filter(|stream| stream["name"] != "agent");
    for account in streams.flat_map(|stream| stream["sinks"].as_array().unwrap()) {
        let sums = books.entry(account["sink"].as_str().unwrap().to_owned()).or_default();
        for (sum, term) in sums.iter_mut().zip(["delivered", "quarantined", "pending"]) {
            *sum += account[term].as_u64().unwrap();
        }
    }
    books
}

/// Waits until the books of all sinks say this; a test that fails shows how they went.
pub fn settle(stage: &Stage, expected: &BTreeMap<String, [u64; 3]>) {
    let mut last = BTreeMap::new();
    stage.wait(PATIENCE, "the books as expected", || {
        let now = books(stage);
        if now != last {
            println!("delivered, quarantined, pending: {now:?}");
        }
        last = now;
        last == *expected
    });
}
