//! What the agent is told for every answer, and what has arrived by then.

use auditferry_conformance::{
    POISON, SECRET, batch,
    fakes::hec::{Behaviour, Canned, Hec},
};
use auditferry_contract::SinkError;

use crate::common::{Collector, bodies, short, words};

/// Every answer of Splunk's table, and some that it does not have, for a batch of three and for one message. Without a code the
/// body is a page.
const EXPECTED: &[(u16, Option<u16>, &str, &str)] = &[
    (200, Some(0), "taken", "taken"),
    (200, Some(24), "taken", "taken"),
    (200, Some(25), "taken", "taken"),
    (200, Some(17), "retry []", "retry []"),
    (200, None, "retry []", "retry []"),
    (202, None, "retry []", "retry []"),
    (204, None, "retry []", "retry []"),
    (301, None, "blocked", "blocked"),
    (302, None, "blocked", "blocked"),
    (307, None, "blocked", "blocked"),
    (400, Some(5), "retry []", "retry []"),
    (400, Some(6), "refused [] untaken []", "refused [0] untaken []"),
    (400, Some(7), "blocked", "blocked"),
    (400, Some(10), "blocked", "blocked"),
    (400, Some(11), "blocked", "blocked"),
    (400, Some(12), "refused [] untaken []", "refused [0] untaken []"),
    (400, Some(13), "refused [] untaken []", "refused [0] untaken []"),
    (400, Some(14), "blocked", "blocked"),
    (400, Some(15), "refused [] untaken []", "refused [0] untaken []"),
    (400, Some(16), "blocked", "blocked"),
    (400, Some(21), "blocked", "blocked"),
    (400, Some(22), "blocked", "blocked"),
    (400, Some(99), "retry []", "retry []"),
    (400, None, "retry []", "retry []"),
    (401, Some(2), "blocked", "blocked"),
    (401, Some(3), "blocked", "blocked"),
    (401, None, "blocked", "blocked"),
    (403, Some(1), "blocked", "blocked"),
    (403, Some(4), "blocked", "blocked"),
    (403, None, "blocked", "blocked"),
    (404, Some(404), "blocked", "blocked"),
    (404, None, "blocked", "blocked"),
    (405, Some(404), "blocked", "blocked"),
    (407, None, "blocked", "blocked"),
    (408, None, "retry []", "retry []"),
    (413, None, "refused [] untaken []", "refused [0] untaken []"),
    (413, Some(6), "refused [] untaken []", "refused [0] untaken []"),
    (415, None, "blocked", "blocked"),
    (418, None, "blocked", "blocked"),
    (429, Some(26), "retry []", "retry []"),
    (429, Some(27), "retry []", "retry []"),
    (429, None, "retry []", "retry []"),
    (500, Some(8), "retry []", "retry []"),
    (500, None, "retry []", "retry []"),
    (502, None, "retry []", "retry []"),
    (503, Some(9), "retry []", "retry []"),
    (503, Some(18), "retry []", "retry []"),
    (503, Some(19), "retry []", "retry []"),
    (503, Some(20), "retry []", "retry []"),
    (503, Some(23), "retry []", "retry []"),
    (503, None, "retry []", "retry []"),
    (504, None, "retry []", "retry []"),
];

