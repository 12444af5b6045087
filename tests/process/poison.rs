//! One poison message at each sink: it ends in quarantine with the sink's words, holds up nobody, and is delivered once its cause is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use auditferry_conformance::{
    POISON,
    fakes::{Arrivals, hec::Behaviour, kafka::Code},
};
use serde_json::Value;

use crate::{
    agent::{Process, Stage, lines},
    fakes::{Receivers, books, hec_options, quarantine, record, said, settle, stage, states},
    support::{PATIENCE, file_sink, ids},
};

/// Records in all, and where the poison ones stand.
const RECORDS: usize = 47;
const MARKED: usize = 15;
const WIDE: usize = 25;
const HUGE: usize = 35;

/// What the collector takes in one request, bytes: less than the widest record.
const SMALL: usize = 500_000;

/// Three of them are poison: one holds a text that a receiver can't bear, one is wider than some take, and one is no record at all,
/// of which codec `raw` can't make anything small enough for a file: each of its quotes takes four bytes there.
fn records() -> Vec<String> {
    let mut records: Vec<_> = (0..RECORDS).map(|number| record(number, &[])).collect();
    records[MARKED] = record(MARKED, &[("UserId", POISON)]);
    records[WIDE] = record(WIDE, &[("Comment", &"x".repeat(600_000))]);
    records[HUGE] = serde_json::to_string(&"\"".repeat(9 << 19)).unwrap();
    records
}

/// Starts the agent; its standard output goes to this file of the stage.
fn start(stage: &Stage) -> Process {
    let open = |name| fs::OpenOptions::new().append(true).create(true).open(stage.path(name)).unwrap();
    Process(stage.command(&["run"]).stdout(open("stdout.jsonl")).stderr(open("agent.log")).spawn().unwrap())
}

/// The event ids of what arrived. A collector that refuses a batch does not say what it has taken: those before the culprit come again
/// while it is looked for (docs/decisions/0010).
fn some(arrivals: &Arrivals) -> BTreeSet<String> {
    arrivals.counts().into_keys().map(|id| id.to_string()).collect()
}

/// The event ids of what arrived, none twice.
fn once(arrivals: &Arrivals) -> BTreeSet<String> {
    let counts = arrivals.counts();
    assert_eq!(arrivals.messages(), counts.len() as u64, "something came twice, or without its id");
    counts.into_keys().map(|id| id.to_string()).collect()
}

/// The event ids of a file of records or events, none twice; `known`: a record's event by its `Id`.
fn mixed(path: &Path, known: &BTreeMap<String, String>) -> BTreeSet<String> {
    let all = lines(path);
    let id = |line: &Value| match (line["Id"].as_str(), line["metadata"]["uid"].as_str()) {
        (Some(id), _) => known[id].clone(),
        (None, uid) => uid.unwrap().to_owned(),
    };
    let ids: BTreeSet<_> = all.iter().map(id).collect();
    assert_eq!(ids.len(), all.len(), "a record arrived twice in {}", path.display());
    ids
}

