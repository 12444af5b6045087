//! Many tenants, and many contents lost.

use std::{cell::Cell, collections::BTreeMap, future::Future};

use auditferry::{
    ledger::{Admission, Ledger, LedgerError, Listed, Memory, Millis, SinkSpec, StreamSpec},
    own_events,
    simulator::{
        Profile, TenantProfile,
        faults::{TokenFault, TokenWrong, When},
    },
    world::Gate,
};
use futures_util::FutureExt;

use super::{HOUR, MINUTE, calm, records};
use crate::{
    keeper::Keeper,
    stage::{SinkPlan, Stage},
};

#[test]
fn of_500_tenants_one_has_an_expired_secret_it_is_named_and_the_others_make_the_agent_ready() {
    let mut profile = calm(15 * MINUTE, 30 * MINUTE);
    let end = Some(profile.start);
    let one = |number| TenantProfile {
        interval: 15 * MINUTE,
        backfill: 30 * MINUTE,
        records_per_content: 1,
        end,
        ..TenantProfile { power_platform_per_mille: 1000, ..TenantProfile::numbered(number) }
    };
    profile.tenants = (1..=500).map(one).collect();
    let expired = &mut profile.tenants[249];
    expired.faults.tokens = vec![TokenFault { when: When::ALWAYS, wrong: TokenWrong::SecretExpired }];
    let name = format!("{}/Audit.General", expired.id);
    let mut stage = Stage::new(profile);
    stage.start = HOUR / 2;
    stage.poll = 10 * MINUTE;
    let sinks = [SinkPlan::fake("siem")];
    let start = stage.now();
    let (looks, page) = (Cell::new(0), Cell::new(String::new()));
    let keeper = std::sync::Arc::new(Keeper::new(None, None));
    let look = |stage: &Stage| {
        let minutes = (stage.now() - start) / 60_000;
        assert_eq!(stage.admin().live().0, 200);
        if minutes >= 2 {
            looks.set(looks.get() + 1);
            let (status, words) = stage.admin().ready();
            assert_eq!(status, 200, "after {minutes} min: {words}");
            let lines: Vec<_> = words.lines().collect();
            assert_eq!((lines.len(), lines[0]), (2, "ready"), "{words}");
            let named = format!("stale: {name}: getting a token failed: ");
            assert!(lines[1].starts_with(&named) && lines[1].contains("AADSTS7000222"), "{words}");
        }
        if minutes == 20 {
            page.set(stage.page().1);
        }
        false
    };
    stage.live(&keeper, &sinks, 30 * MINUTE, look).unwrap();
    assert!(looks.get() > 25);
    let page = page.take();
    for words in [
        "1 thing needs attention now",
        "500 tenants, 500 streams, 1 of them can't be listed",
        "499 streams are listed",
        "AADSTS7000222",
        &format!("stream {name}"),
    ] {
        assert!(
            page.contains(words),
            "the page lacks {words:?}: {}",
            &page[page.find("<main").unwrap_or(0)..].chars().take(1500).collect::<String>()
        );
    }
    println!("500 tenants: {} records, a page of {} KiB", records(&stage, "siem"), page.len() / 1024,);
    assert!(page.len() < 150_000, "{} bytes", page.len());
    assert!(records(&stage, "siem") >= 499, "{} records", records(&stage, "siem"));
}

/// A week of contents that nobody could fetch, given up one by one as they expire, and told of as `sweep` tells it. Without the agent around it:
/// with its loops looking once a minute for eight days the same takes minutes.
#[test]
fn a_week_in_which_36_000_contents_are_lost_is_one_gap_per_sink_and_few_events() {
    const CONTENTS: i64 = 36_000;
    const WEEK: Millis = 7 * 24 * 3_600_000;
    const TURN: Millis = 600_000;
    let memory = Memory::new().unwrap();
    let ledger = Ledger::in_memory(&memory, Gate::default());
    let start = Profile::default().start.as_millisecond();
    let stream = StreamSpec { tenant: "t".into(), content_type: "Audit.General".into(), since: start - WEEK };
    let sink = |name: &str| SinkSpec { name: name.into(), since: Some(start - WEEK), tenants: None };
    let (streams, _) = now(ledger.register(vec![stream], vec![sink("siem"), sink("lake")], start));
    let content = |number: i64| {
        let created = start - WEEK + number * (WEEK / CONTENTS);
        Listed { content_id: format!("c{number}"), uri: String::new(), created, expires: created + WEEK }
    };
    let (id, contents) = (streams[0].id, (0..CONTENTS).map(content).collect());
    now(ledger.admit(Admission { stream: id, contents, cursor: None, listed_past: None, now: start }));
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for time in (start..start + WEEK + 24 * 3_600_000).step_by(TURN as usize) {
        while now(ledger.expire(vec![id], true, time - TURN, time)) {}
        for news in now(ledger.gap_news(time)) {
            *told.entry(news.what).or_default() += 1;
            now(ledger.announce_gap(&news, own_events::gap_event(&news, time), time));
        }
    }
    let books = now(ledger.books());
    let lost: u64 = books.lost_contents.iter().map(|lost| lost.3).sum();
    let gaps = now(ledger.gaps(1000));
    println!("{lost} contents lost to two sinks, {} gaps, told of {told:?}", gaps.len());
    assert_eq!(lost, 2 * CONTENTS as u64);
    assert_eq!(gaps.len(), 2, "one for each sink: {gaps:?}");
    for gap in &gaps {
        assert!(gap.to - gap.from > WEEK - 60_000 && gap.closed_at.is_some(), "{gap:?}");
    }
    assert_eq!((told["opened"], told["closed"]), (2, 2));
    // each is an event at each sink; five sinks that lose everything stay below 200, too
    let each = told.values().sum::<usize>() / 2;
    assert!((20..40).contains(&each), "{each} events of each gap");
    assert_eq!(books.imbalances(), []);
}

fn now<T>(call: impl Future<Output = Result<T, LedgerError>>) -> T {
    call.now_or_never().expect("the ledger in memory answers at once").unwrap()
}
