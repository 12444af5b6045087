//! The invariants, checked from outside: the simulator's truth and the destinations against the ledger's rows.

use std::collections::{BTreeMap, BTreeSet};

use auditferry::{
    event::identity,
    fetch::chunk,
    ledger::Millis,
    simulator::{ContentTruth, Fate, Profile, Simulator, schedule::Stream},
};
use auditferry_contract::EventId;
use jiff::Timestamp;

use crate::{
    kept::kept,
    sinks::{BATCH, IN_FLIGHT, ids_of},
    stage::{SinkPlan, Stage},
};

/// A content that the service has, and the ids of its selected records.
pub struct Published {
    /// Position in the profile.
    pub tenant: usize,
    pub content_id: String,
    pub created: Millis,
    pub visible: Millis,
    pub late: bool,
    pub expires: Millis,
    pub ids: BTreeSet<EventId>,
}

/// Everything visible at `now` that can be read.
pub fn published(stage: &Stage, simulator: &Simulator, now: Millis) -> Vec<Published> {
    let now = Timestamp::from_millisecond(now).unwrap();
    simulator
        .truth(now)
        .filter(|truth| truth.readable && !truth.lost)
        .map(|truth| Published {
            tenant: truth.tenant,
            content_id: truth.content.id.clone(),
            created: truth.content.created,
            visible: truth.content.visible,
            late: truth.content.visible > truth.content.created,
            expires: truth.content.expires,
            ids: ids_in(&stage.profile, &truth, false),
        })
        .collect()
}

/// The ids of the selected records of a body. `again`: as served when it was fetched before.
pub fn ids_in(profile: &Profile, truth: &ContentTruth, again: bool) -> BTreeSet<EventId> {
    let stream = Stream { profile, tenant: truth.tenant, content_type: truth.content_type };
    let tenant = &profile.tenants[truth.tenant].id;
    let mut copies: BTreeMap<EventId, u32> = BTreeMap::new();
    let slots = stream.slots(&truth.content, again).filter_map(|slot| stream.record(slot));
    slots
        .filter(|(_, record)| record.fate != Fate::Unselected)
        .map(|(bytes, _)| id(&bytes, tenant, &truth.content.id, &mut copies))
        .collect()
}

fn id(record: &[u8], tenant: &str, content_id: &str, copies: &mut BTreeMap<EventId, u32>) -> EventId {
    let mut nth = |first: EventId| {
        let seen = copies.entry(first).or_default();
        *seen += 1;
        *seen - 1
    };
    match identity::identify(record, tenant, content_id, 0) {
        Ok(identity) if identity.deduplicable => identity.id,
        Ok(first) => identity::identify(record, tenant, content_id, nth(first.id)).unwrap().id,
        Err(_) => {
            let first = identity::identify_unreadable(record, tenant, content_id, 0).id;
            identity::identify_unreadable(record, tenant, content_id, nth(first)).id
        }
    }
}

/// What a sink's destination holds.
pub fn received(stage: &Stage, plan: &SinkPlan) -> Vec<EventId> {
    match &plan.file {
        Some(path) => ids_of(path),
        None => stage.taken(plan.name),
    }
}

/// Checks after a death, a restart or the end. The error begins with the invariant's name.
pub fn always(stage: &Stage, plans: &[SinkPlan]) -> Result<(), String> {
    let simulator = stage.simulator.lock().unwrap();
    let published = published(stage, &simulator, stage.now());
    cursor_passes_nothing(stage, &published)?;
    for plan in plans {
        confirmed_is_taken(stage, plan)?;
    }
    books_close(stage)
}

