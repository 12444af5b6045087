//! What exists is a function of seed and time; memory stays bounded.

use super::*;
use crate::simulator::stamp::DAY;

#[test]
fn ids_and_times_have_the_captured_shape() {
    let bench = Bench::new(|_| {});
    let truth = bench.contents();
    assert_eq!(truth.len(), 18, "three hours, one every ten minutes");
    for pair in truth.windows(2) {
        let (earlier, later) = (&pair[0].content, &pair[1].content);
        assert!(earlier.created < later.begun + 1 && later.begun < later.created);
        assert_eq!(later.expires, later.begun + 7 * DAY);
        let parts: Vec<&str> = later.id.split('$').collect();
        assert_eq!((parts.len(), parts[0].len(), parts[1].len()), (5, 23, 23));
        assert_eq!(parts[2..4], ["audit_general", "Audit_General"]);
        assert!(later.id.contains(&crate::simulator::stamp::compact(later.created)));
    }
}

#[test]
fn equal_seeds_and_requests_give_equal_answers_whenever_asked() {
    let run = |seed: u64, steps: &[i64]| {
        let mut bench = Bench::new(|profile| profile.seed = seed);
        let mut said = Vec::new();
        for step in steps {
            bench.later(*step);
            let reply = bench.list("2026-02-28T12:00:00", "2026-03-01T02:00:00");
            said.push(reply.body.clone());
            if let Some(id) = reply.ids().first() {
                said.push(bench.blob(id).body);
            }
        }
        said
    };
    assert_eq!(run(7, &[0, 60, 600]), run(7, &[0, 60, 600]));
    assert_ne!(run(7, &[0]), run(8, &[0]));
    // the same content has the same bytes for somebody who asks only later
    assert_eq!(run(7, &[0])[1], run(7, &[3_000])[1]);
}

#[test]
fn all_pages_of_all_windows_give_every_content_once() {
    let mut bench = Bench::new(|profile| {
        profile.tenants[0].backfill = Duration::from_secs(30 * 3_600);
        profile.tenants[0].page_size = 3;
    });
    let mut listed = bench.list_all("2026-02-27T00:00:00", "2026-02-28T00:00:00");
    listed.extend(bench.list_all("2026-02-28T00:00:00", "2026-03-01T00:00:00"));
    let truth: Vec<String> = bench.contents().into_iter().map(|it| it.content.id).collect();
    assert_eq!(listed, truth);
    assert_eq!(truth.len(), 180);
}

#[test]
fn tenants_and_types_are_apart() {
    let mut bench = Bench::new(|profile| {
        profile.tenants.push(TenantProfile::numbered(2));
        let types = ["Audit.General", "Audit.Exchange", "Audit.SharePoint", "Audit.AzureActiveDirectory"];
        profile.tenants[0].content_types = types.map(str::to_owned).to_vec();
        profile.tenants[0].subscribed = profile.tenants[0].content_types.clone();
        profile.tenants[0].page_size = 50;
    });
    let truth = bench.contents();
    assert_eq!(truth.len(), 5 * 18);
    let mut ids: Vec<_> = truth.iter().map(|it| it.content.id.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5 * 18);
    for (name, workload) in [
        ("Audit.Exchange", "Exchange"),
        ("Audit.SharePoint", "SharePoint"),
        ("Audit.AzureActiveDirectory", "AzureActiveDirectory"),
    ] {
        let id = truth.iter().find(|it| it.content_type == name).unwrap().content.id.clone();
        assert_eq!(records(&bench.blob(&id))[0]["Workload"], workload);
    }
    // contents of the other tenant are not found with this one's token
    let other = truth.iter().find(|it| it.tenant == 1).unwrap().content.id.clone();
    assert_eq!(bench.blob(&other).code(), "AF20050");
}

#[test]
fn counts_of_long_gone_contents_are_folded() {
    let mut bench = Bench::new(|profile| {
        profile.tenants[0].keep = Duration::from_secs(3_600);
        profile.tenants[0].token_seconds = 9_000_000;
    });
    for round in 0..5 {
        for truth in bench.contents().into_iter().rev().take(2) {
            assert_eq!(bench.blob(&truth.content.id).status, 200, "{round}");
        }
        bench.later(2 * 86_400);
    }
    let held: usize = bench.simulator.tenants.iter().map(|it| it.fetched.len()).sum();
    assert_eq!(held, 2, "only those of the last round are held one by one");
    let counts = bench.simulator.fetch_counts(bench.now);
    assert_eq!((counts.once, counts.repeatedly), (10, 0));
    assert_eq!(counts.never, counts.contents - 10);
}

#[test]
fn a_file_of_records_is_served_once_and_whole() {
    let text = "{\"Id\":\"a\",\"RecordType\":30}\n[{\"Id\":\"b\",\"RecordType\":\"256\"},\n{\"Id\":\"c\",\"RecordType\":6}]\n17\n";
    let file = crate::simulator::read_file(text).unwrap();
    assert_eq!(file.len(), 4);
    let mut bench = Bench::new(|profile| {
        profile.tenants[0].records_per_content = 3;
        profile.tenants[0].serve(file);
    });
    bench.later(86_400 - 3_600);
    let reply = bench.sign_in("simulated-secret");
    bench.token = reply.json()["access_token"].as_str().unwrap().to_owned();
    let ids = bench.list_all("2026-02-28T23:00:00", "2026-03-01T22:00:00");
    assert_eq!(ids.len(), 2);
    let bodies: Vec<Bytes> = ids.iter().map(|id| bench.blob(id).body).collect();
    assert_eq!(
        &bodies[0][..],
        b"[{\"Id\":\"a\",\"RecordType\":30},{\"Id\":\"b\",\"RecordType\":\"256\"},{\"Id\":\"c\",\"RecordType\":6}]"
    );
    assert_eq!(&bodies[1][..], b"[17]");
    let owed: Vec<String> = bench.simulator.owed(Timestamp::MIN, bench.now).map(|it| it.mark).collect();
    assert_eq!(owed, ["a", "b", "17"], "what is not an object is owed as unreadable");
    let error = crate::simulator::read_file("{\"Id\":1}\n{oops").unwrap_err();
    assert!(error.starts_with("line 2: "), "{error}");
}

#[test]
fn rates_are_kept_by_stretching_the_interval() {
    let mut tenant = TenantProfile::default();
    for rate in [0.003, 0.5, 20.0, 1_000.0] {
        tenant.interval = Duration::from_secs(1);
        tenant.set_rate(rate);
        assert!((tenant.rate() / rate - 1.0).abs() < 0.01, "{rate}: {}", tenant.rate());
    }
}

#[test]
fn every_preset_answers_and_its_contents_split() {
    for name in Profile::NAMES {
        let mut profile = Profile::named(name, START, 3).unwrap();
        profile.tenants[0].subscribed = vec!["Audit.General".into()];
        profile.tenants[0].faults.answers.clear();
        // as many as in `busy`: larger ones only take longer
        profile.tenants[0].records_per_content = profile.tenants[0].records_per_content.min(1_000);
        let mut bench = Bench::new(|it| *it = profile);
        let truth: Vec<_> = bench.simulator.truth(bench.now).take(30).collect();
        assert!(truth.len() >= 18, "{name}: {}", truth.len());
        for it in truth {
            let reply = bench.blob(&it.content.id);
            let broken = it.content.odds.contains(&Odd::BrokenRecord);
            if reply.status == 200 && it.readable && !broken {
                assert_eq!(records(&reply).len(), bench.simulator.records(&it, false).count(), "{name}");
            }
        }
    }
    assert!(Profile::named("loud", START, 1).is_none());
}
