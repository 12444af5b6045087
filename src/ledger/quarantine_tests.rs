//! What a sink refused: kept, offered again, given up.

use auditferry_contract::EventId;

use super::{tests::*, *};

fn refused(content: i64, position: i64, id: u8) -> Refused {
    Refused {
        content,
        position,
        id: EventId([id; 16]),
        operation: format!("Operation{id}"),
        words: "no such\nfield".into(),
        record: format!("{{\"Id\":{id}}}").into_bytes(),
        second: 1,
        unreadable: false,
        no_id: false,
    }
}

/// The sink takes the whole content, but for what it refuses: (position, id).
async fn settle(story: &Story, sink: usize, name: &str, records: i64, bad: &[(i64, u8)]) {
    let content = story.id(name);
    let quarantined = bad.len() as u64;
    let step =
        Progress { content, to: records, delivered: records as u64 - quarantined, quarantined, ..Progress::default() };
    let bad = bad.iter().map(|(position, id)| refused(content, *position, *id)).collect();
    assert_eq!(story.ledger.confirm(story.sinks[sink].id, vec![step], bad, T).await, Ok(vec![true]));
    story.close().await;
}

/// Asks, and works it off; the books close after every step. Between two steps the agent dies and lives again.
pub(super) async fn work(story: &mut Story, wanted: Wanted) -> (Request, usize) {
    let id = story.ledger.ask("alice".into(), wanted, T).await.unwrap();
    let mut steps = 0;
    loop {
        assert_eq!(story.ledger.next_request().await, Ok(Some(id)));
        let request = story.ledger.work_request(id, T).await.unwrap().unwrap();
        steps += 1;
        story.close().await;
        assert_eq!(request.taken_at, Some(T));
        if request.ended_at.is_some() {
            assert_eq!(story.ledger.next_request().await, Ok(None));
            assert_eq!(story.ledger.work_request(id, T + 1).await.unwrap().as_ref(), Some(&request), "over is over");
            return (request, steps);
        }
        story.ledger = Ledger::in_memory(&story.memory, Gate::default());
    }
}

async fn all(story: &Story, sink: Option<&str>) -> Selection {
    let up_to = story.ledger.quarantine_last().await.unwrap();
    Selection { sink: sink.map(Into::into), ids: vec![], up_to }
}

async fn account(story: &Story, stream: &str, sink: &str) -> Account {
    let books = story.ledger.books().await.unwrap();
    let stream = books.streams.into_iter().find(|it| it.origin == stream).unwrap();
    stream.accounts.into_iter().find(|it| it.sink == sink).unwrap()
}

#[tokio::test]
async fn what_a_sink_refuses_is_kept_as_it_was_stored_and_the_content_is_done() {
    let story = begin(vec![sink("a", None), sink("b", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2, 3]).await;
    settle(&story, 0, "one", 3, &[(1, 2)]).await;
    let kept = story.ledger.quarantined(Some("a".into()), 0, 9).await.unwrap();
    assert_eq!((kept.len(), kept[0].words.as_str(), kept[0].operation.as_str()), (1, "no such field", "Operation2"));
    assert_eq!((kept[0].content_id.as_str(), kept[0].content_type.as_str()), ("one", "Audit.General"));
    assert_eq!((kept[0].position, kept[0].created, kept[0].refused_at), (1, T - HOUR, T));
    assert_eq!(story.ledger.quarantined(Some("b".into()), 0, 9).await, Ok(vec![]));
    let (_, record) = story.ledger.quarantined_record(kept[0].id).await.unwrap().unwrap();
    assert_eq!(record, b"{\"Id\":2}");
    assert_eq!(story.ledger.quarantine_bytes(story.sinks[0].id).await, Ok(kept[0].bytes));
    assert!(kept[0].bytes > 0);
    assert_eq!(story.drain(1).await, [1, 2, 3], "the other sink gets it");
    let books = story.ledger.books().await.unwrap();
    assert_eq!((books.stored_bytes, books.quarantined("a"), books.quarantined("b")), (0, 1, 0));
}

#[tokio::test]
async fn words_are_one_bounded_line() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1]).await;
    let content = story.id("one");
    let step = Progress { content, to: 1, quarantined: 1, ..Progress::default() };
    let words = format!(" \u{1b}[31m{}", "ü".repeat(2000));
    let bad = Refused { words, ..refused(content, 0, 1) };
    story.ledger.confirm(story.sinks[0].id, vec![step], vec![bad], T).await.unwrap();
    let kept = &story.ledger.quarantined(None, 0, 9).await.unwrap()[0].words;
    assert!(kept.len() <= 2048 && kept.len() > 2040 && kept.starts_with("[31mü"), "{} bytes", kept.len());
    assert!(!kept.contains(char::is_control));
}

