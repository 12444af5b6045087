//! A row deleted by hand opens the books, and everything that shows them says so.

use crate::{
    agent::Stage,
    support::{PATIENCE, file_sink, get, pending, series},
};

#[test]
fn a_delivery_deleted_by_hand_opens_the_books_everywhere() {
    let stage = Stage::new(&["--profile", "demo", "--publish-for", "1s"]);
    // the folder of this sink is missing, so that something stays pending
    stage.configure("", &file_sink(&stage, "stuck", "missing/stuck.jsonl"));
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "something pending", || pending(&stage).get("stuck").is_some_and(|it| it.0 > 100));
    assert_eq!(agent.terminate(), Some(0));
    let closed = stage.command(&["status"]).output().unwrap();
    let text = String::from_utf8(closed.stdout).unwrap();
    assert_eq!(closed.status.code(), Some(0), "{text}");
    assert!(text.ends_with("the books close\n"), "{text}");

    let ledger = rusqlite::Connection::open(stage.path("state").join("ledger.sqlite")).unwrap();
    let (content, records): (i64, i64) = ledger
        .query_row(
            "SELECT d.content, c.records FROM delivery d JOIN content c ON c.id = d.content
             WHERE d.ready = 1 AND d.progress = 0 AND c.records > 0 LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(ledger.execute("DELETE FROM delivery WHERE content = ?", [content]).unwrap(), 1);
    drop(ledger);

    let open = stage.command(&["status"]).output().unwrap();
    let text = String::from_utf8(open.stdout).unwrap();
    assert_eq!(open.status.code(), Some(1), "{text}");
    let json = stage.command(&["status", "--json"]).output().unwrap();
    assert_eq!(json.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let stream = json["streams"].as_array().unwrap().iter().find(|it| it["read"].as_i64() > Some(0)).unwrap();
    let account = &stream["sinks"][0];
    let (owed, pending) = (account["owed"].as_i64().unwrap(), account["pending"].as_i64().unwrap());
    assert_eq!(owed - pending, records, "what is missing is what was deleted");
    let identity = format!(
        "the books of {} for sink stuck are open: owed {owed} is not delivered 0 + filtered 0 + skipped copies 0 + quarantined 0 + lost 0 + pending {pending}",
        stream["name"].as_str().unwrap()
    );
    assert_eq!((&json["closed"], &json["open"]), (&false.into(), &serde_json::json!([identity])));
    let last = text.lines().last().unwrap();
    assert_eq!(last, format!("{identity}; stop the agent, keep a copy of state_dir and ask for help"));

    let mut agent = stage.agent();
    stage.wait(PATIENCE, "metrics that name the defect", || {
        get(&stage, "/metrics").is_some_and(|(_, text)| series(&text, "auditferry_books_open") == Some(1.0))
    });
    assert_eq!(agent.terminate(), Some(0));
}

/// I6: the disk that an agent takes is what `status` says, and bodies are a part of it.
#[test]
fn what_lies_in_the_state_directory_is_what_status_says() {
    let stage = Stage::new(&["--profile", "demo", "--publish-for", "1s"]);
    stage.configure("", &file_sink(&stage, "stuck", "missing/stuck.jsonl"));
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "bodies that nobody takes", || {
        stage.status().is_some_and(|status| status["ledger"]["body_bytes"].as_u64() > Some(200_000))
    });
    assert_eq!(agent.terminate(), Some(0));
    let status = stage.status().unwrap();
    let said = |name: &str| status["ledger"][name].as_u64().unwrap();
    let files = std::fs::read_dir(stage.path("state")).unwrap().map(|file| file.unwrap());
    let lie: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    let total = said("file_bytes") + said("wal_bytes");
    println!("{lie} bytes in the directory; status: {total}, {} of them bodies", said("body_bytes"));
    // more: the lock file, and what SQLite shares between processes; less: pages that are in the log and not yet in the file count in both
    assert!(lie <= total + 64 * 1024 && lie + (1 << 20) > total, "{lie} bytes lie there, status says {total}");
    assert!(said("body_bytes") < said("file_bytes"), "{status:#}");
}
