//! What an answer of the collector means. The table is data; first the status counts, then the code in the body, and a body
//! that is no JSON is no surprise: Splunk's own pages for 413 and 415 are HTML, and proxies answer as they like.
//!
//! Codes 0–22: Splunk's "Troubleshoot HTTP Event Collector", 23–27: its table since 9.x.

use std::time::Duration;

use auditferry_contract::{Cause, Refusal, SinkError};
use serde::Deserialize;

/// An answer as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The pause that it asks for.
    pub after: Option<Duration>,
    /// At most [`LONGEST_ANSWER`](crate::wire::LONGEST_ANSWER) bytes of the body; `None`: it is longer or was cut off.
    pub body: Option<Vec<u8>>,
}

/// The members of Splunk's answers that mean something here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct Said {
    /// Number of the answer in Splunk's table.
    pub code: Option<i64>,
    /// The question to ask later: when is it indexed?
    #[serde(rename = "ackId", alias = "ackID")]
    pub ack: Option<u64>,
}

/// What follows from an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Every message was taken.
    Taken,
    /// Nothing is known to be taken, and the messages are not at fault.
    Retry,
    /// One message is at fault, and nobody can be believed who says which.
    Culprit,
    /// The request is too large.
    TooLarge,
    /// A person must act.
    Blocked,
}

/// One answer: status, code (`None`: any, or none), what follows, Splunk's words, what to do.
pub struct Row(pub u16, pub Option<i64>, pub Class, pub &'static str, pub &'static str);

const TOKEN: &str = "look at option `token` and at Splunk's list of tokens";
const PATH: &str = "`endpoint` leads to no event collector: check host, port and path";
const PROXY: &str = "is it Splunk that answers there, or something before it?";

/// Every answer that is known. Whatever stands here without a code also catches the codes that don't.
pub const ROWS: &[Row] = &[
    Row(200, Some(0), Class::Taken, "Success", ""),
    // taken, though something is filling up: whoever insists on code 0 sends everything again
    Row(200, Some(24), Class::Taken, "queue is approaching capacity", ""),
    Row(200, Some(25), Class::Taken, "ack channel is approaching capacity", ""),
    Row(400, Some(5), Class::Retry, "No data", "the body was lost on the way: look at proxies between here and Splunk"),
    Row(400, Some(6), Class::Culprit, "Invalid data format", ""),
    Row(
        400,
        Some(7),
        Class::Blocked,
        "Incorrect index",
        "create the index, or allow it to the token, or correct `index`",
    ),
    Row(
        400,
        Some(10),
        Class::Blocked,
        "Data channel is missing",
        "something between here and Splunk drops the header X-Splunk-Request-Channel",
    ),
    Row(
        400,
        Some(11),
        Class::Blocked,
        "Invalid data channel",
        "something between here and Splunk changes the header X-Splunk-Request-Channel",
    ),
    Row(400, Some(12), Class::Culprit, "Event field is required", ""),
    Row(400, Some(13), Class::Culprit, "Event field cannot be blank", ""),
    Row(
        400,
        Some(14),
        Class::Blocked,
        "ACK is disabled",
        "switch indexer acknowledgement on for the token, or set `ack` to \"auto\"",
    ),
    Row(400, Some(15), Class::Culprit, "Error in handling indexed fields", ""),
    Row(400, Some(16), Class::Blocked, "Query string authorization is not enabled", TOKEN),
    Row(400, Some(21), Class::Blocked, "Invalid token", TOKEN),
    Row(400, Some(22), Class::Blocked, "Token disabled", TOKEN),
    Row(400, Some(404), Class::Blocked, "not found", PATH),
    // a code that the table does not know may stand for the configuration as well as for an event: never the event's fault
    Row(400, None, Class::Retry, "Bad request", PROXY),
    Row(
        401,
        Some(2),
        Class::Blocked,
        "Token is required",
        "something between here and Splunk drops the header Authorization",
    ),
    Row(401, Some(3), Class::Blocked, "Invalid authorization", TOKEN),
    Row(401, None, Class::Blocked, "Unauthorized", TOKEN),
    Row(403, Some(1), Class::Blocked, "Token disabled", TOKEN),
    Row(403, Some(4), Class::Blocked, "Invalid token", TOKEN),
    Row(403, None, Class::Blocked, "Forbidden", TOKEN),
    Row(404, None, Class::Blocked, "Not found", PATH),
    Row(405, None, Class::Blocked, "Method not allowed", PATH),
    Row(
        407,
        None,
        Class::Blocked,
        "Proxy authentication required",
        "the proxy wants a login, which this sink can't give",
    ),
    Row(408, None, Class::Retry, "Request timeout", ""),
    Row(413, None, Class::TooLarge, "Content too large", "raise max_content_length in Splunk or lower `batch`"),
    Row(415, None, Class::Blocked, "Unsupported media type", "it takes no gzip: set `gzip = false`"),
    Row(425, None, Class::Retry, "Too early", ""),
    Row(429, Some(26), Class::Retry, "queue is at capacity", ""),
    Row(429, Some(27), Class::Retry, "ack channel is at capacity", ""),
    Row(429, None, Class::Retry, "Too many requests", ""),
    Row(500, Some(8), Class::Retry, "Internal server error", ""),
    Row(503, Some(9), Class::Retry, "Server is busy", ""),
    Row(503, Some(18), Class::Retry, "HEC is unhealthy, queues are full", ""),
    Row(503, Some(19), Class::Retry, "HEC is unhealthy, ack service unavailable", ""),
    Row(503, Some(20), Class::Retry, "HEC is unhealthy, queues are full, ack service unavailable", ""),
    Row(503, Some(23), Class::Retry, "Server is shutting down", ""),
];

