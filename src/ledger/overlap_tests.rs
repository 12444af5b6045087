//! What happens while something else is under way: one small story each.

use super::{
    Ask, Counts, Ledger, Progress,
    tests::{DAY, HOUR, T, begin, register, sink},
};

fn whole(content: i64, records: i64) -> Progress {
    Progress { content, from: 0, to: records, delivered: records as u64, ..Progress::default() }
}

#[tokio::test]
async fn a_body_dropped_while_its_batch_is_under_way_is_delivered_once() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2]).await;
    let sink = story.sinks[0].id;
    assert_eq!(story.ledger.pieces(Ask { sink, border: T, limit: 16, ..Ask::default() }).await.unwrap().len(), 1);
    assert!(story.drop_last(sink).await.is_some());
    // the sink took all of it: it need not be fetched again
    story.ledger.confirm(sink, vec![whole(story.id("one"), 2)], vec![], T).await.unwrap();
    story.close().await;
    let books = story.ledger.books().await.unwrap();
    assert_eq!((books.streams[0].accounts[0].delivered, books.unfetched), (2, 0));
}

#[tokio::test]
async fn a_part_of_a_dropped_body_is_sent_again() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2]).await;
    let sink = story.sinks[0].id;
    story.drop_last(sink).await;
    story.ledger.confirm(sink, vec![whole(story.id("one"), 1)], vec![], T).await.unwrap();
    story.close().await;
    story.store("one", &[1, 2]).await;
    assert_eq!(story.drain(0).await, [1, 2]);
}

#[tokio::test]
async fn what_expires_while_it_is_fetched_or_delivered_breaks_nothing() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    let content = story.id("one");
    story.ledger.store_chunk(content, 0, 0, 1, vec![1; 10]).await.unwrap();
    while story.ledger.expire(vec![story.stream], true, T + 8 * DAY, T + 8 * DAY).await.unwrap() {}
    // the fetch goes on, and nothing of it is kept
    story.ledger.store_chunk(content, 1, 1, 1, vec![1; 10]).await.unwrap();
    let counts = Counts { read: 2, unselected: 0, unreadable: 0, records: 2 };
    story.ledger.complete(content, counts, T).await.unwrap();
    story.ledger.fetch_failed(content, "late".into(), T).await.unwrap();
    story.close().await;
    assert_eq!(story.ledger.books().await.unwrap().stored_bytes, 0);
    // a batch of it that was under way is in the gap already
    story.ledger.confirm(story.sinks[0].id, vec![whole(content, 2)], vec![], T).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_nobody_took_is_owed_to_the_sink_that_comes_for_it() {
    let other = |name: &str| super::SinkSpec { tenants: Some(vec!["another tenant".into()]), ..sink(name, None) };
    let mut story = begin(vec![other("a")]).await;
    story.admit("one", T - HOUR).await;
    assert_eq!(story.ledger.books().await.unwrap().unfetched, 0);
    story.sinks = register(&story.ledger, vec![other("a"), sink("b", Some(T - DAY))], T).await.1;
    story.store("one", &[1]).await;
    assert_eq!(story.drain(1).await, [1]);
}

#[tokio::test]
async fn a_sink_that_is_gone_is_owed_nothing_new_and_keeps_what_it_was_owed() {
    let mut story = begin(vec![sink("a", None), sink("b", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1]).await;
    story.sinks = register(&story.ledger, vec![sink("a", None)], T).await.1;
    story.admit("two", T).await;
    story.store("two", &[2]).await;
    story.sinks = register(&story.ledger, vec![sink("a", None), sink("b", None)], T + HOUR).await.1;
    story.admit("three", T + HOUR).await;
    story.store("three", &[3, 2]).await;
    let mut taken = story.drain(1).await;
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 3], "2 comes as a copy, since its owner was published while b was gone");
    let mut all = story.drain(0).await;
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3]);
}

#[tokio::test]
async fn one_content_that_waits_does_not_hide_the_next_one_from_the_budget() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - 2 * HOUR).await;
    story.admit("two", T - HOUR).await;
    story.ledger.fetch_failed(story.id("one"), "broken".into(), T + HOUR).await.unwrap();
    let view =
        |ledger: Ledger, streams| async move { ledger.budget_view(streams, T).await.unwrap().sinks[0].first_missing };
    assert_eq!(view(story.ledger.clone(), vec![story.stream]).await, Some(story.id("two")));
    assert_eq!(
        view(story.ledger.clone(), vec![]).await,
        None,
        "a stream that can't be fetched from has nothing to offer"
    );
}

#[tokio::test]
async fn what_fails_is_told_to_other_processes_with_its_beginning() {
    let story = begin(vec![sink("a", None)]).await;
    let say = |words: Option<&str>, now| story.ledger.trouble("sink", "a".into(), words.map(str::to_owned), now);
    say(Some("no token"), T).await.unwrap();
    say(Some("no token"), T + HOUR).await.unwrap();
    let troubles = story.ledger.books().await.unwrap().troubles;
    assert_eq!(
        (troubles[0].words.as_str(), troubles[0].since),
        ("no token", T),
        "the same words go on since they began"
    );
    say(Some("no topic"), T + 2 * HOUR).await.unwrap();
    assert_eq!(story.ledger.books().await.unwrap().troubles[0].since, T + 2 * HOUR);
    say(None, T + 3 * HOUR).await.unwrap();
    assert_eq!(story.ledger.books().await.unwrap().troubles, []);
}

/// What has expired and is still stored, for a sink that was away, is not for one that comes later: the copy in another content is, once.
#[tokio::test]
async fn a_new_sink_gets_a_record_once_though_its_own_content_is_expired_and_stored() {
    let a = || sink("a", Some(T - 7 * DAY));
    let mut story = begin(vec![a()]).await;
    story.admit("one", T - 6 * DAY).await;
    story.store("one", &[1, 2]).await;
    story.admit("two", T - DAY).await;
    story.store("two", &[2, 3]).await;
    story.sinks = register(&story.ledger, vec![a(), sink("b", Some(T - 7 * DAY))], T + 2 * DAY).await.1;
    assert_eq!(story.drain(1).await, [2, 3]);
    assert_eq!(story.drain(0).await, [1, 2, 3]);
    story.close().await;
}

#[tokio::test]
async fn a_new_sink_gets_the_copy_of_a_record_whose_own_content_had_expired_before_it_was_there() {
    let a = || sink("a", Some(T - 7 * DAY));
    let mut story = begin(vec![a()]).await;
    story.admit("one", T - 6 * DAY).await;
    story.store("one", &[1, 2]).await;
    story.admit("two", T - DAY).await;
    story.store("two", &[2, 3]).await;
    assert_eq!(story.drain(0).await, [1, 2, 3]);
    // `one` can't be had any more, `two` can
    story.sinks = register(&story.ledger, vec![a(), sink("b", Some(T - 7 * DAY))], T + 2 * DAY).await.1;
    story.store("two", &[2, 3]).await;
    assert_eq!(story.drain(1).await, [2, 3]);
    story.close().await;
}
