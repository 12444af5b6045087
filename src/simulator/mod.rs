//! A faithful Microsoft 365 tenant: token endpoint and Office 365 Management Activity API, as a pure state machine.
//!
//! [`Simulator::handle`] turns a request and a time into an answer. It knows no clock, network or randomness of its own: a
//! profile and a sequence of (request, time) always give the same answers, so that the crash test can put it behind
//! [`crate::world::Http`] ([`InProcess`]) and a person behind a socket ([`http::serve`]). Which contents exist, and every
//! byte in them, follows from the profile, the content's number and the time ([`schedule`]); nothing that was served is
//! kept but counts.
//!
//! What it plays is Microsoft's documentation and what real clients met; `README.md` in this folder lists every rule that
//! is an assumption. [`truth`] tells a checker what should have arrived.

pub mod draft;
pub mod families;
pub mod faults;
mod feed;
pub mod http;
mod in_process;
mod listing;
pub mod profile;
mod query;
mod random;
mod records;
pub mod reply;
pub mod schedule;
mod stamp;
mod token;
pub mod truth;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use ::http::{Method, Request, header};
use bytes::Bytes;
use jiff::Timestamp;

pub use in_process::InProcess;
pub use profile::{Profile, TenantProfile};
pub use records::{Fate, RecordTruth, read_file};
pub use reply::{Answer, AnswerBody};
pub use truth::{ContentTruth, FetchCounts};

use faults::{Operation, Paging, Wrong};
use query::Query;
use reply::say;

/// The state machine. See the module's page.
pub struct Simulator {
    /// Shared with bodies that are still being sent.
    profile: Arc<Profile>,
    tenants: Vec<TenantState>,
    /// Calls without PublisherIdentifier, over all tenants.
    shared: Minute,
    /// Requests that carried a token to the foreign host of a [`Paging::Foreign`].
    leaks: u64,
    /// How often each fault has shown.
    struck: BTreeMap<String, u64>,
}

#[derive(Default)]
struct TenantState {
    /// By content type in lower case.
    subscriptions: BTreeMap<String, Subscription>,
    quota: Minute,
    counts: BTreeMap<Operation, u64>,
    /// Pages served, and pages that had a next one.
    pages: u64,
    next_pages: u64,
    /// Whole bodies served, by stream key and content number; folded into `folded` once they expired.
    fetched: BTreeMap<(u64, u64), u32>,
    /// Contents that are long gone: fetched once, fetched repeatedly.
    folded: (u64, u64),
}

/// One (application, content type).
#[derive(Clone, Debug, Default)]
struct Subscription {
    enabled: bool,
    /// Who ended it, when it was not the client.
    ended: Option<faults::Disabled>,
    /// When it was last started, milliseconds.
    started: i64,
    /// Spans in which nothing was kept; the last one is open while not enabled.
    lost: Vec<(i64, i64)>,
    /// How many of the profile's `disabled` times have been dealt with.
    endings: usize,
    webhook: Option<serde_json::Value>,
}

/// Calls in the current minute.
#[derive(Clone, Copy, Default)]
struct Minute {
    begun: i64,
    calls: u32,
}

impl Minute {
    fn over(&mut self, now: i64, limit: u32) -> bool {
        if now < self.begun || now - self.begun >= stamp::MINUTE {
            *self = Minute { begun: now, calls: 0 };
        }
        self.calls = self.calls.saturating_add(1);
        self.calls > limit
    }
}

impl Simulator {
    /// A service in which nothing has happened yet.
    pub fn new(profile: Profile) -> Self {
        let tenants = profile
            .tenants
            .iter()
            .map(|tenant| TenantState {
                subscriptions: tenant
                    .subscribed
                    .iter()
                    .map(|name| {
                        let subscription =
                            Subscription { enabled: true, started: i64::MIN / 2, ..Subscription::default() };
                        (name.to_ascii_lowercase(), subscription)
                    })
                    .collect(),
                ..TenantState::default()
            })
            .collect();
        Simulator { profile: Arc::new(profile), tenants, shared: Minute::default(), leaks: 0, struck: BTreeMap::new() }
    }

    /// How often each kind of fault has shown itself to a client: `answer Cut`, `token answer Late`, `content Reordered`, `page Loop`, `token NoRoles`, `off Gone`.
    pub fn struck(&self) -> &BTreeMap<String, u64> {
        &self.struck
    }

    fn strikes(&mut self, of: &str, fault: &dyn std::fmt::Debug) {
        let fault = format!("{fault:?}");
        let kind = fault.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
        *self.struck.entry(format!("{of} {kind}")).or_default() += 1;
    }

    /// What it was made from.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Changes the profile of a running service: a scenario may switch a fault on or rotate a secret. Tenants can't be
    /// added; what is said about contents must not change for contents that somebody has seen.
    pub fn profile_mut(&mut self) -> &mut Profile {
        Arc::make_mut(&mut self.profile)
    }

    /// How often a bearer token arrived at the foreign host that a [`Paging::Foreign`] named. Must stay 0.
    pub fn leaked_tokens(&self) -> u64 {
        self.leaks
    }

