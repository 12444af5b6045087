//! The formatter against a strict parser that shares no code with it.

use std::sync::Arc;

use auditferry_conformance::{
    fakes::syslog::{Frames, Record, parse},
    message,
};
use proptest::prelude::*;

use super::*;

fn formatter() -> Formatter {
    Formatter { facility: Facility::LOG_LOCAL0, hostname: None, app_name: "auditferry".into(), enterprise_id: 32473 }
}

/// The one message in the one frame.
fn read(formatter: &Formatter, message: &Message) -> (Record, usize) {
    let mut wire = Vec::new();
    formatter.frame(&mut wire, message).expect("memory takes everything");
    let mut frames = Frames::default();
    frames.feed(&wire);
    let octets = frames.take().expect("a frame").expect("a whole one");
    assert!(!frames.torn(), "something stands behind the frame");
    let record = parse(&octets).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&octets)));
    (record, octets.len())
}

#[test]
fn every_octet_of_an_ordinary_message() {
    let mut event = message(7, "CEF:0|Microsoft|Power Platform|1|CreatePowerApp|Created app|1|act=Ü");
    event.time = "2026-11-25T09:00:00Z".parse().expect("a time");
    let mut wire = Vec::new();
    formatter().frame(&mut wire, &event).expect("memory takes everything");
    formatter().frame(&mut wire, &event).expect("memory takes everything");
    let expected = concat!(
        "<134>1 2026-11-25T09:00:00Z 41463f53-8812-40f4-890f-865bf6e35190 auditferry - CreatePowerApp ",
        "[auditferry@32473 id=\"00000000-0000-8000-8000-000000000007\" tenant=\"41463f53-8812-40f4-890f-865bf6e35190\" ",
        "product=\"power_apps\" op=\"CreatePowerApp\"] CEF:0|Microsoft|Power Platform|1|CreatePowerApp|Created app|1|act=Ü"
    );
    assert_eq!(String::from_utf8(wire).expect("text"), format!("{} {expected}", expected.len()).repeat(2));
}

#[test]
fn times() {
    for (time, expected) in [
        ("2026-11-25T09:00:00Z", Some("2026-11-25T09:00:00Z")),
        ("2026-11-25T09:00:00.25Z", Some("2026-11-25T09:00:00.250000Z")),
        ("2026-11-25T09:00:00.999999999Z", Some("2026-11-25T09:00:00.999999Z")),
        ("1969-12-31T23:59:59.5Z", Some("1969-12-31T23:59:59.500000Z")),
        ("0000-01-01T00:00:00Z", Some("0000-01-01T00:00:00Z")),
        ("-000001-12-31T23:59:59.9Z", None),
        ("-009000-01-01T00:00:00Z", None),
    ] {
        let mut event = message(1, "{}");
        event.time = time.parse().expect("a time");
        assert_eq!(read(&formatter(), &event).0.timestamp.as_deref(), expected, "{time}");
    }
}

#[test]
fn severities() {
    for (severity, number) in [
        (Severity::Informational, 6),
        (Severity::Low, 5),
        (Severity::Medium, 4),
        (Severity::High, 3),
        (Severity::Critical, 2),
    ] {
        let mut event = message(1, "{}");
        event.severity = severity;
        let record = read(&Formatter { facility: Facility::LOG_AUDIT, ..formatter() }, &event).0;
        assert_eq!((record.facility, record.severity), (13, number));
    }
}

#[test]
fn a_long_operation_is_cut_in_msgid_and_whole_in_the_data() {
    // 39 characters: among the twelve of Microsoft's that are longer than 32
    let operation = "CreateRuleBasedPolicyAssignmentOperation";
    let mut event = message(1, "{}");
    event.operation = Arc::from(operation);
    let record = read(&formatter(), &event).0;
    assert_eq!(record.msg_id.as_deref(), Some(&operation[..32]));
    assert_eq!(record.parameter("auditferry@", "op"), Some(operation));
}

#[test]
fn the_tenant_is_the_host_unless_another_is_given() {
    let event = message(1, "{}");
    assert_eq!(read(&formatter(), &event).0.hostname.as_deref(), Some(&*event.tenant));
    let named = Formatter { hostname: Some("collector-1.example".into()), ..formatter() };
    let record = read(&named, &event).0;
    assert_eq!(record.hostname.as_deref(), Some("collector-1.example"));
    assert_eq!(record.parameter("auditferry@", "tenant"), Some(&*event.tenant));
}

/// What the structured data may say: control characters replaced, cut between two characters.
fn expected(text: &str, most: usize) -> String {
    let mut shown = String::new();
    let mut taken = 0;
    for c in text.chars() {
        taken += c.len_utf8();
        if taken > most {
            break;
        }
        shown.push(if c.is_control() { '?' } else { c });
    }
    shown
}

proptest! {
    #[test]
    fn whatever_an_event_says_stays_in_its_place(
        operation in "(\\PC|[\\x00-\\x1f\"\\\\\\]\\[= ]){0,80}",
        tenant in "(\\PC|[\"\\\\\\] ]){0,50}",
        body in prop::collection::vec(any::<u8>(), 1..400),
        seconds in -62_167_219_200_i64..253_402_207_200,
        nanoseconds in 0..1_000_000_000_i32,
        facility in 0_u8..24,
    ) {
        let mut event = message(3, body.clone());
        event.operation = Arc::from(operation.as_str());
        event.tenant = Arc::from(tenant.as_str());
        event.time = jiff::Timestamp::new(seconds, nanoseconds).expect("within range");
        let name = ["kern", "user", "local0", "local7", "audit"][usize::from(facility) % 5];
        let formatter = Formatter { facility: name.parse().expect("a facility"), ..formatter() };
        let (record, octets) = read(&formatter, &event);
        prop_assert_eq!(&record.message, &body);
        prop_assert_eq!(record.data.len(), 1);
        prop_assert_eq!(record.data[0].1.len(), 4);
        let id = event.id.to_string();
        prop_assert_eq!(record.parameter("auditferry@32473", "id"), Some(id.as_str()));
        prop_assert_eq!(record.parameter("auditferry@32473", "op").unwrap_or_default(), expected(&operation, OPERATION));
        prop_assert_eq!(record.parameter("auditferry@32473", "tenant").unwrap_or_default(), expected(&tenant, SHORT));
        prop_assert!(octets <= formatter.most_before_body() + body.len());
        let time: jiff::Timestamp = record.timestamp.expect("a year that can be written").parse().expect("a time");
        prop_assert_eq!(time.as_nanosecond(), event.time.as_nanosecond().div_euclid(1000) * 1000);
    }
}

#[test]
fn the_longest_header_is_the_one_that_is_reckoned_with() {
    let mut event = message(3, "x");
    event.operation = Arc::from("\"".repeat(4 * OPERATION));
    event.tenant = Arc::from("]".repeat(4 * SHORT));
    event.product = "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\";
    event.time = "2026-11-25T09:00:00.123456Z".parse().expect("a time");
    for hostname in [None, Some("h".repeat(HOSTNAME))] {
        let app_name = "a".repeat(APP_NAME);
        let formatter =
            Formatter { facility: Facility::LOG_LOCAL7, hostname, app_name, enterprise_id: u64::from(u32::MAX) };
        let (_, octets) = read(&formatter, &event);
        let most = formatter.most_before_body();
        assert!(octets - 1 <= most, "{octets} octets, {most} reckoned with");
        assert!(octets + 40 > most, "{most} octets are kept free, of which {octets} are used at most");
    }
}
