//! A tenant whose data is removed.

use super::{quarantine_tests::work, tests::*, *};

fn remove(lose_owed: bool) -> Wanted {
    Wanted::RemoveTenant { tenant: TENANT.into(), lose_owed }
}

fn count(story: &Story, what: &str) -> i64 {
    story.memory.with(|c| c.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0))).unwrap()
}

/// One content that both sinks have, one that one of them has begun and refused a part of, one that nobody has read. Then its source goes.
async fn left_behind() -> Story {
    let story = begin(vec![sink("a", None), sink("b", None)]).await;
    story.admit("done", T - 20 * HOUR).await;
    story.store("done", &[1, 2]).await;
    story.drain(0).await;
    story.drain(1).await;
    story.admit("begun", T - 10 * HOUR).await;
    story.store("begun", &[2, 3, 4]).await;
    story.drain(1).await;
    story.admit("unread", T - HOUR).await;
    let content = story.id("begun");
    let step = Progress { content, to: 2, skipped: 1, quarantined: 1, ..Progress::default() };
    let bad = Refused {
        content,
        position: 1,
        id: auditferry_contract::EventId([3; 16]),
        operation: String::new(),
        words: "no".into(),
        record: b"{\"Id\":3}".to_vec(),
        second: 1,
        unreadable: false,
        no_id: false,
    };
    story.ledger.confirm(story.sinks[0].id, vec![step], vec![bad], T).await.unwrap();
    story.ledger.register(vec![], vec![sink("a", None), sink("b", None)], T).await.unwrap();
    story.close().await;
    story
}

#[tokio::test]
async fn while_it_is_owed_it_stays_unless_that_is_to_be_lost() {
    let mut story = left_behind().await;
    let (request, steps) = work(&mut story, remove(false)).await;
    let words = format!(
        "2 contents of tenant {TENANT} are still owed to sinks, and 1 of its records are in quarantine: wait for the sinks, or ask with --lose-owed, which makes them gaps"
    );
    assert_eq!((request.refused, request.outcome.as_deref(), steps), (true, Some(words.as_str()), 1));
    assert_eq!(count(&story, "chunk") + count(&story, "quarantine"), 2, "nothing was touched");
    // its sinks take what is left
    story.store("unread", &[5]).await;
    assert_eq!(story.drain(0).await, [4, 5]);
    story.drain(1).await;
    let all = Selection { sink: None, ids: vec![], up_to: story.ledger.quarantine_last().await.unwrap() };
    work(&mut story, Wanted::QuarantineRetry(all)).await;
    assert_eq!(story.drain(0).await, [3]);
    let (request, _) = work(&mut story, remove(false)).await;
    let words = "its data is removed: 0 records and 0 contents that were never read became gaps; books and gaps stay";
    assert_eq!((request.refused, request.outcome.as_deref()), (false, Some(words)));
    assert_eq!(story.ledger.gaps(9).await.unwrap(), []);
}

#[tokio::test]
async fn what_is_owed_becomes_gaps_and_nothing_of_a_record_is_left() {
    let mut story = left_behind().await;
    let (request, steps) = work(&mut story, remove(true)).await;
    let words = "its data is removed: 2 records and 2 contents that were never read became gaps; books and gaps stay";
    assert_eq!((request.refused, request.outcome.as_deref()), (false, Some(words)));
    assert_eq!(steps, 4, "marked, contents, quarantine, the end; a crash lies between each two");
    for table in ["chunk", "seen", "copy", "newcomer", "quarantine", "content WHERE uri <> '' OR error IS NOT NULL"] {
        assert_eq!(count(&story, table), 0, "{table}");
    }
    let books = story.ledger.books().await.unwrap();
    assert!(books.streams.iter().all(|stream| !stream.configured), "nobody is to be woken by one that is not listed");
    assert_eq!((books.seen, books.stored_bytes, books.unfetched), (0, 0, 0));
    assert!(books.sinks.iter().all(|sink| (sink.contents, sink.ahead, sink.quarantine_bytes) == (0, 0, 0)));
    let accounts = &books.streams.iter().find(|it| it.origin == "listed").unwrap().accounts;
    let terms: Vec<_> =
        accounts.iter().map(|it| (it.owed, it.delivered, it.skipped, it.quarantined, it.lost)).collect();
    assert_eq!(terms, [(5, 2, 1, 0, 2), (5, 4, 1, 0, 0)], "the books stay, and close");
    // what was refused and what had not been sent; what was in the unread one is not known, for each of the two
    let mut gaps = story.ledger.gaps(9).await.unwrap();
    gaps.sort_by_key(|gap| (gap.records, gap.sink.clone()));
    let told: Vec<_> = gaps.iter().map(|gap| (gap.records, gap.sink.as_deref(), gap.asked_by.as_deref())).collect();
    let who = Some("alice");
    assert_eq!(told, [(None, Some("a"), who), (None, Some("b"), who), (Some(2), Some("a"), who)]);
    // what is left of its contents goes with the others, and takes no gap along
    story.ledger.forget(T + 11 * DAY).await.unwrap();
    assert_eq!((count(&story, "content"), count(&story, "gap")), (0, 3));
}

