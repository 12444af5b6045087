//! The invariants, checked from outside: the simulator's truth and the destinations against the ledger's rows.

use std::collections::BTreeSet;

use auditferry::{fetch::chunk, ledger::Millis, simulator::ContentTruth};
use auditferry_contract::EventId;
use jiff::Timestamp;

use crate::{
    clues,
    kept::kept,
    rows::blob,
    sinks::{BATCH, IN_FLIGHT},
    stage::{SinkPlan, Stage},
    truth::ids_of,
};
pub use crate::{
    rows::{column, sql},
    truth::{Published, Record, ids_in, published},
};

/// What a sink's destination holds.
pub fn received(stage: &Stage, plan: &SinkPlan) -> Vec<EventId> {
    match &plan.file {
        Some(path) => ids_of(path),
        None => stage.taken(plan.name),
    }
}

/// What a sink has taken, was not to get, or keeps in its quarantine.
pub fn settled(stage: &Stage, plan: &SinkPlan) -> Result<BTreeSet<EventId>, String> {
    let mut settled = match &plan.file {
        Some(path) => ids_of(path).into_iter().collect(),
        None => stage.destinations.get(plan.name).map(|it| it.known()).unwrap_or_default(),
    };
    settled.extend(kept(stage, plan.name)?);
    if !plan.filter.is_all() {
        for ids in stage.ids.lock().unwrap().values() {
            let unwanted = ids.all().filter(|record| !wants(plan, record));
            settled.extend(unwanted.map(|record| record.id));
        }
    }
    Ok(settled)
}

/// Scenarios filter by record type only. What nobody could read passes all filters.
fn wants(plan: &SinkPlan, record: &Record) -> bool {
    record.unreadable || plan.filter.record_type.contains(&record.record_type)
}

/// Checks after a death, a restart or the end. The error begins with the invariant's name.
pub fn always(stage: &Stage, plans: &[SinkPlan]) -> Result<(), String> {
    let simulator = stage.simulator.lock().unwrap();
    let published = published(stage, &simulator, stage.now());
    drop(simulator);
    let service_now = stage.service_now();
    cursor_passes_nothing(stage, &published, service_now)?;
    for plan in plans {
        confirmed_is_taken(stage, plan)?;
    }
    losses_are_lawful(stage, service_now)?;
    books_close(stage)
}

/// A stream that is listed.
pub struct Line {
    pub id: i64,
    /// Position in the profile.
    pub tenant: usize,
    pub cursor: Millis,
    /// The cursor began here.
    pub begun: Millis,
    /// What was published before is owed to nobody.
    pub since: Option<Millis>,
}

/// The streams that are listed. `since`: of one sink, or the first of all.
pub fn lines(stage: &Stage, sink: Option<&str>) -> Result<Vec<Line>, String> {
    lines_of(stage, &sink.map(|name| format!("AND k.name = '{name}'")).unwrap_or_default())
}

/// `of`: whose `since` counts.
fn lines_of(stage: &Stage, of: &str) -> Result<Vec<Line>, String> {
    let query = format!(
        "SELECT s.id, t.guid, s.cursor, s.since, (SELECT min(a.since) FROM account a JOIN sink k ON k.id = a.sink
           WHERE a.stream = s.id AND a.active = 1 AND k.retired_at IS NULL {of})
         FROM stream s JOIN tenant t ON t.id = s.tenant WHERE s.origin = 'listed'"
    );
    column(stage, &query, |row| {
        let guid: String = row.get(1)?;
        let tenant = stage.profile.tenants.iter().position(|tenant| tenant.id == guid).unwrap_or(usize::MAX);
        Ok(Line { id: row.get(0)?, tenant, cursor: row.get(2)?, begun: row.get(3)?, since: row.get(4)? })
    })
}

/// Windows of a stream that are a gap for every sink.
fn windows(stage: &Stage, stream: i64, reason: &str) -> Result<Vec<(Millis, Millis)>, String> {
    let query = format!(
        "SELECT from_time, to_time FROM gap WHERE stream = {stream} AND reason = '{reason}' AND sink IS NULL AND content IS NULL"
    );
    column(stage, &query, |row| Ok((row.get(0)?, row.get(1)?)))
}