#[test]
fn one_at_each_sink_holds_up_nobody_and_is_delivered_once_its_cause_is_gone() {
    let records = records();
    let mut stage = stage(&records);
    let receivers = Receivers::new();
    let (hec, at_hec) =
        receivers.hec(Behaviour { poison: Some(POISON.into()), max_bytes: SMALL, ..Behaviour::default() });
    let (syslog, at_syslog) = receivers.syslog();
    let (inspector, kafka, at_kafka) = receivers.kafka("audit");
    inspector.refuse(POISON, Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);

    let sinks = |codec: &str, syslog_takes: &str| {
        let (path, shared) =
            (stage.path("file.jsonl"), "raw_data = false\nbatch = { messages = 20, age = \"50ms\" }\n");
        file_sink(&stage, "all", "all.jsonl")
            + &format!("[[sink]]\nname = \"file\"\nkind = \"file\"\n{codec}\npath = {path:?}\n\n")
            + &format!("[[sink]]\nname = \"stdout\"\nkind = \"stdout\"\n{codec}\n\n")
            + &format!("[[sink]]\nname = \"hec\"\n{}\n{shared}\n", hec_options(&stage, &hec, "right"))
            + &format!(
                "[[sink]]\nname = \"syslog\"\nkind = \"syslog\"\ncodec = \"raw\"\naddress = \"{}\"\n{syslog_takes}\n\n",
                syslog.url()
            )
            + &format!(
                "[[sink]]\nname = \"kafka\"\nkind = \"kafka\"\nbrokers = [\"{}\"]\ntopic = \"audit\"\ncompression = \"none\"\n{shared}\n",
                inspector.bootstrap_servers()
            )
    };
    stage.configure("", &sinks("codec = \"raw\"", ""));
    let mut agent = start(&stage);
    let mut poisons = BTreeMap::from([("all", 0), ("file", 1), ("hec", 2), ("kafka", 1), ("stdout", 1), ("syslog", 2)]);
    let stands = |poisons: &BTreeMap<&str, u64>| -> BTreeMap<String, [u64; 3]> {
        poisons.iter().map(|(sink, poison)| (sink.to_string(), [RECORDS as u64 - poison, *poison, 0])).collect()
    };
    settle(&stage, &stands(&poisons));

    // everybody has everything but its own poison, while that lies there
    let all = ids(&stage.path("all.jsonl"));
    assert_eq!(all.len(), RECORDS);
    let events = lines(&stage.path("all.jsonl"));
    let known: BTreeMap<String, String> = events
        .iter()
        .filter_map(|event| {
            Some((event["metadata"]["original_event_uid"].as_str()?, event["metadata"]["uid"].as_str()?))
        })
        .map(|(id, uid)| (id.to_owned(), uid.to_owned()))
        .collect();
    let id_of = |number: usize| known[&format!("{number:08x}-aaaa-4000-8000-000000000000")].clone();
    let other = all.iter().find(|uid| !known.values().any(|known| known == *uid));
    let huge = other.cloned().expect("the text that is no record arrived as an event");
    let (marked, wide) = (id_of(MARKED), id_of(WIDE));
    let but = |poison: &[&String]| all.iter().filter(|id| !poison.contains(id)).cloned().collect::<BTreeSet<_>>();
    assert!(kafka.catch_up() && kafka.missed() == 0);
    assert_eq!(some(&at_hec), but(&[&marked, &wide]));
    assert_eq!(once(&at_kafka), but(&[&marked]));
    assert_eq!(once(&at_syslog), but(&[&wide, &huge]));
    for file in ["file.jsonl", "stdout.jsonl"] {
        assert_eq!(mixed(&stage.path(file), &known), but(&[&huge]), "{file}");
    }

    // each with its sink's words
    let found = quarantine(&stage);
    let cases = [
        ("file", &huge, HUGE, "no form of it fits into the 16777216 bytes that the sink takes"),
        ("stdout", &huge, HUGE, "no form of it fits into the 16777216 bytes that the sink takes"),
        ("syslog", &huge, HUGE, "no form of it fits into the "),
        ("syslog", &wide, WIDE, "no form of it fits into the "),
        ("hec", &marked, MARKED, "Invalid data format"),
        ("hec", &wide, WIDE, "Content too large"),
        ("kafka", &marked, MARKED, "too large for topic audit: raise its max.message.bytes, or lower `max_message`"),
    ];
    let mut numbers = BTreeMap::new();
    for (sink, event, record, words) in cases {
        let row = found[sink]
            .iter()
            .find(|row| row["event"] == event.as_str())
            .unwrap_or_else(|| panic!("{sink}: {found:#?}"));
        assert!(row["words"].as_str().unwrap().contains(words), "{sink}: {row:#}");
        let number = row["id"].to_string();
        assert!(
            said(&stage, &["quarantine", "show", &number])
                .contains(&format!("\nits words  {}\n", row["words"].as_str().unwrap()))
        );
        let raw = stage.command(&["quarantine", "show", "--raw", &number]).output().unwrap().stdout;
        assert!(raw == records[record].as_bytes(), "{sink}: not as Microsoft sent it");
        numbers.insert((sink, record), number);
    }
    assert_eq!(numbers.len(), found.values().map(Vec::len).sum::<usize>());
    for (name, state) in states(&stage) {
        assert_eq!((state["state"].as_str(), &state["error"]), (Some("idle"), &Value::Null), "{name}: {state:#}");
    }

    // the receivers take them now
    hec.change(|hec| (hec.poison, hec.max_bytes) = (None, 64 << 20));
    inspector.pass();
    for sink in ["hec", "kafka"] {
        let words = said(&stage, &["quarantine", "retry", "--all", "--sink", sink, "--wait"]);
        let count = poisons.insert(sink, 0).unwrap();
        assert!(words.contains(&format!(": {count} records are owed to their sinks again, encoded anew\n")), "{words}");
    }
    settle(&stage, &stands(&poisons));
    assert!(kafka.catch_up() && kafka.missed() == 0);
    assert_eq!((some(&at_hec), once(&at_kafka)), (all.clone(), all.clone()));

    // the others do with another configuration; what is still too large comes back
    assert_eq!(agent.terminate(), Some(0));
    stage.configure("", &sinks("codec = \"ocsf\"\nraw_data = false", "max_message = \"1 MiB\""));
    let mut agent = start(&stage);
    let again: Vec<&str> =
        numbers.iter().filter(|((sink, _), _)| !["hec", "kafka"].contains(sink)).map(|(_, id)| id.as_str()).collect();
    let words = said(&stage, &[&["quarantine", "retry", "--wait"], again.as_slice()].concat());
    assert!(
        words.contains(&format!(": {} records are owed to their sinks again, encoded anew\n", again.len())),
        "{words}"
    );
    let has = |event: &String, file: &str| stage.said(file).contains(event);
    stage.wait(PATIENCE, "what was refused delivered", || {
        has(&huge, "file.jsonl") && has(&huge, "stdout.jsonl") && at_syslog.events() == RECORDS - 1
    });
    assert_eq!(agent.terminate(), Some(0), "with what the receiver has read settled");
    poisons.extend([("file", 0), ("stdout", 0), ("syslog", 1)]);
    assert_eq!(books(&stage), stands(&poisons));
    assert_eq!(once(&at_syslog), but(&[&huge]));
    assert!(at_syslog.bodies().contains(&records[WIDE].clone().into_bytes()), "nothing of it was cut");
    assert_eq!(mixed(&stage.path("file.jsonl"), &known), all);
    assert_eq!(mixed(&stage.path("stdout.jsonl"), &known), all);
    let left = quarantine(&stage);
    let left: Vec<_> = left.values().flatten().map(|row| (&row["sink"], &row["event"])).collect();
    assert_eq!(left, [(&"syslog".into(), &Value::from(huge.as_str()))]);

    let status = stage.status().unwrap();
    assert_eq!((&status["closed"], &status["gaps"]), (&true.into(), &serde_json::json!([])), "{status:#}");
    assert!(hec.errors().is_empty() && syslog.faults().is_empty(), "{:?} {:?}", hec.errors(), syslog.faults());
    stage.simulator.terminate();
    let report: Value = serde_json::from_str(&stage.said("report.json")).unwrap();
    let published: BTreeSet<_> =
        report["selected"].as_array().unwrap().iter().map(|mark| mark.as_str().unwrap()).collect();
    assert_eq!(published.len(), RECORDS);
    assert!(known.keys().all(|id| published.contains(id.as_str())), "something arrived that nobody published");
}

