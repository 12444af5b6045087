//! The list of keys against the dictionary and the page; where texts are cut. How lines read is tested from outside, by
//! a parser of the specification, in `tests/golden/cef`.

use std::collections::BTreeSet;

use auditferry_contract::EventId;
use jiff::Timestamp;

use super::{
    keys::{self, Kind},
    *,
};
use crate::{
    config::CodecName,
    event::{self, Context},
};

const DICTIONARY: &str = include_str!("../../../tests/data/cef/keys.tsv");
const PAGE: &str = include_str!("../../../docs/cef.md");

/// Type and length of a producer key of CEF 0.1.
fn dictionary(name: &str) -> Option<(&'static str, &'static str)> {
    DICTIONARY.lines().find_map(|line| {
        let columns: Vec<_> = line.split('\t').collect();
        (columns[0] == name && columns[4..] == ["producer", "0.1"]).then(|| (columns[2], columns[3]))
    })
}

#[test]
fn every_key_is_as_the_dictionary_has_it() {
    assert_eq!(DICTIONARY.lines().filter(|line| line.ends_with("\tproducer\t0.1")).count(), 122);
    for key in keys::ALL {
        let (kind, length) = match key.kind {
            Kind::Text(bytes) => ("string", bytes.to_string()),
            Kind::Integer if key.name == "cn1" => ("long", String::new()),
            Kind::Integer => ("integer", String::new()),
            Kind::Time => ("timestamp", String::new()),
            Kind::Ipv4 => ("ipv4_address", String::new()),
            Kind::Ipv6 => ("ipv6_address", String::new()),
        };
        // in the standard's text and missing in its table
        let listed = if key.name == "c6a2" { "c6a1" } else { key.name };
        assert_eq!(dictionary(listed), Some((kind, &*length)), "{}", key.name);
        let label = dictionary(&format!("{listed}Label"));
        assert_eq!(label.is_some(), key.label.is_some(), "{}: custom fields, and only they, have labels", key.name);
        let most: usize = label.map_or(Ok(usize::MAX), |(_, length)| length.parse()).expect("a length");
        assert!(key.label.is_none_or(|label| !label.is_empty() && label.len() <= most), "{}", key.name);
    }
}

#[test]
fn the_page_says_what_the_code_does() {
    let table = PAGE.split("\n## Extension\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the table");
    let rows: Vec<(bool, String, String, String)> = table
        .lines()
        .filter(|line| line.starts_with("| `") || line.starts_with("| **`"))
        .map(|line| {
            let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', ""));
            let cells: Vec<_> = cells.collect();
            let [key, label, holds, bytes] = <[String; 4]>::try_from(cells).expect("four cells");
            assert!(!holds.is_empty());
            (key.starts_with("**"), key.replace('*', ""), label, bytes)
        })
        .collect();
    let code: BTreeSet<_> = keys::ALL
        .iter()
        .map(|key| {
            let bytes = if let Kind::Text(bytes) = key.kind { bytes.to_string() } else { String::new() };
            (key.identity, key.name.to_owned(), key.label.unwrap_or_default().to_owned(), bytes)
        })
        .collect();
    assert_eq!(rows.len(), code.len(), "a row twice");
    assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), code);
    for word in ["`CEF:0`", "version of this mapping, `1`", "1,536 bytes", "first 3000 bytes"] {
        assert!(PAGE.contains(word), "{word}");
    }
    assert_eq!(MAPPING, "1");
}

#[test]
fn sinks_are_told_what_the_codec_writes() {
    for (name, codec) in CodecName::NAMES {
        let format = codec.format();
        let codec = super::super::by_name(name, Default::default()).expect("a codec");
        assert_eq!((format.codec, format.media_type), (codec.name(), codec.media_type()));
        assert_eq!(format.schema, codec.schema());
    }
    assert_eq!(CodecName::NAMES.map(|(name, _)| name), super::super::NAMES);
}

fn context() -> Context<'static> {
    Context {
        tenant: "41463f53-8812-40f4-890f-865bf6e35190",
        content_type: "Audit.General",
        content_id: "content",
        content_created: Timestamp::constant(1_779_200_000, 0),
        fetched: None,
        id: EventId::from_digest([7; 16]),
    }
}

fn within(record: &str, limit: usize) -> Option<String> {
    let event = event::read(record.as_bytes(), &context()).expect("a record");
    let mut out = Vec::new();
    Cef.encode_within(&event, limit, &mut out).then(|| String::from_utf8(out).expect("UTF-8"))
}

fn line(record: &str) -> String {
    within(record, usize::MAX).expect("a line")
}

