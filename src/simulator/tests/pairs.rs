//! The simulator answers like the pairs in `tests/protocol/pairs`, which were transcribed from independent sources.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::*;
use crate::simulator::{
    faults::{DefaultWindow, Disabled, TokenFault, TokenWrong},
    read_file,
};

#[derive(Deserialize)]
struct Pair {
    source: String,
    name: String,
    given: String,
    request: PairRequest,
    response: PairResponse,
    #[serde(default)]
    varies: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct PairRequest {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    #[serde(default)]
    form: BTreeMap<String, String>,
    body: Option<Value>,
}

#[derive(Deserialize)]
struct PairResponse {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

fn pairs() -> Vec<Pair> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protocol/pairs");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    paths.retain(|it| it.extension().is_some_and(|it| it == "json"));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let pair: Pair = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(path.file_stem().and_then(|it| it.to_str()), Some(pair.name.as_str()));
            pair
        })
        .collect()
}

/// The service in the state that a pair starts from.
fn prepare(pair: &Pair) -> Bench {
    let on = |operation, wrong| Bench::with_answer(operation, wrong);
    let fresh = |change: fn(&mut Profile)| {
        Bench::new(|profile| {
            profile.tenants[0].subscribed.clear();
            change(profile);
        })
    };
    let mut bench = match pair.given.as_str() {
        "fresh" => fresh(|_| {}),
        "subscribed" => Bench::new(|_| {}),
        "subscribed-sharepoint-webhook" => fresh(|_| {}),
        "audit-off" => fresh(|profile| profile.tenants[0].audit = false),
        "no-roles" => Bench::new(|profile| profile.tenants[0].roles.clear()),
        "one-content" | "two-pages" => Bench::new(|profile| {
            profile.tenants[0].page_size = 1;
            let contents = if pair.given == "two-pages" { 2 } else { 1 };
            profile.tenants[0].backfill = Duration::from_secs(contents * 600);
        }),
        "nothing-published" => Bench::new(|profile| profile.tenants[0].backfill = Duration::ZERO),
        "disabled-by-tenant-admin" => {
            Bench::with_faults(Faults { disabled: vec![(START, Disabled::ByTenantAdmin)], ..Faults::default() })
        }
        "no-default-window" => {
            Bench::with_faults(Faults { default_window: DefaultWindow::Broken, ..Faults::default() })
        }
        "record-of-the-pair" => {
            let record = pair.response.body[0].to_string();
            Bench::new(|profile| profile.tenants[0].serve(read_file(&record).unwrap()))
        }
        "expired" => Bench::with_content(When::only(1), Odd::Expired),
        "throttled" => on(Operation::Blob, Wrong::Throttled { status: 403, retry_after: None }),
        "throttled-anonymous" => Bench::new(|profile| profile.shared_quota = 0),
        "internal-error" => on(Operation::Contents, Wrong::Internal),
        "single-quotes" => on(Operation::Contents, Wrong::SingleQuoted),
        "unauthorized" => on(Operation::Contents, Wrong::Unauthorized),
        "bad-gateway" => on(Operation::Contents, Wrong::Html),
        "error-in-200" => on(Operation::Contents, Wrong::ErrorIn200),
        "secret-expired" => Bench::with_faults(Faults {
            tokens: vec![TokenFault { when: When::only(2), wrong: TokenWrong::SecretExpired }],
            ..Faults::default()
        }),
        other => panic!("{}: nobody knows how to prepare {other:?}", pair.name),
    };
    if pair.given == "two-pages" {
        let paging = vec![PagingFault { when: When::ALWAYS, paging: Paging::V1 }];
        bench.simulator.profile_mut().tenants[0].faults.paging = paging;
    }
    if pair.given == "subscribed-sharepoint-webhook" {
        let hook = pairs().into_iter().find(|it| it.name == "start-with-webhook").unwrap();
        send(&mut bench, &hook.request, "");
    }
    bench
}

fn send(bench: &mut Bench, request: &PairRequest, content_id: &str) -> Reply {
    let encode = |pairs: &BTreeMap<String, String>| {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(pairs);
        text.finish()
    };
    let mut uri = request.path.replace("{contentId}", content_id);
    if !request.query.is_empty() {
        uri = format!("{uri}?{}", encode(&request.query));
    }
    let body = match &request.body {
        Some(body) => body.to_string(),
        None => encode(&request.form),
    };
    bench.raw(&request.method, &uri, &body)
}

fn shape(text: &str) -> String {
    text.chars().map(|it| if it.is_ascii_alphanumeric() { 'x' } else { it }).collect()
}

/// Compares a value of the simulator's with the pair's, as far as it must agree.
fn agree(place: &str, pair: &Pair, expected: &Value, got: &Value) {
    let name = &pair.name;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match (pair.varies.get(place).map(String::as_str), expected, got) {
        (Some("type"), _, _) => {
            assert_eq!(std::mem::discriminant(expected), std::mem::discriminant(got), "{name} {place}");
        }
        (Some("shape"), _, _) => assert_eq!(shape(&text(expected)), shape(&text(got)), "{name} {place}"),
        (Some(rule), _, _) => {
            let end = rule.strip_prefix("until ").unwrap_or_else(|| panic!("{name}: rule {rule:?}"));
            let until = |value: &Value| {
                let text = text(value);
                let at = text.find(end).unwrap_or_else(|| panic!("{name} {place}: {end:?} is not in {text:?}"));
                text[..at + end.len()].to_owned()
            };
            assert_eq!(until(expected), until(got), "{name} {place}");
        }
        (None, Value::Object(expected), Value::Object(got)) => {
            assert_eq!(expected.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>(), "{name} {place}");
            for (key, value) in expected {
                agree(&format!("{place}/{key}"), pair, value, &got[key]);
            }
        }
        (None, Value::Array(expected), Value::Array(got)) => {
            assert_eq!(expected.len(), got.len(), "{name} {place}");
            for (at, value) in expected.iter().enumerate() {
                agree(&format!("{place}/{at}"), pair, value, &got[at]);
            }
        }
        (None, expected, got) => assert_eq!(expected, got, "{name} {place}"),
    }
}

#[test]
fn the_simulator_answers_like_the_transcribed_pairs() {
    let pairs = pairs();
    assert!(pairs.len() >= 35, "{}", pairs.len());
    for mut pair in pairs {
        assert!(pair.source.len() > 20, "{}: a pair names its source", pair.name);
        let mut bench = prepare(&pair);
        let id = bench.contents().first().map(|it| it.content.id.clone()).unwrap_or_default();
        let reply = send(&mut bench, &pair.request, &id);
        assert_eq!(reply.status, pair.response.status, "{}: {:?}", pair.name, reply.body);
        for (header, value) in &pair.response.headers {
            let got = reply.header(&header.to_ascii_lowercase()).unwrap_or_default();
            agree(header, &pair, &Value::from(value.as_str()), &Value::from(got));
        }
        let filled = pair.response.body.to_string().replace("{contentId}", &id);
        pair.response.body = serde_json::from_str(&filled).unwrap();
        let got = if pair.response.body.is_string() {
            Value::from(String::from_utf8_lossy(&reply.body).into_owned())
        } else {
            reply.json()
        };
        agree("", &pair, &pair.response.body, &got);
    }
}
