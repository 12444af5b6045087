//! Each thing that a person should look at, alone; and that nothing is said where nothing is wrong.

use std::collections::BTreeMap;

use super::*;
use crate::{
    activity::SinkActivity,
    ledger::{Gap, Ledger, Memory, SinkSpec, StreamBooks, StreamSpec, Trouble},
    world::Gate,
};

const NOW: Millis = 1_779_196_654_321;
const HOUR: Millis = 3_600_000;

async fn calm() -> Snapshot {
    let ledger = Ledger::in_memory(&Memory::new().unwrap(), Gate::default());
    let stream = StreamSpec { tenant: "t".into(), content_type: "Audit.General".into(), since: NOW - HOUR };
    let sink = SinkSpec { name: "siem".into(), since: None, tenants: None };
    ledger.register(vec![stream], vec![sink], NOW).await.unwrap();
    let mut snapshot = Snapshot::take(&ledger, None, BTreeMap::new(), NOW).await.unwrap();
    snapshot.live.started = Some(NOW - HOUR);
    snapshot
}

fn trouble(kind: &str, name: &str) -> Trouble {
    Trouble { kind: kind.into(), name: name.into(), words: "no".into(), since: NOW - 60_000 }
}

fn gap(closed_at: Option<Millis>, asked_by: Option<&str>) -> Gap {
    Gap {
        id: 7,
        tenant: Some("t".into()),
        content_type: "Audit.General".into(),
        sink: None,
        content_id: None,
        from: NOW - 9 * HOUR,
        to: NOW - 8 * HOUR,
        records: None,
        reason: "expired before it could be fetched".into(),
        suspected: false,
        found_at: NOW - 2 * HOUR,
        closed_at,
        asked_by: asked_by.map(str::to_owned),
    }
}

#[tokio::test]
async fn each_trouble_alone_is_named_with_what_to_do_and_its_entry() {
    type Break = fn(&mut Snapshot);
    use Urgency::{Act, Look};
    let cases: [(Break, Urgency, &str, &str, &str); 14] = [
        (|it| it.live.ledger_error = Some("no".into()), Act, entries::LEDGER, "ledger", "fails: no"),
        (
            |it| it.live.hung = vec!["fetch".into()],
            Act,
            entries::LOOP,
            "agent",
            "hangs: these loops have not turned for 5 minutes: fetch",
        ),
        (
            |it| it.books.streams[0].read = 1,
            Act,
            entries::BOOKS,
            "books",
            "don't close: the books of t/Audit.General are open: read 1 is not unselected 0 + unreadable 0 + copies 0 + accepted 0",
        ),
        (
            |it| (it.books.unfetched, it.books.next_expiry) = (2, Some(NOW + 5 * HOUR)),
            Act,
            entries::LOSS,
            "contents",
            "will be lost soon, not fetched yet: 2 contents, the first expires in 5 h",
        ),
        (
            |it| it.books.troubles = vec![trouble("stream", "t/Audit.General")],
            Act,
            entries::STREAM,
            "stream t/Audit.General",
            "can't be listed: no",
        ),
        (
            |it| drop(it.live.stale.insert("t/Audit.General".into(), "not listed yet".into())),
            Act,
            entries::STREAM,
            "stream t/Audit.General",
            "was not listed lately: not listed yet",
        ),
        (
            |it| it.books.streams[0].newest = Some(NOW - 26 * HOUR),
            Look,
            entries::SILENT,
            "tenant t",
            "is listed, and nothing new was published for 26 h",
        ),
        // never anything: since it was configured
        (
            |it| (it.books.streams[0].newest, it.books.streams[0].registered) = (None, Some(NOW - 25 * HOUR)),
            Look,
            entries::SILENT,
            "tenant t",
            "is listed, and nothing new was published for 25 h",
        ),
        // what can't be listed is not called silent as well
        (
            |it| {
                it.books.streams[0].newest = Some(NOW - 26 * HOUR);
                it.books.troubles = vec![trouble("stream", "t/Audit.General")];
            },
            Act,
            entries::STREAM,
            "stream t/Audit.General",
            "can't be listed: no",
        ),
        (|it| it.books.troubles = vec![trouble("sink", "siem")], Act, entries::SINK, "sink siem", "takes nothing: no"),
        (
            |it| {
                let sink = &mut it.books.sinks[0];
                (sink.configured, sink.contents, sink.oldest) = (false, 3, Some(NOW - HOUR));
            },
            Look,
            entries::GONE,
            "sink siem",
            "is gone from the configuration: 3 contents owed, the oldest published 60 min ago; 0 B stored for it",
        ),
        (
            |it| {
                let account = &mut it.books.streams[0].accounts[0];
                (account.owed, account.quarantined) = (2, 2);
            },
            Look,
            entries::QUARANTINE,
            "sink siem",
            "2 records in its quarantine, 0 B: see `auditferry quarantine list`",
        ),
        (
            |it| it.gaps = vec![gap(None, None)],
            Look,
            entries::GAP,
            "gaps",
            "were found, the latest 2 h ago: gap 7: an unknown number of records of Audit.General published 2026-05-19T04:17:34Z to 2026-05-19T05:17:34Z, all sinks: expired before it could be fetched",
        ),
        (
            |it| {
                let certificates = BTreeMap::from([("/etc/ca.pem".to_owned(), NOW + 48 * HOUR)]);
                it.live.sinks.insert("siem".into(), SinkActivity { certificates, ..SinkActivity::default() });
            },
            Look,
            entries::CERTIFICATE,
            "sink siem",
            "the first certificate in /etc/ca.pem ends 2026-05-21T13:17:34Z",
        ),
    ];
    let mut named = Vec::new();
    for (breaks, urgency, entry, subject, words) in cases {
        let mut snapshot = calm().await;
        breaks(&mut snapshot);
        let found = attention(&snapshot);
        assert_eq!(found.len(), 1, "{entry}: {found:?}");
        let it = &found[0];
        assert_eq!((it.urgency, it.entry, it.subject.as_str(), it.words.as_str()), (urgency, entry, subject, words));
        assert!(!it.advice.is_empty());
        named.push(entry);
    }
    named.sort_unstable();
    named.dedup();
    assert_eq!(named.len(), entries::ALL.len(), "each entry has its case");
}

