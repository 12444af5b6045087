//! The Office 365 client against request and response pairs transcribed by hand, without the simulator.
//!
//! Each file of `protocol/client/` is one conversation: what the client must send, what the service answers, what the
//! client must make of it, and where the knowledge comes from. An exchange that is not in the file fails the test, and
//! so does one that is left over.

mod protocol {
    pub mod script;
}

use std::{collections::BTreeSet, path::Path, time::Duration};

use auditferry::{
    source::office365::{Office365, Page, Paging, SourceError, window::Window},
    world::Transport,
};
use protocol::script::{Script, Stage, settings};
use serde_json::{Value, json};

fn window() -> Window {
    Window::new("2026-03-01T10:00:00Z".parse().unwrap(), "2026-03-01T12:00:00Z".parse().unwrap()).unwrap()
}

/// Runs one file.
async fn converse(name: &str) {
    let script = Script::read(name);
    let stage = Stage::new(script.exchanges.clone());
    let mut settings = settings();
    if let Some(content) = &script.content {
        settings.content = content.clone();
    }
    assert_eq!(settings.transport, Transport::default());
    let source = Office365::new(settings, &stage.world(), stage.secrets()).unwrap();
    let got = match script.call.as_str() {
        "check_token" => source.check_token().await.map_or_else(
            error,
            |findings| json!({ "findings": findings.into_iter().map(|f| f.words).collect::<Vec<_>>() }),
        ),
        "ensure_subscriptions" => ensure(&source).await,
        "list" => source.list("Audit.General", window(), None).await.map_or_else(error, |page| listed(vec![page])),
        "list_all" => list_all(&source).await,
        "fetch" => fetch(&source, script.uri.as_deref().unwrap()).await,
        other => panic!("{name}: unknown call {other}"),
    };
    compare(name, &script.expect, &got);
    if let Some(tokens) = script.expect.get("tokens") {
        assert_eq!(json!(stage.token_requests()), *tokens, "{name}: token requests");
    }
    stage.finished(name);
}

async fn ensure(source: &Office365) -> Value {
    let states = match source.ensure_subscriptions().await {
        Ok(states) => states,
        Err(failed) => return error(failed),
    };
    let outcome = |outcome: &Result<_, SourceError>| match outcome {
        Ok(found) => format!("{found:?}"),
        Err(failed) => format!("{:?} {}", failed.class, failed.code),
    };
    let words = |outcome: &Result<_, SourceError>| outcome.as_ref().err().map(|failed| failed.to_string());
    json!({
        "subscriptions": states.iter().map(|s| outcome(&s.outcome)).collect::<Vec<_>>(),
        "words": states.iter().filter_map(|s| words(&s.outcome)).collect::<Vec<_>>(),
    })
}

async fn list_all(source: &Office365) -> Value {
    let (mut pages, mut paging, mut token) = (Vec::new(), Paging::default(), None);
    loop {
        let page = source.list("Audit.General", window(), token.as_ref()).await.unwrap();
        let next = page.next.clone().unwrap();
        pages.push(page);
        let Some(next) = next else { return listed(pages) };
        if let Err(refused) = paging.follow(&next) {
            return json!({ "paging": refused.to_string() });
        }
        token = Some(next);
    }
}

async fn fetch(source: &Office365, uri: &str) -> Value {
    let mut blob = match source.fetch(uri).await {
        Ok(blob) => blob,
        Err(failed) => return error(failed),
    };
    let mut body = Vec::new();
    while let Some(chunk) = blob.next().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    assert_eq!(blob.bytes(), body.len() as u64);
    json!({ "body": String::from_utf8(body).unwrap() })
}

fn listed(pages: Vec<Page>) -> Value {
    let contents: Vec<_> = pages
        .iter()
        .flat_map(|page| &page.contents)
        .map(|c| {
            json!({ "id": c.content_id, "uri": c.uri, "created": c.created.to_string(), "expires": c.expires.to_string() })
        })
        .collect();
    let mut got = json!({ "contents": contents });
    match pages.into_iter().next_back().unwrap().next {
        Ok(next) => got["next"] = json!(next.map(|token| format!("{token:?}"))),
        Err(failed) => got["next_error"] = error(failed)["error"].clone(),
    }
    got
}

