//! Commands that look at what a sink refused, and those that ask the running agent to do something about it.

use std::{fs, path::Path};

use auditferry::{
    fetch::chunk,
    ledger::{Ledger, Progress, Refused, lock},
};

use crate::{
    agent::{Stage, lines},
    support::{PATIENCE, account, file_sink, ids, pending},
};

/// Exit code, standard output, standard error of a command.
fn run(stage: &Stage, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = stage.command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// An agent that has everything stored for a sink whose folder is missing, stopped.
fn stuck(sinks: &str) -> Stage {
    let stage = Stage::new(&["--profile", "demo", "--publish-for", "1s"]);
    stage.configure("", &(file_sink(&stage, "stuck", "later/stuck.jsonl") + sinks));
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "everything stored", || {
        let unfetched = stage.status().and_then(|status| status["ledger"]["unfetched"].as_u64());
        unfetched == Some(0) && pending(&stage).get("stuck").is_some_and(|owed| owed.0 > 100)
    });
    assert_eq!(agent.terminate(), Some(0));
    stage
}

/// What a sink would do that takes a content but for its first two records; their ids and the first one's bytes.
fn refuse(stage: &Stage) -> Vec<(String, Vec<u8>)> {
    let state = stage.path("state");
    let (sink, content, records, body): (i64, i64, i64, Vec<u8>) =
        rusqlite::Connection::open(state.join("ledger.sqlite"))
            .unwrap()
            .query_row(
                "SELECT d.sink, d.content, c.records, k.body FROM delivery d JOIN content c ON c.id = d.content
             JOIN chunk k ON k.content = c.id AND k.seq = 0 JOIN stream s ON s.id = c.stream
             WHERE d.ready = 1 AND d.progress = 0 AND c.records > 3 AND s.origin = 'listed'
               AND NOT EXISTS (SELECT 1 FROM copy p WHERE p.content = c.id) ORDER BY c.id LIMIT 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .unwrap();
    let opened = chunk::open(&body).unwrap();
    let frames: Vec<_> = chunk::frames(&opened).map(Result::unwrap).take(2).collect();
    let attack = b"{\"Id\":\"\x1b[2J\x9b31m\xe2\x80\xae\"}".to_vec();
    let refused = frames.iter().enumerate().map(|(position, frame)| Refused {
        content,
        position: position as i64,
        id: frame.id,
        operation: "Create\u{202e}Flow".into(),
        words: "field \u{1b}]0;x too long".into(),
        record: if position == 0 { frame.record.to_vec() } else { attack.clone() },
        second: frame.second,
        unreadable: position == 1,
        no_id: frame.no_id,
    });
    let refused: Vec<Refused> = refused.collect();
    let kept = refused.iter().map(|one| (one.id.to_string(), one.record.clone())).collect();
    let step = Progress { content, to: records, delivered: records as u64 - 2, quarantined: 2, ..Progress::default() };
    let _lock = lock(&state).unwrap();
    let ledger = Ledger::open(&state).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(ledger.confirm(sink, vec![step], refused, 1_700_000_000_000)).unwrap();
    kept
}

fn obeyed(text: &str) -> Option<char> {
    text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}')
}

