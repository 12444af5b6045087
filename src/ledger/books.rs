//! The conservation counts, and what else a snapshot needs.

use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use super::{Ledger, LedgerError, Millis, Request, Trouble, contents, deliveries, requests, troubles};
use crate::budget::SinkState;

/// The books of one stream: each record once, at its first store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamBooks {
    /// Key.
    pub id: i64,
    /// Tenant GUID; `None`: the agent's own events.
    pub tenant: Option<String>,
    /// `listed`, `requeue` or `agent`.
    pub origin: String,
    /// As `Audit.General`.
    pub content_type: String,
    /// The agent lists it; false for streams of our own, and for those that are gone from the configuration.
    pub configured: bool,
    /// Up to where everything listed is in the ledger.
    pub cursor: Millis,
    /// End of the last complete listing.
    pub listed: Option<Millis>,
    /// When the newest content that was ever listed was published.
    pub newest: Option<Millis>,
    /// When it was new in the configuration, or came back to it; `None`: a stream of our own.
    pub registered: Option<Millis>,
    /// Records in the bodies.
    pub read: i64,
    /// Not selected.
    pub unselected: i64,
    /// Not JSON, too deep or too large.
    pub unreadable: i64,
    /// Owned by another content, or earlier in the same body.
    pub copies: i64,
    /// The rest.
    pub accepted: i64,
    /// Bodies that differed when fetched again.
    pub differing: i64,
    /// What each sink was owed.
    pub accounts: Vec<Account>,
}

/// What one sink was owed of one stream, and what became of it (records).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The sink's name.
    pub sink: String,
    /// Owed in all.
    pub owed: i64,
    /// Taken by the sink.
    pub delivered: i64,
    /// Not wanted by its filter.
    pub filtered: i64,
    /// Copies that it got with another content.
    pub skipped: i64,
    /// Refused by it and kept.
    pub quarantined: i64,
    /// In a gap.
    pub lost: i64,
    /// Counted from the delivery rows, so that the identity can fail.
    pub pending: i64,
    /// Left `owed` and `quarantined` here by a retry: they are owed on the stream in which they were requeued.
    pub requeued: i64,
    /// The sink was retired; one of the same name is another one.
    pub retired: bool,
}

/// An identity of the books that does not close.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the books of {stream} are open: {identity}")]
pub struct Imbalance {
    /// `tenant/content type`, and the sink.
    pub stream: String,
    /// The identity with its numbers.
    pub identity: String,
}

/// One sink as the budget and a person see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkView {
    /// Key.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// False: gone from the configuration.
    pub configured: bool,
    /// Ended by an operator; one of the same name is another one.
    pub retired: bool,
    /// What its quarantine holds on disk (bytes).
    pub quarantine_bytes: u64,
    /// Compressed bytes stored and owed to it.
    pub ahead: u64,
    /// Publication time of the oldest content owed to it.
    pub oldest: Option<Millis>,
    /// Its first content without a stored body.
    pub first_missing: Option<i64>,
    /// Contents owed to it.
    pub contents: u64,
}

/// What `budget::plan` decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetView {
    /// Per sink.
    pub sinks: Vec<SinkView>,
    /// Compressed bytes stored in all.
    pub total: u64,
}

impl BudgetView {
    /// As `budget::plan` takes it.
    pub fn states(&self) -> Vec<SinkState> {
        let sinks = self.sinks.iter();
        sinks.map(|sink| SinkState { sink: sink.id, ahead: sink.ahead, first_missing: sink.first_missing }).collect()
    }
}

/// A snapshot of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Books {
    /// Per stream.
    pub streams: Vec<StreamBooks>,
    /// Per sink.
    pub sinks: Vec<SinkView>,
    /// Compressed bytes stored.
    pub stored_bytes: u64,
    /// Contents owed without a stored body.
    pub unfetched: u64,
    /// The first expiry among these.
    pub next_expiry: Option<Millis>,
    /// Ids remembered.
    pub seen: u64,
    /// Contents remembered.
    pub contents: u64,
    /// Open gaps.
    pub open_gaps: u64,
    /// Gaps in all.
    pub gaps: u64,
    /// By reason: open gaps, and all.
    pub gaps_by_reason: Vec<(String, u64, u64)>,
    /// Contents lost before they were read: stream, sink, reason, number.
    pub lost_contents: Vec<(String, String, String, u64)>,
    /// Size of the ledger's file, bytes.
    pub file_bytes: u64,
    /// Size of its write-ahead log, bytes.
    pub wal_bytes: u64,
    /// What is free on its file system for the agent, bytes; `None`: it can't be told.
    pub free_bytes: Option<u64>,
    /// What fails now.
    pub troubles: Vec<Trouble>,
    /// What commands asked for: what is not over first, then the latest.
    pub requests: Vec<Request>,
    /// Requests that are not over.
    pub open_requests: u64,
    /// Requests in all.
    pub all_requests: u64,
    /// Content ids with their last fetch error, a few of the oldest.
    pub failing: Vec<(String, String)>,
}