const UNLISTED: &str = "not listed within 7 days";
/// Longer than the service lists, shorter than the ledger remembers.
const REACH: Millis = 8 * 24 * 3_600_000;

/// I1: what was visible before the cursor is in the ledger, unless the service could not be listed while it had it: that window is a gap.
fn cursor_passes_nothing(stage: &Stage, published: &[Published], service_now: Millis) -> Result<(), String> {
    // a sink that came later with a past of its own waits for the next listing of the 7 days
    let looked_for = "AND (k.first_start = (SELECT min(first_start) FROM sink) OR k.first_start < s.listed_past)";
    for line in lines_of(stage, looked_for)? {
        let Some(since) = line.since else { continue };
        let query = format!("SELECT content_id FROM content WHERE stream = {}", line.id);
        let known: BTreeSet<String> = column(stage, &query, |row| row.get(0))?.into_iter().collect();
        let unlisted = windows(stage, line.id, UNLISTED)?;
        let unlisted = |created: Millis| unlisted.iter().any(|(from, to)| (*from..*to).contains(&created));
        let of_line = published.iter().filter(|content| content.tenant == line.tenant && !content.late);
        for content in of_line.filter(|content| content.created > service_now - REACH && !unlisted(content.created)) {
            if (since.max(line.begun)..line.cursor).contains(&content.created) && !known.contains(&content.content_id) {
                let (cursor, id, created) = (line.cursor, &content.content_id, content.created);
                return Err(format!("I1: the cursor {cursor} has passed content {id} of {created}"));
            }
        }
    }
    Ok(())
}

/// What lies in a sink's quarantine.
pub fn quarantined(stage: &Stage, plan: &SinkPlan) -> Result<Vec<EventId>, String> {
    let query = format!("SELECT q.event FROM quarantine q JOIN sink k ON k.id = q.sink WHERE k.name = '{}'", plan.name);
    column(stage, &query, blob)
}

fn key(plan: &SinkPlan) -> String {
    format!("(SELECT id FROM sink WHERE name = '{}' AND retired_at IS NULL)", plan.name)
}

/// I2: every record that the ledger calls settled was taken by the sink, is in its quarantine (or was, and a person decided), or is a copy of one
/// that is owed with another content.
fn confirmed_is_taken(stage: &Stage, plan: &SinkPlan) -> Result<(), String> {
    let taken = settled(stage, plan)?;
    let named = key(plan);
    // finished contents: their own ids; what had expired before the sink was there was never for it
    let finished = format!(
        "SELECT s.id FROM seen s JOIN content c ON c.id = s.content JOIN account a ON a.stream = c.stream AND a.sink = {named}
         JOIN sink k ON k.id = a.sink WHERE a.active = 1 AND a.since <= c.created AND c.expires > k.first_start AND c.state IN (2, 3) AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.sink = {named} AND d.content = c.id)"
    );
    for id in column(stage, &finished, blob)? {
        if !taken.contains(&id) {
            return Err(format!("I2: {} was finished with {id}, and never took it", plan.name));
        }
    }
    // contents under way: the ids before the progress
    each_stored(stage, plan, "d.progress > 0", |content, position, progress, copy, id| {
        if position < progress && !copy && !taken.contains(&id) {
            return Err(format!("I2: {} is past {id} of content {content}, and never took it", plan.name));
        }
        Ok(())
    })
}

/// Looks at every record of the stored bodies that a sink is owed.
fn each_stored(
    stage: &Stage,
    plan: &SinkPlan,
    condition: &str,
    mut look: impl FnMut(i64, i64, i64, bool, EventId) -> Result<(), String>,
) -> Result<(), String> {
    let query = format!(
        "SELECT d.content, d.progress FROM delivery d WHERE d.sink = {} AND d.ready = 1 AND {condition}",
        key(plan)
    );
    for (content, progress) in column(stage, &query, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))? {
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
                look(content, position, progress, copies.contains(&position), frame.id)?;
                position += 1;
            }
        }
    }
    Ok(())
}

