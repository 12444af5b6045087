//! What arrives is what was sent.

use std::{cell::Cell, sync::Arc};

use auditferry_conformance::{TestEnv, batch, fakes::hec::Behaviour};
use auditferry_contract::{Format, Sink};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::common::{Collector, checked, json};

/// Any JSON text, spelled in any way: spaces between tokens, escapes, numbers that no float holds, names that come twice.
fn any_json() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec!["", " ", "\t"]);
    let text = prop::collection::vec(
        prop_oneof![
            any::<char>().prop_map(|c| match c {
                '"' | '\\' => format!("\\{c}"),
                c if c < ' ' => format!("\\u{:04x}", c as u32),
                c => c.to_string(),
            }),
            prop::sample::select(vec!["\\/", "\\u0041", "\\ud83d\\ude00", "\\n", "\\u2028"]).prop_map(String::from),
        ],
        0..12,
    )
    .prop_map(|parts| format!("\"{}\"", parts.concat()));
    let number = prop_oneof!["-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?"];
    let leaf = prop_oneof![text.clone(), number, prop::sample::select(vec!["true", "false"]).prop_map(String::from)];
    let tree = leaf.prop_recursive(4, 40, 6, move |inner| {
        let (space, text) = (space.clone(), text.clone());
        prop_oneof![
            (prop::collection::vec(inner.clone(), 1..6), space.clone())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},{space}")))),
            (prop::collection::vec((text, inner), 1..6), space).prop_map(|(members, space)| {
                let members: Vec<_> = members.iter().map(|(k, v)| format!("{k}{space}:{space}{v}")).collect();
                format!("{{{}}}", members.join(&format!("{space},{space}")))
            }),
        ]
    });
    // an event that is text alone would be read as the text that it says
    tree.prop_map(|value| format!("{{\"event\":{value}}}"))
}

/// Sends `cases` batches through one sink and compares what arrives, byte for byte, and the ids.
fn arrives_as_sent(format: Format, options: &str, bodies: impl Strategy<Value = Vec<String>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let collector = Collector::plain(Behaviour::default());
    let sink: Arc<dyn Sink> = runtime.block_on(async {
        let checked = checked(&format!("{}\n{options}", collector.options()), format);
        checked.open(Arc::new(TestEnv::default())).await.unwrap_or_else(|error| panic!("open: {error}"))
    });
    let seen = Cell::new(0);
    TestRunner::deterministic()
        .run(&bodies, |bodies| {
            let sent: Vec<Vec<u8>> = bodies.iter().map(|body| body.clone().into_bytes()).collect();
            let answer = runtime.block_on(sink.deliver(batch(&sent)));
            prop_assert_eq!(answer, Ok(()));
            let arrived = collector.arrivals.bodies();
            prop_assert!(arrived[seen.get()..] == sent, "something else arrived");
            seen.set(arrived.len());
            // the suite's batches count from 0: as many ids as there are positions, and no event without one
            prop_assert_eq!(collector.arrivals.nameless(), 0);
            prop_assert!(collector.arrivals.counts().len() >= sent.len());
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(collector.hec.errors(), [""; 0]);
    assert!(seen.get() > 500, "only {} events were tried", seen.get());
}

#[test]
fn json_stands_in_the_envelope_byte_for_byte() {
    arrives_as_sent(json(), "ack = 'off'", prop::collection::vec(any_json(), 1..8));
}

#[test]
fn text_of_other_codecs_arrives_as_it_was() {
    let cef = Format { codec: "cef", schema: "cef/0".into(), media_type: "text/plain" };
    let line = prop::collection::vec(any::<char>(), 0..60).prop_map(|c| format!("CEF:0|{}", String::from_iter(c)));
    arrives_as_sent(cef, "gzip = false\nhost = \"a\\\"b\"\nindex = 'x'", prop::collection::vec(line, 1..8));
}
