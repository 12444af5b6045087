//! With `raw_data` off, every scalar of a record occurs in its line.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{mapped, samples};

/// Adds the text of every scalar under `value`, and how often it occurs.
fn leaves(value: &Value, found: &mut BTreeMap<String, usize>) {
    match value {
        Value::Object(members) => members.values().for_each(|value| leaves(value, found)),
        Value::Array(elements) => elements.iter().for_each(|value| leaves(value, found)),
        Value::Null => {}
        Value::String(text) => *found.entry(text.clone()).or_default() += 1,
        other => *found.entry(other.to_string()).or_default() += 1,
    }
}

#[test]
fn every_scalar_leaf_of_a_record_occurs_in_its_line() {
    let (mut all, mut present) = (0, 0);
    for (name, text) in samples() {
        let (out, _) = mapped("ocsf", true, &text);
        for (number, (record, line)) in text.lines().zip(out.lines()).enumerate() {
            let (mut wanted, mut given) = (BTreeMap::new(), BTreeMap::new());
            leaves(&serde_json::from_str(record).expect("a record"), &mut wanted);
            leaves(&serde_json::from_str(line).expect("an event"), &mut given);
            for (leaf, times) in wanted {
                all += times;
                // as a value of its own, and as often as the record has it: not merely as part of some other text
                let here = given.get(&leaf).copied().unwrap_or(0).min(times);
                if here < times {
                    println!("{name}:{}: {leaf:?} occurs {here} times, not {times}", number + 1);
                }
                present += here;
            }
        }
    }
    println!("leaves {present} of {all}");
    assert!(all > 1_000);
    assert_eq!(present, all);
}
