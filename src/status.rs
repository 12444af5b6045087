//! One snapshot of the agent; `status`, `/metrics`, `/readyz` and the page render it.

pub mod attention;
pub mod standing;
pub mod words;

use std::collections::BTreeMap;

use auditferry_contract::Confirmation;
use serde::Serialize;

use crate::{
    activity::{Activity, Pulse, SinkActivity, StreamActivity},
    ledger::{Account, Books, Commits, Gap, Ledger, LedgerError, Millis, Request, Trouble},
    source::office365::Counts,
};

/// After a start, streams that are not listed yet are no news for so long (milliseconds).
const SETTLES: Millis = 5 * 60_000;

/// A stream that is asked for so often is up to date while its last listing is no older than this (milliseconds): three polls, and time for a listing.
pub fn lately(poll: std::time::Duration) -> Millis {
    3 * poll.as_millis() as Millis + SETTLES
}

/// Everything that is rendered anywhere.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was taken.
    pub now: Millis,
    /// From the ledger.
    pub books: Books,
    /// The latest gaps, newest first.
    pub gaps: Vec<Gap>,
    /// What only the running agent knows; empty in another process.
    pub live: Live,
}

/// What only the running agent knows.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// When the agent started.
    pub started: Option<Millis>,
    /// By sink name.
    pub sinks: BTreeMap<String, SinkActivity>,
    /// By `tenant/content type`.
    pub streams: BTreeMap<String, StreamActivity>,
    /// By loop.
    pub pulses: BTreeMap<String, Pulse>,
    /// Why the ledger can't be written, if so.
    pub ledger_error: Option<String>,
    /// Failed fetches by code.
    pub fetch_failures: BTreeMap<String, u64>,
    /// API requests by source.
    pub requests: BTreeMap<String, Counts>,
    /// What the ledger committed since the start.
    pub commits: Commits,
    /// Streams that were not listed lately, as readiness sees it, with what is known of why; whoever knows the polls fills it in.
    pub stale: BTreeMap<String, String>,
    /// Loops that hang.
    pub hung: Vec<String>,
    /// By sink name, what its configuration says.
    pub configured: BTreeMap<String, Configured>,
    /// What the configuration bounds; `None`: not known here.
    pub bounds: Option<Bounds>,
}

/// What a sink was configured as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// As `kind` says.
    pub kind: &'static str,
    /// As `codec` says.
    pub codec: &'static str,
    /// What its `Ok` is worth, as far as the options tell.
    pub promise: Option<Confirmation>,
}

/// What the sizes of the ledger's parts are held against (bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of all stored bodies.
    pub bodies: u64,
    /// Of each sink's quarantine.
    pub quarantine: u64,
}

impl Snapshot {
    /// Takes it: a few short reads.
    pub async fn take(
        ledger: &Ledger,
        activity: Option<&Activity>,
        requests: BTreeMap<String, Counts>,
        now: Millis,
    ) -> Result<Snapshot, LedgerError> {
        let books = ledger.books().await?;
        let gaps = ledger.gaps(20).await?;
        let live = activity.map_or_else(Live::default, |activity| Live {
            started: activity.start(),
            sinks: activity.sinks(),
            streams: activity.streams(),
            pulses: activity.pulses(),
            ledger_error: activity.ledger_state(),
            fetch_failures: activity.fetch_failures(),
            requests,
            commits: ledger.commits(),
            stale: BTreeMap::new(),
            hung: activity.hung(now),
            configured: activity.configurations(),
            bounds: activity.bounds(),
        });
        Ok(Snapshot { now, books, gaps, live })
    }

    /// Seconds until the first owed content without a stored body expires; infinite when there is none.
    pub fn seconds_to_loss(&self) -> f64 {
        match self.books.next_expiry {
            Some(expires) => (expires - self.now) as f64 / 1000.0,
            None => f64::INFINITY,
        }
    }

    /// Why a stream or a sink fails now, if it does.
    pub fn trouble(&self, kind: &str, name: &str) -> Option<&Trouble> {
        self.books.troubles.iter().find(|trouble| trouble.kind == kind && trouble.name == name)
    }

    /// The snapshot as JSON of a documented shape; the only rendering that programs should read besides `/metrics`.
    pub fn json(&self) -> impl Serialize + use<> {
        let open = self.books.imbalances().iter().map(ToString::to_string).collect();
        JsonSnapshot {
            time: self.now,
            closed: self.books.imbalances().is_empty(),
            open,
            seconds_to_loss: self.books.next_expiry.map(|_| self.seconds_to_loss()),
            streams: self
                .books
                .streams
                .iter()
                .map(|stream| JsonStream {
                    name: stream.name(),
                    configured: stream.configured,
                    cursor: stream.cursor,
                    listed: stream.listed,
                    newest: stream.newest,
                    read: stream.read,
                    unselected: stream.unselected,
                    unreadable: stream.unreadable,
                    copies: stream.copies,
                    accepted: stream.accepted,
                    differing: stream.differing,
                    error: self.trouble("stream", &stream.name()).map(|trouble| trouble.words.clone()),
                    sinks: stream.accounts.clone(),
                })
                .collect(),
            sinks: self
                .books
                .sinks
                .iter()
                .map(|sink| JsonSink {
                    name: sink.name.clone(),
                    configured: sink.configured,
                    contents_owed: sink.contents,
                    oldest_owed: sink.oldest,
                    stored_bytes: sink.ahead,
                    retired: sink.retired,
                    quarantine_records: if sink.retired { 0 } else { self.books.quarantined(&sink.name) },
                    quarantine_bytes: sink.quarantine_bytes,
                    error: self
                        .trouble("sink", &sink.name)
                        .filter(|_| !sink.retired)
                        .map(|trouble| trouble.words.clone()),
                })
                .collect(),
            gaps: self.gaps.clone(),
            requests: self.books.requests.clone(),
            ledger: JsonLedger {
                file_bytes: self.books.file_bytes,
                wal_bytes: self.books.wal_bytes,
                body_bytes: self.books.stored_bytes,
                contents: self.books.contents,
                unfetched: self.books.unfetched,
                ids: self.books.seen,
                error: self.live.ledger_error.clone(),
            },
        }
    }
}

#[derive(Serialize)]
struct JsonSnapshot {
    time: Millis,
    closed: bool,
    open: Vec<String>,
    seconds_to_loss: Option<f64>,
    streams: Vec<JsonStream>,
    sinks: Vec<JsonSink>,
    gaps: Vec<Gap>,
    requests: Vec<Request>,
    ledger: JsonLedger,
}

#[derive(Serialize)]
struct JsonStream {
    name: String,
    configured: bool,
    cursor: Millis,
    listed: Option<Millis>,
    newest: Option<Millis>,
    read: i64,
    unselected: i64,
    unreadable: i64,
    copies: i64,
    accepted: i64,
    differing: i64,
    error: Option<String>,
    sinks: Vec<Account>,
}

#[derive(Serialize)]
struct JsonSink {
    name: String,
    configured: bool,
    contents_owed: u64,
    oldest_owed: Option<Millis>,
    stored_bytes: u64,
    retired: bool,
    quarantine_records: i64,
    quarantine_bytes: u64,
    error: Option<String>,
}

#[derive(Serialize)]
struct JsonLedger {
    file_bytes: u64,
    wal_bytes: u64,
    body_bytes: u64,
    contents: u64,
    unfetched: u64,
    ids: u64,
    error: Option<String>,
}