#[tokio::test]
async fn a_batch_that_was_out_meanwhile_and_a_sink_that_comes_later_change_nothing() {
    let mut story = left_behind().await;
    let step = Progress { content: story.id("begun"), from: 2, to: 3, delivered: 1, ..Progress::default() };
    work(&mut story, remove(true)).await;
    let applied = story.ledger.confirm(story.sinks[0].id, vec![step], vec![], T).await;
    assert_eq!(applied, Ok(vec![false]), "its gap stands, and says more than is lost");
    let late = vec![sink("a", None), sink("b", None), sink("late", Some(T - DAY))];
    story.ledger.register(vec![], late, T).await.unwrap();
    story.close().await;
    assert_eq!(count(&story, "delivery WHERE lost = 0"), 0, "nobody can fetch it any more");
}

#[tokio::test]
async fn a_tenant_that_comes_back_is_new_and_its_books_go_on() {
    let mut story = left_behind().await;
    work(&mut story, remove(true)).await;
    let both = vec![sink("a", None), sink("b", None)];
    let (streams, _) = register(&story.ledger, both, T + HOUR).await;
    let begins = T + HOUR - DAY;
    assert_eq!((streams[0].id, streams[0].cursor, streams[0].lower_bound), (story.stream, begins, begins));
    let books = story.ledger.books().await.unwrap();
    let stream = books.streams.iter().find(|stream| stream.configured).unwrap();
    assert_eq!(
        (stream.newest, stream.registered),
        (None, Some(T + HOUR)),
        "it is silent from now on, not since it left"
    );
    assert_eq!((streams[0].listed, streams[0].enabled), (None, false), "no gap is suspected for when it was away");
    // what the service still lists is owed again, the same ids too
    story.admit("done", T - 20 * HOUR).await;
    story.store("done", &[1, 2]).await;
    assert_eq!(story.drain(0).await, [1, 2]);
    assert_eq!(count(&story, "gap"), 3);
    let (request, _) = work(&mut story, remove(true)).await;
    let words = format!(
        "the agent runs with tenant {TENANT}: take its source out of the configuration, start the agent again, and ask once more"
    );
    assert_eq!(request.outcome, Some(words));
}

#[tokio::test]
async fn one_that_comes_back_in_the_middle_is_not_removed_further() {
    let mut story = left_behind().await;
    let id = story.ledger.ask("alice".into(), remove(true), T).await.unwrap();
    story.ledger.work_request(id, T).await.unwrap();
    let both = vec![sink("a", None), sink("b", None)];
    register(&story.ledger, both, T).await;
    let request = story.ledger.work_request(id, T).await.unwrap().unwrap();
    assert!(request.refused, "{request:?}");
    story.close().await;
    assert_eq!(story.drain(0).await, [4], "it was still owed");
    let (request, _) = work(&mut story, Wanted::RemoveTenant { tenant: "x".into(), lose_owed: true }).await;
    assert_eq!(request.outcome.as_deref(), Some("there is no tenant x in the ledger"));
}