/// The row of an answer; where the table has none, the status alone tells.
fn row(status: u16, code: Option<i64>) -> (Class, &'static str, &'static str) {
    let exact = ROWS.iter().find(|row| row.0 == status && row.1.is_some() && row.1 == code);
    if let Some(row) = exact.or_else(|| ROWS.iter().find(|row| row.0 == status && row.1.is_none())) {
        return (row.2, row.3, row.4);
    }
    match status {
        // taken or not, who knows: sent again, a duplicate rather than a loss
        200..300 => (Class::Retry, "an answer that can't be read", PROXY),
        // the token must not follow to wherever that leads
        300..400 => (Class::Blocked, "a redirection, which is not followed", "write the final address into `endpoint`"),
        400..500 => (Class::Blocked, "an answer that Splunk's table does not have", PROXY),
        _ => (Class::Retry, "a server error", ""),
    }
}

/// Under which code the runbook has it.
fn entry(class: Class, status: u16, code: Option<i64>) -> &'static str {
    match (class, status, code) {
        (Class::Culprit, ..) => "HecEvent",
        (Class::TooLarge, ..) => "HecTooLarge",
        (Class::Blocked, 400, Some(7)) => "HecIndex",
        (Class::Blocked, 400, Some(10 | 11)) | (Class::Blocked, 401, Some(2)) => "HecHeader",
        (Class::Blocked, 400, Some(14)) => "HecAck",
        (Class::Blocked, 400, Some(404)) | (Class::Blocked, 300..400 | 404 | 405, _) => "HecEndpoint",
        (Class::Blocked, 400, Some(16 | 21 | 22)) | (Class::Blocked, 401 | 403, _) => "HecToken",
        (Class::Blocked, 407, _) => "ProxyLogin",
        (Class::Blocked, 415, _) => "HecGzip",
        (Class::Retry, 408 | 425 | 429 | 500.., _) => "HecBusy",
        (Class::Taken | Class::Retry | Class::Blocked, ..) => "HecAnswer",
    }
}

impl Answer {
    /// What the body says, when it is Splunk's JSON.
    pub fn said(&self) -> Option<Said> {
        serde_json::from_slice(self.body.as_deref()?).ok()
    }

    /// What it means, by the table.
    pub fn class(&self) -> Class {
        row(self.status, self.said().and_then(|said| said.code)).0
    }

    /// Status, code and Splunk's words for them, and what to do. Nothing of the body: it may hold anything.
    pub fn words(&self, place: &str) -> Cause {
        let code = self.said().and_then(|said| said.code);
        let (class, text, hint) = row(self.status, code);
        let entry = entry(class, self.status, code);
        let code = code.map_or_else(|| "no code".to_string(), |code| format!("code {code}"));
        let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
        Cause::coded(entry, format_args!("{place} answered {} with {code} ({text}){hint}", self.status))
    }

    /// The error for an answer that took nothing, or not everything, of `count` messages.
    pub fn error(&self, count: usize, place: &str) -> SinkError {
        let cause = self.words(place);
        match self.class() {
            Class::Taken | Class::Retry => SinkError::Retry { untaken: Vec::new(), after: self.after, cause },
            Class::Blocked => SinkError::Blocked { cause },
            Class::TooLarge | Class::Culprit => refused(count, cause),
        }
    }
}

/// One message alone is at fault; of several it is not known which, and the agent halves.
///
/// `invalid-event-number` would name it, but nothing vouches for it (docs/decisions/0010): Splunk takes the events before it, without
/// an acknowledgement, and counts from 0 or from 1; the OpenTelemetry Collector gives the same number and takes none. Believed when it
/// is wrong, it would confirm an event that nobody has, or blame an innocent one. Not believed, it costs repeats.
fn refused(count: usize, cause: Cause) -> SinkError {
    let refused = if count == 1 { vec![Refusal { position: 0, cause: cause.clone() }] } else { Vec::new() };
    SinkError::Refused { refused, untaken: Vec::new(), cause }
}

#[cfg(test)]
mod tests;