#[test]
fn texts_are_cut_at_their_length_and_not_before() {
    let user = |text: &str| line(&format!(r#"{{"Operation":"o","UserId":"{text}"}}"#));
    let whole = "ä".repeat(511) + "x";
    assert!(user(&whole).contains(&format!(" suser={whole} ")));
    assert!(user(&whole).contains(" flexString2=msg "), "only the sentence about it is cut");
    assert!(!user("ä").contains("flexString2"));
    let over = user(&"ä".repeat(512));
    assert!(over.contains(&format!(" suser={}… ", "ä".repeat(510))), "{over}");
    // the sentence for a person is as long and is cut as well
    assert!(
        over.ends_with(" cn1=1053 cn1Label=RecordBytes flexString2=suser,msg flexString2Label=Shortened"),
        "{over}"
    );
    // an escape is never torn: what is cut is the text before escaping
    let slashes = user(&"\\\\".repeat(1_024));
    assert!(slashes.contains(&format!(" suser={}… ", "\\\\".repeat(1_020))), "{slashes}");
    // replacements count as what they become
    let bells = user(&"\\u0007".repeat(342));
    assert!(bells.contains(&format!(" suser={}… ", "␇".repeat(340))), "{bells}");
}

#[test]
fn an_inexact_time_is_known_by_what_is_missing() {
    let told = line(r#"{"Operation":"o","CreationTime":"2026-05-19T13:17:34"}"#);
    assert!(told.contains("|rt=1779196654000 start=1779196654000 "), "{told}");
    let untold = line(r#"{"Operation":"o","CreationTime":"19 May"}"#);
    assert!(
        untold.contains("|rt=1779200000000 act=o ") && untold.contains(r#"cs5={"CreationTime":"19 May"} "#),
        "{untold}"
    );
}

#[test]
fn an_operation_of_nothing_but_space_still_has_a_class() {
    let blank = line(r#"{"Operation":" \n\u0000 ","Workload":"x"}"#);
    assert!(blank.starts_with("CEF:0|Microsoft|Microsoft 365|1|unknown|unknown|1|rt="), "{blank}");
}

#[test]
fn properties_keep_what_rules_look_at_when_there_is_little_room() {
    let columns: Vec<_> = (0..200).map(|n| format!(r#"{{"Name":"column{n}","Value":"value {n}"}}"#)).collect();
    let record = format!(
        r#"{{"Aaa":"{}","RecordType":21,"Workload":"CRM","Message":"Update","Operation":"CrmDefaultActivity",
        "Fields":[{}],"Last":"x\u2028=","Last":"twice"}}"#,
        "long ".repeat(2_000),
        columns.join(",")
    );
    for (limit, most) in [(usize::MAX, 4_000), (4_000, 2_000), (2_000, 1_000)] {
        let line = within(&record, limit).expect("fits");
        let json = line.split(" cs5=").nth(1).and_then(|rest| rest.split(" cs5Label=").next()).expect("properties");
        let json = json.replace("\\\\", "\\").replace("\\=", "=");
        assert!(json.len() <= most && json.len() > most / 2, "{} of {most}", json.len());
        let properties: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(properties["Message"], "Update");
        let fields = properties["Fields"].as_array().expect("a list");
        assert_eq!((&fields[0]["Name"], fields.last()), (&"column0".into(), Some(&"…".into())));
        assert!(properties["left_out"].as_u64().is_some_and(|n| n >= 2), "{properties:#}");
        assert!(line.contains(" flexString2=cs5 "));
    }
    let small = line(r#"{"Operation":"o","Note":"a\u2028b=\"c\"","left_out":9,"Empty":"","None":null}"#);
    assert!(small.contains(r#" cs5={"Note":"a\\u2028b\=\\"c\\"","left_out":1} "#), "{small}");
}

#[test]
fn an_event_is_shortened_in_steps_to_what_identifies_it() {
    let long = "\\\\".repeat(2_000);
    let texts: Vec<_> = [
        "Operation",
        "Id",
        "UserId",
        "UserKey",
        "OrganizationId",
        "UserAgent",
        "ResultStatus",
        "RecordType",
        "EnvironmentId",
    ]
    .map(|key| format!(r#""{key}":"{long}""#))
    .into();
    let record =
        format!(r#"{{{},"ClientIP":"2001:db8:1111:2222:3333:4444:5555:6666","Workload":"x"}}"#, texts.join(","));
    let limits: Vec<_> = (200..20_000).collect();
    let least = limits[limits.partition_point(|limit| within(&record, *limit).is_none())];
    println!("a record of the longest texts that double when escaped fits in {least} bytes");
    assert!(least <= 1_536, "{least}");
    for limit in (least..20_000).step_by(997) {
        assert!(within(&record, limit).is_some_and(|line| line.len() <= limit), "{limit}");
    }
    assert_eq!(within(&record, least - 1), None);
    let shortest = within(&record, least).expect("fits");
    for key in
        ["rt", "act", "externalId", "suser", "suid", "c6a2", "deviceExternalId", "cs1", "cs6", "cn1", "flexString2"]
    {
        assert!(shortest.contains(&format!("{key}=")), "{key}");
    }
    assert!(!shortest.contains("msg=") && !shortest.contains(" requestClientApplication="));
}
