//! A sink that is ended.

use super::{quarantine_tests::work, tests::*, *};

fn retire(name: &str) -> Wanted {
    Wanted::RetireSink { name: name.into() }
}

async fn accounts(story: &Story, origin: &str) -> Vec<Account> {
    let books = story.ledger.books().await.unwrap();
    books.streams.into_iter().find(|it| it.origin == origin).unwrap().accounts
}

/// Two sinks; `b` has taken everything, `a` a part, refused a part, and is then taken out of the configuration.
async fn left_behind() -> Story {
    let story = begin(vec![sink("a", None), sink("b", None)]).await;
    story.admit("begun", T - 20 * HOUR).await;
    story.store("begun", &[1, 2, 3, 4]).await;
    story.admit("whole", T - 10 * HOUR).await;
    story.store("whole", &[5, 6]).await;
    story.drain(1).await;
    story.admit("shared", T - 2 * HOUR).await;
    story.store("shared", &[7]).await;
    story.admit("unread", T - HOUR).await;
    let content = story.id("begun");
    let step = Progress { content, to: 2, delivered: 1, quarantined: 1, ..Progress::default() };
    let bad = Refused {
        content,
        position: 1,
        id: auditferry_contract::EventId([2; 16]),
        operation: String::new(),
        words: "no".into(),
        record: b"{\"Id\":2}".to_vec(),
        second: 1,
        unreadable: false,
        no_id: false,
    };
    story.ledger.confirm(story.sinks[0].id, vec![step], vec![bad], T).await.unwrap();
    register(&story.ledger, vec![sink("b", None)], T).await;
    story.close().await;
    story
}

#[tokio::test]
async fn what_a_retired_sink_was_owed_becomes_gaps_and_nobody_else_loses_anything() {
    let mut story = left_behind().await;
    let (request, steps) = work(&mut story, retire("a")).await;
    let words = "retired: 6 records and 1 contents that were never read became gaps";
    assert_eq!((request.outcome.as_deref(), request.refused), (Some(words), false));
    assert_eq!(steps, 4, "marked, deliveries, quarantine, the end; a crash lies between each two");
    let books = story.ledger.books().await.unwrap();
    let a = &accounts(&story, "listed").await[0];
    assert_eq!((a.retired, a.owed, a.delivered, a.lost, a.quarantined, a.pending), (true, 7, 1, 6, 0, 0));
    assert_eq!(books.lost_contents.iter().map(|lost| lost.3).sum::<u64>(), 1);
    let a = books.sinks.iter().find(|it| it.name == "a").unwrap();
    assert_eq!((a.retired, a.contents, a.ahead, a.quarantine_bytes), (true, 0, 0, 0));
    // two gaps: how many records were in what was never read is not known, and that must not hide how many were in the rest
    let mut gaps = story.ledger.gaps(9).await.unwrap();
    gaps.sort_by_key(|gap| gap.records);
    let told: Vec<_> = gaps.iter().map(|gap| (gap.records, gap.from, gap.asked_by.as_deref())).collect();
    assert_eq!(told, [(None, T - HOUR, Some("alice")), (Some(6), T - 20 * HOUR, Some("alice"))]);
    // the other sink still gets what it is owed, and bodies that only the retired one was owed are gone
    assert_eq!(story.memory.with(|c| c.query_row("SELECT count(*) FROM chunk", [], |row| row.get(0))), Ok(1));
    story.store("unread", &[8]).await;
    assert_eq!(story.drain(1).await, [7, 8]);
    assert_eq!(story.ledger.books().await.unwrap().stored_bytes, 0);
}

#[tokio::test]
async fn its_name_is_free_from_the_first_step_on_and_a_new_sink_of_it_begins_anew() {
    let mut story = left_behind().await;
    let id = story.ledger.ask("alice".into(), retire("a"), T).await.unwrap();
    story.ledger.work_request(id, T).await.unwrap();
    // the agent dies, and is started with a sink of that name before the request is over
    let (_, sinks) = register(&story.ledger, vec![sink("a", None), sink("b", None)], T).await;
    assert_eq!(sinks.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    story.admit("new", T).await;
    story.store("new", &[9]).await;
    while story.ledger.next_request().await.unwrap().is_some() {
        story.ledger.work_request(id, T).await.unwrap();
        story.close().await;
    }
    story.sinks = sinks;
    assert_eq!(story.drain(1).await, [9], "it is owed what is published from its own start on");
    let both: Vec<_> = accounts(&story, "listed")
        .await
        .iter()
        .filter(|it| it.sink == "a")
        .map(|it| (it.retired, it.delivered))
        .collect();
    assert_eq!(both, [(true, 1), (false, 1)]);
    assert_eq!(story.ledger.books().await.unwrap().quarantined("a"), 0);
}

#[tokio::test]
async fn a_new_sink_with_a_start_gets_what_was_never_read_for_the_retired_one() {
    let mut story = begin(vec![sink("a", None)]).await;
    story.admit("unread", T - HOUR).await;
    register(&story.ledger, vec![], T).await;
    work(&mut story, retire("a")).await;
    let need = Need::Everything { live: 0, streams: vec![story.stream], each: 9 };
    assert_eq!(story.ledger.to_fetch(need.clone(), T, 9).await, Ok(vec![]), "nobody is owed it");
    story.sinks = register(&story.ledger, vec![sink("a", Some(T - DAY))], T).await.1;
    assert_eq!(story.ledger.to_fetch(need, T, 9).await.unwrap().len(), 1);
    story.store("unread", &[1]).await;
    assert_eq!(story.drain(0).await, [1]);
}

#[tokio::test]
async fn a_content_whose_ids_are_being_entered_is_entered_to_its_end() {
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
    register(&story.ledger, vec![], T).await;
    work(&mut story, retire("a")).await;
    while story.ledger.enter_ids(content, T).await.unwrap() == Entered::More {}
    story.close().await;
    let books = story.ledger.books().await.unwrap();
    assert_eq!((books.stored_bytes, books.seen, books.streams[0].accepted), (0, 1500, 1500));
}

#[tokio::test]
async fn a_sink_that_the_agent_runs_with_is_not_retired_nor_is_one_that_is_not_there() {
    let mut story = left_behind().await;
    let (request, steps) = work(&mut story, retire("b")).await;
    let words =
        "the agent runs with sink `b`: take it out of the configuration, start the agent again, and ask once more";
    assert_eq!((request.refused, request.outcome.as_deref(), steps), (true, Some(words), 1));
    let (request, _) = work(&mut story, retire("c")).await;
    assert_eq!(request.outcome.as_deref(), Some("there is no sink `c` that could be retired"));
    work(&mut story, retire("a")).await;
    let (twice, _) = work(&mut story, retire("a")).await;
    assert!(twice.refused, "{twice:?}");
}