/// What a sink has taken and the ledger does not know: a death makes all of it come again. `copies`: also what it has taken with another content.
pub fn unconfirmed(stage: &Stage, plan: &SinkPlan, copies: bool) -> Result<u64, String> {
    let Some(destination) = stage.destinations.get(plan.name) else { return Ok(0) };
    let taken = destination.known();
    let mut number = 0;
    each_stored(stage, plan, "d.lost = 0", |_, position, progress, copy, id| {
        number += u64::from(position >= progress && taken.contains(&id) && (copies || !copy));
        Ok(())
    })?;
    Ok(number)
}

/// A sink that was not in the configuration for a while is owed from its return: a copy of a record that came before is no copy to it any more.
pub fn copies_of_what_was_owed_before(stage: &Stage, plan: &SinkPlan) -> Result<u64, String> {
    let query = format!(
        "SELECT count(*) FROM copy p JOIN content o ON o.id = p.owner
         JOIN account a ON a.stream = o.stream AND a.sink = {} WHERE o.created < a.since",
        key(plan)
    );
    sql(stage, &query, |row| row.get::<_, i64>(0)).map(|copies| copies as u64)
}

/// Notes which subscriptions no agent has seen enabled yet: what is lost until then, nobody could know of.
pub fn note_unknown_subscriptions(stage: &Stage) -> Result<(), String> {
    let now = stage.service_now();
    let off = column(stage, "SELECT id FROM stream WHERE origin = 'listed' AND enabled = 0", |row| row.get(0))?;
    stage.unknown_until.lock().unwrap().extend(off.into_iter().map(|stream: i64| (stream, now)));
    Ok(())
}