#[tokio::test]
async fn a_sink_that_is_owed_from_later_on_is_owed_nothing_older_when_the_tenant_is_back() {
    let mut story = begin(vec![sink("a", None)]).await;
    let both = vec![sink("a", None), sink("late", None)];
    story.sinks = register(&story.ledger, both.clone(), T).await.1;
    story.ledger.register(vec![], both.clone(), T).await.unwrap();
    work(&mut story, remove(true)).await;
    register(&story.ledger, both, T + HOUR).await;
    story.admit("older", T - HOUR).await;
    story.store("older", &[1]).await;
    assert_eq!((story.drain(0).await, story.drain(1).await), (vec![1], vec![]));
}

#[tokio::test]
async fn a_copy_whose_owner_went_is_the_record_itself() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("first", T - 3 * HOUR).await;
    story.admit("second", T - 2 * HOUR).await;
    story.store("second", &[1]).await;
    story.store("first", &[1, 2]).await;
    assert_eq!(count(&story, "copy"), 1);
    let id = story.ledger.ask("alice".into(), remove(true), T).await.unwrap();
    story.ledger.register(vec![], vec![sink("a", None)], T).await.unwrap();
    story.ledger.work_request(id, T).await.unwrap();
    // a removal that came to the owner only
    let (request, owner) = (id, story.id("second"));
    story
        .memory
        .with(|c| {
            super::remove::end(c, request, owner, &mut Default::default(), T).unwrap();
            Ok(())
        })
        .unwrap();
    story.close().await;
    register(&story.ledger, vec![sink("a", None)], T).await;
    assert_eq!(count(&story, "copy WHERE owner NOT IN (SELECT id FROM content)"), 0);
    // the number of the owner is given again
    story.admit("third", T - HOUR).await;
    assert_eq!(story.id("third"), owner);
    assert_eq!(story.drain(0).await, [1, 2]);
}

#[tokio::test]
async fn what_was_requeued_and_is_done_is_in_the_way_of_nothing_when_the_tenant_is_back() {
    let mut story = begin(vec![sink("a", None), sink("b", None)]).await;
    for _ in 0..2 {
        story.admit("one", T - HOUR).await;
        story.store("one", &[1]).await;
        assert_eq!(story.drain(0).await, [1]);
        // its body is dropped for room, and comes with one more when it is fetched again
        assert!(story.drop_last(story.sinks[1].id).await.is_some());
        story.store("one", &[1, 2]).await;
        assert_eq!((story.drain(0).await, story.drain(1).await), (vec![2], vec![1, 2]));
        assert_eq!(count(&story, "content WHERE content_id LIKE 'one+1@%' AND state = 3"), 1);
        story.ledger.register(vec![], vec![sink("a", None), sink("b", None)], T).await.unwrap();
        work(&mut story, remove(true)).await;
        register(&story.ledger, vec![sink("a", None), sink("b", None)], T).await;
        assert_eq!(count(&story, "content"), 0);
    }
}

#[tokio::test]
async fn a_content_whose_ids_are_being_entered_ends_where_it_is() {
    let mut story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    let content = story.id("one");
    let mut builder = crate::fetch::chunk::ChunkBuilder::default();
    for n in 0..1500_u16 {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let id = auditferry_contract::EventId(id);
        builder.push(&crate::fetch::chunk::Frame { id, second: 1, unreadable: false, no_id: false, record: b"{}" });
    }
    let (body, records) = builder.take().unwrap().unwrap();
    story.ledger.store_chunk(content, 0, 0, records, body).await.unwrap();
    let counts = Counts { read: 1500, unselected: 0, unreadable: 0, records: 1500 };
    story.ledger.complete(content, counts, T).await.unwrap();
    assert_eq!(story.ledger.enter_ids(content, T).await, Ok(Entered::More));
    story.ledger.register(vec![], vec![sink("a", None)], T).await.unwrap();
    work(&mut story, remove(true)).await;
    assert_eq!(story.ledger.enter_ids(content, T).await, Ok(Entered::Stored), "there is nothing more to enter");
    story.close().await;
    let books = story.ledger.books().await.unwrap();
    assert_eq!((books.stored_bytes, books.seen, books.streams[0].accepted), (0, 0, 0));
    assert_eq!(books.lost_contents.iter().map(|lost| lost.3).sum::<u64>(), 1);
}
