//! The ledger's promises, one small story each.

use auditferry_contract::EventId;

use super::*;
use crate::{
    fetch::chunk::{ChunkBuilder, Frame},
    underway::Underway,
};

pub(super) const T: Millis = 1_700_000_000_000;
pub(super) const HOUR: Millis = 3_600_000;
pub(super) const DAY: Millis = 24 * HOUR;
pub(super) const TENANT: &str = "41463f53-8812-40f4-890f-865bf6e35190";

pub(super) struct Story {
    pub(super) ledger: Ledger,
    pub(super) memory: Memory,
    pub(super) stream: i64,
    pub(super) sinks: Vec<SinkRow>,
}

pub(super) fn sink(name: &str, since: Option<Millis>) -> SinkSpec {
    SinkSpec { name: name.into(), since, tenants: None }
}

pub(super) async fn begin(sinks: Vec<SinkSpec>) -> Story {
    let memory = Memory::new().unwrap();
    let ledger = Ledger::in_memory(&memory, Gate::default());
    let (streams, sinks) = register(&ledger, sinks, T).await;
    Story { ledger, memory, stream: streams[0].id, sinks }
}

pub(super) async fn register(ledger: &Ledger, sinks: Vec<SinkSpec>, now: Millis) -> (Vec<StreamRow>, Vec<SinkRow>) {
    let stream = StreamSpec { tenant: TENANT.into(), content_type: "Audit.General".into(), since: now - DAY };
    ledger.register(vec![stream], sinks, now).await.unwrap()
}

impl Story {
    pub(super) async fn admit(&self, name: &str, created: Millis) {
        let content =
            Listed { content_id: name.into(), uri: format!("https://x/{name}"), created, expires: created + 7 * DAY };
        let admission =
            Admission { stream: self.stream, contents: vec![content], cursor: None, listed_past: None, now: T };
        self.ledger.admit(admission).await.unwrap();
    }

    pub(super) fn id(&self, name: &str) -> i64 {
        self.memory
            .with(|c| c.query_row("SELECT id FROM content WHERE content_id = ?", [name], |row| row.get(0)))
            .unwrap()
    }

    /// Stores a body whose records have these ids; 0 stands for a record without an id.
    pub(super) async fn store(&self, name: &str, ids: &[u8]) {
        let content = self.id(name);
        let mut builder = ChunkBuilder::default();
        for id in ids {
            let record = format!("{{\"Id\":{id}}}");
            builder.push(&Frame {
                id: EventId([*id; 16]),
                second: 1,
                unreadable: false,
                no_id: *id == 0,
                record: record.as_bytes(),
            });
        }
        if let Some((body, records)) = builder.take().unwrap() {
            self.ledger.store_chunk(content, 0, 0, records, body).await.unwrap();
        }
        let records = ids.len() as u64;
        let counts = Counts { read: records + 1, unselected: 1, unreadable: 0, records };
        self.ledger.complete(content, counts, T).await.unwrap();
        while self.ledger.enter_ids(content, T).await.unwrap() == Entered::More {}
        self.close().await;
    }

    /// Drops a body from the back of what a sink is owed, as if every sink had more before it: its only one would stay.
    pub(super) async fn drop_last(&self, sink: i64) -> Option<(i64, u64)> {
        let add = |bytes: i64| self.memory.with(|c| c.execute("UPDATE sink SET ahead = ahead + ?1", [bytes])).unwrap();
        add(1 << 20);
        let dropped = self.ledger.drop_from_back(sink, 0, Underway::default(), T).await.unwrap();
        add(-(1 << 20));
        dropped
    }

    /// Delivers everything that is ready for a sink; returns the records' ids in order.
    pub(super) async fn drain(&self, sink: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        for live in [true, false] {
            loop {
                let pieces = self
                    .ledger
                    .pieces(Ask { sink: self.sinks[sink].id, live, border: T, limit: 16, ..Ask::default() })
                    .await
                    .unwrap();
                if pieces.is_empty() {
                    break;
                }
                for piece in pieces {
                    let opened = crate::fetch::chunk::open(&piece.body).unwrap();
                    let frames: Vec<_> = crate::fetch::chunk::frames(&opened).map(Result::unwrap).collect();
                    let mut step = Progress {
                        content: piece.content,
                        generation: piece.generation,
                        from: piece.from,
                        to: piece.first + frames.len() as i64,
                        ..Progress::default()
                    };
                    for (offset, frame) in frames.iter().enumerate().skip((piece.from - piece.first) as usize) {
                        if piece.skip.contains(&(piece.first + offset as i64)) {
                            step.skipped += 1;
                        } else {
                            step.delivered += 1;
                            taken.push(frame.id.0[0]);
                        }
                    }
                    self.ledger.confirm(self.sinks[sink].id, vec![step], vec![], T).await.unwrap();
                }
            }
        }
        self.close().await;
        taken
    }