#[tokio::test]
async fn what_needs_nobody_is_not_said() {
    type Change = fn(&mut Snapshot);
    let cases: [Change; 11] = [
        |_| {},
        |it| it.books.streams[0].newest = Some(NOW - 23 * HOUR),
        // another content type of the same tenant is not silent: the log is on
        |it| {
            let quiet = StreamBooks {
                content_type: "DLP.All".into(),
                newest: Some(NOW - 99 * HOUR),
                ..it.books.streams[0].clone()
            };
            it.books.streams[0].newest = Some(NOW - HOUR);
            it.books.streams.push(quiet);
        },
        |it| (it.books.streams[0].configured, it.books.streams[0].newest) = (false, Some(NOW - 99 * HOUR)),
        // it has just started
        |it| {
            it.live.started = Some(NOW - 60_000);
            it.live.stale.insert("t/Audit.General".into(), "not listed yet".into());
        },
        |it| it.books.next_expiry = Some(NOW + 25 * HOUR),
        |it| it.gaps = vec![gap(Some(NOW - 25 * HOUR), None)],
        |it| it.gaps = vec![gap(None, Some("alice"))],
        // gone, and nothing is kept for it
        |it| it.books.sinks[0].configured = false,
        |it| {
            (it.books.sinks[0].retired, it.books.sinks[0].configured) = (true, false);
            it.books.troubles = vec![trouble("sink", "siem")];
        },
        |it| {
            let certificates = BTreeMap::from([("/etc/ca.pem".to_owned(), NOW + 15 * 24 * HOUR)]);
            it.live.sinks.insert("siem".into(), SinkActivity { certificates, ..SinkActivity::default() });
        },
    ];
    for (number, change) in cases.into_iter().enumerate() {
        let mut snapshot = calm().await;
        change(&mut snapshot);
        assert_eq!(attention(&snapshot), [], "case {number}");
    }
}

#[tokio::test]
async fn the_worst_stands_first() {
    let mut snapshot = calm().await;
    snapshot.gaps = vec![gap(None, None)];
    snapshot.books.troubles = vec![trouble("sink", "siem"), trouble("stream", "t/Audit.General")];
    snapshot.live.ledger_error = Some("no".into());
    let order: Vec<_> = attention(&snapshot).iter().map(|it| it.entry).collect();
    assert_eq!(order, [entries::LEDGER, entries::STREAM, entries::SINK, entries::GAP]);
}

#[test]
fn each_entry_stands_in_the_runbook() {
    let page = include_str!("../../docs/runbook.md");
    let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let missing = entries::ALL.iter().filter(|entry| !headings.contains(entry));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new());
}
