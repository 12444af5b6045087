//! Each fault switch does what it says, and only that.

use super::*;
use crate::simulator::{
    Fate,
    faults::{Disabled, TokenFault, TokenWrong},
};

const DAY: (&str, &str) = ("2026-02-28T00:00:00", "2026-03-01T00:00:00");

fn seconds(after_start: i64) -> Timestamp {
    Timestamp::from_second(START.as_second() + after_start).unwrap()
}

#[test]
fn throttling_comes_as_403_or_429_with_or_without_a_time() {
    for (status, retry_after) in [(403, None), (403, Some(7)), (429, None), (429, Some(60))] {
        let mut bench = Bench::with_answer(Operation::Contents, Wrong::Throttled { status, retry_after });
        let reply = bench.list(DAY.0, DAY.1);
        assert_eq!((reply.status, reply.code().as_str()), (status, "AF429"));
        assert_eq!(reply.header("retry-after").map(str::to_owned), retry_after.map(|it| it.to_string()));
        assert_eq!(bench.list(DAY.0, DAY.1).status, 200);
    }
}

#[test]
fn a_window_of_time_holds_for_every_operation_and_ends() {
    let answers = vec![AnswerFault {
        when: When::between(seconds(60), seconds(120)),
        on: None,
        wrong: Wrong::Throttled { status: 429, retry_after: None },
    }];
    let mut bench = Bench::with_faults(Faults { answers, ..Faults::default() });
    assert_eq!(bench.get("subscriptions/list").status, 200);
    bench.later(60);
    assert_eq!(bench.get("subscriptions/list").status, 429);
    assert_eq!(bench.list(DAY.0, DAY.1).status, 429);
    assert_eq!(bench.sign_in("simulated-secret").status, 200, "tokens are another service's");
    bench.later(60);
    assert_eq!(bench.get("subscriptions/list").status, 200);
}

#[test]
fn wrong_answers_are_what_clients_met() {
    let cases = [
        (Wrong::Unauthorized, 401, ""),
        (Wrong::Internal, 500, "AF50000"),
        (Wrong::Status(408), 408, ""),
        (Wrong::Status(503), 503, ""),
        (Wrong::Html, 502, ""),
        (Wrong::SingleQuoted, 500, ""),
        (Wrong::ErrorIn200, 200, "AF50000"),
        (Wrong::Service { status: 400, code: "AF20012".into(), message: "x".into() }, 400, "AF20012"),
    ];
    for (wrong, status, code) in cases {
        let mut bench = Bench::with_answer(Operation::Contents, wrong.clone());
        let reply = bench.list(DAY.0, DAY.1);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{wrong:?}");
        match wrong {
            Wrong::Html => assert_eq!(reply.header("content-type"), Some("text/html")),
            Wrong::SingleQuoted => assert!(reply.body.starts_with(b"{'error':{'code':'AF50000'")),
            Wrong::Unauthorized | Wrong::Status(_) => assert!(reply.body.is_empty()),
            _ => {}
        }
        assert_eq!(bench.list(DAY.0, DAY.1).status, 200, "{wrong:?} was to come once");
    }
}

#[test]
fn right_answers_may_arrive_badly() {
    let pause = Duration::from_secs(40);
    let mut bench = Bench::with_answer(Operation::Contents, Wrong::Late(pause));
    let reply = bench.list(DAY.0, DAY.1);
    assert_eq!((reply.delay, reply.status), (Some(pause), 200));
    let mut bench = Bench::with_answer(Operation::Contents, Wrong::Stalled { after: 9, pause });
    assert_eq!(bench.list(DAY.0, DAY.1).pause, Some((9, pause)));
    let mut bench = Bench::with_answer(Operation::Contents, Wrong::ContentType(None));
    assert_eq!(bench.list(DAY.0, DAY.1).header("content-type"), None);
    let mut bench = Bench::with_answer(Operation::Contents, Wrong::ContentType(Some("text/plain")));
    assert_eq!(bench.list(DAY.0, DAY.1).header("content-type"), Some("text/plain"));
}

#[test]
fn a_cut_body_does_not_count_as_fetched() {
    let mut bench = Bench::with_answer(Operation::Blob, Wrong::Cut(100));
    let id = bench.contents()[0].content.id.clone();
    assert_eq!(bench.blob(&id).cut_at, Some(100));
    let counts = bench.simulator.fetch_counts(bench.now);
    assert_eq!((counts.once, counts.never), (0, counts.contents));
    assert_eq!(bench.blob(&id).cut_at, None);
    assert_eq!(bench.simulator.fetch_counts(bench.now).once, 1);
    bench.blob(&id);
    let counts = bench.simulator.fetch_counts(bench.now);
    assert_eq!((counts.once, counts.repeatedly), (0, 1));
    assert_eq!(counts.never, counts.contents - 1);
}

