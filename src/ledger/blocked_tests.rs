//! What the sinks are told of one that is blocked.

use auditferry_contract::EventId;

use super::{tests::*, *};

fn event(id: u8) -> OwnEvent {
    OwnEvent { id: EventId([id; 16]), record: format!("{{\"Id\":{id}}}").into_bytes() }
}

fn news(since: Millis, words: Option<&str>) -> BlockNews {
    BlockNews { sink: "a".into(), since, words: words.map(Into::into) }
}

#[tokio::test]
async fn every_sink_hears_of_a_block_and_of_its_end_once_and_within_the_hour_of_no_other() {
    let story = begin(vec![sink("a", None), sink("b", None)]).await;
    let (ledger, a) = (&story.ledger, story.sinks[0].id);
    assert_eq!(ledger.block_told(a).await, Ok(BlockTold::Works { not_before: Millis::MIN }));
    ledger.announce_block(a, &news(T - 5, Some("why")), event(1), T).await.unwrap();
    assert_eq!(ledger.block_told(a).await, Ok(BlockTold::Blocked { since: T - 5 }));
    // an answer that was lost in a crash: said again, it does nothing
    ledger.announce_block(a, &news(T - 5, Some("why")), event(1), T + 1).await.unwrap();
    story.close().await;
    ledger.announce_block(a, &news(T - 5, None), event(2), T + 2).await.unwrap();
    ledger.announce_block(a, &news(T - 5, None), event(2), T + 3).await.unwrap();
    assert_eq!(ledger.block_told(a).await, Ok(BlockTold::Works { not_before: T + HOUR }));
    ledger.announce_block(a, &news(T + HOUR, Some("why")), event(3), T + 2).await.unwrap();
    // two ends, and all that lies between them, in one millisecond
    ledger.announce_block(a, &news(T + HOUR, None), event(4), T + 2).await.unwrap();
    ledger.announce_block(a, &news(T + HOUR, Some("why")), event(5), T + HOUR).await.unwrap();
    assert_eq!(ledger.block_told(a).await, Ok(BlockTold::Blocked { since: T + HOUR }));
    for sink in [0, 1] {
        assert_eq!(story.drain(sink).await, [1, 2, 3, 4, 5]);
    }
    let books = ledger.books().await.unwrap();
    let own = books.streams.iter().find(|stream| stream.origin == "agent").unwrap();
    assert_eq!((own.read, own.accepted), (5, 5));
    assert!(own.accounts.iter().all(|account| (account.owed, account.delivered) == (5, 5)), "{own:?}");
}

#[tokio::test]
async fn nothing_of_it_is_noted_unless_the_sinks_are_owed_it() {
    let story = begin(vec![sink("a", None)]).await;
    let a = story.sinks[0].id;
    // the name of its content is taken: the second half of the transaction can't be done
    let name = format!("sink-{a}-blocked-1");
    let taken = "INSERT INTO content (stream, content_id, uri, created, expires, admitted) SELECT id, ?, '', 0, 0, 0 FROM stream WHERE origin = 'agent'";
    story.memory.with(|c| c.execute(taken, [&name])).unwrap();
    story.ledger.announce_block(a, &news(T, Some("why")), event(1), T).await.unwrap_err();
    assert_eq!(story.ledger.block_told(a).await, Ok(BlockTold::Works { not_before: Millis::MIN }));
}