#[tokio::test]
async fn what_is_refused_of_a_lost_or_dropped_body_is_not_kept() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2]).await;
    let (content, sink) = (story.id("one"), story.sinks[0].id);
    story.drop_last(sink).await;
    let part = Progress { content, to: 1, quarantined: 1, ..Progress::default() };
    assert_eq!(story.ledger.confirm(sink, vec![part], vec![refused(content, 0, 1)], T).await, Ok(vec![false]));
    // settled as a whole, but what was refused could not be read any more
    let whole = Progress { content, to: 2, delivered: 1, quarantined: 1, ..Progress::default() };
    assert_eq!(story.ledger.confirm(sink, vec![whole], vec![], T).await, Ok(vec![false]));
    while story.ledger.expire(vec![story.stream], true, T + 8 * DAY, T + 8 * DAY).await.unwrap() {}
    assert_eq!(story.ledger.confirm(sink, vec![whole], vec![refused(content, 0, 1)], T).await, Ok(vec![false]));
    assert_eq!(story.ledger.quarantined(None, 0, 9).await, Ok(vec![]));
    story.close().await;
}

#[tokio::test]
async fn a_confirmation_and_its_refused_records_must_fit() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2]).await;
    let (content, sink) = (story.id("one"), story.sinks[0].id);
    let one = Progress { content, to: 1, quarantined: 1, ..Progress::default() };
    for bad in [vec![], vec![refused(content, 1, 2)], vec![refused(content, 0, 1), refused(content, 1, 2)]] {
        let wrong = story.ledger.confirm(sink, vec![one], bad, T).await;
        assert!(matches!(wrong, Err(LedgerError::Broken(_))), "{wrong:?}");
    }
    assert_eq!(story.drain(0).await, [1, 2], "nothing of it was done");
}