#[test]
fn late_contents_appear_in_a_window_long_listed() {
    for minutes in [3, 90, 20 * 60, 6 * 24 * 60] {
        let by = minutes * 60;
        let mut bench = Bench::new(|profile| {
            let tenant = &mut profile.tenants[0];
            let odd = Odd::Late(Duration::from_secs(by as u64));
            tenant.faults.contents = vec![ContentFault { when: When::only(3), odd }];
            tenant.page_size = 1_000;
            tenant.backfill = Duration::ZERO;
            tenant.token_seconds = 9_000_000;
        });
        let window = ("2026-03-01T00:00:00", "2026-03-01T00:30:00");
        // the third content is created between minute 27 and minute 30
        bench.later(27 * 60 + by);
        let before = bench.list_all(window.0, window.1);
        assert_eq!(before.len(), 2, "{minutes} min");
        bench.later(3 * 60);
        let after = bench.list_all(window.0, window.1);
        assert_eq!(after.len(), 3, "{minutes} min");
        assert_eq!(bench.blob(&after[2]).status, 200, "{minutes} min");
    }
}

#[test]
fn an_expired_content_is_listed_and_gone() {
    let mut bench = Bench::with_content(When::only(2), Odd::Expired);
    bench.simulator.profile_mut().tenants[0].page_size = 1_000;
    let listing = bench.list(DAY.0, DAY.1).json();
    let row = &listing[1];
    assert!(row["contentExpiration"].as_str().unwrap() < row["contentCreated"].as_str().unwrap());
    assert_eq!(bench.blob(row["contentId"].as_str().unwrap()).code(), "AF20051");
    let owed = bench.simulator.owed(Timestamp::MIN, bench.now).count();
    let whole: usize = bench.contents().iter().map(|it| bench.simulator.records(it, false).count()).sum();
    assert!(owed < whole);
}

#[test]
fn odd_bodies_are_as_odd_as_they_say() {
    let fetch = |odd| {
        let mut bench = Bench::with_content(When::only(1), odd);
        let truth = bench.contents()[0].clone();
        let first = bench.blob(&truth.content.id);
        let second = bench.blob(&truth.content.id);
        let known: Vec<_> = bench.simulator.records(&truth, false).collect();
        (first, second, known)
    };
    let (first, _, known) = fetch(Odd::Empty);
    assert_eq!((&first.body[..], known.len()), (&b"[]"[..], 0));
    let (first, _, known) = fetch(Odd::NotJson);
    assert_eq!((first.status, first.json(), known.len()), (200, Value::Null, 0));
    let (first, _, known) = fetch(Odd::BrokenRecord);
    assert_eq!(first.json(), Value::Null, "one record is not JSON");
    assert_eq!(known.iter().filter(|it| it.fate == Fate::Unreadable).count(), 1);
    assert!(first.body.windows(36).any(|it| it == known[1].mark.as_bytes()));
    let (first, _, known) = fetch(Odd::Panic);
    assert_eq!(records(&first)[0]["Operation"], "auditferry-test-panic");
    assert_eq!(known[0].fate, Fate::Unreadable);
    let (first, _, known) = fetch(Odd::SharedId);
    let both = records(&first);
    assert_eq!(both[0]["Id"], both[1]["Id"]);
    assert_ne!(both[0]["Operation"], both[1]["Operation"]);
    assert_ne!(known[0].mark, known[1].mark);
    let (first, second, _) = fetch(Odd::Differs);
    let (first, second) = (records(&first), records(&second));
    assert_eq!(first[..9], second[..9]);
    assert_ne!(first[9]["Id"], second[9]["Id"]);
}