#[test]
fn what_was_refused_is_shown_harmless_and_offered_again_or_given_up() {
    let stage = stuck("");
    let kept = refuse(&stage);
    let settled = account(&stage, "stuck", "delivered");

    let (code, listed, _) = run(&stage, &["quarantine", "list", "--sink", "stuck"]);
    assert_eq!((code, listed.lines().count(), obeyed(&listed)), (Some(0), 2, None), "{listed}");
    assert!(listed.lines().next().unwrap().ends_with("Create\\u{202e}Flow: field  ]0;x too long"), "{listed}");
    let (_, json, _) = run(&stage, &["quarantine", "list", "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((rows[0]["event"].as_str(), obeyed(&json)), (Some(kept[0].0.as_str()), None));
    let numbers: Vec<String> = (0..2).map(|n| rows[n]["id"].to_string()).collect();

    let (code, shown, _) = run(&stage, &["quarantine", "show", &numbers[1]]);
    assert_eq!((code, obeyed(&shown)), (Some(0), None), "{shown}");
    assert!(shown.contains("(it is not UTF-8: --raw prints its bytes)"), "{shown}");
    for (number, (_, record)) in numbers.iter().zip(&kept) {
        let raw = stage.command(&["quarantine", "show", "--raw", number]).output().unwrap();
        assert_eq!(&raw.stdout, record, "as Microsoft sent it");
    }
    let (_, text, _) = run(&stage, &["sinks"]);
    assert!(text.contains("\n  quarantine: 2 records, "), "{text}");

    let (code, _, words) = run(&stage, &["quarantine", "retry", "999"]);
    let none =
        "auditferry: there is no record 999 in the quarantine; `auditferry quarantine list` shows what there is\n";
    assert_eq!((code, words.as_str()), (Some(1), none));
    let (code, _, words) = run(&stage, &["quarantine", "list", "--sink", "stick"]);
    assert_eq!(
        (code, words.as_str()),
        (Some(1), "auditferry: there is no sink `stick` in the ledger; did you mean `stuck`?\n")
    );
    let (code, _, words) = run(&stage, &["quarantine", "drop", "--all"]);
    let yes = "auditferry: 2 records would be given up for good: say --yes, or name the ones you mean\n";
    assert_eq!((code, words.as_str()), (Some(2), yes));
    assert_eq!(stage.status().unwrap()["requests"], serde_json::json!([]), "nothing of this was asked");

    // its folder is there now
    fs::create_dir(stage.path("later")).unwrap();
    let mut agent = stage.agent();
    let (code, said, words) = run(&stage, &["quarantine", "drop", &numbers[1], "--wait"]);
    assert_eq!((code, said.as_str()), (Some(0), "request 1: 1 records were given up and are in a gap\n"), "{words}");
    let (code, said, words) = run(&stage, &["quarantine", "retry", "--all", "--wait"]);
    let again = "request 2: 1 records are owed to their sinks again, encoded anew\n";
    assert_eq!((code, said.as_str()), (Some(0), again), "{words}");
    // with what the agent says of the gap
    stage.wait(PATIENCE, "everything delivered", || {
        stage.said("later/stuck.jsonl").contains("dropped by an operator") && pending(&stage)["stuck"] == (0, 0)
    });
    let arrived = ids(&stage.path("later/stuck.jsonl"));
    assert!(arrived.contains(&kept[0].0) && !arrived.contains(&kept[1].0));
    // the same event as if it had never been refused
    let event = event(&stage.path("later/stuck.jsonl"), &kept[0].0);
    assert_eq!(event["metadata"]["log_name"], "Audit.General");

    let status = stage.status().unwrap();
    assert_eq!(status["closed"], true, "{status}");
    let gap = &status["gaps"][0];
    assert_eq!((&gap["reason"], &gap["records"]), (&"dropped by an operator".into(), &1.into()));
    assert!(gap["asked_by"].as_str().unwrap().contains("uid "), "{gap}");
    assert_eq!((account(&stage, "stuck", "quarantined"), account(&stage, "stuck", "lost")), (0, 1));
    assert!(account(&stage, "stuck", "delivered") > settled);
    let (code, _, words) = run(&stage, &["quarantine", "retry", "--all"]);
    assert_eq!((code, words.as_str()), (Some(0), "nothing of that is in quarantine\n"));
    assert_eq!(agent.terminate(), Some(0));
}

fn event(path: &Path, id: &str) -> serde_json::Value {
    lines(path).into_iter().find(|line| line["metadata"]["uid"] == id).unwrap()
}

#[test]
fn a_sink_that_is_gone_is_retired_by_the_running_agent_or_by_the_next_one() {
    let kept = |stage: &Stage| file_sink(stage, "kept", "kept.jsonl");
    let stage = stuck("");
    let (code, _, words) = run(&stage, &["retire-sink", "stuck"]);
    let first = "auditferry: sink `stuck` is in the configuration: take it out there and start the agent again, then ask once more\n";
    assert_eq!((code, words.as_str()), (Some(2), first));
    refuse(&stage);
    let owed = account(&stage, "stuck", "owed");
    let settled = account(&stage, "stuck", "delivered");

    stage.configure("", &kept(&stage));
    let (code, _, words) = run(&stage, &["retire-sink", "stack"]);
    let unknown = "auditferry: there is no sink `stack` in the ledger; did you mean `stuck`?\n";
    assert_eq!((code, words.as_str()), (Some(1), unknown));
    // nobody runs: it is asked, and done by the next agent
    let (code, said, words) = run(&stage, &["retire-sink", "stuck"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(words.contains("nobody has taken request 1 up yet") && words.contains("It is kept"), "{words}");
    let mut agent = stage.agent();
    let outcome = || stage.status().and_then(|status| status["requests"][0]["outcome"].as_str().map(str::to_owned));
    stage.wait(PATIENCE, "the request done", || outcome().is_some());
    let lost = owed - settled;
    let words = format!("retired: {lost} records and 0 contents that were never read became gaps");
    assert_eq!(outcome(), Some(words));
    let status = stage.status().unwrap();
    assert_eq!(status["closed"], true);
    assert_eq!((account(&stage, "stuck", "lost"), account(&stage, "stuck", "pending")), (lost, 0));
    // nobody else was owed these bodies; what the agent says of the gap is on its way to the other sink
    let bodies = || stage.status().and_then(|status| status["ledger"]["body_bytes"].as_u64());
    stage.wait(PATIENCE, "no body left", || bodies() == Some(0));
    assert_eq!(run(&stage, &["check"]).0, Some(0), "nothing is gone while owed any more");
    // the agent that runs does it too, and refuses what it can't
    let (code, _, words) = run(&stage, &["retire-sink", "stuck", "--wait"]);
    assert_eq!(code, Some(1), "{words}");
    assert_eq!(agent.terminate(), Some(0));

    // the name is a new sink's: owed from its own start on
    stage.configure("", &(kept(&stage) + &file_sink(&stage, "stuck", "stuck.jsonl")));
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "a start", || stage.said("agent.log").matches("/metrics").count() == 3);
    stage.wait(PATIENCE, "nothing owed", || pending(&stage).get("stuck") == Some(&(0, 0)));
    assert_eq!(stage.status().unwrap()["closed"], true);
    assert_eq!(agent.terminate(), Some(0));
}
