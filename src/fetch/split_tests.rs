//! Tests of the splitter.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

#[derive(Debug, PartialEq, Eq, Clone)]
enum Got {
    Record(String),
    TooDeep(String),
    Oversize(usize, u64),
}

fn split_with(limits: Limits, chunks: &[&[u8]]) -> (Vec<Got>, Result<(), SplitError>) {
    let mut got = Vec::new();
    let mut splitter = Splitter::new(limits);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for chunk in chunks {
        let result = splitter.push(chunk, &mut |piece| {
            got.push(match piece {
                Piece::Record(bytes) => Got::Record(text(bytes)),
                Piece::TooDeep(bytes) => Got::TooDeep(text(bytes)),
                Piece::Oversize { head, total } => Got::Oversize(head.len(), total),
            })
        });
        if result.is_err() {
            return (got, result);
        }
    }
    let end = splitter.finish();
    (got, end)
}

/// Splits whole and in every pair of chunks and byte by byte; all must agree.
fn split(body: &str) -> (Vec<Got>, Result<(), SplitError>) {
    let bytes = body.as_bytes();
    let whole = split_with(Limits::default(), &[bytes]);
    for cut in 0..=bytes.len() {
        assert_eq!(split_with(Limits::default(), &[&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}: {body}");
    }
    let single: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(split_with(Limits::default(), &single), whole, "byte by byte: {body}");
    whole
}

fn records(texts: &[&str]) -> (Vec<Got>, Result<(), SplitError>) {
    (texts.iter().map(|t| Got::Record((*t).to_owned())).collect(), Ok(()))
}

#[test]
fn arrays_of_every_shape() {
    assert_eq!(split("[]"), records(&[]));
    assert_eq!(split(" \r\n[ \t] \n"), records(&[]));
    assert_eq!(split(r#"[{"a":1}]"#), records(&[r#"{"a":1}"#]));
    assert_eq!(split("\u{feff}[{\"a\":1} , {\"b\":[]}]\n"), records(&[r#"{"a":1}"#, r#"{"b":[]}"#]));
    assert_eq!(split(r#"[1,null, "x,]y" ,[[]],true]"#), records(&["1", "null", "\"x,]y\"", "[[]]", "true"]));
}

#[test]
fn brackets_and_quotes_inside_strings_do_not_count() {
    let record = r#"{"a":"}]\"[{,\\","b\"":"\\\\\""}"#;
    assert_eq!(split(&format!("[{record},{record}]")), records(&[record, record]));
}

#[test]
fn an_object_without_an_array_is_a_record_and_so_are_several() {
    assert_eq!(split(r#" {"a":{"b":[1,2]}} "#), records(&[r#"{"a":{"b":[1,2]}}"#]));
    assert_eq!(split("{\"a\":1}\n{\"b\":2}\n"), records(&[r#"{"a":1}"#, r#"{"b":2}"#]));
}

#[test]
fn a_broken_element_is_given_as_it_came_and_the_next_is_whole() {
    assert_eq!(split(r#"[{"a":]},{"b":1}]"#), records(&[r#"{"a":]}"#, r#"{"b":1}"#]));
    assert_eq!(split(r#"[{"a" 1 : tru} rest,{"b":1}]"#), records(&[r#"{"a" 1 : tru} rest"#, r#"{"b":1}"#]));
    assert_eq!(split(r#"[,{"b":1},]"#), records(&[r#"{"b":1}"#]));
}

#[test]
fn what_is_no_array_is_named_with_its_place() {
    assert_eq!(split("<html>").1, Err(SplitError::NotAnArray { at: 0, found: b'<' }));
    assert_eq!(split("  \"text\"").1, Err(SplitError::NotAnArray { at: 2, found: b'"' }));
    assert_eq!(split("[] x").1, Err(SplitError::AfterEnd { at: 3, found: b'x' }));
    assert_eq!(split("{}]").1, Err(SplitError::AfterEnd { at: 2, found: b']' }));
    assert_eq!(split_with(Limits::default(), &[b"\xef[]"]).1, Err(SplitError::NotAnArray { at: 1, found: b'[' }));
    assert_eq!(SplitError::NotAnArray { at: 0, found: b'<' }.to_string(), "not a json array: byte 0 is 0x3c");
}

#[test]
fn every_cut_of_a_body_is_truncated_and_gives_only_whole_records() {
    let body = r#"[{"a":"x"},{"b":[1]}]"#;
    for cut in 0..body.len() {
        let (got, end) = split_with(Limits::default(), &[&body.as_bytes()[..cut]]);
        assert_eq!(end, Err(SplitError::Truncated { at: cut as u64 }));
        for got in got {
            assert!(records(&[r#"{"a":"x"}"#, r#"{"b":[1]}"#]).0.contains(&got), "cut {cut}: {got:?}");
        }
    }
    assert_eq!(split(r#"{"a":1"#).1, Err(SplitError::Truncated { at: 6 }));
}

#[test]
fn a_record_is_whole_at_its_limit_and_oversize_one_byte_above() {
    let limits = Limits { record_bytes: 10, depth: 128 };
    let body = br#"[{"a":"12"},{"a":"123"}, {"b":1} ]"#;
    let expected = vec![Got::Record(r#"{"a":"12"}"#.into()), Got::Oversize(10, 11), Got::Record(r#"{"b":1}"#.into())];
    for size in 1..body.len() {
        let chunks: Vec<_> = body.chunks(size).collect();
        assert_eq!(split_with(limits, &chunks), (expected.clone(), Ok(())), "chunks of {size}");
    }
}

#[test]
fn an_oversize_record_costs_its_head_only() {
    let mut splitter = Splitter::new(Limits { record_bytes: 1 << 20, depth: 128 });
    let mut got = Vec::new();
    let mut most = 0;
    let mut push = |splitter: &mut Splitter, chunk: &[u8]| {
        splitter
            .push(chunk, &mut |piece| {
                got.push(match piece {
                    Piece::Oversize { head, total } => (head.len(), total),
                    other => panic!("{other:?}"),
                })
            })
            .unwrap();
        most = most.max(splitter.carried.capacity());
    };
    push(&mut splitter, b"[\"");
    for _ in 0..10_000 {
        push(&mut splitter, &[b'x'; 8192]);
    }
    push(&mut splitter, b"\"]");
    assert_eq!(splitter.finish(), Ok(()));
    assert_eq!(got, [(OVERSIZE_HEAD, 10_000 * 8192 + 2)]);
    assert!(most <= 2 << 20, "{most}");
    assert!(splitter.carried.capacity() <= OVERSIZE_HEAD);
}

#[test]
fn nesting_beyond_the_limit_is_told_apart() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let body = format!("[{},{}]", deep(128), deep(129));
    assert_eq!(split(&body), (vec![Got::Record(deep(128)), Got::TooDeep(deep(129))], Ok(())));
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // quotes, backslashes, brackets and other scripts on purpose
        "[\"\\\\,\\[\\]{}a é\u{1F600}\n]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map("[\"\\\\,a]{0,4}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_array_in_any_chunks_gives_its_elements(
        elements in proptest::collection::vec((json(), any::<bool>()), 0..12),
        cuts in proptest::collection::vec(0usize..4096, 0..12),
    ) {
        let texts: Vec<String> = elements
            .iter()
            .map(|(value, pretty)| if *pretty { format!("{value:#}") } else { value.to_string() })
            .collect();
        let body = format!("[ {} ]", texts.join("\n, ")).into_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &body[w[0]..w[1]]).collect();
        let (got, end) = split_with(Limits::default(), &chunks);
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(got, texts.into_iter().map(Got::Record).collect::<Vec<_>>());
    }
}