fn error(failed: SourceError) -> Value {
    assert_eq!(failed.to_string(), failed.words);
    let first = failed.words.chars().next().unwrap();
    assert!(first.is_lowercase(), "{}", failed.words);
    assert!(!failed.words.chars().any(char::is_control), "{:?}", failed.words);
    for secret in ["the~secret", "the-token"] {
        assert!(!format!("{failed:?}").contains(secret), "{failed:?}");
    }
    json!({ "error": {
        "class": format!("{:?}", failed.class),
        "code": failed.code,
        "words": failed.words,
        "retry_after": failed.retry_after.map(|wait| wait.as_secs()),
    }})
}

/// Everything that is expected must be there; times may be written in several ways.
fn compare(name: &str, expect: &Value, got: &Value) {
    for (key, expected) in expect.as_object().unwrap() {
        match key.as_str() {
            "tokens" => {}
            "error" | "next_error" => compare_error(name, expected, &got[key], got),
            "contents" => {
                let times = |v: &Value| {
                    let mut v = v.clone();
                    for content in v.as_array_mut().unwrap() {
                        for key in ["created", "expires"] {
                            let time: jiff::Timestamp = content[key].as_str().unwrap().parse().unwrap();
                            content[key] = json!(time.to_string());
                        }
                    }
                    v
                };
                assert_eq!(times(expected), times(&got[key]), "{name}");
            }
            _ => assert_eq!(expected, got.get(key).unwrap_or(&json!("(missing)")), "{name}: {key} of {got:#}"),
        }
    }
    for key in ["error", "next_error"] {
        assert_eq!(expect.get(key).is_some(), got.get(key).is_some(), "{name}: {got:#}");
    }
}

fn compare_error(name: &str, expect: &Value, got: &Value, whole: &Value) {
    for (key, expected) in expect.as_object().unwrap() {
        match key.as_str() {
            "words_hold" => {
                for part in expected.as_array().unwrap() {
                    let words = got["words"].as_str().unwrap_or_default();
                    assert!(words.contains(part.as_str().unwrap()), "{name}: {part} not in {words}");
                }
            }
            "retry_after_between" => {
                let wait = got["retry_after"].as_u64().unwrap();
                let within = expected[0].as_u64().unwrap()..=expected[1].as_u64().unwrap();
                assert!(within.contains(&wait), "{name}: {wait}");
            }
            _ => assert_eq!(expected, &got[key], "{name}: {key} of {whole:#}"),
        }
    }
}

macro_rules! conversations {
    ($($test:ident: $file:literal,)*) => {
        $(#[tokio::test]
        async fn $test() {
            converse($file).await;
        })*

        #[test]
        fn every_file_is_run() {
            let named: BTreeSet<String> = [$($file),*].iter().map(|name| format!("{name}.json")).collect();
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protocol/client");
            let there: BTreeSet<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            assert_eq!(there, named);
        }
    };
}

