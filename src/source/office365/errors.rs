//! What an error of the service means: a table as data (`errors.json`), decided by code before status.

use std::{collections::BTreeMap, fmt, sync::LazyLock, time::Duration};

use serde::Deserialize;

use super::envelope::Told;
use crate::{
    retry::{self, Policy},
    world::HttpError,
};

/// What the caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Not an error after all (a start of what is already started).
    Ok,
    /// Transient: try again, with growing delays, for ever.
    Retry,
    /// Throttled: nothing to this tenant before `retry_after`.
    Backoff,
    /// A person must act: try slowly, say it loudly.
    FixConfig,
    /// The content is lost: expired, or never there.
    Gone,
    /// The page token is no longer known: list the window from its first page.
    RestartListing,
    /// The subscription is missing or disabled: start it, then list again.
    StartSubscription,
    /// The window is out of the service's reach: cut it to what is in reach, record the gap.
    Clamp,
    /// The process is dying (crash test only).
    Dead,
}

/// What the agent was about when it went wrong; also the `operation` label of the request metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Client credentials for a bearer token.
    Token,
    /// `subscriptions/list`.
    ListSubscriptions,
    /// `subscriptions/start`.
    StartSubscription,
    /// `subscriptions/stop`.
    StopSubscription,
    /// What a tenant's sign-in host says of it, without a token.
    Discover,
    /// `subscriptions/content`, any page.
    ListContent,
    /// A blob.
    FetchContent,
}

impl Operation {
    /// Name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Token => "token",
            Operation::ListSubscriptions => "list_subscriptions",
            Operation::StartSubscription => "start_subscription",
            Operation::StopSubscription => "stop_subscription",
            Operation::Discover => "discover",
            Operation::ListContent => "list_content",
            Operation::FetchContent => "fetch_content",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Operation::Token => "getting a token",
            Operation::ListSubscriptions => "listing subscriptions",
            Operation::StartSubscription => "starting a subscription",
            Operation::StopSubscription => "stopping a subscription",
            Operation::Discover => "asking for the tenant",
            Operation::ListContent => "listing content",
            Operation::FetchContent => "fetching content",
        }
    }
}

/// Why the source could not do what it was asked. Holds no secret, no token, and of a body 200 cleaned bytes at most.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct SourceError {
    /// What to do about it.
    pub class: Class,
    /// The service's code (`AF20022`, `AADSTS7000215`), or ours (`AuditOff`, `Timeout`, `401`).
    pub code: String,
    /// HTTP status, if an answer came.
    pub status: Option<u16>,
    /// Not before so long; the service's word or our back-off.
    pub retry_after: Option<Duration>,
    /// What happened, where, and what to do.
    pub words: String,
}

impl SourceError {
    /// Which delays the caller's retries follow when `retry_after` says nothing.
    pub fn policy(&self, otherwise: Policy) -> Policy {
        match self.class {
            Class::FixConfig if self.code == AUDIT_OFF => retry::AUDIT_OFF,
            Class::FixConfig => retry::BLOCKED,
            Class::Backoff => retry::THROTTLED,
            _ => otherwise,
        }
    }
}

/// Our code for "Tenant … does not exist" with a stack trace: auditing is off (or wrong cloud).
pub const AUDIT_OFF: &str = "AuditOff";
/// Our code for a missing or cut query.
pub(super) const NO_WINDOW: &str = "NoWindow";

#[derive(Deserialize)]
struct File {
    codes: Vec<Row>,
    statuses: Vec<Row>,
}

/// One row of the table.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Row {
    code: String,
    class: Class,
    what: String,
    hint: String,
}

type Rows = BTreeMap<String, Row>;

/// Codes, statuses.
static TABLE: LazyLock<(Rows, Rows)> = LazyLock::new(|| {
    // part of the program, read by a test of this module: can't fail in a build that passed
    let file: File = serde_json::from_str(include_str!("errors.json")).expect("errors.json is part of the program");
    let rows = |rows: Vec<Row>| rows.into_iter().map(|row| (row.code.clone(), row)).collect();
    (rows(file.codes), rows(file.statuses))
});

/// True when the table knows this code.
pub(super) fn known(code: &str) -> bool {
    TABLE.0.contains_key(code)
}

/// What fills the placeholders of the words.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub tenant: String,
    pub client: String,
    pub api: String,
    pub authority: String,
    pub audience: String,
}

/// Where an error happened.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub operation: Operation,
    pub names: &'a Names,
    /// Content type, or empty.
    pub content: &'a str,
}

