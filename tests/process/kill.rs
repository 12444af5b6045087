//! kill -9 while there is something pending: every selected record arrives, whole lines only, repeats within I4.

use std::collections::BTreeMap;

use crate::{
    agent::{Stage, lines},
    support::wanted,
};

/// Messages that a file sink may have written without their being confirmed, per kill: one batch.
const BATCH: u64 = 200;

#[test]
fn killed_twenty_times_with_something_pending_every_record_arrives() {
    let kills: u32 = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20);
    let mut stage =
        Stage::new(&["--profile", "busy", "--seed", "7", "--rate", "500", "--publish-for", "30s", "--report-ids"]);
    let sinks: String = ["one", "two"]
        .iter()
        .map(|name| {
            let path = stage.path(&format!("{name}.jsonl"));
            format!("[[sink]]\nname = \"{name}\"\nkind = \"file\"\ncodec = \"ocsf\"\nraw_data = false\npath = {path:?}\nbatch = {{ messages = {BATCH} }}\n\n")
        })
        .collect();
    stage.configure("", &sinks);
    let mut with_pending = 0;
    for kill in 1..=kills {
        let before = stage.sinks();
        let mut agent = stage.agent();
        // it has delivered something in this life, and something is pending
        stage.wait(60, "something delivered and something pending at both sinks", || {
            let now = stage.sinks();
            now.len() == 2
                && now.iter().all(|(name, sink)| {
                    sink.pending > 0 && sink.delivered > before.get(name).map_or(0, |before| before.delivered)
                })
        });
        agent.0.kill().unwrap();
        agent.0.wait().unwrap();
        // the ledger of the dead agent says what was pending when it died
        let sinks = stage.sinks();
        println!("kill {kill}: {sinks:?}");
        with_pending += u32::from(sinks.values().all(|sink| sink.pending > 0));
    }
    println!("{with_pending} of {kills} kills with something pending at both sinks");

    let mut agent = stage.agent();
    // the schedule has ended, its last content is listed, and nothing is owed
    stage.wait(180, "everything delivered", || {
        stage.published_for() > 35 && {
            let sinks = stage.sinks();
            sinks.len() == 2 && sinks.values().all(|sink| (sink.pending, sink.contents_owed) == (0, 0))
        }
    });
    assert_eq!(agent.terminate(), Some(0), "SIGTERM ends the agent as asked");
    stage.simulator.terminate();

    let wanted = wanted(&stage);
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
    assert!(with_pending * 10 >= kills * 9, "the kills missed the moments that matter");
}
