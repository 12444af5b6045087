//! Original, event, encoded line: over the sample records of other projects, against the published schema.
//!
//! `tests/data/samples` has the records and where they come from, `tests/data/ocsf-1.8.0` the schema.

mod activities;
mod cef;
mod leaves;
mod pinned;
mod rules;

use std::{collections::BTreeMap, fs, path::Path};

use auditferry::cli::map::{self, Map};
use serde_json::Value;

/// Every file of samples, by name, in the order of names.
fn samples() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/samples");
    let files: BTreeMap<_, _> = fs::read_dir(folder)
        .expect("the folder of samples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("text"))
        })
        .collect();
    assert_eq!(files.len(), 9);
    files
}

/// What `auditferry map` writes, and how many records it could not read.
fn mapped(codec: &str, no_raw_data: bool, input: &str) -> (String, u64) {
    let args = Map { codec: codec.to_owned(), no_raw_data, tenant: None, file: "-".into() };
    let mut out = Vec::new();
    let bad = map::map(&args, &mut input.as_bytes(), &mut out, &mut Vec::new()).expect("nothing can fail here");
    (String::from_utf8(out).expect("UTF-8"), bad)
}

/// One record as an OCSF event without `raw_data`.
fn ocsf(record: &str) -> Value {
    let (line, bad) = mapped("ocsf", true, record);
    assert_eq!(bad, 0, "{record}");
    serde_json::from_str(&line).expect("one line of JSON")
}

#[test]
fn one_line_for_each_record_in_order() {
    let mut records = 0;
    for (name, text) in samples() {
        for (codec, no_raw_data) in [("ocsf", false), ("ocsf", true), ("cef", false), ("raw", false)] {
            let (out, bad) = mapped(codec, no_raw_data, &text);
            assert_eq!(bad, 0, "{name}");
            assert!(out.ends_with('\n') && !out.contains('\r'));
            assert_eq!(out.lines().count(), text.lines().count(), "{name}");
            if codec == "raw" {
                assert_eq!(out, text, "{name}");
                continue;
            }
            if codec == "cef" {
                assert!(out.lines().all(|line| line.starts_with("CEF:0|Microsoft|")), "{name}");
                continue;
            }
            for (original, line) in text.lines().zip(out.lines()) {
                let original: Value = serde_json::from_str(original).expect("a record");
                let line: Value = serde_json::from_str(line).expect("an event");
                assert_eq!(
                    line["metadata"].get("original_event_uid"),
                    original.get("Id").filter(|id| **id != ""),
                    "{name}"
                );
                assert_eq!(line.get("raw_data").is_some(), !no_raw_data);
            }
        }
        records += text.lines().count();
    }
    assert_eq!(records, 71);
}

#[test]
fn a_pretty_printed_array_gives_the_same_lines() {
    for (name, text) in samples() {
        let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
        let lines: Vec<_> = records.iter().map(Value::to_string).collect();
        let pretty = serde_json::to_string_pretty(&records).expect("an array");
        for codec in ["ocsf", "cef", "raw"] {
            // where something is cut, the line says how long the record is
            let (out, bad) = mapped(codec, true, &pretty);
            let (expected, _) = mapped(codec, true, &lines.join("\n"));
            let without_length = |out: &str| -> Vec<_> {
                out.lines().map(|line| line.split(" cn1=").next().unwrap_or(line).to_owned()).collect()
            };
            assert_eq!((without_length(&out), bad), (without_length(&expected), 0), "{name}");
        }
    }
}

#[test]
fn mapping_twice_gives_the_same_even_without_a_time() {
    let without = r#"{"Workload":"MicrosoftFlow","Operation":"StartAPaidTrial"}"#;
    let line = ocsf(without);
    assert_eq!(line, ocsf(without));
    assert_eq!(line["time"], 0);
    assert!(line["metadata"]["labels"].as_array().is_some_and(|labels| labels.contains(&"time:unknown".into())));
    for (name, text) in samples() {
        assert_eq!(mapped("ocsf", false, &text), mapped("ocsf", false, &text), "{name}");
    }
}

/// The ids are pinned: a change here is a new rule version (`docs/identity.md`).
#[test]
fn event_ids_of_the_samples_are_pinned() {
    let mut found = String::new();
    for (name, text) in samples() {
        for (number, line) in mapped("ocsf", true, &text).0.lines().enumerate() {
            let event: Value = serde_json::from_str(line).expect("an event");
            let id = event["metadata"]["uid"].as_str().expect("an id");
            found.push_str(&format!("{id} {name}:{}\n", number + 1));
        }
    }
    let pinned = include_str!("event_ids.txt");
    assert_eq!(found, pinned, "an id changed: that is a new rule version");
    let different: std::collections::BTreeSet<_> = pinned.lines().filter_map(|line| line.get(..36)).collect();
    assert_eq!(different.len(), 71, "two samples share an id");
}