#[test]
fn forty_in_a_row_do_not_stop_a_healthy_sink() {
    // four contents of nothing else, then two without any; twenty refusals are enough to doubt a sink
    let records: Vec<_> = (0..60).map(|n| record(n, if n < 40 { &[("UserId", POISON)] } else { &[] })).collect();
    let stage = stage(&records);
    let receivers = Receivers::new();
    let (hec, arrivals) = receivers.hec(Behaviour { poison: Some(POISON.into()), down: true, ..Behaviour::default() });
    let options = hec_options(&stage, &hec, "right");
    stage.configure("", &format!("[[sink]]\nname = \"hec\"\n{options}\nack = \"off\"\nbatch = {{ messages = 1 }}\n"));
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "everything stored", || {
        let unfetched = stage.status().and_then(|status| status["ledger"]["unfetched"].as_u64());
        (unfetched, books(&stage).get("hec")) == (Some(0), Some(&[0, 0, 60]))
    });
    hec.change(|hec| hec.down = false);
    settle(&stage, &BTreeMap::from([("hec".to_owned(), [20, 40, 0])]));
    // the row was so long that one message of the newest content had to speak for the sink
    let first: Value = serde_json::from_slice(&arrivals.bodies()[0]).unwrap();
    let first = first["metadata"]["original_event_uid"].as_str().unwrap();
    assert!(first >= format!("{:08x}", 50).as_str(), "{first} came first");
    assert_eq!(once(&arrivals).len(), 20);
    let refused = quarantine(&stage).remove("hec").unwrap();
    assert_eq!(refused.len(), 40);
    assert!(refused.iter().all(|row| row["words"].as_str().unwrap().contains("Invalid data format")), "{refused:#?}");
    assert_eq!(states(&stage)["hec"]["state"], "idle");
    assert!(!stage.said("agent.log").contains("blocked"), "{}", stage.said("agent.log"));

    hec.change(|hec| hec.poison = None);
    said(&stage, &["quarantine", "retry", "--all", "--wait"]);
    stage.wait(PATIENCE, "what was refused delivered", || books(&stage)["hec"] == [60, 0, 0]);
    assert_eq!((arrivals.messages(), some(&arrivals).len()), (60, 60), "{}", stage.said("agent.log"));
    assert_eq!(agent.terminate(), Some(0));
}