/// I1: what was visible before the cursor is in the ledger, unless the service could not be listed while it had it: that window is a gap.
fn cursor_passes_nothing(stage: &Stage, published: &[Published]) -> Result<(), String> {
    let (cursor, since): (Millis, Millis) =
        sql(stage, "SELECT min(cursor), min(since) FROM stream WHERE origin = 'listed'", |row| {
            Ok((row.get::<_, Option<i64>>(0)?.unwrap_or(0), row.get::<_, Option<i64>>(1)?.unwrap_or(0)))
        })?;
    let known: BTreeSet<String> =
        column(stage, "SELECT content_id FROM content", |row| row.get(0))?.into_iter().collect();
    let unlisted: Vec<(Millis, Millis)> = column(
        stage,
        "SELECT from_time, to_time FROM gap WHERE reason = 'not listed within 7 days' AND sink IS NULL AND content IS NULL",
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let unlisted = |created: Millis| unlisted.iter().any(|(from, to)| (*from..*to).contains(&created));
    for content in published.iter().filter(|content| !content.late && !unlisted(content.created)) {
        if (since..cursor).contains(&content.created) && !known.contains(&content.content_id) {
            return Err(format!(
                "I1: the cursor {cursor} has passed content {} of {}",
                content.content_id, content.created
            ));
        }
    }
    Ok(())
}

/// What lies in a sink's quarantine.
pub fn quarantined(stage: &Stage, plan: &SinkPlan) -> Result<Vec<EventId>, String> {
    let query = format!("SELECT q.event FROM quarantine q JOIN sink k ON k.id = q.sink WHERE k.name = '{}'", plan.name);
    column(stage, &query, blob)
}

/// I2: every record that the ledger calls settled was taken by the sink, is in its quarantine (or was, and a person decided), or is a copy of one
/// that is owed with another content.
fn confirmed_is_taken(stage: &Stage, plan: &SinkPlan) -> Result<(), String> {
    let mut taken: BTreeSet<EventId> = received(stage, plan).into_iter().collect();
    taken.extend(kept(stage, plan.name)?);
    let named = format!("(SELECT id FROM sink WHERE name = '{}' AND retired_at IS NULL)", plan.name);
    // finished contents: their own ids
    let finished = format!(
        "SELECT s.id FROM seen s JOIN content c ON c.id = s.content JOIN account a ON a.stream = c.stream AND a.sink = {named}
         WHERE a.since <= c.created AND c.state IN (2, 3) AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.sink = {named} AND d.content = c.id)"
    );
    for id in column(stage, &finished, blob)? {
        if !taken.contains(&id) {
            return Err(format!("I2: {} was finished with {id}, and never took it", plan.name));
        }
    }
    // contents under way: the ids before the progress
    let under_way =
        format!("SELECT content, progress FROM delivery WHERE sink = {named} AND ready = 1 AND progress > 0");
    for (content, progress) in column(stage, &under_way, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))? {
        let copies: BTreeSet<i64> =
            column(stage, &format!("SELECT position FROM copy WHERE content = {content}"), |row| row.get(0))?
                .into_iter()
                .collect();
        let bodies: Vec<Vec<u8>> =
            column(stage, &format!("SELECT body FROM chunk WHERE content = {content} ORDER BY seq"), |row| row.get(0))?;
        let mut position = 0_i64;
        for body in bodies {
            let opened = chunk::open(&body).map_err(|error| error.to_string())?;
            for frame in chunk::frames(&opened) {
                let frame = frame.map_err(|error| error.to_string())?;
                if position < progress && !copies.contains(&position) && !taken.contains(&frame.id) {
                    return Err(format!(
                        "I2: {} is past {} of content {content}, and never took it",
                        plan.name, frame.id
                    ));
                }
                position += 1;
            }
        }
    }
    Ok(())
}

fn books_close(stage: &Stage) -> Result<(), String> {
    let ledger = stage.ledger();
    let books = futures_util::FutureExt::now_or_never(ledger.books()).unwrap().map_err(|error| error.to_string())?;
    match books.imbalances().first() {
        None => Ok(()),
        Some(open) => Err(format!("books: {open}")),
    }
}

/// I3 at the end: everything that a sink is owed has arrived, or its loss is a gap. I4: repeats are bounded.
pub fn at_the_end(stage: &Stage, plans: &[SinkPlan], kills: u64) -> Result<(), String> {
    always(stage, plans)?;
    let simulator = stage.simulator.lock().unwrap();
    let published = published(stage, &simulator, stage.now());
    for plan in plans {
        let arrived = received(stage, plan);
        let taken: BTreeSet<EventId> = arrived.iter().copied().collect();
        let kept = kept(stage, plan.name)?;
        let since: Millis = sql(
            stage,
            &format!(
                "SELECT min(a.since) FROM account a JOIN stream s ON s.id = a.stream JOIN sink k ON k.id = a.sink WHERE k.name = '{}' AND k.retired_at IS NULL AND s.origin = 'listed'",
                plan.name
            ),
            |row| row.get(0),
        )?;
        let lost: BTreeSet<String> = column(
            stage,
            &format!("SELECT c.content_id FROM delivery d JOIN content c ON c.id = d.content JOIN sink k ON k.id = d.sink WHERE d.lost = 1 AND k.name = '{}' AND EXISTS (SELECT 1 FROM gap g WHERE g.sink = k.id)", plan.name),
            |row| row.get(0),
        )?
        .into_iter()
        .collect();
        for content in
            published.iter().filter(|content| content.created >= since && !lost.contains(&content.content_id))
        {
            for id in &content.ids {
                if !taken.contains(id) && !kept.contains(id) {
                    return Err(format!(
                        "I3: {id} of content {} never reached {} and is in no gap",
                        content.content_id, plan.name
                    ));
                }
            }
        }
        let failures = stage.destinations[plan.name].failures.load(std::sync::atomic::Ordering::Relaxed);
        let repeats = (arrived.len() - taken.len()) as u64;
        if repeats > (kills + failures) * (BATCH * IN_FLIGHT) as u64 {
            return Err(format!("I4: {repeats} repeats at {} after {kills} kills and {failures} failures", plan.name));
        }
    }
    Ok(())
}

fn blob(row: &rusqlite::Row<'_>) -> rusqlite::Result<EventId> {
    let bytes: Vec<u8> = row.get(0)?;
    Ok(EventId(bytes.try_into().expect("16 bytes")))
}

pub fn sql<T>(
    stage: &Stage,
    query: &str,
    read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<T, String> {
    stage.memory.with(|connection| connection.query_row(query, [], read)).map_err(|error| format!("{error} in {query}"))
}

pub fn column<T>(
    stage: &Stage,
    query: &str,
    read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, String> {
    stage
        .memory
        .with(|connection| connection.prepare_cached(query)?.query_map([], |row| read(row))?.collect())
        .map_err(|error| format!("{error} in {query}"))
}