#[tokio::test]
async fn every_answer_of_the_table() {
    let collector = Collector::plain(Behaviour::default());
    let sink = collector.sink("ack = 'off'").await;
    for (status, code, of_three, of_one) in EXPECTED {
        let canned = code.map_or_else(|| Canned::html(*status), |code| Canned::code(*status, code));
        collector.hec.change(|b| b.canned = Some(canned.clone()));
        let before = collector.hec.posts();
        for (count, expected) in [(3, of_three), (1, of_one)] {
            let answer = sink.deliver(batch(&bodies("a", count))).await;
            assert_eq!(short(&answer), **expected, "{status} {code:?}, {count} messages");
            if let Err(error) = answer {
                let cause = &error.cause().0;
                assert!(cause.contains(&status.to_string()), "{cause}");
                assert!(!cause.contains(SECRET) && !cause.contains('\n') && !cause.contains("<"), "{cause}");
            }
        }
        assert_eq!(collector.hec.posts(), before + 2, "{status}: one attempt each");
    }
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_told() {
    let collector = Collector::plain(Behaviour::default());
    let sink = collector.sink("ack = 'off'").await;
    let sent = "Sun, 29 Nov 2026 16:00:00 GMT";
    for (header, expected) in [
        ("7", "retry [] after 7"),
        ("Sun, 29 Nov 2026 16:02:00 GMT", "retry [] after 120"),
        ("Mon, 30 Nov 2026 16:00:00 GMT", "retry [] after 900"),
        ("Sun, 29 Nov 2026 15:59:00 GMT", "retry []"),
        ("soon", "retry []"),
        ("-1", "retry []"),
    ] {
        let mut canned = Canned::code(503, 9);
        canned.headers.extend([("retry-after", header.to_string()), ("date", sent.to_string())]);
        collector.hec.change(|b| b.canned = Some(canned));
        assert_eq!(short(&sink.deliver(batch(&bodies("a", 1))).await), expected);
    }
}

/// What the agent does with an answer, without its pauses: halve, leave out, send again. Gives what ended in quarantine.
async fn carry(sink: &dyn auditferry_contract::Sink, all: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut quarantine = Vec::new();
    let mut open = vec![all.to_vec()];
    for _ in 0..200 {
        let Some(part) = open.pop() else { return quarantine };
        match sink.deliver(batch(&part)).await {
            Ok(()) => {}
            Err(SinkError::Retry { untaken, .. }) if untaken.is_empty() => open.push(part),
            Err(SinkError::Refused { refused, untaken, .. }) if refused.is_empty() && untaken.is_empty() => {
                let (left, right) = part.split_at(part.len() / 2);
                open.extend([right.to_vec(), left.to_vec()]);
            }
            Err(SinkError::Refused { refused, untaken, .. }) => {
                quarantine.extend(refused.iter().map(|r| part[r.position].clone()));
                open.push(untaken.iter().map(|at| part[*at].clone()).collect());
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("not done after 200 calls")
}

fn sorted(hec: &Hec, mut all: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    assert_eq!(hec.errors(), [""; 0]);
    all.sort();
    all
}

#[tokio::test]
async fn a_page_for_413_makes_the_batch_smaller_until_it_fits() {
    let collector = Collector::plain(Behaviour { max_events: 3, ..Behaviour::default() });
    let sink = collector.sink("ack = 'off'").await;
    let all = bodies("a", 20);
    assert_eq!(carry(&*sink, &all).await, Vec::<Vec<u8>>::new());
    assert_eq!(sorted(&collector.hec, collector.arrivals.bodies()), sorted(&collector.hec, all), "once each");
}

#[tokio::test]
async fn one_message_that_is_too_large_alone_is_refused() {
    let collector = Collector::plain(Behaviour { max_bytes: 5000, ..Behaviour::default() });
    let sink = collector.sink("ack = 'off'").await;
    let mut all = bodies("a", 9);
    all.insert(4, format!("[\"{}\"]", "x".repeat(6000)).into_bytes());
    assert_eq!(carry(&*sink, &all).await, [all.remove(4)]);
    assert_eq!(sorted(&collector.hec, collector.arrivals.bodies()), sorted(&collector.hec, all), "once each");
}

#[tokio::test]
async fn bad_events_in_a_batch_are_refused_one_by_one_and_the_others_arrive() {
    let collector = Collector::plain(Behaviour { poison: Some(POISON.into()), ..Behaviour::default() });
    let sink = collector.sink("ack = 'off'").await;
    let mut all = bodies("a", 30);
    // at the beginning, two in a row, one made otherwise (an empty event is code 13), at the end
    for at in [0, 7, 8, 29] {
        all[at] = format!("{{\"n\":{at},\"bad\":\"{POISON}\"}}").into_bytes();
    }
    all[15] = b"{}".to_vec();
    let bad: Vec<_> = [0, 7, 8, 15, 29].iter().map(|at: &usize| all[*at].clone()).collect();
    assert_eq!(carry(&*sink, &all).await, bad);
    all.retain(|body| !bad.contains(body));
    let mut arrived = sorted(&collector.hec, collector.arrivals.bodies());
    for body in &all {
        // what stands before a bad one is taken with each half that holds both: 30 are halved five times
        let times = arrived.iter().filter(|other| *other == body).count();
        assert!((1..=6).contains(&times), "{} arrived {times} times", String::from_utf8_lossy(body));
    }
    arrived.dedup();
    assert_eq!(arrived, sorted(&collector.hec, all), "all of them and nothing else");
}

/// Some receivers take what stands before the event that they name, others take nothing; some count from 0, others from 1.
#[tokio::test]
async fn a_position_that_is_named_confirms_nothing_and_blames_nobody() {
    let collector = Collector::plain(Behaviour::default());
    let sink = collector.sink("ack = 'off'").await;
    for (code, number) in [(6, 0), (6, 1), (12, 2), (13, 3), (15, 2), (15, 99), (15, -1)] {
        let body = format!("{{\"text\":\"canned\",\"code\":{code},\"invalid-event-number\":{number}}}");
        collector.hec.change(|b| b.canned = Some(Canned { body, ..Canned::code(400, code) }));
        assert_eq!(short(&sink.deliver(batch(&bodies("a", 3))).await), "refused [] untaken []", "{code} at {number}");
        assert_eq!(short(&sink.deliver(batch(&bodies("a", 1))).await), "refused [0] untaken []", "{code} at {number}");
    }
    assert_eq!(collector.arrivals.messages(), 0);
}

#[tokio::test]
async fn the_words_of_splunk_go_along_with_a_refused_event() {
    let collector = Collector::plain(Behaviour { poison: Some(POISON.into()), ..Behaviour::default() });
    let sink = collector.sink("ack = 'off'").await;
    let poison = format!("\"{POISON}\"").into_bytes();
    match sink.deliver(batch(&[poison])).await {
        Err(SinkError::Refused { refused, .. }) => {
            assert!(refused[0].cause.0.contains("400 with code 6 (Invalid data format)"), "{refused:?}");
            assert!(!refused[0].cause.0.contains(POISON));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_index_that_is_not_there_blames_the_configuration_and_no_event() {
    let behaviour = Behaviour { indexes: Some(vec!["o365".into()]), ..Behaviour::default() };
    let collector = Collector::plain(behaviour);
    let wrong = collector.sink("index = 'typo'").await;
    assert!(matches!(wrong.deliver(batch(&bodies("a", 3))).await, Err(SinkError::Blocked { .. })));
    assert_eq!(collector.arrivals.messages(), 0);
    let right = collector.sink("index = 'o365'").await;
    assert_eq!(right.deliver(batch(&bodies("a", 3))).await, Ok(()));
}

#[tokio::test]
async fn a_wrong_or_disabled_token_shows_when_the_sink_is_opened() {
    for ack in ["off", "auto", "required"] {
        let ack = format!("ack = '{ack}'");
        let collector = Collector::plain(Behaviour { tokens: vec!["another".into()], ..Behaviour::default() });
        let error = collector.try_sink(&ack).await.err();
        assert!(matches!(error, Some(SinkError::Blocked { .. })), "{ack}: {error:?}");
        collector.hec.change(|b| *b = Behaviour { disabled: true, ..Behaviour::default() });
        let error = collector.try_sink(&ack).await.err();
        assert!(
            matches!(&error, Some(SinkError::Blocked { cause }) if cause.0.contains("Token disabled")),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_is_no_collector_is_told_so() {
    let collector = Collector::plain(Behaviour::default());
    let options = collector.options().replace("'\ntoken", "/elsewhere'\ntoken");
    let sink = crate::common::checked(&format!("{options}\nack = 'off'"), crate::common::json());
    let error = sink.open(std::sync::Arc::new(auditferry_conformance::TestEnv::default())).await.err();
    assert!(words(Err(error.expect("an error"))).contains("`endpoint` leads to no event collector"));
}

#[tokio::test]
async fn more_of_an_answer_than_is_read_is_no_acceptance() {
    let collector = Collector::plain(Behaviour::default());
    let sink = collector.sink("ack = 'off'").await;
    let body = format!("{{\"code\":0,\"text\":\"{}\"}}", "x".repeat(70_000));
    collector.hec.change(|b| b.canned = Some(Canned { body, ..Canned::code(200, 0) }));
    assert_eq!(short(&sink.deliver(batch(&bodies("a", 1))).await), "retry []");
}
