//! A wrong token, index or topic: nobody but the sink waits, nothing is quarantined, and with the right one everything arrives.

use std::collections::BTreeMap;

use auditferry_conformance::fakes::hec::Behaviour;

use crate::{
    fakes::{Receivers, hec_options, quarantine, record, settle, stage, states},
    support::{PATIENCE, file_sink, ids, level},
};

const RECORDS: u64 = 60;

#[test]
fn a_wrong_token_index_or_topic_quarantines_nothing() {
    let records: Vec<_> = (0..RECORDS as usize).map(|number| record(number, &[])).collect();
    let stage = stage(&records);
    let receivers = Receivers::new();
    let indexes = Behaviour { indexes: Some(vec!["main".into()]), ..Behaviour::default() };
    let (token, at_token) = receivers.hec(Behaviour::default());
    let (index, at_index) = receivers.hec(indexes);
    let (_inspector, kafka, at_topic) = receivers.kafka("audit");
    let sinks = |token_text: &str, index_name: &str, topic: &str| {
        file_sink(&stage, "all", "all.jsonl")
            + &format!("[[sink]]\nname = \"token\"\n{}\n\n", hec_options(&stage, &token, token_text))
            + &format!(
                "[[sink]]\nname = \"index\"\n{}\nindex = \"{index_name}\"\n\n",
                hec_options(&stage, &index, "right")
            )
            + &format!(
                "[[sink]]\nname = \"topic\"\nkind = \"kafka\"\nbrokers = [\"{}\"]\ntopic = \"{topic}\"\n\n",
                kafka.bootstrap_servers()
            )
    };
    stage.configure("", &sinks("mistyped-token", "nowhere", "audits"));
    let mut agent = stage.agent();
    let stands = |wrong: [u64; 3]| -> BTreeMap<String, [u64; 3]> {
        let sinks = [("all", [RECORDS, 0, 0]), ("index", wrong), ("token", wrong), ("topic", wrong)];
        sinks.map(|(sink, books)| (sink.to_owned(), books)).into()
    };
    let blocked = || level(&stage.said("agent.log"), "ERROR").iter().filter(|line| line.contains("blocked")).count();
    settle(&stage, &stands([0, 0, RECORDS]));
    stage.wait(PATIENCE, "all but one blocked", || blocked() == 3);
    let words = [
        ("token", "Invalid token"),
        ("index", "Incorrect index"),
        ("topic", "kafka knows no topic audits, or not that partition: create it, or let this user describe it"),
    ];
    let errors = level(&stage.said("agent.log"), "ERROR");
    for (sink, words) in words {
        assert!(
            errors.iter().any(|line| line.contains("blocked, a person must act: ") && line.contains(words)),
            "{sink}: {errors:#?}"
        );
    }
    stage.wait(PATIENCE, "the words in `sinks`", || {
        let states = states(&stage);
        words.iter().all(|(sink, words)| states[*sink]["error"].as_str().is_some_and(|error| error.contains(words)))
    });
    assert!(!stage.said("agent.log").contains("mistyped-token"), "a secret was logged");
    assert!(quarantine(&stage).is_empty());
    assert_eq!((at_token.messages(), at_index.messages(), at_topic.messages()), (0, 0, 0));
    assert_eq!(agent.terminate(), Some(0));

    stage.configure("", &sinks("right", "main", "audit"));
    let mut agent = stage.agent();
    settle(&stage, &stands([RECORDS, 0, 0]));
    // the agent's own events of what was blocked, and that it is over, come last
    stage.wait(PATIENCE, "nothing owed", || states(&stage).values().all(|state| state["state"] == "idle"));
    assert!(kafka.catch_up() && kafka.missed() == 0);
    let all = ids(&stage.path("all.jsonl"));
    for (sink, arrivals) in [("token", &at_token), ("index", &at_index), ("topic", &at_topic)] {
        let counts = arrivals.counts();
        assert!(counts.keys().map(ToString::to_string).eq(all.iter().cloned()), "{sink}");
        assert_eq!(arrivals.messages(), counts.len() as u64, "{sink}: something came twice");
        assert_eq!(counts.len() as u64, RECORDS + 6, "{sink}: three sinks were blocked, and are not any more");
    }
    assert!(quarantine(&stage).is_empty());
    assert_eq!(stage.status().unwrap()["closed"], true);
    assert_eq!(agent.terminate(), Some(0));
}