/// I3: what a sink lost had really expired, by the service's own time, and is part of a gap.
fn losses_are_lawful(stage: &Stage, service_now: Millis) -> Result<(), String> {
    let query = "SELECT k.name, c.content_id, c.expires, (SELECT max(g.reason) FROM gap g WHERE g.sink = d.sink AND g.stream = d.stream
         AND c.created BETWEEN g.from_time AND g.to_time) FROM delivery d JOIN content c ON c.id = d.content JOIN sink k ON k.id = d.sink
         WHERE d.lost = 1 AND k.retired_at IS NULL";
    let row = |row: &rusqlite::Row<'_>| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, Millis>(2)?,
            row.get::<_, Option<String>>(3)?,
        ))
    };
    for (sink, content, expires, reason) in column(stage, query, row)? {
        match reason {
            None => return Err(format!("I3: {sink} lost content {content}, and it is in no gap")),
            Some(reason) if reason.starts_with("expired") && expires > service_now => {
                return Err(format!(
                    "I3: content {content} was given up for {sink} {} s before it expired",
                    (expires - service_now) / 1000
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

pub fn books_close(stage: &Stage) -> Result<(), String> {
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
    drop(simulator);
    for plan in plans {
        arrived(stage, plan, &published)?;
        let arrived = received(stage, plan);
        let taken: BTreeSet<EventId> = arrived.iter().copied().collect();
        let repeats = (arrived.len() - taken.len()) as u64;
        let failures = stage.destinations[plan.name].failures.load(std::sync::atomic::Ordering::Relaxed);
        let allowed = match &plan.script {
            None => kills * (BATCH * IN_FLIGHT) as u64 + stage.destinations[plan.name].allowed_repeats(),
            // what a body lost when it was fetched again is new wherever else it comes
            Some(_) => {
                let gone = "SELECT ifnull(sum(records), 0) FROM gap WHERE reason = 'gone when fetched again'";
                let gone = sql(stage, gone, |row| row.get::<_, i64>(0))?;
                stage.destinations[plan.name].allowed_repeats() + gone as u64
            }
        };
        if repeats > allowed {
            let mut once = BTreeSet::new();
            let again = arrived.iter().filter(|id| !once.insert(**id)).take(2);
            let some: Vec<String> = again.map(|id| clues::whereabouts(stage, *id)).collect();
            return Err(format!(
                "I4: {repeats} repeats at {}, and {kills} kills and {failures} failures explain {allowed}\n    {}",
                plan.name,
                some.join("\n    ")
            ));
        }
    }
    unlisted_is_a_gap(stage)
}

/// I3: of each content that was published for this sink, every record has arrived, or its loss is a gap.
fn arrived(stage: &Stage, plan: &SinkPlan, published: &[Published]) -> Result<(), String> {
    let settled = settled(stage, plan)?;
    // lost for this sink, or lost before it was there
    let lost = format!(
        "SELECT c.content_id FROM content c LEFT JOIN delivery d ON c.id = d.content AND d.sink = {}
         WHERE d.lost = 1 OR c.state = 4 AND d.sink IS NULL",
        key(plan)
    );
    let lost: BTreeSet<String> = column(stage, &lost, |row| row.get(0))?.into_iter().collect();
    for line in lines(stage, Some(plan.name))? {
        let Some(since) = line.since else { continue };
        let query = format!("SELECT content_id FROM content WHERE stream = {}", line.id);
        let admitted: BTreeSet<String> = column(stage, &query, |row| row.get(0))?.into_iter().collect();
        let mut expired_or_unlisted = windows(stage, line.id, UNLISTED)?;
        // a loss that was forgotten is still a gap
        let expired = format!(
            "SELECT from_time, to_time FROM gap WHERE stream = {} AND sink = {} AND reason LIKE 'expired%'",
            line.id,
            key(plan)
        );
        expired_or_unlisted
            .extend(column(stage, &expired, |row| Ok((row.get::<_, Millis>(0)?, row.get::<_, Millis>(1)?)))?);
        let unlisted = |created: Millis| expired_or_unlisted.iter().any(|(from, to)| (*from..*to).contains(&created));
        let mut gone = gone(published);
        // the copy that this one waited for is lost, and its content is a gap
        let owned = format!(
            "SELECT s.id FROM seen s JOIN delivery d ON d.content = s.content AND d.lost = 1 AND d.sink = {}",
            key(plan)
        );
        gone.extend(column(stage, &owned, blob)?);
        // what had expired before the sink was there is no loss of its own
        let first_start: Millis =
            sql(stage, &format!("SELECT first_start FROM sink WHERE id = {}", key(plan)), |row| row.get(0))?;
        let there = |content: &&Published| content.created >= since && content.expires > first_start;
        let owed = published.iter().filter(|content| content.tenant == line.tenant).filter(there);
        for content in owed.filter(|content| !lost.contains(&content.content_id)) {
            if !admitted.contains(&content.content_id) && unlisted(content.created) {
                continue;
            }
            let missing = |record: &&Record| !settled.contains(&record.id) && !gone.contains(&record.id);
            if let Some(record) = content.known.certain().find(missing) {
                let (id, name) = (record.id, plan.name);
                return Err(format!(
                    "I3: {id} of content {} never reached {name} and is in no gap\n    {}",
                    content.content_id,
                    clues::what_is_known(stage, &content.content_id, id)
                ));
            }
        }
    }
    Ok(())
}

/// Records that a body does not hold any more when it is fetched again, which is a gap: their copies in other contents go with them.
fn gone(published: &[Published]) -> BTreeSet<EventId> {
    let vanishes =
        |content: &Published, record: &Record| content.known.certain().all(|certain| certain.id != record.id);
    let all = published.iter().flat_map(|content| {
        let again = content.known.again.is_some();
        content.known.first.iter().filter(move |record| again && vanishes(content, record))
    });
    all.map(|record| record.id).collect()
}

/// I3: what the service did not keep while a subscription was off lies in a suspected gap, once an agent had seen it on.
fn unlisted_is_a_gap(stage: &Stage) -> Result<(), String> {
    let simulator = stage.simulator.lock().unwrap();
    let now = Timestamp::from_millisecond(stage.now()).unwrap();
    let lost: Vec<ContentTruth> =
        simulator.truth(now).filter(|truth| truth.lost && truth.content.records > 0).collect();
    drop(simulator);
    for line in lines(stage, None)? {
        let off = windows(stage, line.id, "subscription disabled")?;
        let Some(since) = line.since else { continue };
        let unknown = stage.unknown_until.lock().unwrap().get(&line.id).copied();
        let known = unknown.map_or(since, |until| until.max(since));
        for truth in lost.iter().filter(|truth| truth.tenant == line.tenant && truth.content.created >= known) {
            let created = truth.content.created;
            if !off.iter().any(|(from, to)| (*from..=*to).contains(&created)) {
                return Err(format!(
                    "I3: content {} of {created} was not kept while the subscription was off, and is in no gap; off and said: {off:?}",
                    truth.content.id
                ));
            }
        }
    }
    Ok(())
}
