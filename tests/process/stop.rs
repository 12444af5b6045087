//! SIGTERM ends the agent within 10 s and with 0, whatever hangs meanwhile.

use std::{fs, io::Write, net::TcpStream, process::Stdio, time::Duration};

use crate::{
    agent::{Process, Stage},
    support::{PATIENCE, file_sink, get, level, listen, pending, series, signal, timed_end},
};

const AT_MOST: Duration = Duration::from_secs(10);

#[test]
fn while_a_sink_is_blocked_and_a_scrape_hangs() {
    let stage = Stage::new(&["--profile", "demo"]);
    stage.configure("", &file_sink(&stage, "stuck", "missing/stuck.jsonl"));
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "a blocked sink", || !level(&stage.said("agent.log"), "ERROR").is_empty());
    let folder = stage.path("missing");
    let blocked = format!(
        "blocked, a person must act: can't open {0}/stuck.jsonl: the folder {0} is not there; create it; tried again in ",
        folder.display()
    );
    let first = level(&stage.said("agent.log"), "ERROR").remove(0);
    assert!(first.starts_with(&blocked) && first.ends_with(" s sink=\"stuck\""), "{first}");
    let mut half = TcpStream::connect(listen(&stage)).unwrap();
    half.write_all(b"GET /metr").unwrap();
    let (code, took) = timed_end(&mut agent);
    assert_eq!(code, Some(0));
    assert!(took < AT_MOST, "{took:?}");
    drop(half);
}

#[test]
fn while_the_service_does_not_answer() {
    let stage = Stage::new(&["--profile", "demo"]);
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "listings", || get(&stage, "/readyz").is_some_and(|(status, _)| status == 200));
    signal(&stage.simulator, "-STOP");
    // a loop that has not turned for two polls waits for an answer
    stage.wait(PATIENCE, "a request without an answer", || {
        let text = get(&stage, "/metrics").unwrap().1;
        series(&text, "auditferry_loop_turn_age_seconds{loop=\"collect simulated\"}") > Some(2.0)
    });
    let (code, took) = timed_end(&mut agent);
    signal(&stage.simulator, "-CONT");
    assert_eq!(code, Some(0));
    assert!(took < AT_MOST, "{took:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let stage = Stage::new(&["--profile", "demo"]);
    stage.configure("", "[[sink]]\nname = \"pipe\"\nkind = \"stdout\"\nbatch = { age = \"0s\" }\n");
    // nobody reads the pipe: the sink's call does not return
    let log = fs::OpenOptions::new().append(true).create(true).open(stage.path("agent.log")).unwrap();
    let mut agent = Process(stage.command(&["run"]).stdout(Stdio::piped()).stderr(log).spawn().unwrap());
    // more than a pipe holds, of batches that wait for no others: a call runs, and its 30 s are not over
    stage.wait(PATIENCE, "a full pipe", || pending(&stage).get("pipe").is_some_and(|(records, _)| *records > 500));
    signal(&agent, "-TERM");
    stage.wait(PATIENCE, "the first signal", || stage.said("agent.log").contains("a second signal stops at once"));
    let (code, took) = timed_end(&mut agent);
    assert_eq!(code, Some(1));
    assert!(took < Duration::from_secs(2), "{took:?}");
}
