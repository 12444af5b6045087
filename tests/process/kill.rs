//! kill -9 while there is something pending: every selected record arrives, whole lines only, repeats within I4.

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::{Stage, lines};

/// Messages that a file sink may have written without their being confirmed, per kill: one batch.
const BATCH: u64 = 200;

#[test]
fn killed_twenty_times_with_something_pending_every_record_arrives() {
    let kills: u32 = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20);
    let mut stage = Stage::new(&["--profile", "busy", "--seed", "7"]);
    let sinks: String = ["one", "two"]
        .iter()
        .map(|name| {
            let path = stage.path(&format!("{name}.jsonl"));
            format!("[[sink]]\nname = \"{name}\"\nkind = \"file\"\ncodec = \"ocsf\"\nraw_data = false\npath = {path:?}\nbatch = {{ messages = {BATCH} }}\n\n")
        })
        .collect();
    stage.configure("", &sinks);
    let mut pending_at_kill = Vec::new();
    for kill in 1..=kills {
        let mut agent = stage.agent();
        stage.wait(60, "something pending at both sinks", || {
            let pending = stage.pending();
            pending.len() == 2 && pending.values().all(|(records, _)| *records > 0)
        });
        agent.0.kill().unwrap();
        agent.0.wait().unwrap();
        // the ledger of the dead agent says what was pending when it died
        let pending = stage.pending();
        println!("kill {kill}: pending (records, contents owed) {pending:?}");
        pending_at_kill.push(pending);
    }
    let with_pending =
        pending_at_kill.iter().filter(|pending| pending.values().all(|(records, _)| *records > 0)).count();
    println!("{with_pending} of {kills} kills with something pending at both sinks");

    let mut agent = stage.agent();
    stage.wait(180, "everything delivered", || {
        let pending = stage.pending();
        pending.len() == 2 && pending.values().all(|(records, contents)| (*records, *contents) == (0, 0))
    });
    assert_eq!(agent.terminate(), Some(0), "SIGTERM ends the agent as asked");
    stage.simulator.terminate();

    let report: serde_json::Value = serde_json::from_str(&stage.said("report.json")).unwrap();
    let wanted = wanted(&report);
    assert!(wanted.len() > 1000, "the simulator published {} records: too few to prove anything", wanted.len());
    for name in ["one", "two"] {
        let mut arrived: BTreeMap<String, u64> = BTreeMap::new();
        for line in lines(&stage.path(&format!("{name}.jsonl"))) {
            *arrived
                .entry(line["metadata"]["original_event_uid"].as_str().unwrap_or_default().to_owned())
                .or_default() += 1;
        }
        let missing: Vec<_> = wanted.iter().filter(|id| !arrived.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{name}: {} of {} records never arrived: {missing:?}", missing.len(), wanted.len());
        let repeats: u64 = arrived.values().map(|times| times - 1).sum();
        let bound = u64::from(kills) * BATCH;
        println!("{name}: {} records, {repeats} repeats, at most {bound} allowed", wanted.len());
        assert!(repeats <= bound);
    }
    let status = stage.status().unwrap();
    assert_eq!(status["closed"], true, "{status:#}");
    assert!(with_pending * 10 >= pending_at_kill.len() * 9, "the kills missed the moments that matter");
}

/// Ids of the selected records in contents that were fetched. What the agent had no time to list is not owed yet.
fn wanted(report: &serde_json::Value) -> BTreeSet<String> {
    let contents = report["contents"].as_array().unwrap().iter();
    let fetched = contents.filter(|content| content["fetched"].as_u64() > Some(0));
    fetched
        .flat_map(|content| content["selected"].as_array().unwrap())
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect()
}
