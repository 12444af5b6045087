//! Tests of the simulator: each unkind rule, each fault switch, and agreement with the transcribed pairs.

mod faces;
mod faults;
mod pairs;
mod records;
mod rules;
mod schedule;
mod survival;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Answer, AnswerBody, Profile, Simulator, TenantProfile,
    faults::{AnswerFault, ContentFault, Faults, Odd, Operation, Paging, PagingFault, When, Wrong},
};

/// The tenant of most tests; the GUID of Microsoft's own samples.
const TENANT: &str = "41463f53-8812-40f4-890f-865bf6e35190";
const PUBLISHER: &str = "46b472a7-c68e-4adf-8ade-3db49497518e";
const START: Timestamp = Timestamp::constant(1_772_323_200, 0); // 2026-03-01T00:00:00Z

/// A simulator with a clock to turn, and a caller with a token.
struct Bench {
    simulator: Simulator,
    now: Timestamp,
    token: String,
}

/// An answer, read.
struct Reply {
    status: u16,
    headers: http::HeaderMap,
    body: Bytes,
    cut_at: Option<u64>,
    delay: Option<Duration>,
    pause: Option<(u64, Duration)>,
}

impl Reply {
    fn of(answer: Answer) -> Self {
        let (cut_at, delay, pause) = (answer.cut_at, answer.delay, answer.pause);
        let headers = answer.response.headers().clone();
        Reply { status: answer.status(), headers, body: answer.into_bytes(), cut_at, delay, pause }
    }
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
    fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|it| it.to_str().ok())
    }
    /// contentIds of a listing.
    fn ids(&self) -> Vec<String> {
        let rows = self.json();
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter().filter_map(|row| row["contentId"].as_str()).map(str::to_owned).collect()
    }
}

impl Bench {
    /// One tenant, a content every 10 minutes, three hours of them before the start; subscribed; the clock at the start.
    fn new(change: impl FnOnce(&mut Profile)) -> Self {
        let tenant = TenantProfile { subscribed: vec!["Audit.General".into()], ..TenantProfile::default() };
        let mut profile = Profile { start: START, tenants: vec![tenant], ..Profile::default() };
        change(&mut profile);
        let mut bench = Bench { simulator: Simulator::new(profile), now: START, token: String::new() };
        let reply = bench.sign_in("simulated-secret");
        bench.token = reply.json()["access_token"].as_str().unwrap_or_default().to_owned();
        bench
    }

    fn with_faults(faults: Faults) -> Self {
        Bench::new(|profile| profile.tenants[0].faults = faults)
    }

    fn with_answer(on: Operation, wrong: Wrong) -> Self {
        let answers = vec![AnswerFault { when: When::only(1), on: Some(on), wrong }];
        Bench::with_faults(Faults { answers, ..Faults::default() })
    }

    fn with_content(when: When, odd: Odd) -> Self {
        Bench::with_faults(Faults { contents: vec![ContentFault { when, odd }], ..Faults::default() })
    }

    fn with_paging(paging: Paging) -> Self {
        let paging = vec![PagingFault { when: When::only(1), paging }];
        Bench::with_faults(Faults { paging, ..Faults::default() })
    }

    fn later(&mut self, seconds: i64) {
        self.now = Timestamp::from_second(self.now.as_second() + seconds).unwrap();
    }

    fn raw(&mut self, method: &str, uri: &str, body: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(uri);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        let request = request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        Reply::of(self.simulator.handle(&request, self.now))
    }

    fn sign_in(&mut self, secret: &str) -> Reply {
        let client = self.simulator.profile().tenants[0].client.clone();
        self.token_request(TENANT, &client, secret)
    }

    fn token_request(&mut self, tenant: &str, client: &str, secret: &str) -> Reply {
        let form = format!(
            "grant_type=client_credentials&client_id={client}&client_secret={secret}&scope=https%3A%2F%2Fmanage.office.com%2F.default"
        );
        self.raw("POST", &format!("/{tenant}/oauth2/v2.0/token"), &form)
    }

    /// A call with PublisherIdentifier; `rest` from `subscriptions` on.
    fn get(&mut self, rest: &str) -> Reply {
        let joint = if rest.contains('?') { '&' } else { '?' };
        self.raw("GET", &format!("/api/v1.0/{TENANT}/activity/feed/{rest}{joint}PublisherIdentifier={PUBLISHER}"), "")
    }

    fn post(&mut self, rest: &str) -> Reply {
        self.raw("POST", &format!("/api/v1.0/{TENANT}/activity/feed/{rest}&PublisherIdentifier={PUBLISHER}"), "")
    }

    fn list(&mut self, start: &str, end: &str) -> Reply {
        self.get(&format!("subscriptions/content?contentType=Audit.General&startTime={start}&endTime={end}"))
    }

    /// All pages of a window, followed as a client does.
    fn list_all(&mut self, start: &str, end: &str) -> Vec<String> {
        let mut reply = self.list(start, end);
        let mut ids = reply.ids();
        for _ in 0..1_000 {
            assert_eq!(reply.status, 200, "{:?}", reply.body);
            let next = reply.header("nextpageuri").or(reply.header("nextpageurl"));
            let Some(next) = next.map(str::to_owned) else { return ids };
            reply = self.raw("GET", &format!("{next}&PublisherIdentifier={PUBLISHER}"), "");
            ids.extend(reply.ids());
        }
        panic!("the pages don't end");
    }

    fn blob(&mut self, id: &str) -> Reply {
        self.get(&format!("audit/{id}"))
    }

    /// The ids of the first contents, as scheduled.
    fn contents(&self) -> Vec<super::ContentTruth> {
        self.simulator.truth(self.now).collect()
    }
}

/// Splits the records of a body that is valid JSON.
fn records(reply: &Reply) -> Vec<Value> {
    reply.json().as_array().cloned().unwrap_or_default()
}