    /// The books close, and the derived counts are what the rows say.
    pub(super) async fn close(&self) {
        assert_eq!(self.ledger.books().await.unwrap().imbalances(), []);
        let derived = "SELECT (SELECT value FROM meta WHERE key = 'stored_bytes') = (SELECT ifnull(sum(length(body)), 0) FROM chunk)
          AND (SELECT value FROM meta WHERE key = 'seen') = (SELECT count(*) FROM seen)
          AND NOT EXISTS (SELECT 1 FROM sink k WHERE k.ahead <> (SELECT ifnull(sum(c.bytes), 0) FROM delivery d JOIN content c ON c.id = d.content
            WHERE d.sink = k.id AND d.ready = 1 AND d.lost = 0))
          AND NOT EXISTS (SELECT 1 FROM sink k WHERE k.quarantine_bytes <> (SELECT ifnull(sum(bytes), 0) FROM quarantine q WHERE q.sink = k.id))
          AND NOT EXISTS (SELECT 1 FROM account a WHERE a.quarantined <> (SELECT count(*) FROM quarantine q WHERE q.sink = a.sink AND q.stream = a.stream))";
        assert!(self.memory.with(|c| c.query_row(derived, [], |row| row.get::<_, bool>(0))).unwrap());
    }
}

#[tokio::test]
async fn a_record_in_two_contents_and_twice_in_one_arrives_once() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.admit("two", T - HOUR + 1).await;
    story.store("one", &[1, 2, 1]).await;
    story.store("two", &[2, 3]).await;
    assert_eq!(story.drain(0).await, [1, 2, 3]);
    let books = story.ledger.books().await.unwrap();
    let stream = &books.streams[0];
    assert_eq!((stream.read, stream.unselected, stream.copies, stream.accepted), (7, 2, 2, 3));
    assert_eq!((stream.accounts[0].owed, stream.accounts[0].delivered, stream.accounts[0].skipped), (5, 3, 2));
    assert_eq!(books.stored_bytes, 0, "delivered bodies are gone");
}

#[tokio::test]
async fn a_sink_added_later_gets_what_is_published_since_its_start_and_copies_whose_owner_it_never_had() {
    let mut story = begin(vec![sink("a", None)]).await;
    story.admit("old", T - 5 * HOUR).await;
    story.store("old", &[1]).await;
    story.admit("done", T - 2 * HOUR).await;
    story.store("done", &[2]).await;
    assert_eq!(story.drain(0).await, [1, 2]);
    story.sinks = register(&story.ledger, vec![sink("a", None), sink("b", Some(T - 3 * HOUR))], T).await.1;
    // `done` is fetched again, for b alone; a copy of the older record comes with a new content
    story.store("done", &[2]).await;
    story.admit("new", T).await;
    story.store("new", &[1, 3]).await;
    assert_eq!(story.drain(1).await, [1, 3, 2], "live first; b was never owed the owner of 1");
    assert_eq!(story.drain(0).await, [3]);
}

#[tokio::test]
async fn the_newest_content_of_a_stream_is_known_for_good_whoever_is_owed_it() {
    let story = begin(vec![]).await;
    let newest = async || story.ledger.books().await.unwrap().streams[0].newest;
    assert_eq!(newest().await, None);
    for (name, created, expected) in [("one", T - HOUR, T - HOUR), ("older", T - DAY, T - HOUR), ("two", T, T)] {
        story.admit(name, created).await;
        assert_eq!(newest().await, Some(expected), "{name}");
    }
}

#[tokio::test]
async fn a_dropped_body_is_fetched_again_and_delivered_once() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2]).await;
    assert!(story.drop_last(story.sinks[0].id).await.is_some());
    story.close().await;
    assert_eq!(story.drain(0).await, [0_u8; 0]);
    story.store("one", &[2, 1]).await;
    assert_eq!(story.drain(0).await, [2, 1], "another order of the same records is no copy of itself");
    assert_eq!(
        story.ledger.books().await.unwrap().streams[0].read,
        3,
        "each record is counted once, at its first store"
    );
}