impl Place<'_> {
    fn host(&self) -> &str {
        match self.operation {
            Operation::Token | Operation::Discover => &self.names.authority,
            _ => &self.names.api,
        }
    }

    fn fill(&self, text: &str) -> String {
        let content = if self.content.is_empty() { "this request" } else { self.content };
        text.replace("{tenant}", &self.names.tenant)
            .replace("{client}", &self.names.client)
            .replace("{content}", content)
            .replace("{api}", &self.names.api)
            .replace("{authority}", &self.names.authority)
            .replace("{audience}", &self.names.audience)
    }

    /// An answer with a status or an envelope that is an error.
    pub(super) fn refused(&self, status: u16, told: &Told, retry_after: Option<Duration>) -> SourceError {
        let (row, code) = self.row(status, told);
        let what = self.fill(&row.what);
        let hint = self.fill(&row.hint);
        let said = if told.said.is_empty() { String::new() } else { format!("; it said: {}", told.said) };
        let code_words =
            if code.starts_with(|c: char| c.is_ascii_digit()) { String::new() } else { format!("{code}, ") };
        SourceError {
            class: row.class,
            words: format!(
                "{} failed: {what}; {hint} ({code_words}http {status} from {}{said})",
                self.operation.words(),
                self.host()
            ),
            code,
            status: Some(status),
            retry_after,
        }
    }

    /// The row, and the code to report: the service's if it gave one, even one that the table does not know.
    fn row(&self, status: u16, told: &Told) -> (&'static Row, String) {
        let (codes, statuses) = &*TABLE;
        if let Some((code, row)) = told.codes.iter().find_map(|code| codes.get(code).map(|row| (code.clone(), row))) {
            return (row, code);
        }
        let own = match (self.operation, status) {
            // Entra refuses a bad client with 401 or 403; the API's words about tokens and proxies would mislead
            (Operation::Token | Operation::Discover, 401 | 403) => "4xx",
            // a proxy in the way answers 404 as well: only a code, or 410, is proof that a content is lost
            (Operation::FetchContent, 404) => "404",
            (Operation::FetchContent, 410) => "410",
            // a code that nobody knows is no throttling in disguise
            (_, 403) if !told.codes.is_empty() => "4xx",
            (_, 401) => "401",
            (_, 403) => "403",
            (_, 407) => "407",
            (_, 408) => "408",
            (_, 429) => "429",
            (_, 300..=399) => "3xx",
            (_, 400..=499) => "4xx",
            // also an error object with status 2xx and an unknown code: transient until told otherwise
            _ => "5xx",
        };
        // a test of this module reads every one of them
        let row = &statuses[own];
        let code = told.codes.first().cloned().unwrap_or_else(|| status.to_string());
        (row, code)
    }

    /// No answer, or a broken one.
    pub(super) fn unanswered(&self, error: &HttpError) -> SourceError {
        let (class, code, hint) = match error {
            HttpError::Dead => (Class::Dead, "Dead", ""),
            HttpError::Connect { code, .. } => (Class::Retry, *code, unreached(code)),
            HttpError::Timeout(_) => (Class::Retry, "Timeout", "; auditferry tries again"),
            HttpError::Body(_) => (Class::Retry, "Body", "; auditferry tries again"),
        };
        SourceError {
            class,
            code: code.to_owned(),
            status: None,
            retry_after: None,
            words: format!("{} failed at {}: {error}{hint}", self.operation.words(), self.host()),
        }
    }

    /// Something of ours: `words` says what and what to do.
    pub(super) fn own(&self, class: Class, code: &str, words: impl fmt::Display) -> SourceError {
        SourceError {
            class,
            code: code.to_owned(),
            status: None,
            retry_after: None,
            words: format!("{} failed at {}: {words}", self.operation.words(), self.host()),
        }
    }
}

/// What to do where no connection came about.
fn unreached(code: &str) -> &'static str {
    match code {
        "Dns" => "; check this machine's name resolution; where only a proxy leads out, set `proxy` of this source",
        "ConnectionRefused" | "NoRoute" => {
            "; check the network and its firewalls; where only a proxy leads out, set `proxy` of this source"
        }
        "ProxyRefused" => {
            "; check `proxy` of this source (or HTTPS_PROXY), and that the proxy lets this machine through to that host"
        }
        "ProxyLogin" => {
            "; auditferry can't log in at a proxy: have this machine let through without a login, or run a forwarder on it that logs in, and name that in `proxy`"
        }
        "TlsIssuer" => "; put the certificate of that authority into a file and name it in `ca` of this source",
        "TlsName" => "; check `api` and `authority` of this source, and what stands in between",
        "TlsTime" => "; check this machine's clock; if it is right, tell whoever runs that server",
        "Address" => "; check the address",
        _ => "; check the network, name resolution, `proxy` and `ca` of this source",
    }
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
