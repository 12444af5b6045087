//! What the page does with words from outside, how long it gets, what it says first.

use std::collections::BTreeMap;

use super::*;
use crate::{
    activity::{Pulse, SinkActivity, StreamActivity},
    ledger::{Gap, Ledger, Memory, Request, SinkSpec, StreamSpec, Trouble},
    status::{Bounds, Configured},
    world::Gate,
};

const NOW: Millis = 1_779_196_654_321;
const MINUTE: Millis = 60_000;
/// What a hostile service or sink may say.
const ATTACK: &str =
    "</p></style><script>alert(1)</script><img src=x onerror=alert(2)>\" onload=\"alert(3)' &amp;\u{202e}\u{1b}[2J";

async fn snapshot(tenants: u32, sinks: &[&str]) -> Snapshot {
    let ledger = Ledger::in_memory(&Memory::new().unwrap(), Gate::default());
    let stream = |tenant: u32| StreamSpec {
        tenant: format!("5e1ec7ed-0000-4000-8000-{tenant:012x}"),
        content_type: "Audit.General".into(),
        since: NOW - 60 * MINUTE,
    };
    let sink = |name: &&str| SinkSpec { name: (*name).to_owned(), since: None, tenants: None };
    ledger.register((1..=tenants).map(stream).collect(), sinks.iter().map(sink).collect(), NOW).await.unwrap();
    let mut snapshot = Snapshot::take(&ledger, None, BTreeMap::new(), NOW).await.unwrap();
    snapshot.live.started = Some(NOW - 60 * MINUTE);
    snapshot.live.bounds = Some(Bounds { bodies: 1 << 30, quarantine: 1 << 28 });
    for stream in &mut snapshot.books.streams {
        stream.listed = Some(NOW - MINUTE);
    }
    snapshot
}

fn trouble(kind: &str, name: &str, words: &str) -> Trouble {
    Trouble { kind: kind.into(), name: name.into(), words: words.into(), since: NOW - 5 * MINUTE }
}

fn gap(reason: &str) -> Gap {
    Gap {
        id: 1,
        tenant: None,
        content_type: ATTACK.into(),
        sink: Some(ATTACK.into()),
        content_id: None,
        from: NOW - 60 * MINUTE,
        to: NOW - 50 * MINUTE,
        records: Some(12),
        reason: reason.into(),
        suspected: true,
        found_at: NOW - 40 * MINUTE,
        closed_at: None,
        asked_by: None,
    }
}

/// Everything between `<` and `>`: an escaped text has none.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|part| part.split('>').next().unwrap()).collect()
}