#[tokio::test]
async fn a_body_that_differs_when_fetched_again_leaves_a_gap_and_owes_what_is_new() {
    let story = begin(vec![sink("a", None), sink("b", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2]).await;
    assert_eq!(story.drain(0).await, [1, 2]);
    assert!(story.drop_last(story.sinks[1].id).await.is_some());
    story.store("one", &[2, 3, 4]).await;
    assert_eq!(story.drain(0).await, [3, 4], "a had finished: the new ids are owed to it as a content of their own");
    assert_eq!(story.drain(1).await, [2, 3, 4]);
    let gaps = story.ledger.gaps(9).await.unwrap();
    assert_eq!((gaps[0].reason.as_str(), gaps[0].records), ("gone when fetched again", Some(1)));
}

#[tokio::test]
async fn a_body_that_a_sink_has_begun_is_never_dropped() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2]).await;
    let begun = Progress { content: story.id("one"), from: 0, to: 1, delivered: 1, ..Progress::default() };
    story.ledger.confirm(story.sinks[0].id, vec![begun], vec![], T).await.unwrap();
    assert_eq!(story.drop_last(story.sinks[0].id).await, None);
    assert_eq!(story.drain(0).await, [2]);
}

#[tokio::test]
async fn a_subscription_that_was_off_before_anything_was_listed_is_a_gap_from_its_start() {
    let story = begin(vec![sink("a", None)]).await;
    story.ledger.subscription_off(story.stream, T, T).await.unwrap();
    assert_eq!(story.ledger.gaps(9).await.unwrap(), [], "it was never on: a first start");
    story.ledger.subscription_enabled(story.stream, false, T, T).await.unwrap();
    story.ledger.subscription_off(story.stream, T + HOUR, T + HOUR).await.unwrap();
    let gaps = story.ledger.gaps(9).await.unwrap();
    assert_eq!(
        gaps.iter().map(|gap| (gap.from, gap.to, gap.suspected)).collect::<Vec<_>>(),
        [(T - DAY, T + HOUR, true)]
    );
}

#[tokio::test]
async fn the_only_body_that_a_sink_has_and_what_is_on_its_way_stay() {
    let story = begin(vec![sink("a", None)]).await;
    let a = story.sinks[0].id;
    story.admit("one", T - 2 * HOUR).await;
    story.store("one", &[1, 2]).await;
    assert_eq!(story.ledger.drop_from_back(a, 0, Underway::default(), T).await.unwrap(), None, "it has no other");
    story.admit("two", T - HOUR).await;
    story.store("two", &[3, 4]).await;
    let (one, two) = (story.id("one"), story.id("two"));
    let underway = Underway::default();
    let hold = underway.hold([one, two].into());
    assert_eq!(story.ledger.drop_from_back(a, 0, underway, T).await.unwrap(), None, "both are on their way");
    drop(hold);
    let configured = |is: i64| story.memory.with(|c| c.execute("UPDATE stream SET configured = ?1", [is])).unwrap();
    let drop_last = async || story.ledger.drop_from_back(a, 0, Underway::default(), T).await.unwrap();
    configured(0);
    assert_eq!(drop_last().await, None, "nobody would fetch it again");
    configured(1);
    assert_eq!(drop_last().await.map(|(content, _)| content), Some(two), "the one at the back");
    assert_eq!(drop_last().await, None);
    story.close().await;
}

#[tokio::test]
async fn what_expires_unfetched_is_a_gap_and_its_copies_still_arrive() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2]).await;
    story.drop_last(story.sinks[0].id).await;
    story.admit("never", T - HOUR).await;
    while story.ledger.expire(vec![story.stream], true, T + 8 * DAY, T + 8 * DAY).await.unwrap() {}
    story.close().await;
    let books = story.ledger.books().await.unwrap();
    assert_eq!(books.streams[0].accounts[0].lost, 2);
    assert_eq!(books.lost_contents.iter().map(|lost| lost.3).sum::<u64>(), 1);
    let gaps = story.ledger.gaps(9).await.unwrap();
    assert_eq!(gaps.len(), 1, "neighbours join: {gaps:?}");
    assert_eq!(books.gaps_by_reason, [("expired before it could be fetched".to_owned(), 1, 1)]);
    story.admit("again", T + 8 * DAY).await;
    story.store("again", &[2]).await;
    assert_eq!(story.drain(0).await, [2], "the owner of 2 was lost to a");
}

#[tokio::test]
async fn start_owes_nothing_older_and_the_cursor_moves_only_when_told() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("older", T - 2 * DAY).await;
    let books = story.ledger.books().await.unwrap();
    assert_eq!((books.unfetched, books.streams[0].cursor), (0, T - DAY));
    let admission = Admission { stream: story.stream, contents: vec![], cursor: Some(T), listed_past: None, now: T };
    story.ledger.admit(admission).await.unwrap();
    assert_eq!(story.ledger.books().await.unwrap().streams[0].cursor, T);
}