    /// The time on the service's clock, in milliseconds.
    fn service_time(&self, now: Timestamp) -> i64 {
        now.as_millisecond().saturating_add(self.profile.skew_ms)
    }

    /// Answers one request that arrives at `now`.
    pub fn handle(&mut self, request: &Request<Bytes>, now: Timestamp) -> Answer {
        let now = self.service_time(now);
        let mut answer = if self.is_foreign(request) {
            if request.headers().contains_key(header::AUTHORIZATION) {
                self.leaks += 1;
            }
            Answer::new(404, None, Bytes::new())
        } else {
            self.route(request, now)
        };
        answer.header("date", &stamp::http_date(now));
        answer.header("server", "Microsoft-IIS/10.0");
        answer.header("x-aspnet-version", "4.0.30319");
        answer.header("x-powered-by", "ASP.NET");
        answer.header("cache-control", "no-cache");
        answer.header("pragma", "no-cache");
        answer.header("expires", "-1");
        let accepts = request.headers().get(header::ACCEPT_ENCODING).and_then(|it| it.to_str().ok());
        if self.profile.encoding == profile::Encoding::Gzip && accepts.is_some_and(|it| it.contains("gzip")) {
            answer.compress();
        }
        answer
    }

    fn is_foreign(&self, request: &Request<Bytes>) -> bool {
        let host = request.headers().get(header::HOST).and_then(|it| it.to_str().ok());
        let Some(host) = request.uri().authority().map(|it| it.as_str()).or(host) else { return false };
        self.profile.tenants.iter().flat_map(|tenant| &tenant.faults.paging).any(|fault| match &fault.paging {
            Paging::Foreign(origin) => origin.split_once("://").is_some_and(|it| it.1.eq_ignore_ascii_case(host)),
            _ => false,
        })
    }

    fn route(&mut self, request: &Request<Bytes>, now: i64) -> Answer {
        let path = request.uri().path();
        // some published samples have a doubled slash, and the service took it
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let query = Query::read(request.uri().query().unwrap_or_default());
        match parts[..] {
            [tenant, "oauth2", "v2.0", "token"] => self.token_request(tenant, true, request, now),
            [tenant, "oauth2", "token"] => self.token_request(tenant, false, request, now),
            [tenant, "v2.0", ".well-known", "openid-configuration"] => self.openid(tenant, now),
            ["api", "v1.0" | "v1", tenant, "activity", "feed", ref rest @ ..] => {
                self.feed(tenant, rest, &query, request, now)
            }
            _ => Answer::new(404, Some("text/html"), "<html><body><h1>404 - not found</h1></body></html>"),
        }
    }

    fn token_request(&mut self, tenant: &str, v2: bool, request: &Request<Bytes>, now: i64) -> Answer {
        if request.method() != Method::POST {
            return Answer::new(405, None, Bytes::new());
        }
        let form = Query::read(&String::from_utf8_lossy(request.body()));
        self.token(tenant, v2, &form, now)
    }

    /// Counts a request; the number of this one, from 1.
    fn count(&mut self, tenant: usize, operation: Operation) -> u64 {
        let count = self.tenants[tenant].counts.entry(operation).or_default();
        *count += 1;
        *count
    }

    /// How many requests of `operation` the tenant has had.
    pub fn requests(&self, tenant: usize, operation: Operation) -> u64 {
        self.tenants.get(tenant).and_then(|state| state.counts.get(&operation)).copied().unwrap_or(0)
    }

    /// The answer that a fault puts in place of the right one; `None` when it only spoils the delivery.
    fn wrong(&self, operation: Operation, wrong: &Wrong, publisher: &str) -> Option<Answer> {
        Some(match wrong {
            Wrong::Throttled { status, retry_after } => {
                let mut answer = say::throttled(*status, operation.name(), publisher);
                if let Some(seconds) = retry_after {
                    answer.header("retry-after", &seconds.to_string());
                }
                answer
            }
            Wrong::Unauthorized => Answer::new(401, None, Bytes::new()),
            Wrong::Internal => say::internal(),
            Wrong::Status(status) => Answer::new(*status, None, Bytes::new()),
            Wrong::Html => Answer::new(
                502,
                Some("text/html"),
                "<html><head><title>502 Bad Gateway</title></head><body><h2>Our services aren't available right \
                 now</h2><p>We're working to restore all services as soon as possible.</p></body></html>",
            ),
            Wrong::SingleQuoted => Answer::new(
                500,
                Some(reply::JSON),
                "{'error':{'code':'AF50000','message':'An internal server error occurred. Retry the request.'}}",
            ),
            Wrong::ErrorIn200 => {
                let mut answer = say::internal();
                *answer.response.status_mut() = ::http::StatusCode::OK;
                answer
            }
            Wrong::Service { status, code, message } => Answer::error(*status, code, message),
            Wrong::Late(_) | Wrong::Cut(_) | Wrong::Stalled { .. } | Wrong::ContentType(_) => return None,
        })
    }
}
