//! The vectors of `docs/identity.md`, and what may and may not change an id.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

const TENANT: &str = "41463f53-8812-40f4-890f-865bf6e35190";

fn id(record: &str) -> Identity {
    identify(record.as_bytes(), TENANT, "content", 0).expect("a record")
}

#[test]
fn the_documented_vectors_hold() {
    let page = include_str!("../../docs/identity.md");
    let vectors =
        page.split("```vectors\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of vectors");
    let mut seen = 0;
    for line in vectors.lines() {
        let vector: Value = serde_json::from_str(line).expect("a vector is JSON");
        let text = |key: &str| vector[key].as_str().expect("a text");
        let nth = u32::try_from(vector["nth"].as_u64().expect("a number")).expect("a small number");
        let (record, tenant, content) = (text("record").as_bytes(), text("tenant"), text("content"));
        let found = identify(record, tenant, content, nth)
            .unwrap_or_else(|_| identify_unreadable(record, tenant, content, nth));
        assert_eq!(uuid(found.id), text("id"), "{}", text("what"));
        seen += 1;
    }
    assert!(seen >= 20, "{seen} vectors");
}

#[test]
fn the_time_is_read_and_zero_when_it_can_not_be() {
    assert_eq!(id(r#"{"Id":"a","CreationTime":"2026-05-19T13:17:34"}"#).second, 1_779_196_654);
    assert_eq!(id(r#"{"Id":"a","CreationTime":"yesterday"}"#).second, 0);
    assert_eq!(id(r#"{"Id":"a"}"#).second, 0);
}

#[test]
fn only_a_record_with_an_id_is_deduplicable() {
    assert!(id(r#"{"Id":"a"}"#).deduplicable);
    assert!(id(r#"{"Id":7}"#).deduplicable);
    for record in [r#"{"Id":""}"#, r#"{"Id":null}"#, r#"{"Id":{"a":1}}"#, r#"{"id":"a"}"#, "{}"] {
        assert!(!id(record).deduplicable, "{record}");
    }
}

#[test]
fn what_can_not_be_looked_into_says_why() {
    let refused = |record: &[u8]| identify(record, TENANT, "content", 0).err();
    assert_eq!(refused(b"[1]"), Some(Unreadable::NotAnObject));
    assert_eq!(refused(b"{\"a\":\"\xff\"}"), Some(Unreadable::NotUtf8 { at: 6 }));
    assert!(matches!(refused(b"<html>"), Some(Unreadable::NotJson { at: 0, .. })));
    assert!(matches!(refused(b"{} {}"), Some(Unreadable::NotJson { at: 3, .. })));
    assert_eq!(refused(&vec![b' '; (16 << 20) + 1]), Some(Unreadable::TooLarge { bytes: (16 << 20) + 1 }));
    let deep = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
    assert_eq!(refused(deep(127).as_bytes()), None);
    assert_eq!(refused(deep(128).as_bytes()), Some(Unreadable::TooDeep));
    let unreadable = |nth| identify_unreadable(b"<html>", TENANT, "content", nth);
    assert_ne!(unreadable(0).id, unreadable(1).id);
    assert!(!unreadable(0).deduplicable);
}

#[test]
fn fields_that_border_on_each_other_do_not_run_together() {
    let pairs = [
        (r#"{"Id":"a","K":"bc"}"#, r#"{"Id":"a","Kb":"c"}"#),
        (r#"{"Id":"a","K":["b","c"]}"#, r#"{"Id":"a","K":["bc"]}"#),
        (r#"{"Id":"a","K":[["b"],"c"]}"#, r#"{"Id":"a","K":[["b","c"]]}"#),
        (r#"{"Id":"a","K":{}}"#, r#"{"Id":"a","K":[]}"#),
        (r#"{"Id":"a","Operation":"x"}"#, r#"{"Id":"a","RecordType":"x"}"#),
        (r#"{"Id":"a","K":{"b":"c"}}"#, r#"{"Id":"a","K":["b","c"]}"#),
        (r#"{"Id":"a","K":"1"}"#, r#"{"Id":"a","K":"1","k":"1"}"#),
    ];
    for (one, other) in pairs {
        assert_ne!(id(one).id, id(other).id, "{one} {other}");
    }
}

#[test]
fn the_order_of_duplicate_keys_does_not_matter() {
    for key in ["Id", "RecordType", "Operation", "CreationTime", "Other"] {
        let twice = |one: &str, two: &str| id(&format!(r#"{{"{key}":"{one}","Id":"x","{key}":"{two}"}}"#)).id;
        assert_eq!(twice("a", "b"), twice("b", "a"), "{key}");
        assert_ne!(twice("a", "b"), twice("a", "a"), "{key}");
    }
}

/// Values as a record may have them.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zé\\\\\"\n😀]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn records() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[a-zA-Z]{1,4}", values(), 0..6).prop_map(|members| {
        let mut record: Map<String, Value> = members.into_iter().collect();
        record.insert("Id".into(), "x".into());
        record
    })
}

/// The same value, written otherwise: members and elements turned round, blanks, every character escaped.
fn otherwise(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            out.push_str("{ \n");
            for (n, (key, value)) in members.iter().rev().enumerate() {
                out.push_str(if n == 0 { "\"@odata.type\":\"#x\",\"Nothing\":null," } else { " ,\t" });
                otherwise(&Value::from(key.as_str()), out);
                out.push_str(" : ");
                otherwise(value, out);
            }
            out.push('}');
        }
        Value::Array(elements) => {
            out.push_str("[ null");
            for element in elements.iter().rev() {
                out.push_str(" ,\r\n");
                otherwise(element, out);
            }
            out.push(']');
        }
        Value::String(text) => {
            out.push('"');
            text.encode_utf16().for_each(|unit| out.push_str(&format!("\\u{unit:04X}")));
            out.push('"');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// Changes the `n`-th scalar; true once it has.
fn change(value: &mut Value, n: &mut usize) -> bool {
    match value {
        Value::Object(members) => members.values_mut().any(|value| change(value, n)),
        Value::Array(elements) => elements.iter_mut().any(|value| change(value, n)),
        scalar => {
            if *n > 0 {
                *n -= 1;
                return false;
            }
            *scalar = Value::from("another value altogether");
            true
        }
    }
}

proptest! {
    #[test]
    fn the_way_a_record_is_written_does_not_matter(record in records()) {
        let value = Value::Object(record);
        let mut written = String::new();
        otherwise(&value, &mut written);
        prop_assert_eq!(id(&value.to_string()).id, id(&written).id, "{}", written);
    }

    #[test]
    fn every_value_matters(record in records(), n in 0_usize..40) {
        let value = Value::Object(record);
        let (mut changed, mut left) = (value.clone(), n);
        if change(&mut changed, &mut left) {
            prop_assert_ne!(id(&value.to_string()).id, id(&changed.to_string()).id);
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = identify(&bytes, TENANT, "content", 0);
    }
}
