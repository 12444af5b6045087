//! Codec `cef` over the sample records, beside what codec `ocsf` says of them.

use serde_json::Value;

use super::check;
use crate::{mapped, samples};

#[test]
fn every_sample_is_one_sound_line_with_the_meaning_of_ocsf() {
    let mut compared = 0;
    for (name, text) in samples() {
        let (lines, bad) = mapped("cef", false, &text);
        assert_eq!(bad, 0, "{name}");
        assert_eq!(lines.lines().count(), text.lines().count(), "{name}");
        for (line, event) in lines.lines().zip(mapped("ocsf", true, &text).0.lines()) {
            let read = check(line);
            let event: Value = serde_json::from_str(event).expect("JSON");
            let at = |path: &str| event.pointer(path).and_then(Value::as_str);
            let label = |name: &str| {
                let labels = event["metadata"]["labels"].as_array().expect("labels").iter();
                labels.filter_map(Value::as_str).find_map(|label| label.strip_prefix(name)).map(str::to_owned)
            };
            assert_eq!(read.get("rt"), Some(&*event["time"].to_string()), "{line}");
            assert_eq!(read.get("start").is_none(), label("time:").is_some(), "{line}");
            assert_eq!(read.get("externalId"), at("/metadata/uid"), "{line}");
            assert_eq!(read.get("cs6"), at("/metadata/original_event_uid"), "{line}");
            assert_eq!(read.get("cs2"), at("/metadata/event_code"), "{line}");
            assert_eq!(read.get("deviceExternalId"), at("/metadata/tenant_uid"), "{line}");
            assert_eq!(read.get("cs1").map(str::to_owned), label("environment:"), "{line}");
            assert_eq!(read.get("destinationServiceName").map(str::to_owned), label("product:"), "{line}");
            assert_eq!(Some(&*read.header[3]), at("/api/operation").map(str::trim), "{line}");
            assert_eq!(Some(&*read.header[4]), at("/message").map(str::trim), "{line}");
            assert_eq!(read.get("cat"), at("/api/service/name"), "{line}");
            assert_eq!(read.get("outcome"), at("/status").filter(|status| *status != "Unknown"), "{line}");
            assert_eq!(read.get("suser"), at("/actor/user/name").filter(|name| *name != "unknown"), "{line}");
            assert_eq!(read.get("suid"), at("/actor/user/uid"), "{line}");
            let address = read.get("src").or(read.get("c6a2"));
            let theirs = at("/src_endpoint/ip").or(at("/device/ip"));
            assert_eq!(address, theirs, "{line}");
            let severity = event["severity_id"].as_u64().expect("a number") * 2 - 1;
            assert_eq!(read.header[5], severity.to_string(), "{line}");
            if event["class_uid"] == 3005 {
                assert_eq!(read.get("duser"), at("/user/name").filter(|name| *name != "unknown"), "{line}");
                assert_eq!(read.get("duid"), at("/user/uid"), "{line}");
                assert_eq!(read.get("dpriv"), at("/privileges/0").filter(|right| *right != "unknown"), "{line}");
            }
            if event["class_uid"] == 3004 {
                assert_eq!(read.get("fileId"), at("/entity/uid"), "{line}");
                assert_eq!(read.get("fname"), at("/entity/name").filter(|name| *name != "unknown"), "{line}");
                assert_eq!(
                    read.get("fileType"),
                    at("/entity/type").filter(|kind| *kind != "unknown").map(str::to_lowercase).as_deref()
                );
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 71);
}

/// What the table has no key for stands in `cs5`, as the record has it, or the line says that something is missing.
#[test]
fn further_properties_are_members_of_valid_json() {
    let (mut whole, mut members) = (0, 0);
    for (_, text) in samples() {
        for (record, line) in text.lines().zip(mapped("cef", false, &text).0.lines()) {
            let read = check(line);
            let record: Value = serde_json::from_str(record).expect("JSON");
            let Some(json) = read.get("cs5") else { continue };
            let properties: Value = serde_json::from_str(json).unwrap_or_else(|why| panic!("{why}: {json}"));
            assert_eq!(properties.get("left_out").is_none(), read.get("flexString2").is_none(), "{line}");
            for (name, value) in properties.as_object().expect("an object") {
                members += 1;
                if properties.get("left_out").is_none() {
                    let bag = record["PropertyCollection"].as_array().into_iter().flatten();
                    let in_bag = bag.filter(|pair| pair["Name"] == **name).map(|pair| &pair["Value"]).next();
                    assert_eq!(Some(value), record.get(name).or(in_bag), "{name} in {line}");
                }
            }
            whole += usize::from(properties.get("left_out").is_none());
        }
    }
    assert!(whole > 60 && members > 400, "{whole} whole lines, {members} members");
}

#[test]
fn an_unreadable_record_travels_as_far_as_there_is_room() {
    let read = check(&super::encoded(b"{\"Id\": |a=b\\\n act=forged", None).expect("a line"));
    assert_eq!(read.header[3..], ["unreadable", "Unreadable audit record", "1"]);
    assert_eq!((read.get("act"), read.get("outcome"), read.get("start")), (Some("unreadable"), None, None));
    assert_eq!(read.get("rt"), Some("1779200000000"));
    assert!(read.get("reason").is_some_and(|why| why.starts_with("not JSON: expected a value")));
    assert_eq!((read.get("cs5"), read.get("cs5Label")), (Some("{\"Id\": |a=b\\\n act=forged"), Some("Record")));
    assert_eq!(read.get("flexString2"), None);

    let read = check(&super::encoded(b"\xff\n", None).expect("a line"));
    assert_eq!((read.get("cs5"), read.get("cs5Label")), (Some("/wo="), Some("RecordBase64")));

    for (byte, head) in [(b'x', "x".repeat(3997) + "…"), (0xff, "/".repeat(4000))] {
        let read = check(&super::encoded(&vec![byte; 10_000], None).expect("a line"));
        assert_eq!(read.get("cs5"), Some(&*head));
        assert_eq!((read.get("flexString2"), read.get("cn1")), (Some("cs5"), Some("10000")));
    }
}

#[test]
fn a_gap_tells_what_is_missing() {
    let record = r#"{"Id":"1","CreationTime":"2026-05-19T13:17:34","Operation":"AuditGapOpened","Workload":"auditferry",
        "OrganizationId":"41463f53-8812-40f4-890f-865bf6e35190","ContentType":"Audit.General","Gap":7,"State":"opened",
        "Reason":"expired before it could be fetched","Suspected":false,"From":"2026-05-11T00:00:00",
        "To":"2026-05-12T00:00:00","Records":12,"Sink":"soc","ResultStatus":"Failed"}"#;
    let line = super::encoded(record.as_bytes(), None).expect("a line");
    assert!(
        line.starts_with("CEF:0|auditferry|auditferry|1|AuditGapOpened|Audit gap opened|1|rt=1779196654000 "),
        "{line}"
    );
    let read = check(&line);
    assert_eq!((read.get("start"), read.get("end")), (Some("1778457600000"), Some("1778544000000")));
    assert_eq!(
        (read.get("outcome"), read.get("reason")),
        (Some("Failure"), Some("expired before it could be fetched"))
    );
    assert_eq!(read.get("msg"), Some("Audit gap opened, because: expired before it could be fetched"));
    let properties: Value = serde_json::from_str(read.get("cs5").expect("properties")).expect("JSON");
    assert_eq!(
        (&properties["Records"], &properties["Sink"], &properties["Gap"]),
        (&12.into(), &"soc".into(), &7.into())
    );
}

#[test]
fn a_blocked_sink_and_its_end_are_told_in_words() {
    let record = r#"{"Id":"1","CreationTime":"2026-05-19T13:17:34","Operation":"AuditSinkBlocked","Workload":"auditferry",
        "Sink":"siem","State":"blocked","Reason":"the token is wrong","From":"2026-05-19T13:16:34","ResultStatus":"Failed"}"#;
    let line = super::encoded(record.as_bytes(), None).expect("a line");
    assert!(line.starts_with("CEF:0|auditferry|auditferry|1|AuditSinkBlocked|Sink blocked|1|"), "{line}");
    let read = check(&line);
    assert_eq!((read.get("start"), read.get("end")), (Some("1779196594000"), None));
    assert_eq!(read.get("msg"), Some("Sink blocked, because: the token is wrong"));
    let over = record.replace("Blocked", "Unblocked").replace("Failed", "Succeeded");
    let over = over.replace("\"ResultStatus", "\"To\":\"2026-05-19T13:17:34\",\"ResultStatus");
    let line = super::encoded(over.as_bytes(), None).expect("a line");
    assert!(line.contains("|AuditSinkUnblocked|Sink takes events again|1|"), "{line}");
    let read = check(&line);
    assert_eq!((read.get("end"), read.get("outcome")), (Some("1779196654000"), Some("Success")));
}
