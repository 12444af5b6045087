//! Promises that hold for every codec and every record.

use auditferry_contract::EventId;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::event::{self, Context};

fn context() -> Context<'static> {
    Context {
        tenant: "41463f53-8812-40f4-890f-865bf6e35190",
        content_type: "Audit.General",
        content_id: "content",
        content_created: Timestamp::constant(1_779_200_000, 0),
        fetched: Some(Timestamp::constant(1_779_200_060, 0)),
        id: EventId([7; 16]),
    }
}

fn encoded(name: &str, raw_data: bool, record: &[u8]) -> Vec<u8> {
    let codec = by_name(name, CodecOptions { raw_data }).expect("a codec");
    let event = match event::read(record, &context()) {
        Ok(event) => event,
        Err(why) => event::unreadable(record, &context(), &why.to_string()),
    };
    let mut out = Vec::new();
    codec.encode(&event, &mut out);
    out
}

fn ocsf(record: &str) -> Value {
    serde_json::from_slice(&encoded("ocsf", false, record.as_bytes())).expect("JSON")
}

#[test]
fn every_name_is_a_codec_and_no_other() {
    for name in NAMES {
        assert_eq!(by_name(name, CodecOptions::default()).map(|codec| codec.name()), Some(*name));
    }
    assert!(by_name("cef2", CodecOptions::default()).is_none());
}

