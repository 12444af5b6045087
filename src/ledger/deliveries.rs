//! What a sink is owed, in the order in which it gets it (design §4, 5).

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Ledger, LedgerError, Millis, contents};

/// No more is read for one batch once it has so many compressed bytes.
const BYTES: usize = 2 << 20;

/// Where a sink's round over the streams stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The stream served last.
    pub stream: i64,
}

/// A stored chunk of a content that a sink is owed.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Key of the content.
    pub content: i64,
    /// Its stream.
    pub stream: i64,
    /// Tenant GUID; `None`: the agent's own.
    pub tenant: Option<String>,
    /// As `Audit.General`; of requeued records: the one that they came with.
    pub content_type: String,
    /// Opaque name given by the service; of requeued records: of the content that they came with.
    pub content_id: String,
    /// `contentCreated`.
    pub created: Millis,
    /// When the body was fetched.
    pub fetched: Millis,
    /// How often a body of this content was dropped: positions of two generations have nothing in common.
    pub generation: i64,
    /// Where this sink stands.
    pub progress: i64,
    /// Position of the first record of the chunk.
    pub first: i64,
    /// The first position asked for, when it lies in the chunk.
    pub from: i64,
    /// Copies that this sink gets, or got, with another content.
    pub skip: BTreeSet<i64>,
    /// The chunk, compressed; see `fetch::chunk`.
    pub body: Vec<u8>,
}

impl Piece {
    /// No more is read for one batch. A chunk is at most 256 KiB, or one record of up to 16 MiB: few of the latter are enough.
    pub fn enough(pieces: &[Piece], limit: usize) -> bool {
        pieces.len() >= limit || pieces.iter().map(|piece| piece.body.len()).sum::<usize>() >= BYTES
    }
}

/// How many bodies and bytes a sink has before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Contents with a stored body that are owed.
    pub contents: u64,
    /// Their compressed bytes.
    pub bytes: u64,
}

/// What a sink wants to read next.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Key of the sink.
    pub sink: i64,
    /// Contents created from `border` on, else those before.
    pub live: bool,
    /// Where live begins.
    pub border: Millis,
    /// Streams are taken one after the other, from behind this one.
    pub place: Place,
    /// At most so many chunks.
    pub limit: usize,
    /// Contents of which something is out already, and where to go on in them.
    pub begun: Vec<(i64, i64)>,
    /// These contents only, in their order.
    pub only: Option<Vec<i64>>,
}

impl Ledger {
    /// What to hand to a sink next.
    pub async fn pieces(&self, ask: Ask) -> Result<Vec<Piece>, LedgerError> {
        let shared_loop = self.engine.mutant("one shared delivery loop");
        self.read(move |connection| {
            let mut pieces = Vec::new();
            let mut at = ask.place.stream;
            let mut wrapped = false;
            while !Piece::enough(&pieces, ask.limit) {
                match next_stream(connection, ask.sink, at)? {
                    Some(stream) if !wrapped || stream <= ask.place.stream => {
                        at = stream;
                        let room = ask.limit.saturating_sub(pieces.len());
                        for (content, from) in next_contents(connection, &ask, stream, room, shared_loop)? {
                            chunks(connection, ask.sink, content, from, ask.limit, &mut pieces)?;
                            if Piece::enough(&pieces, ask.limit) {
                                break;
                            }
                        }
                    }
                    None if !wrapped => {
                        wrapped = true;
                        at = -1;
                    }
                    _ => break,
                }
            }
            Ok(pieces)
        })
        .await
    }

    /// The first chunk of the newest content that is owed to a sink and is none of `but`; empty when there is none.
    pub async fn newest_piece(
        &self,
        sink: i64,
        but: Vec<i64>,
        begun: Vec<(i64, i64)>,
    ) -> Result<Vec<Piece>, LedgerError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT d.content, d.progress, c.records FROM delivery d JOIN content c ON c.id = d.content
                 WHERE d.sink = ? AND d.ready = 1 AND d.lost = 0 ORDER BY d.created DESC, d.content DESC",
            )?;
            let mut rows = statement.query([sink])?;
            let mut pieces = Vec::new();
            while let Some(row) = rows.next()? {
                let (content, progress, records): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let from = from(&begun, content, progress);
                if from < records && !but.contains(&content) {
                    chunks(connection, sink, content, from, 1, &mut pieces)?;
                    break;
                }
            }
            Ok(pieces)
        })
        .await
    }

    /// The chunk that holds one record of a stored body; empty when the body is gone.
    pub async fn piece_of(&self, sink: i64, content: i64, position: i64) -> Result<Vec<Piece>, LedgerError> {
        self.read(move |connection| {
            let mut pieces = Vec::new();
            let ready: bool = connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM delivery WHERE sink = ?1 AND content = ?2 AND ready = 1)",
                )?
                .query_row([sink, content], |row| row.get(0))?;
            if ready {
                chunks(connection, sink, content, position, 1, &mut pieces)?;
            }
            Ok(pieces)
        })
        .await
    }

    /// Publication time of the oldest content that each sink is owed.
    pub async fn oldest_owed(&self, sink: i64) -> Result<Option<Millis>, LedgerError> {
        self.read(move |connection| Ok(oldest_owed(connection, sink)?)).await
    }
}

pub(super) fn oldest_owed(connection: &Connection, sink: i64) -> rusqlite::Result<Option<Millis>> {
    connection
        .prepare_cached("SELECT min(created) FROM delivery WHERE sink = ? AND lost = 0")?
        .query_row([sink], |row| row.get(0))
}

