use std::{io::Read, sync::Arc};

use auditferry_contract::{EventId, Severity};
use proptest::prelude::*;

use super::*;

fn message(body: &[u8], ms: i64) -> Message {
    Message {
        id: EventId::from_digest([7; 16]),
        time: jiff::Timestamp::from_millisecond(ms).expect("a time"),
        severity: Severity::Low,
        tenant: Arc::from("41463f53-8812-40f4-890f-865bf6e35190"),
        product: "power_apps",
        operation: Arc::from("CreatePowerApp"),
        partition_key: Arc::from("key"),
        body: Bytes::copy_from_slice(body),
    }
}

fn envelope(json: bool, gzip: bool) -> Envelope {
    Envelope {
        json,
        host: None,
        source: "o365".into(),
        sourcetype: "o365:management:activity".into(),
        index: Some("main".into()),
        schema: "ocsf/1.8.0".into(),
        gzip,
    }
}

fn text(envelope: &Envelope, messages: &[Message]) -> String {
    let body = envelope.body(messages).expect("good bodies");
    let mut text = String::new();
    if envelope.gzip {
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).expect("gzip");
    } else {
        text = String::from_utf8(body.to_vec()).expect("utf-8");
    }
    text
}

#[test]
fn one_envelope_after_the_other_exactly_so() {
    let messages = [message(b"{\"a\": 1.50}", 1_795_255_872_123), message(b"[2]", 0)];
    let expected = concat!(
        r#"{"time":1795255872.123,"host":"41463f53-8812-40f4-890f-865bf6e35190","source":"o365","sourcetype":"o365:management:activity","#,
        r#""index":"main","event":{"a": 1.50},"fields":{"event_id":"07070707-0707-8707-8707-070707070707","schema":"ocsf/1.8.0"}}"#,
        r#"{"time":0.000,"host":"41463f53-8812-40f4-890f-865bf6e35190","source":"o365","sourcetype":"o365:management:activity","#,
        r#""index":"main","event":[2],"fields":{"event_id":"07070707-0707-8707-8707-070707070707","schema":"ocsf/1.8.0"}}"#,
    );
    assert_eq!(text(&envelope(true, false), &messages), expected);
    assert_eq!(text(&envelope(true, true), &messages), expected);
}

#[test]
fn an_index_is_absent_unless_given_and_metadata_is_escaped() {
    let named = Envelope { host: Some("a\"b\\".into()), index: None, ..envelope(true, false) };
    let written = text(&named, &[message(b"1", 0)]);
    assert!(written.starts_with(r#"{"time":0.000,"host":"a\"b\\","source""#), "{written}");
    assert!(!written.contains("index"), "{written}");
}

#[test]
fn times_have_three_decimals_and_no_exponent() {
    for (ms, expected) in [
        (0, "0.000"),
        (1, "0.001"),
        (-1, "-0.001"),
        (-500, "-0.500"),
        (-1000, "-1.000"),
        (-1001, "-1.001"),
        (1_795_255_872_123, "1795255872.123"),
        // the last millisecond that a timestamp can have, and the first
        (253_402_207_200_999, "253402207200.999"),
        (-377_705_023_201_000, "-377705023201.000"),
        (i64::MAX, "9223372036854775.807"),
        (i64::MIN, "-9223372036854775.808"),
    ] {
        assert_eq!(time(ms), expected);
    }
}

#[test]
fn what_would_break_the_envelope_is_refused_by_position_and_nothing_is_sent() {
    let positions = |json: bool, bodies: &[&[u8]]| {
        let messages: Vec<_> = bodies.iter().map(|body| message(body, 0)).collect();
        match envelope(json, true).body(&messages) {
            Err(SinkError::Refused { refused, untaken, .. }) => {
                (refused.iter().map(|r| r.position).collect::<Vec<_>>(), untaken)
            }
            other => panic!("{other:?}"),
        }
    };
    let forged = b"1,\"fields\":{}}{\"event\":2";
    assert_eq!(
        positions(true, &[b"{}", forged, b"{\"a\":", b"1 2", b"\"\xff\"", b"3"]),
        (vec![1, 2, 3, 4], vec![0, 5])
    );
    assert_eq!(positions(false, &[b"CEF:0", b"\xff"]), (vec![1], vec![0]));
}

proptest! {
    #[test]
    fn text_of_other_codecs_comes_back_from_its_json_string(body in "\\PC*|.*|[\"\\\\\u{0}-\u{1f}]*") {
        let written = text(&envelope(false, true), &[message(body.as_bytes(), 0)]);
        let value: serde_json::Value = serde_json::from_str(&written).expect("one JSON value");
        prop_assert_eq!(value["event"].as_str(), Some(body.as_str()));
    }
}
