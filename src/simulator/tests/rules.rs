//! What the simulator is as unkind about as the real service.

use super::*;
use crate::simulator::{faults::DefaultWindow, profile::ROLE_READ_DLP};

const DAY: (&str, &str) = ("2026-02-28T00:00:00", "2026-03-01T00:00:00");

fn unsubscribed() -> Bench {
    Bench::new(|profile| profile.tenants[0].subscribed.clear())
}

#[test]
fn starting_twice_is_a_400_and_listing_before_the_start_too() {
    let mut bench = unsubscribed();
    let reply = bench.list(DAY.0, DAY.1);
    assert_eq!((reply.status, reply.code().as_str()), (400, "AF20022"));
    assert_eq!(bench.get("subscriptions/list").json(), serde_json::json!([]));
    assert_eq!(bench.post("subscriptions/start?contentType=Audit.General").status, 200);
    let reply = bench.post("subscriptions/start?contentType=audit.general");
    assert_eq!((reply.status, reply.code().as_str()), (400, "AF20024"));
    let rows = bench.get("subscriptions/list").json();
    assert_eq!(rows[0]["contentType"], "Audit.General");
    assert_eq!(rows[0]["status"], "enabled");
    assert_eq!(bench.list(DAY.0, DAY.1).status, 200);
}

#[test]
fn what_is_published_while_stopped_is_gone() {
    let mut bench = Bench::new(|profile| profile.tenants[0].token_seconds = 86_400);
    bench.later(1_800);
    assert_eq!(bench.post("subscriptions/stop?contentType=Audit.General").status, 200);
    assert_eq!(bench.list(DAY.0, DAY.1).code(), "AF20022");
    bench.later(3_600);
    assert_eq!(bench.post("subscriptions/start?contentType=Audit.General").status, 200);
    bench.later(3_600);
    let listed = bench.list_all("2026-03-01T00:00:00", "2026-03-01T06:00:00");
    let truth = bench.contents();
    let lost: Vec<_> = truth.iter().filter(|it| it.lost).map(|it| it.content.id.clone()).collect();
    assert_eq!(lost.len(), 6, "one hour of contents every ten minutes");
    assert!(lost.iter().all(|id| !listed.contains(id)));
    assert_eq!(bench.blob(&lost[0]).code(), "AF20050");
}

#[test]
fn windows_are_half_open_on_content_created() {
    let mut bench = Bench::new(|profile| profile.tenants[0].page_size = 1_000);
    let truth = bench.contents();
    let (first, second) = (&truth[0].content, &truth[1].content);
    let at = |ms: i64| crate::simulator::stamp::iso(ms);
    assert_eq!(bench.list(&at(first.created), &at(second.created)).ids(), vec![first.id.clone()]);
    assert_eq!(bench.list(&at(first.created + 1), &at(second.created)).ids(), Vec::<String>::new());
    let both = bench.list(&at(first.created), &at(second.created + 1)).ids();
    assert_eq!(both, vec![first.id.clone(), second.id.clone()]);
}

#[test]
fn windows_that_are_too_wide_too_old_backward_or_half_given_are_refused_with_their_times() {
    let mut bench = Bench::new(|_| {});
    for (start, end) in [
        ("2026-02-28T00:00:00", "2026-03-01T00:00:01"),
        ("2026-02-21T23:59:59", "2026-02-22T10:00:00"),
        ("2026-03-01T00:00:00", "2026-02-28T00:00:00"),
        ("2026-02-28T00:00:00", "2026-02-28T00:00:00"),
    ] {
        let reply = bench.list(start, end);
        assert_eq!((reply.status, reply.code().as_str()), (400, "AF20055"), "{start} {end}");
        assert!(reply.message().contains(&format!("StartTime:{start}")), "{}", reply.message());
    }
    assert_eq!(bench.list("2026-02-22T00:00:00", "2026-02-23T00:00:00").status, 200, "exactly seven days");
    for half in ["startTime=2026-02-28", "endTime=2026-02-28"] {
        let reply = bench.get(&format!("subscriptions/content?contentType=Audit.General&{half}"));
        assert_eq!((reply.status, reply.code().as_str()), (400, "AF20055"), "{half}");
    }
}

