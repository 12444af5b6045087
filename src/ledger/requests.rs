//! What commands ask of the running agent: one row each, kept for the auditor (design §4).

use std::fmt;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError, Millis, Selection, quarantine, remove, retire};

/// What a person wants done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Offer records to their sink again, encoded anew.
    QuarantineRetry(Selection),
    /// Give records up; they become a gap.
    QuarantineDrop(Selection),
    /// End a sink that is gone from the configuration; what it is owed becomes gaps.
    RetireSink {
        /// Its name.
        name: String,
    },
    /// Remove what is held of a tenant that is gone from the configuration; what it is owed becomes gaps.
    RemoveTenant {
        /// Its GUID, lower case.
        tenant: String,
        /// Also while something is owed of it.
        lose_owed: bool,
    },
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, selection) = match self {
            Wanted::RetireSink { name } => return write!(f, "retire-sink {name}"),
            Wanted::RemoveTenant { tenant, lose_owed } => {
                return write!(f, "remove-tenant {tenant}{}", if *lose_owed { " --lose-owed" } else { "" });
            }
            Wanted::QuarantineRetry(selection) => ("retry", selection),
            Wanted::QuarantineDrop(selection) => ("drop", selection),
        };
        write!(f, "quarantine {what}")?;
        if let Some(sink) = &selection.sink {
            write!(f, " --sink {sink}")?;
        }
        match selection.ids.as_slice() {
            [] => write!(f, " --all (records numbered up to {})", selection.up_to),
            ids if ids.len() > 10 => write!(f, " ({} records)", ids.len()),
            ids => ids.iter().try_for_each(|id| write!(f, " {id}")),
        }
    }
}

/// One request as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// Its number.
    pub id: i64,
    /// Who asked: user and machine.
    pub who: String,
    /// What was asked, in words.
    pub what: String,
    /// When it was asked.
    pub asked_at: Millis,
    /// When an agent took it up.
    pub taken_at: Option<Millis>,
    /// When it was over.
    pub ended_at: Option<Millis>,
    /// What came of it.
    pub outcome: Option<String>,
    /// It was not done, for the reason that `outcome` gives.
    pub refused: bool,
    /// Records worked off so far.
    pub done: u64,
    /// Contents of unknown size worked off so far.
    pub contents: u64,
}

const ROW: &str = "SELECT id, who, what, asked_at, taken_at, ended_at, outcome, refused, done, contents FROM request";

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Request> {
    let what: String = row.get(2)?;
    Ok(Request {
        id: row.get(0)?,
        who: row.get(1)?,
        what: serde_json::from_str::<Wanted>(&what).map_or(what, |wanted| wanted.to_string()),
        asked_at: row.get(3)?,
        taken_at: row.get(4)?,
        ended_at: row.get(5)?,
        outcome: row.get(6)?,
        refused: row.get(7)?,
        done: row.get::<_, i64>(8)?.max(0) as u64,
        contents: row.get::<_, i64>(9)?.max(0) as u64,
    })
}

impl Ledger {
    /// Writes down what a person wants; returns the number of the request.
    pub async fn ask(&self, who: String, wanted: Wanted, now: Millis) -> Result<i64, LedgerError> {
        let what = serde_json::to_string(&wanted)
            .map_err(|error| LedgerError::Broken(format!("a request can't be written: {error}")))?;
        self.write("ask", move |connection| {
            connection
                .prepare_cached("INSERT INTO request (who, what, asked_at) VALUES (?1, ?2, ?3)")?
                .execute(params![who, what, now])?;
            Ok(connection.last_insert_rowid())
        })
        .await
    }

    /// One request.
    pub async fn request(&self, id: i64) -> Result<Option<Request>, LedgerError> {
        self.read(move |connection| {
            Ok(connection.prepare_cached(&format!("{ROW} WHERE id = ?"))?.query_row([id], row).optional()?)
        })
        .await
    }

    /// The first request that is not over; a look-up in an index that is empty most of the time.
    pub async fn next_request(&self) -> Result<Option<i64>, LedgerError> {
        self.read(|connection| {
            Ok(connection
                .prepare_cached("SELECT id FROM request WHERE ended_at IS NULL ORDER BY id LIMIT 1")?
                .query_row([], |row| row.get(0))
                .optional()?)
        })
        .await
    }

