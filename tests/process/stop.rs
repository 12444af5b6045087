//! SIGTERM ends the agent within 10 s and with 0, whatever hangs meanwhile.

use std::{fs, io::Write, net::TcpStream, process::Stdio, time::Duration};

use auditferry_conformance::fakes::hec::{Behaviour, Indexing};

use crate::{
    agent::{Process, Stage},
    fakes::{Receivers, hec_options},
    support::{PATIENCE, delivered, file_sink, get, level, listen, pending, series, signal, timed_end, wanted},
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
        "blocked, a person must act: can't open {0}/stuck.jsonl: the folder {0} is not there; create it [FilePath]; tried again in ",
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

/// What is on its way when the signal comes is confirmed seconds later, and waited for.
#[test]
fn a_sink_that_confirms_after_seconds_gets_nothing_twice() {
    const STOPS: u64 = 4;
    let mut stage = Stage::new(&["--profile", "busy", "--seed", "9", "--rate", "200", "--report-ids"]);
    let receivers = Receivers::new();
    // asked 0.6 s, 1.8 s and 4.2 s after the batch was taken, and true the third time
    let (hec, arrivals) = receivers.hec(Behaviour { indexing: Indexing::After(2), ..Behaviour::default() });
    let options = hec_options(&stage, &hec, "right");
    let sink =
        format!("[[sink]]\nname = \"slow\"\ncodec = \"ocsf\"\n{options}\nack = \"required\"\nack_interval = \"6s\"\n");
    stage.configure("", &(sink + "batch = { messages = 200, age = \"50ms\" }\n"));
    for stop in 1..=STOPS {
        let before = (arrivals.messages(), delivered(&stage, "slow"));
        let (mut taken, mut confirmed) = before;
        let mut agent = stage.agent();
        stage.wait(PATIENCE, "something taken that is not confirmed, and something confirmed in this life", || {
            (taken, confirmed) = (arrivals.messages(), delivered(&stage, "slow"));
            confirmed > before.1 && taken > confirmed
        });
        let (code, took) = timed_end(&mut agent);
        let (after, counted) = (arrivals.messages(), delivered(&stage, "slow"));
        println!(
            "stop {stop}: {taken} taken, {confirmed} confirmed; ended with {code:?} after {took:?}: {after} taken, {counted} confirmed"
        );
        assert_eq!(code, Some(0));
        assert!(took < AT_MOST, "{took:?}");
        assert_eq!(after, counted, "what was taken before the end is in the books");
    }
    stage.last_orders();
    hec.change(|behaviour| behaviour.indexing = Indexing::AtOnce);
    let mut agent = stage.agent();
    let since = std::time::Instant::now();
    stage.wait(2 * PATIENCE, "everything delivered", || {
        // the last content is listed with the next poll, a second later
        since.elapsed() > Duration::from_secs(5) && pending(&stage)["slow"] == (0, 0)
    });
    assert_eq!(timed_end(&mut agent).0, Some(0));
    stage.simulator.terminate();
    let wanted = wanted(&stage).len();
    println!("{wanted} records, {} messages", arrivals.messages());
    assert!(wanted > 1000, "{wanted} records prove nothing");
    assert_eq!((arrivals.events(), arrivals.messages()), (wanted, wanted as u64), "each once");
    assert_eq!(hec.errors(), [""; 0]);
}