#[test]
fn repeated_records_have_other_bytes_and_the_same_meaning() {
    let mut bench = Bench::with_content(When::only(1), Odd::Twice);
    let truth = bench.contents()[0].clone();
    let reply = bench.blob(&truth.content.id);
    let all = records(&reply);
    assert_eq!(all.len(), 11);
    let sorted = |value: &Value| {
        let mut value = value.clone();
        if let Some(bag) = value.get_mut("PropertyCollection").and_then(Value::as_array_mut) {
            bag.sort_by_key(|it| it["Name"].to_string());
        }
        value
    };
    assert_eq!(sorted(&all[0]), sorted(&all[10]));
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    assert_eq!(text.matches("{\"CreationTime\"").count(), 10, "the copy begins with another key");

    let mut bench = Bench::with_content(When::only(9), Odd::Repeats { every: 3, back: 4 });
    let truth = bench.contents();
    let (earlier, later) = (truth[4].content.id.clone(), truth[8].content.id.clone());
    let (earlier, later) = (records(&bench.blob(&earlier)), records(&bench.blob(&later)));
    let ids = |rows: &[Value]| rows.iter().map(|row| row["Id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&later)[10..], [0, 3, 6, 9].map(|at| ids(&earlier)[at].clone()));
    let copies: Vec<bool> = bench.simulator.records(&truth[8], false).map(|it| it.copy).collect();
    assert_eq!(copies.iter().filter(|it| **it).count(), 4);
}

#[test]
fn a_large_body_is_made_while_it_is_sent() {
    let mut bench = Bench::with_content(When::only(1), Odd::Records(5_000));
    let id = bench.contents()[0].content.id.clone();
    let request = Request::get(format!("/api/v1.0/{TENANT}/activity/feed/audit/{id}?PublisherIdentifier={PUBLISHER}"))
        .header("authorization", format!("Bearer {}", bench.token))
        .body(Bytes::new())
        .unwrap();
    let answer = bench.simulator.handle(&request, bench.now);
    let AnswerBody::Pieces(pieces) = answer.response.into_body() else { panic!("a body in one piece") };
    let (mut total, mut largest) = (Vec::new(), 0);
    for piece in pieces {
        largest = largest.max(piece.len());
        total.extend_from_slice(&piece);
    }
    let rows: Vec<Value> = serde_json::from_slice(&total).unwrap();
    assert_eq!(rows.len(), 5_000);
    assert!(largest < 256 << 10, "{largest}");
}

#[test]
fn next_pages_come_in_all_the_ways_that_were_seen() {
    let all = Bench::new(|_| {}).list_all(DAY.0, DAY.1);
    assert_eq!(all.len(), 18);
    for (paging, mark) in [(Paging::V1, "/api/v1/"), (Paging::LowerCase, "&nextpage="), (Paging::EndTime, "&endtime=")]
    {
        let mut bench = Bench::with_paging(paging);
        let next = bench.list(DAY.0, DAY.1).header("nextpageuri").unwrap().to_owned();
        assert!(next.contains(mark), "{next}");
        assert!(!next.to_ascii_lowercase().contains("publisher"), "{next}");
    }
    let mut bench = Bench::with_paging(Paging::NoStart);
    assert!(!bench.list(DAY.0, DAY.1).header("nextpageuri").unwrap().contains("startTime"));
    let mut bench = Bench::with_paging(Paging::HeaderUrl);
    let reply = bench.list(DAY.0, DAY.1);
    assert!(reply.header("nextpageuri").is_none() && reply.header("nextpageurl").is_some());
    for paging in [Paging::V1, Paging::LowerCase, Paging::EndTime, Paging::NoStart, Paging::HeaderUrl] {
        assert_eq!(Bench::with_paging(paging.clone()).list_all(DAY.0, DAY.1), all, "{paging:?}");
    }
    let overlapping = Bench::with_paging(Paging::Overlap).list_all(DAY.0, DAY.1);
    assert_eq!(overlapping.len(), 19);
    assert_eq!(overlapping[4], overlapping[5]);
}

#[test]
fn hostile_next_pages_loop_break_or_lead_away() {
    let paging = vec![PagingFault { when: When::ALWAYS, paging: Paging::Loop }];
    let mut bench = Bench::with_faults(Faults { paging, ..Faults::default() });
    let first = bench.list(DAY.0, DAY.1);
    let next = first.header("nextpageuri").unwrap().to_owned();
    let second = bench.raw("GET", &format!("{next}&PublisherIdentifier={PUBLISHER}"), "");
    assert_eq!(second.ids(), first.ids());
    assert_eq!(second.header("nextpageuri"), Some(next.as_str()));

    let mut bench = Bench::with_paging(Paging::BadToken);
    let next = bench.list(DAY.0, DAY.1).header("nextpageuri").unwrap().to_owned();
    let reply = bench.raw("GET", &format!("{next}&PublisherIdentifier={PUBLISHER}"), "");
    assert_eq!((reply.code().as_str(), reply.message().as_str()), ("AF20031", "Invalid nextPage Input: gone."));

    let mut bench = Bench::with_paging(Paging::Foreign("https://collector.example".into()));
    let next = bench.list(DAY.0, DAY.1).header("nextpageuri").unwrap().to_owned();
    assert!(next.starts_with("https://collector.example/api/"));
    assert_eq!(bench.simulator.leaked_tokens(), 0);
    assert_eq!(bench.raw("GET", &next, "").status, 404);
    assert_eq!(bench.simulator.leaked_tokens(), 1, "the caller sent its token there");
}

#[test]
fn the_same_content_is_listed_in_two_windows() {
    let mut bench = Bench::with_faults(Faults { repeat_before_window: 1, ..Faults::default() });
    let truth = bench.contents();
    let start = crate::simulator::stamp::iso(truth[3].content.created);
    let ids = bench.list(&start, DAY.1).ids();
    assert_eq!(ids[..2], [truth[2].content.id.clone(), truth[3].content.id.clone()]);
}

#[test]
fn subscriptions_end_without_the_clients_doing_and_start_again() {
    for (how, code, words) in [
        (Disabled::Gone, "AF20022", "No subscription found"),
        (Disabled::ByTenantAdmin, "AF20023", "disabled by a tenant admin."),
        (Disabled::ByServiceAdmin, "AF20023", "disabled by a service admin."),
    ] {
        let mut bench = Bench::with_faults(Faults { disabled: vec![(seconds(600), how)], ..Faults::default() });
        assert_eq!(bench.list(DAY.0, DAY.1).status, 200);
        bench.later(600);
        let reply = bench.list(DAY.0, DAY.1);
        assert_eq!(reply.code(), code);
        assert!(reply.message().contains(words), "{}", reply.message());
        let rows = bench.get("subscriptions/list").json();
        assert_eq!(rows.as_array().unwrap().len(), usize::from(how != Disabled::Gone));
        assert_eq!(bench.post("subscriptions/start?contentType=Audit.General").status, 200);
        assert_eq!(bench.list(DAY.0, DAY.1).status, 200);
    }
}

#[test]
fn token_requests_are_refused_in_entras_words() {
    let check = |reply: Reply, status: u16, code: u64, error: &str| {
        let body = reply.json();
        assert_eq!((reply.status, &body["error_codes"][0], &body["error"]), (status, &code.into(), &error.into()));
        let words = body["error_description"].as_str().unwrap();
        assert!(words.starts_with(&format!("AADSTS{code}: ")) && words.contains("\r\nTrace ID: "), "{words}");
    };
    let mut bench = Bench::new(|_| {});
    let client = bench.simulator.profile().tenants[0].client.clone();
    check(bench.sign_in("wrong"), 401, 7000215, "invalid_client");
    check(bench.token_request(TENANT, PUBLISHER, "simulated-secret"), 400, 700016, "unauthorized_client");
    check(bench.token_request(PUBLISHER, &client, "simulated-secret"), 400, 90002, "invalid_request");
    let uri = format!("/{TENANT}/oauth2/v2.0/token");
    let form = format!("grant_type=client_credentials&client_id={client}&client_secret=simulated-secret&scope=");
    check(bench.raw("POST", &uri, &format!("{form}https://manage.office.com")), 400, 70011, "invalid_scope");
    check(
        bench.raw("POST", &uri, &format!("{form}https://graph.microsoft.com/.default")),
        400,
        500011,
        "invalid_resource",
    );
    check(bench.raw("POST", &uri, "grant_type=client_credentials"), 400, 900144, "invalid_request");
    for (wrong, status, code, error) in [
        (TokenWrong::SecretExpired, 401, 7000222, "invalid_client"),
        (TokenWrong::Unavailable, 503, 90033, "temporarily_unavailable"),
        (TokenWrong::ApiDisabled, 400, 500014, "invalid_resource"),
    ] {
        let tokens = vec![TokenFault { when: When::only(2), wrong }];
        let mut bench = Bench::with_faults(Faults { tokens, ..Faults::default() });
        check(bench.sign_in("simulated-secret"), status, code, error);
        assert_eq!(bench.sign_in("simulated-secret").status, 200);
    }
}

#[test]
fn tokens_may_lack_roles_or_die_soon() {
    let faults = |wrong| Faults { tokens: vec![TokenFault { when: When::only(1), wrong }], ..Faults::default() };
    let mut bench = Bench::with_faults(faults(TokenWrong::NoRoles));
    let reply = bench.get("subscriptions/list");
    assert_eq!((reply.status, reply.code().as_str()), (401, "AF10001"));
    let mut bench = Bench::with_faults(faults(TokenWrong::ShortLived(5)));
    bench.later(4);
    assert_eq!(bench.get("subscriptions/list").status, 200);
    bench.later(1);
    assert_eq!(bench.get("subscriptions/list").status, 401);
}