impl Books {
    /// How many records of this sink are in quarantine.
    pub fn quarantined(&self, sink: &str) -> i64 {
        let accounts = self.streams.iter().flat_map(|stream| &stream.accounts);
        accounts.filter(|account| account.sink == sink && !account.retired).map(|account| account.quarantined).sum()
    }
}

impl StreamBooks {
    /// `tenant/content type`, as a person and a metric name it.
    pub fn name(&self) -> String {
        match (&self.tenant, self.origin.as_str()) {
            (Some(tenant), "listed") => format!("{tenant}/{}", self.content_type),
            (Some(tenant), origin) => format!("{tenant}/{origin}"),
            (None, origin) => origin.to_owned(),
        }
    }
}

impl Books {
    /// Every identity that does not close.
    pub fn imbalances(&self) -> Vec<Imbalance> {
        let mut open = Vec::new();
        for stream in &self.streams {
            let StreamBooks { read, unselected, unreadable, copies, accepted, .. } = stream;
            if *read != unselected + unreadable + copies + accepted {
                let identity = format!(
                    "read {read} is not unselected {unselected} + unreadable {unreadable} + copies {copies} + accepted {accepted}"
                );
                open.push(Imbalance { stream: stream.name(), identity });
            }
            for account in &stream.accounts {
                let Account { sink, owed, delivered, filtered, skipped, quarantined, lost, pending, .. } = account;
                if *owed != delivered + filtered + skipped + quarantined + lost + pending {
                    let identity = format!(
                        "owed {owed} is not delivered {delivered} + filtered {filtered} + skipped copies {skipped} + quarantined {quarantined} + lost {lost} + pending {pending}"
                    );
                    open.push(Imbalance { stream: format!("{} for sink {sink}", stream.name()), identity });
                }
            }
        }
        open
    }
}

impl Ledger {
    /// A snapshot: one read transaction.
    pub async fn books(&self) -> Result<Books, LedgerError> {
        let wal = self.file.as_ref().map(|file| file.with_extension("sqlite-wal"));
        let folder = self.file.as_ref().and_then(|file| file.parent()).map(Path::to_owned);
        self.read(move |connection| {
            let begun = connection.is_autocommit();
            if begun {
                connection.execute_batch("BEGIN DEFERRED")?;
            }
            let mut books = books(connection);
            if let (Ok(books), Some(size)) = (&mut books, wal.and_then(|wal| std::fs::metadata(wal).ok())) {
                books.wal_bytes = size.len();
            }
            if let (Ok(books), Some(Ok(free))) = (&mut books, folder.map(|folder| rustix::fs::statvfs(&folder))) {
                books.free_bytes = Some(free.f_bavail.saturating_mul(free.f_frsize));
            }
            if begun {
                connection.execute_batch("COMMIT")?;
            }
            books
        })
        .await
    }

    /// What the budget is decided on.
    /// `streams`: those of which something can be fetched now; a first missing content of another one, or one that waits
    /// after a failure, is passed over.
    pub async fn budget_view(&self, streams: Vec<i64>, now: Millis) -> Result<BudgetView, LedgerError> {
        self.read(move |connection| {
            let sinks = sinks(connection, &streams, now, false)?;
            let total = connection
                .query_row("SELECT value FROM meta WHERE key = 'stored_bytes'", [], |row| row.get::<_, i64>(0))?;
            Ok(BudgetView { sinks, total: total.max(0) as u64 })
        })
        .await
    }
}

