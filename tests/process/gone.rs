//! A sink that is gone from the configuration while something is owed to it.

use crate::{
    agent::Stage,
    support::{PATIENCE, drained, file_sink, level, pending},
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