    /// One bounded step of a request, in one transaction: what it does, and how far the request came. A crash at any point resumes
    /// with the next step. Returns the request as it stands then.
    pub async fn work_request(&self, id: i64, now: Millis) -> Result<Option<Request>, LedgerError> {
        self.write("request", move |connection| {
            let asked: Option<(String, Option<i64>)> = connection
                .prepare_cached("SELECT what, sink FROM request WHERE id = ? AND ended_at IS NULL")?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            if let Some((what, sink)) = asked {
                let step = match serde_json::from_str(&what) {
                    Ok(wanted) => work(connection, id, &wanted, sink, now)?,
                    Err(_) => Step::refused(
                        "this auditferry does not know what that is: it was asked by another version".into(),
                    ),
                };
                note(connection, id, step, now)?;
            }
            Ok(connection.prepare_cached(&format!("{ROW} WHERE id = ?"))?.query_row([id], row).optional()?)
        })
        .await
    }

    /// Ends a request that can't be worked off.
    pub async fn refuse_request(&self, id: i64, words: String, now: Millis) -> Result<(), LedgerError> {
        self.write("refuse request", move |connection| note(connection, id, Step::refused(words), now)).await
    }
}

/// The requests that are not over, and the latest that are, newest first.
pub(super) fn latest(connection: &Connection, limit: usize) -> Result<Vec<Request>, LedgerError> {
    let mut statement = connection.prepare_cached(&format!("{ROW} ORDER BY ended_at IS NULL DESC, id DESC LIMIT ?"))?;
    Ok(statement.query_map([limit as i64], row)?.collect::<rusqlite::Result<_>>()?)
}

/// What one step did.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) records: u64,
    /// Of unknown size.
    pub(super) contents: u64,
    /// It was the last: done, with further words, or refused.
    pub(super) end: Option<Result<String, String>>,
}

impl Step {
    pub(super) fn refused(words: String) -> Step {
        Step { end: Some(Err(words)), ..Step::default() }
    }
}

fn work(
    connection: &Connection,
    id: i64,
    wanted: &Wanted,
    sink: Option<i64>,
    now: Millis,
) -> Result<Step, LedgerError> {
    let (records, stay) = match wanted {
        Wanted::RetireSink { name } => return retire::step(connection, id, name, sink, now),
        Wanted::RemoveTenant { tenant, lose_owed } => return remove::step(connection, id, tenant, *lose_owed, now),
        Wanted::QuarantineRetry(selection) => {
            let moved = quarantine::retry(connection, selection, now)?;
            (moved, moved == 0 && quarantine::is_left(connection, selection)?)
        }
        Wanted::QuarantineDrop(selection) => (quarantine::drop(connection, selection, id, now)?, false),
    };
    let stay = if stay { "; the rest stays: its sink is not in the configuration" } else { "" };
    Ok(Step { records, contents: 0, end: (records == 0).then(|| Ok(stay.to_owned())) })
}

/// Writes how far the request came, and how it ended.
fn note(connection: &Connection, id: i64, step: Step, now: Millis) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE request SET taken_at = ifnull(taken_at, ?2), done = done + ?3, contents = contents + ?4 WHERE id = ?1 AND ended_at IS NULL",
        )?
        .execute(params![id, now, step.records as i64, step.contents as i64])?;
    let Some(end) = step.end else { return Ok(()) };
    let refused = end.is_err();
    let words = match end {
        Err(words) => words,
        Ok(more) => {
            let (what, done, contents): (String, i64, i64) = connection
                .prepare_cached("SELECT what, done, contents FROM request WHERE id = ?")?
                .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            outcome(serde_json::from_str(&what).ok(), done, contents) + &more
        }
    };
    connection
        .prepare_cached(
            "UPDATE request SET ended_at = ?2, outcome = ?3, refused = ?4 WHERE id = ?1 AND ended_at IS NULL",
        )?
        .execute(params![id, now, words, refused])?;
    Ok(())
}

/// What came of it, in words.
fn outcome(wanted: Option<Wanted>, done: i64, contents: i64) -> String {
    match wanted {
        Some(Wanted::RetireSink { .. }) => {
            format!("retired: {done} records and {contents} contents that were never read became gaps")
        }
        Some(Wanted::RemoveTenant { .. }) => format!(
            "its data is removed: {done} records and {contents} contents that were never read became gaps; books and gaps stay"
        ),
        Some(Wanted::QuarantineRetry(_)) => format!("{done} records are owed to their sinks again, encoded anew"),
        Some(Wanted::QuarantineDrop(_)) => format!("{done} records were given up and are in a gap"),
        None => String::new(),
    }
}