conversations! {
    audit_off: "audit-off",
    blob: "blob",
    blob_404_bare: "blob-404-bare",
    blob_error_in_200: "blob-error-in-200",
    blob_expired: "blob-expired",
    blob_foreign: "blob-foreign",
    blob_missing: "blob-missing",
    blob_one_object: "blob-one-object",
    list_capture: "list-capture",
    list_disabled: "list-disabled",
    list_empty: "list-empty",
    list_error_in_200: "list-error-in-200",
    list_forbidden_by_proxy: "list-forbidden-by-proxy",
    list_html_502: "list-html-502",
    list_no_consent: "list-no-consent",
    list_no_subscription: "list-no-subscription",
    list_no_times: "list-no-times",
    list_single_quotes: "list-single-quotes",
    list_throttled_403: "list-throttled-403",
    list_throttled_429_retry_after: "list-throttled-429-retry-after",
    list_token_echoed: "list-token-echoed",
    list_unknown_code: "list-unknown-code",
    list_window_refused: "list-window-refused",
    list_wrong_tenant: "list-wrong-tenant",
    list_zoneless_times: "list-zoneless-times",
    one_type_fails_alone: "one-type-fails-alone",
    page_foreign: "page-foreign",
    page_loop: "page-loop",
    page_token_bad: "page-token-bad",
    page_uri: "page-uri",
    page_url_variants: "page-url-variants",
    start_again_is_success: "start-again-is-success",
    start_missing: "start-missing",
    subscription_disabled: "subscription-disabled",
    subscription_enabled: "subscription-enabled",
    token_expired_secret: "token-expired-secret",
    token_licence: "token-licence",
    token_loop: "token-loop",
    token_no_consent: "token-no-consent",
    token_number_as_text: "token-number-as-text",
    token_other_tenant_and_audience: "token-other-tenant-and-audience",
    token_unavailable: "token-unavailable",
    token_unknown_app: "token-unknown-app",
    token_v2: "token-v2",
    token_without_roles: "token-without-roles",
    token_wrong_cloud: "token-wrong-cloud",
    token_wrong_secret: "token-wrong-secret",
    token_wrong_tenant: "token-wrong-tenant",
    unauthorized_once: "unauthorized-once",
    unauthorized_twice: "unauthorized-twice",
}

#[tokio::test]
async fn a_token_serves_until_five_minutes_before_its_end() {
    let stage = Stage::listing(4);
    let source = Office365::new(settings(), &stage.world(), stage.secrets()).unwrap();
    for (seconds, tokens) in [(0, 1), (3_298, 1), (2, 2), (10, 2)] {
        stage.advance(Duration::from_secs(seconds));
        source.list("Audit.General", window(), None).await.unwrap();
        assert_eq!(stage.token_requests(), tokens, "after {seconds} s");
    }
    assert_eq!(source.counters().tokens, 2);
    assert_eq!(source.counters().requests[&("list_content", "200".to_owned())], 4);
}

#[tokio::test]
async fn a_throttled_tenant_sends_nothing_until_its_time_and_then_goes_on() {
    let throttled = Script::read("list-throttled-403").exchanges;
    let served = Script::read("list-capture").exchanges;
    let stage = Stage::new([throttled.clone(), throttled, served].concat());
    let source = Office365::new(settings(), &stage.world(), stage.secrets()).unwrap();
    let list = || source.list("Audit.General", window(), None);
    let first = list().await.unwrap_err().retry_after.unwrap();
    // no request goes out: the next exchange of the script stays for later
    let again = list().await.unwrap_err();
    assert_eq!((again.code.as_str(), again.retry_after, stage.left()), ("AF429", Some(first), 2));
    assert_eq!(source.backed_off(), Some(first));
    stage.advance(first);
    let second = list().await.unwrap_err().retry_after.unwrap();
    assert!(second > first && second <= Duration::from_secs(120), "{first:?} {second:?}");
    stage.advance(second);
    list().await.unwrap();
    assert_eq!(source.backed_off(), None);
    assert_eq!(source.counters().throttled, 2);
    assert_eq!(source.counters().requests[&("list_content", "AF429".to_owned())], 2);
    stage.finished("throttled");
}

#[tokio::test]
async fn two_sources_of_one_tenant_are_throttled_together_and_those_of_two_are_not() {
    let stage = Stage::new(Script::read("list-throttled-403").exchanges);
    let first = Office365::new(settings(), &stage.world(), stage.secrets()).unwrap();
    let mut stranger = settings();
    stranger.tenant = "11111111-2222-4333-8444-555555555555".into();
    let stranger = Office365::beside(stranger, &stage.world(), stage.secrets(), [&first]).unwrap();
    let second = Office365::beside(settings(), &stage.world(), stage.secrets(), [&stranger, &first]).unwrap();
    first.list("Audit.General", window(), None).await.unwrap_err();
    assert!(first.backed_off().is_some());
    assert_eq!(second.backed_off(), first.backed_off());
    assert_eq!(stranger.backed_off(), None);
}

