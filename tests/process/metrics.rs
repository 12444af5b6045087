//! The scrape of a running agent: every metric, in the text format, each series once.

use std::collections::{BTreeMap, BTreeSet};

use auditferry::metrics;

use crate::{
    agent::Stage,
    support::{PATIENCE, drained, file_sink, get, pending, series},
};

/// Metrics that have no series while nothing of the kind has happened.
const QUIET: [&str; 6] = [
    "auditferry_certificate_expires_timestamp_seconds",
    "auditferry_stream_failing",
    "auditferry_lost_contents_total",
    "auditferry_sink_unconfigured",
    "auditferry_fetch_failures_total",
    "auditferry_gaps_by_reason",
];

/// One line of a sample: name, labels as written, value.
fn sample(line: &str) -> (String, String, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = match value {
        "+Inf" => f64::INFINITY,
        number => number.parse().unwrap_or_else(|_| panic!("no number: {line}")),
    };
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("no brace: {line}"))),
        None => (series, ""),
    };
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{line}");
    // none of these values holds a comma or a quote
    for label in labels.split(',').filter(|_| !labels.is_empty() && !labels.contains("features")) {
        let (key, value) = label.split_once('=').unwrap_or_else(|| panic!("no label: {line}"));
        assert!(!key.is_empty() && value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
    }
    (name.to_owned(), labels.to_owned(), value)
}

fn values_of(text: &str, name: &str) -> Vec<f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(sample);
    samples.filter(|(of, ..)| of == name).map(|(.., value)| value).collect()
}

#[test]
fn every_metric_is_there_once_and_can_be_read() {
    let stage = Stage::new(&["--profile", "demo", "--publish-for", "1s"]);
    stage.configure("", &file_sink(&stage, "one", "one.jsonl"));
    let mut agent = stage.agent();
    drained(&stage, "one");
    // the last content may be listed after the first was delivered
    stage.wait(PATIENCE, "nothing owed, and nothing pending", || {
        let text = get(&stage, "/metrics").map(|(_, text)| text).unwrap_or_default();
        text.contains("auditferry_seconds_to_loss +Inf\n") && pending(&stage)["one"] == (0, 0)
    });
    let (status, text) = get(&stage, "/metrics").unwrap();
    assert_eq!(status, 200);

    let (mut kinds, mut helps) = (BTreeMap::new(), BTreeSet::new());
    let (mut names, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, _) = rest.split_once(' ').unwrap();
            assert!(helps.insert(name.to_owned()), "HELP twice: {name}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(kinds.insert(name.to_owned(), kind).is_none(), "TYPE twice: {name}");
        } else {
            let (name, labels, value) = sample(line);
            assert!(kinds.contains_key(&name) && helps.contains(&name), "no HELP or TYPE before {line}");
            assert!(seen.insert((name.clone(), labels)), "twice: {line}");
            assert!(value >= 0.0, "{line}");
            names.insert(name);
        }
    }
    let all: BTreeSet<String> = metrics::ALL.iter().map(|it| it.0.to_owned()).collect();
    let missing: BTreeSet<_> = all.difference(&names).map(String::as_str).collect();
    assert_eq!(missing, BTreeSet::from(QUIET), "in\n{text}");
    assert!(names.is_subset(&all), "not in the documentation: {:?}", names.difference(&all));
    assert_eq!(series(&text, "auditferry_books_open"), Some(0.0));
    let newest = values_of(&text, "auditferry_stream_newest_content_age_seconds");
    assert!(newest.len() == 1 && newest[0] < 600.0, "the service published moments ago: {newest:?}");
    assert_eq!(series(&text, "auditferry_ledger_writable"), Some(1.0));
    assert_eq!(agent.terminate(), Some(0));
}