fn sinks(connection: &Connection, streams: &[i64], now: Millis, whole: bool) -> Result<Vec<SinkView>, LedgerError> {
    let mut sinks: Vec<SinkView> = connection
        .prepare_cached(
            &format!(
            "SELECT id, name, configured, ahead, (SELECT content FROM delivery d JOIN content c ON c.id = d.content
               WHERE d.sink = sink.id AND d.ready = 0 AND d.lost = 0 AND c.state = 0 AND {} AND d.stream IN (SELECT value FROM json_each(?1)) ORDER BY d.created, d.content LIMIT 1),
               quarantine_bytes, retired_at IS NOT NULL FROM sink WHERE ?3 OR retired_at IS NULL ORDER BY id",
            contents::due()
        ),
        )?
        .query_map(rusqlite::params![format!("{streams:?}"), now, whole], |row| {
            Ok(SinkView {
                id: row.get(0)?,
                name: row.get(1)?,
                configured: row.get(2)?,
                ahead: row.get::<_, i64>(3)?.max(0) as u64,
                oldest: None,
                first_missing: row.get(4)?,
                contents: 0,
                quarantine_bytes: row.get::<_, i64>(5)?.max(0) as u64,
                retired: row.get(6)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    if whole {
        for sink in &mut sinks {
            sink.oldest = deliveries::oldest_owed(connection, sink.id)?;
            sink.contents = connection
                .prepare_cached("SELECT count(*) FROM delivery WHERE sink = ? AND lost = 0")?
                .query_row([sink.id], |row| row.get::<_, i64>(0))? as u64;
        }
    }
    Ok(sinks)
}

fn accounts(connection: &Connection, stream: i64) -> Result<Vec<Account>, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT k.name, a.owed, a.delivered, a.filtered, a.skipped, a.quarantined, a.lost,
           (SELECT ifnull(sum(c.records - d.progress), 0) FROM delivery d JOIN content c ON c.id = d.content
            WHERE d.sink = a.sink AND d.stream = a.stream AND d.lost = 0 AND c.records IS NOT NULL),
           a.requeued, k.retired_at IS NOT NULL
         FROM account a JOIN sink k ON k.id = a.sink WHERE a.stream = ? ORDER BY k.id",
    )?;
    let rows = statement.query_map([stream], |row| {
        Ok(Account {
            sink: row.get(0)?,
            owed: row.get(1)?,
            delivered: row.get(2)?,
            filtered: row.get(3)?,
            skipped: row.get(4)?,
            quarantined: row.get(5)?,
            lost: row.get(6)?,
            pending: row.get(7)?,
            requeued: row.get(8)?,
            retired: row.get(9)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn books(connection: &Connection) -> Result<Books, LedgerError> {
    let mut streams: Vec<StreamBooks> = connection
        .prepare_cached(
            "SELECT s.id, t.guid, s.origin, s.content_type, s.cursor, s.listed, s.read, s.unselected, s.unreadable, s.copies, s.accepted, s.differing, s.configured, s.newest, s.registered
             FROM stream s LEFT JOIN tenant t ON t.id = s.tenant ORDER BY s.id",
        )?
        .query_map([], |row| {
            Ok(StreamBooks {
                id: row.get(0)?,
                tenant: row.get(1)?,
                origin: row.get(2)?,
                content_type: row.get(3)?,
                cursor: row.get(4)?,
                listed: row.get(5)?,
                read: row.get(6)?,
                unselected: row.get(7)?,
                unreadable: row.get(8)?,
                copies: row.get(9)?,
                accepted: row.get(10)?,
                differing: row.get(11)?,
                configured: row.get(12)?,
                newest: row.get(13)?,
                registered: row.get(14)?,
                accounts: Vec::new(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    for stream in &mut streams {
        stream.accounts = accounts(connection, stream.id)?;
    }
    let count =
        |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0)).map(|n| n.max(0) as u64);
    let name = |id: i64| streams.iter().find(|stream| stream.id == id).map(StreamBooks::name).unwrap_or_default();
    let lost_contents = connection
        .prepare_cached(
            "SELECT l.stream, k.name, l.reason, l.contents FROM lost_content l JOIN sink k ON k.id = l.sink",
        )?
        .query_map([], |row| Ok((name(row.get(0)?), row.get(1)?, row.get(2)?, row.get::<_, i64>(3)? as u64)))?
        .collect::<rusqlite::Result<_>>()?;
    let gaps_by_reason = connection
        .prepare_cached("SELECT reason, sum(closed_at IS NULL), count(*) FROM gap GROUP BY reason ORDER BY reason")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64)))?
        .collect::<rusqlite::Result<_>>()?;
    let failing = connection
        .prepare_cached(
            "SELECT content_id, error FROM content WHERE state = 0 AND error IS NOT NULL ORDER BY expires LIMIT 5",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Books {
        lost_contents,
        failing,
        troubles: troubles::troubles(connection)?,
        requests: requests::latest(connection, 20)?,
        open_requests: count("SELECT count(*) FROM request WHERE ended_at IS NULL")?,
        all_requests: count("SELECT count(*) FROM request")?,
        sinks: sinks(connection, &[], 0, true)?,
        stored_bytes: count("SELECT value FROM meta WHERE key = 'stored_bytes'")?,
        unfetched: count("SELECT count(*) FROM content WHERE state = 0")?,
        next_expiry: connection
            .prepare_cached("SELECT min(expires) FROM content WHERE state = 0")?
            .query_row([], |row| row.get(0))?,
        seen: count("SELECT value FROM meta WHERE key = 'seen'")?,
        contents: count("SELECT count(*) FROM content")?,
        open_gaps: count("SELECT count(*) FROM gap WHERE closed_at IS NULL")?,
        gaps: count("SELECT count(*) FROM gap")?,
        file_bytes: count("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?,
        gaps_by_reason,
        wal_bytes: 0,
        free_bytes: None,
        streams,
    })
}