#[test]
fn a_wide_window_may_be_answered_in_part() {
    let mut bench = Bench::new(|profile| {
        let tenant = &mut profile.tenants[0];
        tenant.faults.wide_window_partial = true;
        tenant.backfill = Duration::from_secs(3 * 86_400);
        tenant.page_size = 10_000;
    });
    let wide = bench.list("2026-02-26T12:00:00", "2026-03-01T00:00:00");
    let day = bench.list("2026-02-26T12:00:00", "2026-02-27T12:00:00");
    assert_eq!((wide.status, wide.ids()), (200, day.ids()));
    assert!(day.ids().len() > 100);
}

#[test]
fn no_times_mean_what_the_profile_says() {
    let list = "subscriptions/content?contentType=Audit.General";
    assert!(!Bench::new(|_| {}).get(list).ids().is_empty(), "the preceding 24 hours");
    let mut today = Bench::with_faults(Faults { default_window: DefaultWindow::Today, ..Faults::default() });
    assert_eq!(today.get(list).ids(), Vec::<String>::new(), "it is midnight");
    let mut broken = Bench::with_faults(Faults { default_window: DefaultWindow::Broken, ..Faults::default() });
    let reply = broken.get(list);
    assert_eq!((reply.status, reply.message().as_str()), (400, "s"));
}

#[test]
fn a_plus_sign_decodes_to_a_blank() {
    let mut bench = Bench::new(|_| {});
    let reply = bench.list("2026-02-28T00:00:00+00:00", "2026-02-28T10:00:00");
    assert_eq!((reply.status, reply.code().as_str()), (400, "AF20002"));
    assert!(reply.message().contains("startTime"));
    assert_eq!(bench.list("2026-02-28T00:00:00%2B00:00", "2026-02-28T10:00:00").status, 200);
}

#[test]
fn names_in_a_query_have_no_case() {
    let mut bench = Bench::new(|profile| profile.shared_quota = 0);
    let uri = format!(
        "/api/v1.0/{TENANT}/activity/feed/subscriptions/content?CONTENTTYPE=audit.general&starttime={}&EndTime={}&publisherIdentifier={PUBLISHER}",
        DAY.0, DAY.1
    );
    assert_eq!(bench.raw("GET", &uri, "").status, 200);
}

#[test]
fn without_a_publisher_all_tenants_share_one_small_pool() {
    let mut bench = Bench::new(|profile| profile.shared_quota = 3);
    let anonymous = format!("/api/v1.0/{TENANT}/activity/feed/subscriptions/list");
    for _ in 0..3 {
        assert_eq!(bench.raw("GET", &anonymous, "").status, 200);
    }
    let reply = bench.raw("GET", &anonymous, "");
    assert_eq!((reply.status, reply.code().as_str()), (403, "AF429"));
    assert!(reply.message().ends_with("PublisherId=00000000-0000-0000-0000-000000000000"), "{}", reply.message());
    assert_eq!(bench.get("subscriptions/list").status, 200, "who says who he is has a quota of his own");
    bench.later(60);
    assert_eq!(bench.raw("GET", &anonymous, "").status, 200);
    assert_eq!(bench.raw("GET", &format!("{anonymous}?PublisherIdentifier=me"), "").code(), "AF20002");
}

#[test]
fn a_tenant_has_its_quota_a_minute() {
    let mut bench = Bench::new(|profile| profile.tenants[0].quota = 2);
    assert_eq!(bench.get("subscriptions/list").status, 200);
    assert_eq!(bench.get("subscriptions/list").status, 200);
    let reply = bench.list(DAY.0, DAY.1);
    assert_eq!(reply.message(), format!("Too many requests. Method=GetContents, PublisherId={PUBLISHER}"));
    bench.later(60);
    assert_eq!(bench.get("subscriptions/list").status, 200);
}