#[tokio::test]
async fn a_retry_owes_the_record_again_and_what_is_refused_again_waits_for_the_next_one() {
    let mut story = begin(vec![sink("a", None), sink("b", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2, 3]).await;
    settle(&story, 0, "one", 3, &[(0, 1), (2, 3)]).await;
    settle(&story, 1, "one", 3, &[(2, 3)]).await;
    let counter = |account: &Account| account.owed + account.requeued;
    let before = account(&story, "listed", "a").await;
    let wanted = Wanted::QuarantineRetry(all(&story, Some("a")).await);
    let (request, _) = work(&mut story, wanted.clone()).await;
    assert_eq!(request.outcome.as_deref(), Some("2 records are owed to their sinks again, encoded anew"));
    assert_eq!((request.done, request.refused, request.who.as_str()), (2, false, "alice"));
    let after = account(&story, "listed", "a").await;
    assert_eq!(counter(&before), counter(&after), "a counter that Prometheus sees does not fall");
    assert_eq!((after.owed, after.delivered, after.quarantined, after.requeued), (1, 1, 0, 2));
    let requeued = account(&story, "requeue", "a").await;
    assert_eq!((requeued.owed, requeued.pending), (2, 2));
    assert_eq!(account(&story, "listed", "b").await.quarantined, 1, "b's is left alone");

    // one is taken, one is refused again: under the number of a new row, with what it came with
    let name = story.memory.with(|c| {
        c.query_row("SELECT content_id FROM content WHERE of_content = 'one'", [], |row| row.get::<_, String>(0))
    });
    settle(&story, 0, &name.unwrap(), 2, &[(1, 3)]).await;
    let kept = story.ledger.quarantined(Some("a".into()), 0, 9).await.unwrap();
    assert_eq!((kept.len(), kept[0].content_id.as_str(), kept[0].content_type.as_str()), (1, "one", "Audit.General"));
    assert_eq!(kept[0].created, T - HOUR, "published when it was");
    let (again, _) = work(&mut story, wanted).await;
    assert_eq!(again.done, 0, "a selection is fixed when it is asked");
    let wanted = Wanted::QuarantineRetry(Selection { ids: vec![kept[0].id, 999], ..all(&story, None).await });
    assert_eq!(work(&mut story, wanted).await.0.done, 1);
    let requeued = account(&story, "requeue", "a").await;
    assert_eq!((requeued.owed, requeued.requeued, requeued.delivered, requeued.pending), (2, 1, 1, 1));
    assert_eq!(story.drain(0).await, [3]);
    assert_eq!(story.ledger.quarantine_bytes(story.sinks[0].id).await, Ok(0));
}

#[tokio::test]
async fn a_requeued_record_is_never_skipped_as_a_copy_and_its_copies_are() {
    let mut story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1]).await;
    settle(&story, 0, "one", 1, &[(0, 1)]).await;
    story.admit("two", T).await;
    story.store("two", &[1, 2]).await;
    assert_eq!(story.drain(0).await, [2], "it has the record, in quarantine");
    let wanted = Wanted::QuarantineRetry(all(&story, None).await);
    work(&mut story, wanted).await;
    assert_eq!(story.drain(0).await, [1]);
}

#[tokio::test]
async fn a_large_retry_goes_in_bounded_steps_and_a_crash_between_them_costs_nothing() {
    let mut story = begin(vec![sink("a", None)]).await;
    let mut total = 0;
    for n in 0..6_i64 {
        let name = format!("content {n}");
        story.admit(&name, T - HOUR + n).await;
        let ids: Vec<u8> = (0..200).map(|i| (i % 255) as u8 + 1).collect();
        story.store(&name, &ids).await;
        let bad: Vec<(i64, u8)> = (0..200).map(|i| (i, ids[i as usize])).collect();
        settle(&story, 0, &name, 200, &bad).await;
        total += 200;
    }
    let wanted = Wanted::QuarantineRetry(all(&story, None).await);
    let (request, steps) = work(&mut story, wanted).await;
    assert_eq!((request.done, steps), (total, 4), "500, 500, 200, and the end");
    assert_eq!(story.drain(0).await.len() as u64, total);
}

