//! Memory is bounded by what is in hand, not by the size of a blob, the backlog or an outage (I6). Small forms; `tests/soak/memory` has the
//! whole ones, on the release build.

use std::fs;

use crate::{
    agent::{Process, Stage},
    support::{PATIENCE, delivered, file_sink, pending},
};

/// The most memory that the process ever had, in MiB.
fn peak(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has it");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

fn bounded(what: &str, agent: &Process, most: u64) {
    let peak = peak(agent);
    println!("{what}: peak {peak} MiB, at most {most} MiB allowed");
    assert!(peak <= most, "{what}: {peak} MiB");
}

#[test]
fn the_size_of_a_blob_is_not_that_of_the_agent() {
    // one that is there, and perhaps one that is published meanwhile
    let stage = Stage::new(&["--profile", "busy", "--rate", "30000", "--backfill", "1s", "--publish-for", "1s"]);
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    let mut agent = stage.agent();
    // it is whole in the ledger before anything of it is delivered
    stage.wait(4 * PATIENCE, "a blob delivered", || delivered(&stage, "one") > 0);
    bounded("a blob of 28 MB", &agent, BLOB);
    assert_eq!(agent.terminate(), Some(0));
}

#[test]
fn contents_that_are_owed_without_a_body_take_no_memory() {
    let stage = Stage::new(&["--profile", "tiny", "--backfill", "5h", "--bodies-after", "30s"]);
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    let mut agent = stage.agent();
    // whether the last was listed before the first body could be had depends on the machine
    let mut most = 0;
    stage.wait(3 * PATIENCE, "3,000 contents listed", || {
        let Some(status) = stage.status() else { return false };
        most = most.max(stage.sinks().get("one").map_or(0, |sink| sink.contents_owed));
        status["ledger"]["contents"].as_u64() >= Some(2_950)
    });
    assert!(most > 1_000, "only {most} contents were owed at once");
    stage.wait(2 * PATIENCE, "some of them delivered", || delivered(&stage, "one") > 100);
    bounded(&format!("{most} contents owed at once"), &agent, OTHERS);
    assert_eq!(agent.terminate(), Some(0));
}

#[test]
fn the_outage_of_a_sink_takes_disk_and_no_memory() {
    let stage = Stage::new(&["--profile", "busy", "--rate", "200", "--backfill", "60s", "--publish-for", "1s"]);
    let sinks = file_sink(&stage, "one", "one.jsonl") + &file_sink(&stage, "dead", "missing/dead.jsonl");
    stage.configure("body_budget = \"1 MiB\"", &sinks);
    let mut agent = stage.agent();
    stage.wait(3 * PATIENCE, "everything delivered to the living one", || {
        delivered(&stage, "one") > 5_000 && pending(&stage)["one"] == (0, 0)
    });
    let owed = pending(&stage)["dead"];
    assert!(owed.1 > 50, "{owed:?}");
    bounded("a dead sink", &agent, OTHERS);
    assert_eq!(agent.terminate(), Some(0));
}

/// MiB; 48 were seen in a debug build, and three copies of the blob would be too many.
const BLOB: u64 = 90;
/// MiB; 31 and 54 were seen.
const OTHERS: u64 = 90;
