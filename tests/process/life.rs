//! Years go by: copies of the ledger are put back, files are rotated, tenants leave, somebody asks for help.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    process::Command,
};

use crate::{
    agent::{SECRET, Stage, lines},
    kill::listed_to_the_end,
    support::{PATIENCE, delivered, file_sink, get, level, pending, start, wanted},
};

const TENANT: &str = "41463f53-8812-40f4-890f-865bf6e35190";

/// Exit code, standard output, standard error of a command.
fn run(stage: &Stage, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = stage.command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// How often each record arrived, by the `Id` that Microsoft gave it.
fn arrived(stage: &Stage, files: &[&str]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in files.iter().flat_map(|file| lines(&stage.path(file))) {
        // what the agent says itself has none
        if let Some(id) = line["metadata"]["original_event_uid"].as_str() {
            *counts.entry(id.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Waits until the simulator has published everything and the sink has it, then ends both.
fn to_the_end(stage: &mut Stage, agent: &mut crate::agent::Process, publish: u64, sink: &str) -> BTreeSet<String> {
    stage.wait(publish + PATIENCE, "everything listed and delivered", || {
        stage.status().is_some_and(|status| listed_to_the_end(stage, &status, publish))
            && pending(stage)[sink] == (0, 0)
    });
    assert_eq!(agent.terminate(), Some(0));
    stage.simulator.terminate();
    wanted(stage)
}

#[test]
fn a_copy_made_under_load_is_put_back_and_nothing_is_lost_only_repeated() {
    let publish = 20;
    let arguments = ["--profile", "demo", "--rate", "100", "--backfill", "30s", "--publish-for", "20s", "--report-ids"];
    let mut stage = Stage::new(&arguments);
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "something delivered", || delivered(&stage, "one") > 200);
    let copy = stage.path("copy.sqlite");
    let (code, out, err) = run(&stage, &["backup", copy.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains(": the whole ledger, ") && out.contains("keep it as safe as "), "{out}");
    let (code, _, err) = run(&stage, &["backup", copy.to_str().unwrap()]);
    assert_eq!(
        (code, err),
        (Some(1), format!("auditferry: {} is there already: give another name, or move it away\n", copy.display()))
    );
    let before = delivered(&stage, "one");
    stage.wait(PATIENCE, "more delivered", || delivered(&stage, "one") > before + 500);
    let (code, _, err) = run(&stage, &["restore", copy.to_str().unwrap()]);
    assert_eq!(code, Some(3), "{err}");
    assert!(err.contains("is in use by another agent (process "), "{err}");
    // the machine dies: what is in the log of the ledger that is replaced must not be played into the copy
    agent.0.kill().unwrap();
    agent.0.wait().unwrap();
    assert!(stage.path("state/ledger.sqlite-wal").exists());
    let lost = delivered(&stage, "one");
    let (code, out, err) = run(&stage, &["restore", copy.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("replaced.sqlite") && out.ends_with("with the same event ids\n"), "{out}");
    let known = delivered(&stage, "one");
    assert!(known + 500 < lost, "{known} in the copy, {lost} had been delivered");

    let mut agent = stage.agent();
    let wanted = to_the_end(&mut stage, &mut agent, publish, "one");
    let arrived = arrived(&stage, &["one.jsonl"]);
    let missing: Vec<_> = wanted.iter().filter(|id| !arrived.contains_key(*id)).collect();
    assert!(wanted.len() > 1000 && missing.is_empty(), "{} of {} are missing", missing.len(), wanted.len());
    let repeats: usize = arrived.values().map(|count| count - 1).sum();
    println!("{} records, {repeats} repeats after a copy that was {} records old", wanted.len(), lost - known);
    // what was out and not yet confirmed when the copy was made, and when the machine died, comes again too
    assert!(repeats > 0 && repeats as u64 <= lost - known + 5000, "{repeats} repeats");
    let status = stage.status().unwrap();
    assert_eq!((&status["closed"], &status["gaps"]), (&true.into(), &serde_json::json!([])));
}

#[test]
fn a_file_that_is_rotated_under_load_loses_and_repeats_nothing_and_is_no_failure() {
    let mut stage =
        Stage::new(&["--profile", "demo", "--rate", "40", "--backfill", "30s", "--publish-for", "10s", "--report-ids"]);
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    let mut agent = stage.agent();
    let mut files = vec!["one.jsonl".to_owned()];
    for round in 1..=5 {
        let before = delivered(&stage, "one");
        stage.wait(PATIENCE, "more delivered", || delivered(&stage, "one") > before + 50);
        let name = format!("one.jsonl.{round}");
        fs::rename(stage.path("one.jsonl"), stage.path(&name)).unwrap();
        files.push(name);
    }
    let wanted = to_the_end(&mut stage, &mut agent, 10, "one");
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let arrived = arrived(&stage, &files);
    assert_eq!(arrived.keys().cloned().collect::<BTreeSet<_>>(), wanted);
    // between its two looks at the file's name a batch may be written into the one that is moved: it is written again
    let repeats: usize = arrived.values().map(|count| count - 1).sum();
    assert!(repeats <= 5000, "{repeats} repeats");
    let said = level(&stage.said("agent.log"), "WARN");
    assert!(said.len() <= 2 || repeats > 0, "{said:#?}");
}

#[test]
fn a_tenant_that_left_is_removed_with_everything_but_its_books() {
    let stage = Stage::new(&["--profile", "demo", "--tenants", "2", "--publish-for", "1s"]);
    let said = || stage.said("simulator.out");
    stage.wait(PATIENCE, "two sources", || said().matches("audience").count() == 2 && said().contains("listening"));
    let one = file_sink(&stage, "one", "one.jsonl");
    stage.configure("", &(one.clone() + &file_sink(&stage, "stuck", "missing/stuck.jsonl")));
    let printed = said();
    let second = printed.rsplit("[[source]]").next().unwrap();
    let second: Vec<&str> = second.lines().take_while(|line| !line.starts_with("simulate:")).collect();
    let second = second.join("\n").replace("15s", "1s");
    let tenant = second.lines().find(|line| line.starts_with("tenant")).and_then(|it| it.split('"').nth(1)).unwrap();
    let first_only = stage.said("auditferry.toml");
    fs::write(stage.path("auditferry.toml"), format!("{first_only}\n[[source]]{second}\n")).unwrap();
    let export = printed.lines().find_map(|line| line.strip_prefix("#   export SIMULATED_SECRET_1=")).unwrap();
    let agent = || start(&stage, stage.command(&["run"]).env("SIMULATED_SECRET_1", export), "agent.log");
    let mut running = agent();
    stage.wait(PATIENCE, "both tenants stored", || {
        let status = stage.status().unwrap_or_default();
        let streams = status["streams"].as_array().cloned().unwrap_or_default();
        let read = |it: &&serde_json::Value| it["read"].as_u64() > Some(0) && it["name"] != "agent";
        streams.iter().filter(read).count() == 2 && pending(&stage)["one"] == (0, 0)
    });
    let (code, _, err) = run(&stage, &["remove-tenant", tenant]);
    let words = format!(
        "auditferry: tenant {tenant} is source `simulated-1` of the configuration: take it out there and start the agent again, then ask once more\n"
    );
    assert_eq!((code, err), (Some(2), words));
    fs::write(stage.path("auditferry.toml"), &first_only).unwrap();
    // the configuration alone is not enough: the agent that runs still has it
    let (code, _, err) = run(&stage, &["remove-tenant", tenant, "--wait"]);
    assert!(code == Some(1) && err.contains("the agent runs with tenant "), "{err}");
    assert_eq!(running.terminate(), Some(0));
    let mut running = agent();
    let (code, _, err) = run(&stage, &["remove-tenant", tenant, "--wait"]);
    assert!(code == Some(1) && err.contains("are still owed to sinks") && err.contains("--lose-owed"), "{err}");
    let (code, out, err) = run(&stage, &["remove-tenant", &tenant.to_uppercase(), "--lose-owed", "--wait"]);
    assert!(code == Some(0) && out.contains(": its data is removed: "), "{out}{err}");
    let (code, _, err) = run(&stage, &["remove-tenant", "nobody"]);
    assert!(code == Some(1) && err.contains("there is no tenant nobody in the ledger"), "{err}");
    let (status, metrics) = (stage.status().unwrap(), get(&stage, "/metrics").unwrap().1);
    let age = |tenant: &str| format!("auditferry_stream_listing_age_seconds{{stream=\"{tenant}/Audit.General\"}}");
    assert!(metrics.contains(&age(TENANT)) && !metrics.contains(&age(tenant)), "a tenant that left wakes nobody");
    assert_eq!(status["closed"], true, "{status:#}");
    assert!(status["gaps"].as_array().unwrap().iter().any(|gap| gap["sink"] == "stuck"), "{status:#}");
    assert_eq!(running.terminate(), Some(0));
    // what the other tenant had for it is still there
    fs::create_dir(stage.path("missing")).unwrap();
    let mut running = agent();
    stage.wait(PATIENCE, "the other tenant at the sink that was stuck", || pending(&stage)["stuck"] == (0, 0));
    assert_eq!(running.terminate(), Some(0));
    assert_eq!(stage.status().unwrap()["closed"], true);
    let stuck = lines(&stage.path("missing/stuck.jsonl"));
    let own =
        |line: &&serde_json::Value| !line["api"]["operation"].as_str().unwrap_or_default().starts_with("AuditGap");
    let tenants = stuck.iter().filter(own).filter_map(|line| line["metadata"]["tenant_uid"].as_str());
    assert_eq!(tenants.collect::<BTreeSet<_>>(), BTreeSet::from([TENANT]));
    let ledger = rusqlite::Connection::open(stage.path("state/ledger.sqlite")).unwrap();
    let count = |sql: &str| -> i64 { ledger.query_row(sql, [tenant], |row| row.get(0)).unwrap() };
    let of = "stream IN (SELECT s.id FROM stream s JOIN tenant t ON t.id = s.tenant WHERE t.guid = ?1)";
    for what in [
        format!("chunk k JOIN content c ON c.id = k.content WHERE c.{of}"),
        format!("content WHERE {of} AND uri <> ''"),
        format!("quarantine WHERE {of}"),
        "seen WHERE tenant = (SELECT id FROM tenant WHERE guid = ?1)".to_owned(),
    ] {
        assert_eq!(count(&format!("SELECT count(*) FROM {what}")), 0, "{what}");
    }
    let others = "SELECT count(*) FROM seen WHERE tenant <> (SELECT id FROM tenant WHERE guid = ?1)";
    assert!(count(others) > 100, "the other tenant has its own");
}

/// Everything that a bundle holds, and the names of its parts.
fn unpacked(path: &std::path::Path) -> (String, Vec<String>) {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut text).unwrap();
    let mut archive = tar::Archive::new(text.as_slice());
    let names = archive.entries().unwrap().map(|entry| {
        let path = entry.unwrap().path().unwrap().into_owned();
        path.components().skip(1).collect::<std::path::PathBuf>().display().to_string()
    });
    let names = names.collect();
    (String::from_utf8(text).unwrap(), names)
}

/// Secrets where a person may have put them, and records where the agent has them: none of it is in the bundle.
#[test]
fn a_support_bundle_holds_no_secret_and_no_record_whatever_is_broken() {
    const CANARY: &str = "canary8Q~of-a-secret-5b0f3a52";
    let stage = Stage::new(&["--profile", "demo", "--publish-for", "1s"]);
    let token = stage.path("token");
    fs::write(&token, format!("{CANARY}-hec\n")).unwrap();
    let sinks = file_sink(&stage, "one", "one.jsonl")
        + &file_sink(&stage, "stuck", "missing/stuck.jsonl")
        + &format!(
            "[[sink]]\nname = \"hec\"\nkind = \"splunk_hec\"\nendpoint = \"http://127.0.0.1:9\"\ntoken = {{ file = {token:?} }} # not {CANARY}-comment\n"
        );
    stage.configure("", &sinks);
    let mut agent = start(&stage, stage.command(&["run"]).env("AUDITFERRY_LOG", "trace"), "agent.log");
    stage.wait(PATIENCE, "everything delivered to one", || {
        pending(&stage).get("one") == Some(&(0, 0)) && delivered(&stage, "one") > 100
    });
    // a line that quotes a secret, as no line of ours does
    let log = stage.said("agent.log") + &format!("2026 INFO somebody wrote {CANARY}-hec here\n");
    fs::write(stage.path("some.log"), log).unwrap();
    let mut number = 0;
    let mut bundle = |arguments: &[&str]| {
        number += 1;
        let output = stage.path(&format!("bundle-{number}.tar.gz"));
        let mut command = stage.command(&["support-bundle", "--output", output.to_str().unwrap()]);
        let said = command.args(arguments).env("CANARY", format!("{CANARY}-variable")).output().unwrap();
        let words = String::from_utf8(said.stdout).unwrap() + &String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(0), "{words}");
        let (text, names) = unpacked(&output);
        for name in &names {
            assert!(words.contains(name.as_str()), "{name} is in it and not named: {words}");
        }
        for secret in [CANARY, "simulated-secret", "eyJ"] {
            assert!(!text.contains(secret) && !words.contains(secret), "{secret} is in the bundle");
        }
        text
    };
    let text = bundle(&["--log", stage.path("some.log").to_str().unwrap()]);
    for what in [
        "ledger schema: ",
        "*** (environment variable SIMULATED_SECRET)",
        "# ***",
        "kernel: Linux",
        "VmRSS:",
        "ids: ",
        "\"closed\": true",
        "auditferry_seconds_to_loss",
        "http 200\nlive",
        "missing/stuck.jsonl",
        "somebody wrote *** here",
        "\"promise\": \"stored\"",
    ] {
        // a comment is hidden up to its mark
        let what = if what == "# ***" { "#***" } else { what };
        assert!(text.contains(what), "{what} is missing");
    }
    // records: who did what, and their ids
    let mut looked_for = 0;
    for line in lines(&stage.path("one.jsonl")) {
        let actor = &line["actor"]["user"];
        for part in
            [&actor["email_addr"], &actor["name"], &line["metadata"]["uid"], &line["metadata"]["original_event_uid"]]
        {
            // what OCSF is told where a record names nobody is a word of ours
            let Some(part) = part.as_str().filter(|part| part.len() > 5 && *part != "unknown") else { continue };
            assert!(!text.contains(part), "{part} of a record is in the bundle");
            looked_for += 1;
        }
    }
    assert!(looked_for > 200, "{looked_for} texts are too few to prove anything");

    // the agent is down, and the ledger locked
    assert_eq!(agent.terminate(), Some(0));
    let locked = rusqlite::Connection::open(stage.path("state/ledger.sqlite")).unwrap();
    locked.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE meta SET value = value").unwrap();
    let text = bundle(&[]);
    assert!(text.contains("no answer from 127.0.0.1:") && text.contains("locked"), "{text}");
    drop(locked);
    // the ledger is broken, then gone
    fs::write(stage.path("state/ledger.sqlite"), "not a ledger at all, and quite long enough to be none").unwrap();
    let _ = fs::remove_file(stage.path("state/ledger.sqlite-wal"));
    assert!(bundle(&[]).contains("file is not a database"));
    fs::remove_file(stage.path("state/ledger.sqlite")).unwrap();
    assert!(bundle(&[]).contains("there is no ledger in "));
    // the configuration is broken, and holds what it should not
    let good = stage.said("auditferry.toml");
    let bad = good.replace("[agent]", &format!("[agnet]\n# old: {CANARY}-comment\n"))
        + &format!(
            "toekn = \"{CANARY}-token\"\nchannel = \"{CANARY}-channel\"\nx = {{ env = \"CANARY\" }}\nendpoint = \"https://me:{CANARY}@h\"\nnot = [toml\n"
        );
    fs::write(stage.path("auditferry.toml"), bad).unwrap();
    let text = bundle(&["--log", stage.path("some.log").to_str().unwrap()]);
    assert!(text.contains("in the configuration") && text.contains("there is no ledger in "), "{text}");
    // it can be read, and what is wrong with it is shown with its line
    let bad = good.replace("[agent]", &format!("[agent]\napi_gw = \"{CANARY}\"\npol = \"1s\" # {CANARY}-comment"));
    fs::write(stage.path("auditferry.toml"), bad).unwrap();
    let text = bundle(&[]);
    assert!(text.contains("unknown key `api_gw`") && text.contains("unknown key `pol`"), "{text}");
    fs::remove_file(stage.path("auditferry.toml")).unwrap();
    let text = bundle(&["--state-dir", stage.path("state").to_str().unwrap()]);
    assert!(text.contains("can't read ") && text.contains("there is no ledger in "), "{text}");

    // nothing is overwritten, and nobody else reads it
    use std::os::unix::fs::PermissionsExt;
    let first = stage.path("bundle-1.tar.gz");
    assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o600);
    let (code, _, err) = run(&stage, &["support-bundle", "--output", first.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(err.contains("can't be written: File exists") && err.contains("--output"), "{err}");
}

/// For every command: the variable in place of the flag.
#[test]
fn the_agent_and_its_commands_find_their_configuration_by_the_environment() {
    let stage = Stage::new(&["--profile", "demo", "--publish-for", "1s"]);
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    let text = stage.said("auditferry.toml");
    // three files: the agent, the source, the sink
    let (agent, rest) = text.split_at(text.find("[[source]]").unwrap());
    let (source, sink) = rest.split_at(rest.find("[[sink]]").unwrap());
    fs::create_dir(stage.path("etc")).unwrap();
    fs::write(stage.path("etc/agent.toml"), agent).unwrap();
    fs::write(stage.path("etc/source.toml"), source).unwrap();
    fs::write(stage.path("sink.toml"), sink.trim_end().to_owned() + "\nsources = [\"simulated\"]\n").unwrap();
    let named = std::env::join_paths([stage.path("etc"), stage.path("sink.toml")]).unwrap();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_auditferry"));
        command.args(arguments).env("AUDITFERRY_CONFIG", &named).env(SECRET, "simulated-secret");
        command
    };
    let mut running = start(&stage, &mut command(&["run"]), "agent.log");
    stage.wait(PATIENCE, "readiness", || get(&stage, "/readyz").is_some_and(|(status, _)| status == 200));
    stage.wait(PATIENCE, "something delivered", || {
        let status = command(&["status", "--json"]).output().unwrap();
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        let streams = status["streams"].as_array().cloned().unwrap_or_default();
        streams.iter().any(|it| {
            it["name"] == format!("{TENANT}/Audit.General") && it["sinks"][0]["delivered"].as_u64() > Some(100)
        })
    });
    for arguments in
        [&["check"][..], &["sinks"], &["quarantine", "list"], &["backup", stage.path("copy").to_str().unwrap()]]
    {
        let output = command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(running.terminate(), Some(0));
}