#[tokio::test]
async fn records_of_a_sink_that_is_gone_stay_and_the_outcome_says_so() {
    let mut story = begin(vec![sink("a", None), sink("b", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1]).await;
    settle(&story, 0, "one", 1, &[(0, 1)]).await;
    settle(&story, 1, "one", 1, &[(0, 1)]).await;
    register(&story.ledger, vec![sink("a", None)], T).await;
    let wanted = Wanted::QuarantineRetry(all(&story, None).await);
    let (request, _) = work(&mut story, wanted).await;
    let words =
        "1 records are owed to their sinks again, encoded anew; the rest stays: its sink is not in the configuration";
    assert_eq!(request.outcome.as_deref(), Some(words));
    assert_eq!(account(&story, "listed", "b").await.quarantined, 1);
}

#[tokio::test]
async fn a_drop_is_a_gap_that_says_who_decided_it() {
    let mut story = begin(vec![sink("a", None), sink("b", None)]).await;
    for (name, created) in [("one", T - 5 * HOUR), ("two", T - HOUR)] {
        story.admit(name, created).await;
        story.store(name, &[1, 2]).await;
        settle(&story, 0, name, 2, &[(0, 1)]).await;
        settle(&story, 1, name, 2, &[]).await;
    }
    let wanted = Wanted::QuarantineDrop(all(&story, Some("a")).await);
    let (request, _) = work(&mut story, wanted).await;
    assert_eq!(request.outcome.as_deref(), Some("2 records were given up and are in a gap"));
    let gaps = story.ledger.gaps(9).await.unwrap();
    assert_eq!(gaps.len(), 1, "one decision, one gap: {gaps:?}");
    let gap = &gaps[0];
    assert_eq!((gap.reason.as_str(), gap.records, gap.sink.as_deref()), ("dropped by an operator", Some(2), Some("a")));
    assert_eq!((gap.from, gap.to, gap.asked_by.as_deref()), (T - 5 * HOUR, T - HOUR + 1, Some("alice")));
    let a = account(&story, "listed", "a").await;
    assert_eq!((a.owed, a.delivered, a.lost, a.quarantined), (4, 2, 2, 0));
    assert_eq!(story.ledger.quarantine_bytes(story.sinks[0].id).await, Ok(0));
}

#[tokio::test]
async fn an_event_of_the_agent_stays_one_when_it_is_offered_again() {
    let mut story = begin(vec![sink("a", None)]).await;
    story.ledger.unlisted(story.stream, T - DAY, T - HOUR, false, T).await.unwrap();
    let news = story.ledger.gap_news(T).await.unwrap().remove(0);
    let event = OwnEvent { id: EventId([9; 16]), record: b"{}".to_vec() };
    story.ledger.announce_gap(&news, event, T).await.unwrap();
    let name = format!("gap-{}-opened-{T}", news.gap.id);
    settle(&story, 0, &name, 1, &[(0, 9)]).await;
    let wanted = Wanted::QuarantineRetry(all(&story, None).await);
    work(&mut story, wanted).await;
    let own = account(&story, "agent", "a").await;
    assert_eq!((own.owed, own.requeued, own.pending), (1, 1, 1));
    assert_eq!(story.drain(0).await, [9]);
}

#[tokio::test]
async fn a_request_of_another_version_is_refused_and_holds_up_nobody() {
    let mut story = begin(vec![sink("a", None)]).await;
    story
        .memory
        .with(|c| c.execute("INSERT INTO request (who, what, asked_at) VALUES ('bob', '{\"dance\":1}', 1)", []))
        .unwrap();
    let request = story.ledger.work_request(1, T).await.unwrap().unwrap();
    assert!(request.refused && request.ended_at == Some(T), "{request:?}");
    let wanted = Wanted::QuarantineRetry(all(&story, None).await);
    assert_eq!(work(&mut story, wanted).await.0.done, 0);
    let books = story.ledger.books().await.unwrap();
    assert_eq!((books.open_requests, books.all_requests, books.requests.len()), (0, 2, 2));
}

#[tokio::test]
async fn no_record_takes_more_than_what_was_reckoned_before_it_went_in() {
    let story = begin(vec![sink("a", None)]).await;
    // bytes that can't be compressed, and words that are cut
    let mut state = 7_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    let records = [Vec::new(), b"{}".to_vec(), noise.take(300_000).collect()];
    let (mut held, sink) = (0, story.sinks[0].id);
    for (n, record) in records.into_iter().enumerate() {
        let name = format!("content {n}");
        story.admit(&name, T - HOUR).await;
        story.store(&name, &[n as u8]).await;
        let content = story.id(&name);
        let one = Refused { record, words: "w".repeat(5000), ..refused(content, 0, n as u8) };
        let most = one.bytes_at_most() as u64;
        let step = Progress { content, to: 1, quarantined: 1, ..Progress::default() };
        assert_eq!(story.ledger.confirm(sink, vec![step], vec![one], T).await, Ok(vec![true]));
        let now = story.ledger.quarantine_bytes(sink).await.unwrap();
        assert!(now - held <= most, "{} bytes of {most}", now - held);
        held = now;
    }
}