#[tokio::test]
async fn words_from_outside_are_shown_and_obeyed_by_nobody() {
    let mut snapshot = snapshot(2, &["siem", "lake", "gone"]).await;
    let name = snapshot.books.streams[0].name();
    let sink = &mut snapshot.books.sinks[1];
    (sink.name, sink.contents, sink.oldest) = (ATTACK.into(), 3, Some(NOW - MINUTE));
    (snapshot.books.sinks[2].configured, snapshot.books.sinks[2].contents) = (false, 1);
    snapshot.books.streams[1].tenant = Some(ATTACK.into());
    for account in snapshot.books.streams.iter_mut().flat_map(|stream| &mut stream.accounts) {
        account.sink = ATTACK.into();
        account.owed = 1;
    }
    snapshot.books.troubles =
        vec![trouble("stream", &name, ATTACK), trouble("sink", "siem", ATTACK), trouble("sink", ATTACK, ATTACK)];
    snapshot.books.failing = vec![(ATTACK.into(), ATTACK.into())];
    snapshot.books.requests = vec![Request {
        id: 1,
        what: ATTACK.into(),
        who: ATTACK.into(),
        asked_at: NOW,
        taken_at: Some(NOW),
        ended_at: Some(NOW),
        done: 0,
        contents: 0,
        outcome: Some(ATTACK.into()),
        refused: true,
    }];
    snapshot.gaps = vec![gap(ATTACK)];
    let live = &mut snapshot.live;
    live.ledger_error = Some(ATTACK.into());
    live.hung = vec![ATTACK.into()];
    live.pulses.insert(ATTACK.into(), Pulse::default());
    live.stale.insert(format!("{ATTACK}/Audit.General"), ATTACK.into());
    live.fetch_failures.insert(ATTACK.into(), 1);
    live.streams.insert(name, StreamActivity { code: Some(ATTACK.into()), ..StreamActivity::default() });
    let certificates = BTreeMap::from([(ATTACK.to_owned(), NOW)]);
    live.sinks.insert("siem".into(), SinkActivity { certificates, ..SinkActivity::default() });
    live.configured.insert("siem".into(), Configured { kind: "file", codec: "ocsf", promise: None });
    for page in [render(&snapshot, true), unreadable(ATTACK, NOW)] {
        let known = [
            "!DOCTYPE", "html", "head", "meta", "title", "link", "style", "body", "header", "main", "footer",
            "section", "article", "h1", "h2", "h3", "p", "a", "span", "strong", "small", "code", "time", "ol", "ul",
            "li", "dl", "dt", "dd", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "details",
            "summary", "meter",
        ];
        for tag in tags(&page) {
            let name = tag.trim_start_matches('/').split(' ').next().unwrap();
            // the icon is a picture inside an attribute
            let icon = ["svg", "circle", "text"].contains(&name);
            assert!(known.contains(&name) || icon, "<{tag}>");
            assert!(!tag.contains(" on"), "<{tag}>");
            assert!(tag.matches(" class=").count() <= 1, "the second class of <{tag}> counts for nothing");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("\\u{202e}\\u{1b}[2J"));
        assert!(!page.contains('\u{202e}') && !page.contains('\u{1b}'));
    }
}

#[tokio::test]
async fn the_policy_allows_the_style_that_the_page_has_and_no_other() {
    let page = render(&snapshot(1, &["siem"]).await, false);
    let style = page.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).unwrap();
    let hash = STANDARD.encode(Sha256::digest(style.as_bytes()));
    assert!(POLICY.contains(&format!("style-src 'sha256-{hash}';")), "{}", *POLICY);
    assert!(!page.contains(" style="), "an attribute of its own would be refused");
}

#[tokio::test]
async fn when_nothing_is_wrong_it_says_so_first() {
    let page = render(&snapshot(3, &["siem"]).await, false);
    for words in [
        "Fine: nothing needs you",
        "3 tenants, 3 streams, all of them are listed",
        "has everything",
        "the books close",
        "none in sight",
    ] {
        assert!(page.contains(words), "{words} is not in {page}");
    }
    assert!(!page.contains("class=\"act\"") && !page.contains("mark act"));
}

#[tokio::test]
async fn with_thousands_of_troubles_it_stays_short_and_names_the_first() {
    let names: Vec<String> = (0..60).map(|number| format!("sink-{number}")).collect();
    let mut snapshot = snapshot(500, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let long = "word ".repeat(2000);
    let streams: Vec<String> = snapshot.books.streams.iter().map(|stream| stream.name()).collect();
    snapshot.books.troubles = streams.iter().take(300).map(|name| trouble("stream", name, &long)).collect();
    snapshot.books.troubles.extend(names.iter().map(|name| trouble("sink", name, &long)));
    for name in streams.iter().chain(&names) {
        snapshot.live.pulses.insert(name.clone(), Pulse { turned: NOW, until: NOW });
        snapshot.live.fetch_failures.insert(name.clone(), 1);
    }
    let page = render(&snapshot, false);
    println!("{} KiB", page.len() / 1024);
    assert!(page.len() < 800_000, "{} bytes", page.len());
    for words in [
        "360 things need attention now",
        "and 348 more, listed below",
        "and 250 more of these",
        "and 10 more sinks",
        "500 tenants",
    ] {
        assert!(page.contains(words), "{words} is missing");
    }
    assert!(page.contains(&streams[0]));
}

#[test]
fn numbers_have_their_thousands_apart() {
    let shown = [0, 999, 1000, 36_000, 1_234_567].map(count);
    assert_eq!(shown, ["0", "999", "1,000", "36,000", "1,234,567"]);
    assert_eq!(counted(-1), "0");
}
