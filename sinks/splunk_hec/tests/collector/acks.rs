//! Waiting for acknowledgements, over the wire.

use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use auditferry_conformance::{
    TestEnv, batch,
    fakes::hec::{Behaviour, Canned, Indexing},
    watched_batch,
};
use auditferry_contract::SinkError;

use crate::common::{Call, Collector, bodies, short, stored, words};

const QUICK: &str = "ack_interval = '100ms'";

fn acknowledging(indexing: Indexing) -> Collector {
    Collector::plain(Behaviour { indexing, ..Behaviour::default() })
}

/// Polls all calls once; panics when one has ended.
async fn poll_all(calls: &mut [Call<'_>]) {
    poll_fn(|context| {
        for call in calls.iter_mut() {
            if let Poll::Ready(end) = call.as_mut().poll(context) {
                panic!("nothing can have ended yet: {end:?}");
            }
        }
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn what_ok_is_worth_is_known_once_the_sink_is_open() {
    for (indexing, ack, expected) in [
        (Indexing::Off, "off", Some(false)),
        (Indexing::AtOnce, "off", Some(false)),
        (Indexing::Off, "auto", Some(false)),
        (Indexing::AtOnce, "auto", Some(true)),
        (Indexing::Never, "auto", Some(true)),
        (Indexing::Off, "required", None),
        (Indexing::AtOnce, "required", Some(true)),
    ] {
        let sink = acknowledging(indexing).try_sink(&format!("ack = '{ack}'\n{QUICK}")).await;
        match (&sink, expected) {
            (Ok(sink), Some(expected)) => assert_eq!(stored(sink), expected, "{indexing:?} {ack}"),
            (Err(SinkError::Blocked { cause }), None) => assert!(cause.0.contains("switch indexer ack"), "{cause}"),
            (other, _) => panic!("{indexing:?} {ack}: {:?}", other.as_ref().err()),
        }
    }
}

#[tokio::test]
async fn a_receiver_that_knows_no_questions_is_taken_for_one_without_acknowledgement() {
    let collector = Collector::plain(Behaviour::default());
    for (status, opens) in [(404, true), (405, true), (400, true), (429, false), (503, false), (403, false)] {
        collector.hec.change(|b| {
            b.indexing = Indexing::AtOnce;
            b.canned_ack = Some(Canned::html(status));
        });
        let sink = collector.try_sink(QUICK).await;
        assert_eq!(sink.as_ref().is_ok_and(|sink| !stored(sink)), opens, "{status}: {:?}", sink.err());
    }
}

#[tokio::test]
async fn off_never_asks() {
    let collector = acknowledging(Indexing::Never);
    let sink = collector.sink("ack = 'off'").await;
    assert_eq!(sink.deliver(batch(&bodies("a", 3))).await, Ok(()));
    assert_eq!(collector.hec.questions(), 0);
}

#[tokio::test]
async fn acknowledgement_that_is_switched_off_meanwhile() {
    for (ack, expected) in [("auto", "taken"), ("required", "blocked")] {
        let collector = acknowledging(Indexing::AtOnce);
        let sink = collector.sink(&format!("ack = '{ack}'\n{QUICK}")).await;
        collector.hec.change(|b| b.indexing = Indexing::Off);
        assert_eq!(short(&sink.deliver(batch(&bodies("a", 3))).await), expected);
        // `required` never promises less, since it never says `Ok`
        assert_eq!(stored(&sink), ack == "required");
    }
}

#[tokio::test]
async fn acknowledgement_that_is_switched_off_while_waiting() {
    let collector = acknowledging(Indexing::Never);
    let sink = collector.sink(QUICK).await;
    let mut call = sink.deliver(batch(&bodies("a", 3)));
    until_waiting(&collector, std::slice::from_mut(&mut call), 1).await;
    collector.hec.change(|b| b.indexing = Indexing::Off);
    assert!(words(call.await).contains("no longer acknowledges"));
}

/// Polls the calls until so many batches are at the collector and a question has been answered since.
async fn until_waiting(collector: &Collector, calls: &mut [Call<'_>], batches: usize) {
    let begun = tokio::time::Instant::now();
    let mut seen = None;
    while seen.is_none_or(|seen| collector.hec.questions() < seen + 2) {
        assert!(begun.elapsed().as_secs() < 20, "{} of {batches} batches after 20 s", collector.hec.posts());
        poll_all(calls).await;
        if seen.is_none() && collector.hec.posts() == batches {
            seen = Some(collector.hec.questions());
        }
        tokio::time::timeout(Duration::from_millis(2), std::future::pending::<()>()).await.ok();
    }
}

#[tokio::test]
async fn calls_that_wait_hold_no_batches_and_one_question_asks_for_all_of_them() {
    let collector = acknowledging(Indexing::Never);
    let checked = collector.checked(QUICK);
    let sink = collector.sink(QUICK).await;
    let most = checked.limits().in_flight;
    let (batches, dropped): (Vec<_>, Vec<_>) = (0..most).map(|n| watched_batch(&bodies(&n.to_string(), 2))).unzip();
    let mut calls: Vec<Call<'_>> = batches.into_iter().map(|batch| sink.deliver(batch)).collect();
    until_waiting(&collector, &mut calls, most).await;
    assert!(dropped.iter().all(|dropped| dropped.load(Ordering::SeqCst)), "a waiting call holds its batch");

    let before = collector.hec.questions();
    collector.hec.change(|b| b.indexing = Indexing::AtOnce);
    for call in calls {
        assert_eq!(call.await, Ok(()));
    }
    assert!(collector.hec.questions() - before <= 3, "{} questions", collector.hec.questions() - before);
    assert_eq!(collector.arrivals.messages(), 2 * most as u64);
}

#[tokio::test]
async fn the_call_that_asks_may_be_abandoned() {
    for abandoned in 0..3 {
        let collector = acknowledging(Indexing::Never);
        let sink = collector.sink(QUICK).await;
        let mut calls: Vec<Call<'_>> = (0..3).map(|n| sink.deliver(batch(&bodies(&n.to_string(), 2)))).collect();
        until_waiting(&collector, &mut calls, 3).await;
        drop(calls.remove(abandoned));
        collector.hec.change(|b| b.indexing = Indexing::AtOnce);
        for call in calls {
            assert_eq!(call.await, Ok(()), "without call {abandoned}");
        }
    }
}

#[tokio::test]
async fn an_answer_to_a_question_that_is_lost_or_unreadable_delivers_nothing_and_loses_nothing() {
    let canned = |status: u16, body: &str| Some(Canned { body: body.to_string(), ..Canned::code(status, 0) });
    for (canned_ack, lose_ack, expected) in [
        (None, 1, "retry []"),
        (Some(Canned::html(200)), 0, "retry []"),
        (canned(200, "{\"acks\":[0]}"), 0, "retry []"),
        (canned(200, "{\"acks\":{\"0\":tr"), 0, "retry []"),
        (canned(204, ""), 0, "retry []"),
        (Some(Canned::code(400, 6)), 0, "retry []"),
        (Some(Canned::html(302)), 0, "blocked"),
        (Some(Canned::code(401, 3)), 0, "blocked"),
        (Some(Canned::code(403, 4)), 0, "blocked"),
        (Some(Canned::html(404)), 0, "blocked"),
    ] {
        let collector = acknowledging(Indexing::AtOnce);
        let sink = collector.sink(QUICK).await;
        collector.hec.change(|b| {
            b.canned_ack = canned_ack.clone();
            b.lose_ack = lose_ack;
        });
        let sent = bodies("a", 3);
        assert_eq!(short(&sink.deliver(batch(&sent)).await), expected, "{canned_ack:?}");
        // as the agent goes on: drop, open, send again
        drop(sink);
        collector.hec.change(|b| b.canned_ack = None);
        let sink = collector.sink(QUICK).await;
        assert_eq!(sink.deliver(batch(&sent)).await, Ok(()));
        assert_eq!(collector.arrivals.bodies(), [sent.clone(), sent].concat(), "twice, not lost");
    }
}

#[tokio::test]
async fn a_question_that_is_not_answered_yet_is_asked_again() {
    for status in [408, 429, 500, 503] {
        let collector = acknowledging(Indexing::Never);
        let sink = collector.sink(QUICK).await;
        let mut calls = vec![sink.deliver(batch(&bodies("a", 2)))];
        collector.hec.change(|b| b.canned_ack = Some(Canned::html(status)));
        until_waiting(&collector, &mut calls, 1).await;
        collector.hec.change(|b| {
            b.canned_ack = None;
            b.indexing = Indexing::AtOnce;
        });
        for call in calls {
            assert_eq!(call.await, Ok(()), "{status}");
        }
        assert_eq!(collector.arrivals.messages(), 2, "{status}: sent again");
    }
}

#[tokio::test]
async fn an_answer_with_an_unreadable_number_is_no_acceptance() {
    let collector = acknowledging(Indexing::AtOnce);
    let sink = collector.sink(QUICK).await;
    let body = "{\"text\":\"Success\",\"code\":0,\"ackId\":\"seven\"}".to_string();
    collector.hec.change(|b| b.canned = Some(Canned { body, take: true, ..Canned::code(200, 0) }));
    assert_eq!(short(&sink.deliver(batch(&bodies("a", 3))).await), "retry []");
    let body = "{\"text\":\"Success\",\"code\":0,\"ackID\":0}".to_string();
    collector.hec.change(|b| b.canned = Some(Canned { body, take: true, ..Canned::code(200, 0) }));
    // the other spelling; the first post was number 0, and it is indexed
    assert_eq!(sink.deliver(batch(&bodies("a", 3))).await, Ok(()));
}

#[tokio::test]
async fn each_opening_has_a_channel_of_its_own() {
    let collector = acknowledging(Indexing::AtOnce);
    let checked = collector.checked(QUICK);
    let env = Arc::new(TestEnv::default());
    let body = "{\"text\":\"Success\",\"code\":0,\"ackId\":0}".to_string();
    collector.hec.change(|b| b.canned = Some(Canned { body, take: true, ..Canned::code(200, 0) }));
    // numbers begin at 0 in each channel: in one and the same, 0 would be told once only
    for _ in 0..3 {
        let sink = checked.open(env.clone()).await.unwrap_or_else(|error| panic!("open: {error}"));
        let end = tokio::time::timeout(Duration::from_secs(20), sink.deliver(batch(&bodies("a", 1)))).await;
        assert_eq!(end, Ok(Ok(())));
    }
}
