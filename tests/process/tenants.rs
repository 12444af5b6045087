//! Two tenants in one process.

use std::collections::BTreeMap;

use crate::{
    agent::{Stage, lines},
    support::{PATIENCE, file_sink, pending, start},
};

#[test]
fn two_tenants_arrive_side_by_side_and_a_sink_can_have_one_of_them() {
    let stage = Stage::new(&["--profile", "demo", "--tenants", "2", "--publish-for", "1s"]);
    let said = || stage.said("simulator.out");
    stage.wait(PATIENCE, "two sources", || said().matches("audience").count() == 2 && said().contains("listening"));
    let only = file_sink(&stage, "second", "second.jsonl").trim_end().to_owned() + "\nsources = [\"simulated-1\"]\n\n";
    stage.configure("", &(file_sink(&stage, "both", "both.jsonl") + &only));
    let printed = said();
    let second = printed.rsplit("[[source]]").next().unwrap();
    let second: String =
        second.lines().take_while(|line| !line.starts_with("simulate:")).collect::<Vec<_>>().join("\n");
    let tenant = second.lines().find(|line| line.starts_with("tenant")).and_then(|it| it.split('"').nth(1)).unwrap();
    let text = stage.said("auditferry.toml") + "\n[[source]]" + &second.replace("15s", "1s");
    std::fs::write(stage.path("auditferry.toml"), &text).unwrap();
    let export = printed.lines().find_map(|line| line.strip_prefix("#   export SIMULATED_SECRET_1=")).unwrap();
    let mut agent = start(&stage, stage.command(&["run"]).env("SIMULATED_SECRET_1", export), "agent.log");
    stage.wait(PATIENCE, "both tenants delivered", || {
        let status = stage.status().unwrap_or_default();
        let streams = status["streams"].as_array().cloned().unwrap_or_default();
        let read = streams.iter().filter(|it| it["read"].as_u64() > Some(0)).count();
        read == 2 && pending(&stage).values().all(|owed| *owed == (0, 0))
    });
    assert_eq!(agent.terminate(), Some(0));
    let by_tenant = |file: &str| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for line in lines(&stage.path(file)) {
            let name = line["metadata"]["tenant_uid"].as_str().unwrap_or("none").to_owned();
            *counts.entry(name).or_default() += 1;
        }
        counts
    };
    let both = by_tenant("both.jsonl");
    assert!(both.len() == 2 && both.values().all(|count| *count > 100), "{both:?}");
    assert_eq!(by_tenant("second.jsonl"), BTreeMap::from([(tenant.to_owned(), both[tenant])]));
    assert_eq!(stage.status().unwrap()["closed"], true);
}
