//! Codec `cef` from outside: lines are read by a parser that follows the specification and knows nothing of the encoder.

mod hostile;
mod parser;
mod samples;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use auditferry::{
    codec::{self, CodecOptions},
    event::{self, Context},
};
use auditferry_contract::EventId;
use jiff::Timestamp;

pub(crate) use self::parser::{Line, parse};

fn context() -> Context<'static> {
    Context {
        tenant: "41463f53-8812-40f4-890f-865bf6e35190",
        content_type: "Audit.General",
        content_id: "content",
        content_created: Timestamp::constant(1_779_200_000, 0),
        fetched: Some(Timestamp::constant(1_779_200_060, 0)),
        id: EventId::from_digest([7; 16]),
    }
}

/// The line of a record, readable or not; none when it can't be had within the limit.
fn encoded(record: &[u8], limit: Option<usize>) -> Option<String> {
    let codec = codec::by_name("cef", CodecOptions::default()).expect("a codec");
    let event = match event::read(record, &context()) {
        Ok(event) => event,
        Err(why) => event::unreadable(record, &context(), &why.to_string()),
    };
    let mut out = b"before".to_vec();
    let done = match limit {
        None => {
            codec.encode(&event, &mut out);
            true
        }
        Some(limit) => codec.encode_within(&event, limit, &mut out),
    };
    let line = String::from_utf8(out.split_off(6)).expect("UTF-8");
    assert_eq!(out, b"before");
    assert_eq!(done, !line.is_empty());
    done.then_some(line)
}

/// Type and length of each key that a producer may write under `CEF:0`.
static DICTIONARY: LazyLock<BTreeMap<&str, (&str, Option<usize>)>> = LazyLock::new(|| {
    let mut keys = BTreeMap::new();
    for line in include_str!("../../data/cef/keys.tsv").lines() {
        let [key, _, kind, length, audience, since] =
            line.split('\t').collect::<Vec<_>>().try_into().expect("six columns");
        if (audience, since) == ("producer", "0.1") {
            keys.insert(key, (kind, length.parse().ok()));
        }
    }
    assert_eq!(keys.len(), 122);
    // in the specification's text and missing in its table; see the README beside it
    keys.insert("c6a2", ("ipv6_address", None));
    keys.insert("c6a2Label", ("string", Some(1023)));
    keys
});

/// What holds for every line, whatever the record: one line, seven sound fields of the header, each key known, of its
/// type, not too long, there once, with its label.
fn check(line: &str) -> Line {
    let breaks = ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
    assert!(!line.contains(breaks), "more than one line: {line:?}");
    assert!(!line.chars().any(|c| c.is_control() && c != '\t'), "a control character: {line:?}");
    let read = parse(line).unwrap_or_else(|why| panic!("{why}: {line:?}"));
    let [vendor, product, version, class, name, severity] = &read.header;
    for (field, most) in [(vendor, 63), (product, 63), (version, 31), (class, 1023), (name, 512)] {
        assert!(!field.is_empty() && field.len() <= most && field.trim() == field, "{field:?}");
    }
    assert!(severity.parse::<u8>().is_ok_and(|severity| severity <= 10), "{severity:?}");
    let mut keys = BTreeSet::new();
    for (key, value) in &read.pairs {
        assert!(keys.insert(&**key), "{key} comes twice: {line}");
        let (kind, length) = DICTIONARY.get(&**key).unwrap_or_else(|| panic!("{key} is no producer key: {line:?}"));
        let sound = match *kind {
            "string" => length.is_some_and(|most| value.len() <= most) && !value.ends_with(' '),
            "timestamp" => value.parse::<i64>().is_ok(),
            "integer" => value.parse::<i32>().is_ok(),
            "long" => value.parse::<i64>().is_ok(),
            "ipv4_address" => value.parse::<Ipv4Addr>().is_ok(),
            "ipv6_address" => value.parse::<Ipv6Addr>().is_ok(),
            other => panic!("{key}: nothing of type {other} is written"),
        };
        assert!(sound && !value.is_empty(), "{key} is no {kind} of {length:?}: {value:?}");
    }
    for key in &keys {
        match key.strip_suffix("Label") {
            Some(labelled) => assert!(keys.contains(labelled), "{key} labels nothing: {line}"),
            None => assert_eq!(
                DICTIONARY.contains_key(&*format!("{key}Label")),
                keys.contains(&*format!("{key}Label")),
                "{key} and its label: {line}"
            ),
        }
    }
    read
}

#[test]
fn the_parser_follows_the_specification() {
    let line = r"CEF:0|a\|b|c\\|1|x=y|name|5|suser=a b\=c\\ msg=x|y\nz\r  act=d";
    let read = parse(line).expect("sound");
    assert_eq!(read.header, ["a|b", r"c\", "1", "x=y", "name", "5"]);
    let pairs = [("suser", r"a b=c\"), ("msg", "x|y\nz\r "), ("act", "d")];
    assert_eq!(read.pairs, pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
    for broken in [
        "CEF:0|a|b|1|x|name|5",
        "CEF:1|a|b|1|x|name|5|k=v",
        r"CEF:0|a\=|b|1|x|name|5|k=v",
        "CEF:0|a|b|1|x|name|5| k=v",
        "CEF:0|a|b|1|x|name|5|k=v=w",
        "CEF:0|a|b|1|x|name|5|k=v !=w",
        r"CEF:0|a|b|1|x|name|5|k=v\|",
        r"CEF:0|a|b|1|x|name|5|k=v\",
        "CEF:0|a|b|1|x|name|5|text",
    ] {
        assert!(parse(broken).is_err(), "{broken}");
    }
}