#[tokio::test]
async fn a_delivery_row_deleted_by_hand_opens_the_books() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2]).await;
    story.memory.with(|c| c.execute("DELETE FROM delivery", [])).unwrap();
    let open = story.ledger.books().await.unwrap().imbalances();
    assert_eq!(
        open[0].to_string(),
        format!(
            "the books of {TENANT}/Audit.General for sink a are open: owed 2 is not delivered 0 + filtered 0 + skipped copies 0 + quarantined 0 + lost 0 + pending 0"
        )
    );
}

#[tokio::test]
async fn a_confirmation_that_does_not_fit_changes_nothing() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2]).await;
    let wrong = Progress { content: story.id("one"), from: 1, to: 2, delivered: 1, ..Progress::default() };
    assert!(matches!(
        story.ledger.confirm(story.sinks[0].id, vec![wrong], vec![], T).await,
        Err(LedgerError::Broken(_))
    ));
    assert_eq!(story.drain(0).await, [1, 2]);
}

#[tokio::test]
async fn what_is_old_and_owed_to_nobody_is_forgotten_with_its_ids() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    story.store("one", &[1, 2]).await;
    while story.ledger.forget(T + 1).await.unwrap() {}
    assert_eq!(story.ledger.books().await.unwrap().seen, 2, "still owed");
    story.drain(0).await;
    while story.ledger.forget(T + 1).await.unwrap() {}
    let books = story.ledger.books().await.unwrap();
    assert_eq!((books.seen, books.contents), (0, 0));
}

#[tokio::test]
async fn what_is_owed_is_found_without_reading_and_sorting_all_of_it() {
    let story = begin(vec![sink("a", None)]).await;
    for live_ones in [true, false] {
        let sql = format!("EXPLAIN QUERY PLAN {}", contents::owed(live_ones));
        let plan: Vec<String> = story
            .memory
            .with(|c| c.prepare(&sql)?.query_map([1, 1, 1, 1], |row| row.get("detail"))?.collect())
            .unwrap();
        assert!(plan.iter().all(|step| !step.contains("TEMP B-TREE")), "{plan:?}");
    }
}

#[tokio::test]
async fn transactions_of_many_callers_share_a_commit_and_one_that_fails_is_undone_alone() {
    let dir = tempfile::tempdir().unwrap();
    let _lock = lock(dir.path()).unwrap();
    let ledger = Ledger::open(dir.path()).unwrap();
    let good = |n: i64| {
        let ledger = ledger.clone();
        async move {
            ledger
                .write("test", move |c| {
                    c.execute("INSERT INTO meta VALUES (?1, ?2)", rusqlite::params![format!("k{n}"), n])?;
                    if n % 7 == 0 { Err(LedgerError::Unavailable("asked to fail".into())) } else { Ok(n) }
                })
                .await
        }
    };
    let results = futures_util::future::join_all((0..100).map(good)).await;
    for (n, result) in results.into_iter().enumerate() {
        assert_eq!(result.is_ok(), n % 7 != 0);
    }
    drop(ledger);
    let again = Ledger::open_for_reading(dir.path()).unwrap();
    let rows = again
        .read(|c| Ok(c.query_row("SELECT count(*) FROM meta WHERE key LIKE 'k%'", [], |row| row.get::<_, i64>(0))?))
        .await;
    assert_eq!(rows.unwrap(), 100 - 15);
}

#[tokio::test]
async fn a_full_disk_is_said_and_after_space_is_back_the_same_call_works() {
    let story = begin(vec![sink("a", None)]).await;
    story.admit("one", T - HOUR).await;
    // the disk is full: SQLite may not add a page
    let pages = story.memory.with(|c| c.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))).unwrap();
    let limit = |pages: i64| {
        story
            .memory
            .with(|c| c.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0)))
            .unwrap()
    };
    limit(pages);
    let content = story.id("one");
    let body = vec![7; 200_000];
    let error = story.ledger.store_chunk(content, 0, 0, 1, body.clone()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the ledger can't be written, the disk is full: database or disk is full; free some space under state_dir, the agent goes on by itself [DiskFull]"
    );
    assert!(error.passes());
    story.close().await;
    limit(1_000_000);
    story.ledger.store_chunk(content, 0, 0, 1, body).await.unwrap();
    assert_eq!(story.ledger.books().await.unwrap().stored_bytes, 200_000);
}