#[tokio::test]
async fn a_refused_secret_is_not_sent_again_at_once_but_a_rotated_one_counts() {
    let refused = Script::read("token-wrong-secret").exchanges;
    let served = Script::read("list-capture").exchanges;
    let stage = Stage::new([refused, served].concat());
    let source = Office365::new(settings(), &stage.world(), stage.secrets()).unwrap();
    let list = || source.list("Audit.General", window(), None);
    let first = list().await.unwrap_err();
    assert_eq!(list().await.unwrap_err(), first);
    assert_eq!(stage.token_requests(), 1);
    stage.rotate("another");
    stage.advance(Duration::from_secs(11));
    list().await.unwrap();
    assert!(stage.last_token_form().contains("client_secret=another"), "{}", stage.last_token_form());
}

#[tokio::test]
async fn a_token_that_still_holds_serves_while_it_cannot_be_renewed() {
    let served = Script::read("list-empty").exchanges;
    let busy = Script::read("token-unavailable").exchanges;
    let stage = Stage::new([served.clone(), busy.clone(), served, busy].concat());
    let source = Office365::new(settings(), &stage.world(), stage.secrets()).unwrap();
    let list = || source.list("Audit.General", window(), None);
    list().await.unwrap();
    stage.advance(Duration::from_secs(3_400));
    list().await.unwrap();
    assert_eq!(stage.token_requests(), 2);
    stage.advance(Duration::from_secs(200));
    let failed = list().await.unwrap_err();
    assert_eq!((failed.code.as_str(), failed.retry_after, stage.left()), ("temporarily_unavailable", None, 0));
}

#[tokio::test]
async fn a_subscription_just_started_is_not_started_again() {
    let exchanges = Script::read("start-missing").exchanges;
    let stage = Stage::new([exchanges.clone(), exchanges[..1].to_vec(), exchanges].concat());
    let source = Office365::new(settings(), &stage.world(), stage.secrets()).unwrap();
    for (minutes, expected) in [(0, "Started"), (14, "Pending"), (2, "Started")] {
        stage.advance(Duration::from_secs(60 * minutes));
        assert_eq!(ensure(&source).await["subscriptions"], json!([expected]));
    }
    stage.finished("started");
}

#[tokio::test]
async fn the_services_clock_is_learned_and_our_own_believed_when_they_agree() {
    let exchanges = Script::read("list-capture").exchanges; // Date: 12:00:00
    for (advance, expected) in [(0, 0), (1, -1), (3_600, -3_600)] {
        let stage = Stage::new(exchanges.clone());
        let source = Office365::new(settings(), &stage.world(), stage.secrets()).unwrap();
        source.check_token().await.unwrap();
        stage.advance(Duration::from_secs(advance));
        let page = source.list("Audit.General", window(), None).await.unwrap();
        assert_eq!(page.service_time, Some("2026-03-01T12:00:00Z".parse().unwrap()));
        let offset = source.service_offset().as_secs();
        // one second is the precision of the header
        assert_eq!(offset, if expected == -1 { 0 } else { expected });
    }
}

#[tokio::test]
async fn a_body_that_stalls_or_breaks_off_is_an_error_after_what_came() {
    for (kind, code) in [("stall", "Timeout"), ("cut", "Body")] {
        let mut exchanges = Script::read("blob").exchanges;
        exchanges[0]["response"]["then"] = json!(kind);
        let uri = Script::read("blob").uri.unwrap();
        let stage = Stage::new(exchanges);
        let source = Office365::new(settings(), &stage.world(), stage.secrets()).unwrap();
        let mut blob = source.fetch(&uri).await.unwrap();
        assert!(blob.next().await.unwrap().unwrap().starts_with(b"[{"));
        let failed = blob.next().await.unwrap_err();
        assert_eq!(failed.code, code, "{failed}");
        let words = match kind {
            "stall" => {
                "fetching content failed at https://manage.office.com: no answer within 30s; auditferry tries again"
            }
            _ => {
                "fetching content failed at https://manage.office.com: the connection ended before the body was complete: cut by the script; auditferry tries again"
            }
        };
        assert_eq!(failed.to_string(), words);
    }
}