#[test]
fn raw_is_the_record_byte_for_byte_but_always_one_line() {
    let record = r#"{ "Id" : "a\u0041\/ b",  "N":1.0 }"#;
    assert_eq!(encoded("raw", true, record.as_bytes()), record.as_bytes());
    let pretty = "{\n  \"Id\": \"a  b\",\r\n  \"L\": [\n 1 ]\n}";
    assert_eq!(encoded("raw", true, pretty.as_bytes()), br#"{"Id":"a  b","L":[1]}"#);
    assert_eq!(encoded("raw", true, b"<a>\n"), br#"{"unreadable":"<a>\n"}"#);
    assert_eq!(encoded("raw", true, b"\xff\n"), br#"{"unreadable_base64":"/wo="}"#);
}

#[test]
fn raw_data_is_the_record_and_can_be_left_out() {
    let record = r#"{"Operation":"CreateFlow","Id":"x"}"#;
    let with: Value = serde_json::from_slice(&encoded("ocsf", true, record.as_bytes())).expect("JSON");
    assert_eq!(with["raw_data"], record);
    assert_eq!(with["raw_data_size"], record.len());
    assert_eq!(with["metadata"]["logged_time"], 1_779_200_060_000_i64);
    assert!(ocsf(record).get("raw_data").is_none());
}

#[test]
fn what_a_class_requires_and_a_record_lacks_is_unknown_and_says_so() {
    let line = ocsf(r#"{"RecordType":30,"Operation":"PutPermissions"}"#);
    assert_eq!((&line["class_uid"], &line["activity_id"]), (&3005.into(), &1.into()));
    assert_eq!(line["user"]["name"], "unknown");
    assert_eq!(line["privileges"], serde_json::json!(["unknown"]));
    let labels = line["metadata"]["labels"].as_array().expect("labels");
    for label in ["grantee:unknown", "privileges:unknown", "time:content_created", "record_type:30"] {
        assert!(labels.iter().any(|found| found == label), "{label} in {labels:?}");
    }
}

#[test]
fn duplicate_keys_all_arrive_and_forge_nothing() {
    let line = ocsf(r#"{"K":"1","Operation":"x","K":"2","class_uid":1,"unmapped":2,"K":[3],"Operation":"y"}"#);
    assert_eq!(line["unmapped"]["K"], serde_json::json!(["1", "2", [3]]));
    assert_eq!(line["class_uid"], 6003);
    assert_eq!((&line["api"]["operation"], &line["unmapped"]["Operation"]), (&"x".into(), &"y".into()));
    assert_eq!(line["unmapped"]["unmapped"], 2);
    let twice = ocsf(r#"{"RecordType":256,"PropertyCollection":[{"Name":"n","Value":"1"},{"Name":"n","Value":"2"}]}"#);
    assert_eq!(twice["unmapped"]["Properties"]["n"], serde_json::json!(["1", "2"]));
}

#[test]
fn what_is_too_large_is_first_shortened_by_the_copy_and_then_cut_and_marked() {
    let long = "ä\\n".repeat(5_000);
    let record = format!(r#"{{"Operation":"CreateFlow","Id":"x","Note":"{long}","List":["{long}"]}}"#);
    let codec = by_name("ocsf", CodecOptions { raw_data: true }).expect("a codec");
    let event = event::read(record.as_bytes(), &context()).expect("a record");
    let within = |limit| {
        let mut out = b"before".to_vec();
        let fits = codec.encode_within(&event, limit, &mut out);
        assert!(out.starts_with(b"before"));
        let line = out.split_off(6);
        assert!(line.len() <= limit);
        assert_eq!(fits, !line.is_empty());
        fits.then(|| serde_json::from_slice::<Value>(&line).expect("JSON"))
    };
    let whole = within(1 << 20).expect("fits");
    assert!(whole.get("raw_data").is_some() && whole["metadata"].get("is_truncated").is_none());
    let bare = within(60_000).expect("fits without the copy");
    assert!(bare.get("raw_data").is_none() && bare["metadata"].get("is_truncated").is_none());
    assert_eq!(bare["unmapped"]["Note"].as_str().map(str::len), Some(15_000));
    let cut = within(4_000).expect("fits when cut");
    assert_eq!(cut["metadata"]["is_truncated"], true);
    assert_eq!(cut["metadata"]["untruncated_size"], 40);
    assert_eq!(cut["metadata"]["original_event_uid"], "x");
    let note = cut["unmapped"]["Note"].as_str().expect("a text");
    assert!(note.len() <= 1_024 && note.starts_with("ä\nä"));
    assert!(within(300).is_none());
}

#[test]
fn a_bag_by_name_goes_before_any_text_is_cut() {
    let list: Vec<_> = (0..50).map(|n| format!(r#"{{"Name":"name.number.{n}","Value":"value {n}"}}"#)).collect();
    let record = format!(r#"{{"RecordType":256,"Operation":"x","PropertyCollection":[{}]}}"#, list.join(","));
    let codec = by_name("ocsf", CodecOptions { raw_data: false }).expect("a codec");
    let event = event::read(record.as_bytes(), &context()).expect("a record");
    let (mut whole, mut less) = (Vec::new(), Vec::new());
    codec.encode(&event, &mut whole);
    assert!(codec.encode_within(&event, whole.len() - 1, &mut less));
    let (whole, less): (Value, Value) =
        (serde_json::from_slice(&whole).expect("JSON"), serde_json::from_slice(&less).expect("JSON"));
    assert_eq!(whole["unmapped"]["Properties"]["name.number.7"], "value 7");
    assert!(less["unmapped"].get("Properties").is_none());
    assert_eq!(whole["unmapped"]["PropertyCollection"], less["unmapped"]["PropertyCollection"]);
    assert!(less["metadata"].get("is_truncated").is_none());
}

#[test]
fn raw_can_not_be_cut() {
    let codec = by_name("raw", CodecOptions::default()).expect("a codec");
    let event = event::read(br#"{"Id":"a"}"#, &context()).expect("a record");
    let mut out = Vec::new();
    assert!(!codec.encode_within(&event, 9, &mut out));
    assert!(out.is_empty());
    assert!(codec.encode_within(&event, 10, &mut out));
}

#[test]
fn an_unreadable_record_is_a_base_event_that_holds_it() {
    for raw_data in [true, false] {
        let line: Value = serde_json::from_slice(&encoded("ocsf", raw_data, b"{\"Id\":\n")).expect("JSON");
        assert_eq!((&line["class_uid"], &line["type_uid"]), (&0.into(), &99.into()));
        assert_eq!(line["unmapped"]["unreadable"], "{\"Id\":\n");
        assert!(line["status_detail"].as_str().is_some_and(|why| why.starts_with("not JSON: expected a value")));
    }
}

/// Records that are likely to hit a mapping: known members with any value, and others.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let key = prop::sample::select(vec![
        "Id",
        "Operation",
        "RecordType",
        "Workload",
        "CreationTime",
        "UserId",
        "UserKey",
        "UserType",
        "ClientIP",
        "ObjectId",
        "PropertyCollection",
        "AdditionalInfo",
        "AppName",
        "FlowDetailsUrl",
        "SharingPermission",
        "RecipientUPN",
        "Message",
        "EntityName",
        "InstanceUrl",
        "Properties",
        "JsonPropertiesCollection",
        "ResultStatus",
        "x\ny\"",
    ]);
    let text = prop_oneof![
        "[ -~é\u{2028}\n\u{0}]{0,12}".prop_map(|text| Value::from(text).to_string()),
        prop::sample::select(vec![
            "30",
            "45",
            "256",
            "21",
            "\"256\"",
            "null",
            "true",
            "1e999",
            "-0",
            "\"\\ud800\"",
            "\"CRM\"",
            "\"PutPermissions\"",
            "\"CrmDefaultActivity\"",
            "\"UserSignIn\"",
            "\"LaunchPowerApp\"",
            "\"a@b.c\"",
            "\"10.0.0.1:5\"",
            "[ ]",
            "{ }",
            "[{\"Name\":\"enduser.id\",\"Value\":\"v\"} ,\n{\"Name\":1}]",
            "\"{\\\"environmentName\\\":[1]}\"",
            "\"/flows/\"",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec((key, text), 0..12).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(key, value)| format!("{}:{value}", Value::from(*key))).collect();
        format!("{{{}}}", members.join(" ,\n")).into_bytes()
    })
}

proptest! {
    #[test]
    fn every_line_is_one_line_of_its_format(record in records(), raw_data in any::<bool>()) {
        for name in NAMES {
            let line = encoded(name, raw_data, &record);
            prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
            if *name == "ocsf" {
                let value: Value = serde_json::from_slice(&line)?;
                prop_assert_eq!(value["class_uid"].as_u64().zip(value["activity_id"].as_u64()).map(|(c, a)| c * 100 + a),
                    value["type_uid"].as_u64());
            } else if *name == "cef" {
                prop_assert!(line.starts_with(b"CEF:0|"));
            } else {
                prop_assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&line).is_ok());
            }
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        for name in NAMES {
            let line = encoded(name, true, &bytes);
            prop_assert!(std::str::from_utf8(&line).is_ok_and(|line| !line.contains('\n')));
        }
    }
}