#[test]
fn tokens_are_checked_against_tenant_time_and_roles() {
    let mut bench = Bench::new(|profile| profile.tenants.push(TenantProfile::numbered(2)));
    let other = bench.simulator.profile().tenants[1].id.clone();
    let path = |tenant: &str| format!("/api/v1.0/{tenant}/activity/feed/subscriptions/list");
    assert_eq!(bench.raw("GET", &path(&other), "").code(), "AF20010");
    assert_eq!(bench.raw("GET", &path("contoso.onmicrosoft.com"), "").code(), "AF20013");
    bench.later(3_598);
    assert_eq!(bench.get("subscriptions/list").status, 200);
    bench.later(1);
    let reply = bench.get("subscriptions/list");
    assert_eq!((reply.status, reply.body.len()), (401, 0));
    bench.token = "eyJ0e.Qa6wg.x".into();
    assert_eq!(bench.get("subscriptions/list").status, 401);
    bench.token.clear();
    assert_eq!(bench.get("subscriptions/list").status, 401);
}

#[test]
fn roles_are_needed_and_dlp_has_its_own() {
    let mut bench = Bench::new(|profile| profile.tenants[0].roles.clear());
    let reply = bench.get("subscriptions/list");
    assert_eq!((reply.status, reply.code().as_str()), (401, "AF10001"));
    assert!(reply.message().starts_with("The permission set () sent in the request"), "{}", reply.message());
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.post("subscriptions/start?contentType=DLP.All").code(), "AF10001");
    let mut bench = Bench::new(|profile| profile.tenants[0].roles.push(ROLE_READ_DLP.into()));
    assert_eq!(bench.post("subscriptions/start?contentType=DLP.All").status, 200);
    let reply = bench.get("subscriptions/content?contentType=DLP.All&startTime=2026-02-28&endTime=2026-03-01");
    assert_eq!((reply.status, &reply.body[..]), (200, &b"[]"[..]), "a type without contents is empty, not wrong");
}

#[test]
fn content_types_are_known_or_refused() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.post("subscriptions/start?contentType=Audit.PowerApps").code(), "AF20020");
    assert_eq!(bench.post("subscriptions/start?x=y").code(), "AF20001");
    assert_eq!(bench.get("subscriptions/content?contentType=Audit.Flow").code(), "AF20020");
}

#[test]
fn content_ids_are_exact() {
    let mut bench = Bench::new(|_| {});
    let id = bench.contents()[2].content.id.clone();
    assert_eq!(bench.blob(&id).status, 200);
    assert_eq!(bench.blob(&id.replace('$', "%24")).code(), "AF20052", "the URL must be used as it was given");
    assert_eq!(bench.blob("no-id").code(), "AF20052");
    let other = id.replacen("2026", "2025", 1);
    let reply = bench.blob(&other);
    assert_eq!((reply.status, reply.code().as_str()), (404, "AF20050"));
    bench.later(7 * 86_400);
    let reply = bench.sign_in("simulated-secret");
    bench.token = reply.json()["access_token"].as_str().unwrap().to_owned();
    let reply = bench.blob(&id);
    assert_eq!((reply.status, reply.code().as_str()), (404, "AF20051"));
}

#[test]
fn audit_off_answers_an_error_cut_at_the_wrong_colon() {
    let mut bench = Bench::new(|profile| {
        profile.tenants[0].audit = false;
        profile.tenants[0].subscribed.clear();
    });
    let reply = bench.post("subscriptions/start?contentType=Audit.General");
    assert_eq!(reply.status, 400);
    assert!(reply.code().starts_with("StartSubscription [CorrId="), "{}", reply.code());
    assert!(reply.code().ends_with("][AppId"));
    let words = format!("DataServiceException: Tenant {TENANT} does not exist.");
    assert!(reply.message().contains(&words), "{}", reply.message());
}

#[test]
fn the_date_header_is_the_services_own_clock() {
    let mut bench = Bench::new(|profile| profile.skew_ms = 90_000);
    assert_eq!(bench.get("subscriptions/list").header("date"), Some("Sun, 01 Mar 2026 00:01:30 GMT"));
}
