//! A patient client gets everything that the truth says is owed, through everything that the hostile profile does.

use std::collections::BTreeSet;

use super::*;
use crate::simulator::random::is_guid;

/// Every GUID in a body, whatever else it is.
fn guids(body: &[u8], into: &mut BTreeSet<String>) {
    for window in body.windows(36) {
        if window[8] == b'-' && window[13] == b'-' {
            let text = String::from_utf8_lossy(window);
            if is_guid(&text) {
                into.insert(text.into_owned());
            }
        }
    }
}

impl Bench {
    /// Signs in where the token has died.
    fn insist(&mut self, uri: &str) -> Reply {
        let reply = self.raw("GET", uri, "");
        if reply.status != 401 {
            return reply;
        }
        let reply = self.sign_in("simulated-secret");
        self.token = reply.json()["access_token"].as_str().unwrap_or_default().to_owned();
        self.raw("GET", uri, "")
    }
}

#[test]
fn everything_owed_can_be_had_from_the_hostile_profile() {
    let mut profile = Profile::named("hostile", START, 11).unwrap();
    let tenant = &mut profile.tenants[0];
    tenant.subscribed = vec!["Audit.General".into()];
    tenant.records_per_content = 4;
    tenant.backfill = Duration::from_secs(600);
    tenant.end = START.checked_add(Duration::from_secs(1_800)).ok();
    tenant.page_size = 60;
    let mut bench = Bench::new(|it| *it = profile);
    let (mut fetched, mut got, mut refused) = (BTreeSet::new(), BTreeSet::new(), 0);
    // late contents come up to 90 minutes after the last one was created
    for _ in 0..40 {
        bench.later(200);
        let mut next = Some(format!(
            "/api/v1.0/{TENANT}/activity/feed/subscriptions/content?contentType=Audit.General&startTime=2026-02-28T20:00:00&endTime=2026-03-01T12:00:00"
        ));
        let mut ids = BTreeSet::new();
        while let Some(uri) = next.take() {
            let uri = format!("{uri}&PublisherIdentifier={PUBLISHER}");
            let reply = bench.insist(&uri);
            if reply.status != 200 || !reply.json().is_array() {
                refused += 1;
                break;
            }
            ids.extend(reply.ids());
            next = reply.header("nextpageuri").or(reply.header("nextpageurl")).map(str::to_owned);
        }
        for id in ids.difference(&fetched.clone()) {
            let reply =
                bench.insist(&format!("/api/v1.0/{TENANT}/activity/feed/audit/{id}?PublisherIdentifier={PUBLISHER}"));
            let cut = reply.cut_at.is_some_and(|at| at < reply.body.len() as u64);
            if reply.status == 200 && !cut && reply.body.starts_with(b"[") {
                guids(&reply.body, &mut got);
                fetched.insert(id.clone());
            } else {
                refused += 1;
            }
        }
    }
    let owed: BTreeSet<String> = bench.simulator.owed(Timestamp::MIN, bench.now).map(|it| it.mark).collect();
    let missing: Vec<_> = owed.difference(&got).collect();
    assert!(owed.len() > 1_000 && refused > 50, "{} owed, {refused} refused", owed.len());
    assert_eq!(missing, Vec::<&String>::new());
    let counts = bench.simulator.fetch_counts(bench.now);
    assert_eq!(counts.contents, counts.never + counts.once + counts.repeatedly);
    let truth = bench.contents();
    let hopeless = truth.iter().filter(|it| it.content.expires <= it.content.visible).count() as u64;
    assert_eq!(counts.never, hopeless, "only what expired before it appeared was never fetched");
}

#[test]
fn silence_after_the_start_ends() {
    let mut bench = Bench::new(|profile| {
        profile.tenants[0].subscribed.clear();
        profile.tenants[0].silence = Duration::from_secs(1_800);
    });
    assert_eq!(bench.post("subscriptions/start?contentType=Audit.General").status, 200);
    bench.later(1_799);
    let window = ("2026-02-28T12:00:00", "2026-03-01T00:00:00");
    assert_eq!(bench.list(window.0, window.1).ids().len(), 0);
    bench.later(1);
    assert_eq!(bench.list_all(window.0, window.1).len(), 18, "with what is older than the subscription");
}

#[test]
fn another_header_follows_next_page_uri() {
    // a client with a careless pattern took the following header into the address
    let mut bench = Bench::new(|_| {});
    let reply = bench.list("2026-02-28T12:00:00", "2026-03-01T00:00:00");
    let names: Vec<&str> = reply.headers.keys().map(|it| it.as_str()).collect();
    let at = |name: &str| names.iter().position(|it| *it == name);
    assert!(at("nextpageuri").unwrap() < at("x-aspnet-version").unwrap(), "{names:?}");
}
