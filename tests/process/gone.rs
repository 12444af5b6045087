//! A sink that is gone from the configuration while something is owed to it.

use crate::{
    agent::Stage,
    support::{PATIENCE, account, delivered, drained, file_sink, get, level, pending, series},
};

#[test]
fn check_calls_it_an_error_and_the_agent_says_so() {
    let stage = Stage::new(&["--profile", "demo", "--publish-for", "1s"]);
    let kept = file_sink(&stage, "kept", "kept.jsonl");
    stage.configure("", &(kept.clone() + &file_sink(&stage, "gone", "missing/gone.jsonl")));
    let mut agent = stage.agent();
    drained(&stage, "kept");
    assert_eq!(agent.terminate(), Some(0));
    let (_, contents) = pending(&stage)["gone"];
    assert!(contents > 0);

    stage.configure("", &kept);
    let check = stage.command(&["check"]).output().unwrap();
    assert_eq!(check.status.code(), Some(2));
    let words = String::from_utf8(check.stderr).unwrap();
    let expected = format!(
        "sink `gone` is gone from the configuration while {contents} contents are owed to it: put it back under its name"
    );
    assert!(words.contains(&expected), "{words}");

    let mut agent = stage.agent();
    stage.wait(PATIENCE, "a warning", || {
        level(&stage.said("agent.log"), "WARN").iter().any(|line| line.contains("is gone from the configuration"))
    });
    assert_eq!(agent.terminate(), Some(0));
    assert_eq!(pending(&stage)["gone"].1, contents, "what it is owed is kept");
}

#[test]
fn it_stops_nothing_and_retire_sink_ends_it_while_the_agent_runs() {
    let stage = Stage::new(&["--profile", "demo"]);
    let kept = file_sink(&stage, "kept", "kept.jsonl");
    stage.configure("", &(kept.clone() + &file_sink(&stage, "gone", "missing/gone.jsonl")));
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "deliveries", || delivered(&stage, "kept") > 100 && pending(&stage)["gone"].0 > 100);
    assert_eq!(agent.terminate(), Some(0));

    stage.configure("", &kept);
    let mut agent = stage.agent();
    let (before, (_, owed)) = (delivered(&stage, "kept"), pending(&stage)["gone"]);
    // what is published from now on reaches the other, and adds nothing to what the one that is gone is owed
    stage.wait(PATIENCE, "more for the other", || delivered(&stage, "kept") > before + 100);
    assert_eq!(pending(&stage)["gone"].1, owed);
    let answers = |path: &str| get(&stage, path).unwrap();
    assert_eq!((answers("/livez").0, answers("/readyz").0), (200, 200));
    let unconfigured = "auditferry_sink_unconfigured{sink=\"gone\"}";
    assert_eq!(series(&answers("/metrics").1, unconfigured), Some(1.0));
    let page = answers("/").1;
    assert!(page.contains("gone from the configuration") && page.contains("auditferry retire-sink gone"), "{page}");

    let output = stage.command(&["retire-sink", "gone", "--wait"]).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{words}");
    assert_eq!(series(&answers("/metrics").1, unconfigured), None);
    let status = stage.status().unwrap();
    assert_eq!(status["closed"], true);
    let gaps = status["gaps"].as_array().unwrap();
    assert!(
        !gaps.is_empty() && gaps.iter().all(|gap| gap["sink"] == "gone" && gap["asked_by"].is_string()),
        "{gaps:?}"
    );
    let lost: u64 = gaps.iter().filter_map(|gap| gap["records"].as_u64()).sum();
    assert_eq!(lost, account(&stage, "gone", "lost"));
    assert_eq!(account(&stage, "gone", "pending"), 0);
    let before = delivered(&stage, "kept");
    stage.wait(PATIENCE, "more for the other", || delivered(&stage, "kept") > before + 50);
    assert_eq!(stage.command(&["check"]).output().unwrap().status.code(), Some(0));
    assert_eq!(agent.terminate(), Some(0));
}