fn next_stream(connection: &Connection, sink: i64, after: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT stream FROM delivery WHERE sink = ?1 AND stream > ?2 AND ready = 1 AND lost = 0 ORDER BY stream LIMIT 1",
        )?
        .query_row([sink, after], |row| row.get(0))
        .optional()
}

/// Where to go on in a content: `begun` is in the order of contents.
fn from(begun: &[(i64, i64)], content: i64, progress: i64) -> i64 {
    match begun.binary_search_by_key(&content, |(content, _)| *content) {
        Ok(place) => begun[place].1.max(progress),
        Err(_) => progress,
    }
}

fn next_contents(
    connection: &Connection,
    ask: &Ask,
    stream: i64,
    limit: usize,
    shared_loop: bool,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    // nobody gets a content before all others had those that came before it
    let shared = match shared_loop {
        true => {
            "AND NOT EXISTS (SELECT 1 FROM delivery o WHERE o.ready = 1 AND o.lost = 0 AND o.content < d.content AND o.sink <> d.sink)"
        }
        false => "",
    };
    let comparison = if ask.live { ">=" } else { "<" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT d.content, d.progress, c.records FROM delivery d JOIN content c ON c.id = d.content
         WHERE d.sink = ?1 AND d.stream = ?2 AND d.ready = 1 AND d.lost = 0 AND d.created {comparison} ?3 {shared} ORDER BY d.created, d.content"
    ))?;
    let mut rows = statement.query(params![ask.sink, stream, ask.border])?;
    let mut contents = Vec::new();
    while contents.len() < limit
        && let Some(row) = rows.next()?
    {
        let (content, progress, records): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let from = from(&ask.begun, content, progress);
        let asked = ask.only.as_ref().is_none_or(|only| only.binary_search(&content).is_ok());
        // the whole of it is out already
        if from < records && asked {
            contents.push((content, from));
        }
    }
    Ok(contents)
}

fn chunks(
    connection: &Connection,
    sink: i64,
    content: i64,
    from: i64,
    limit: usize,
    pieces: &mut Vec<Piece>,
) -> Result<(), LedgerError> {
    let head = connection
        .prepare_cached(
            "SELECT d.stream, t.guid, ifnull(c.of_type, s.content_type), ifnull(c.of_content, c.content_id), c.created, ifnull(c.fetched, c.admitted), d.progress, c.generation
             FROM delivery d JOIN content c ON c.id = d.content JOIN stream s ON s.id = d.stream LEFT JOIN tenant t ON t.id = s.tenant
             WHERE d.sink = ?1 AND d.content = ?2",
        )?
        .query_row([sink, content], |row| {
            Ok(Piece {
                content,
                stream: row.get(0)?,
                tenant: row.get(1)?,
                content_type: row.get(2)?,
                content_id: row.get(3)?,
                created: row.get(4)?,
                fetched: row.get(5)?,
                progress: row.get(6)?,
                generation: row.get(7)?,
                first: 0,
                from,
                skip: BTreeSet::new(),
                body: Vec::new(),
            })
        })?;
    let mut statement = connection.prepare_cached(
        "SELECT first, records, body FROM chunk WHERE content = ?1 AND first + records > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = statement.query(params![content, from, limit.saturating_sub(pieces.len()) as i64])?;
    while let Some(row) = rows.next()? {
        let (first, records): (i64, i64) = (row.get(0)?, row.get(1)?);
        if Piece::enough(pieces, limit) {
            break;
        }
        pieces.push(Piece {
            first,
            from: from.max(first),
            skip: skip(connection, sink, content, first, records)?,
            body: row.get(2)?,
            ..head.clone()
        });
    }
    Ok(())
}

/// A copy is skipped when this sink was owed its owner and did not lose it; so a new sink still gets it, also of an owner that had expired before
/// the sink was there.
fn skip(
    connection: &Connection,
    sink: i64,
    content: i64,
    first: i64,
    records: i64,
) -> Result<BTreeSet<i64>, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT p.position FROM copy p WHERE p.content = ?2 AND p.position >= ?3 AND p.position < ?4 AND (p.owner = p.content OR (
           EXISTS (SELECT 1 FROM content o JOIN account a ON a.stream = o.stream AND a.sink = ?1 AND a.since <= o.created JOIN sink k ON k.id = a.sink
                   WHERE o.id = p.owner AND (o.expires > k.first_start OR o.admitted >= k.first_start))
           AND NOT EXISTS (SELECT 1 FROM delivery l WHERE l.sink = ?1 AND l.content = p.owner AND l.lost = 1)))",
    )?;
    let rows = statement.query_map([sink, content, first, first + records], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// When nobody is owed a stored content any more, its body goes.
pub(super) fn finish_content(connection: &Connection, content: i64) -> Result<(), LedgerError> {
    let owed: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM delivery WHERE content = ? AND lost = 0)")?
        .query_row([content], |row| row.get(0))?;
    if !owed {
        contents::drop_body(connection, content)?;
        connection.prepare_cached("UPDATE content SET state = 3 WHERE id = ?")?.execute([content])?;
    }
    Ok(())
}

/// Ends one delivery as lost; the row stays, so that copies of what was lost are still delivered. `records`: what was pending, when known.
pub(super) fn mark_lost(
    connection: &Connection,
    sink: i64,
    content: i64,
    stream: i64,
    records: Option<i64>,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached("UPDATE delivery SET lost = 1, ready = 0 WHERE sink = ?1 AND content = ?2")?
        .execute([sink, content])?;
    if let Some(records) = records {
        connection
            .prepare_cached("UPDATE account SET lost = lost + ?3 WHERE stream = ?1 AND sink = ?2")?
            .execute([stream, sink, records])?;
    }
    Ok(())
}
