//! Records that a sink has settled without having taken them: in quarantine, out of it and owed again, or given up by a person.

use std::collections::BTreeSet;

use auditferry::fetch::chunk;
use auditferry_contract::EventId;

use crate::{checks, stage::Stage};

/// What was refused by this sink and is neither delivered nor forgotten.
pub fn kept(stage: &Stage, sink: &str) -> Result<BTreeSet<EventId>, String> {
    let named = format!("(SELECT id FROM sink WHERE name = '{sink}' AND retired_at IS NULL)");
    let quarantined = format!("SELECT event FROM quarantine WHERE sink = {named}");
    let mut kept: BTreeSet<EventId> =
        checks::column(stage, &quarantined, |row| row.get::<_, [u8; 16]>(0))?.into_iter().map(EventId).collect();
    let requeued = format!(
        "SELECT d.progress - k.first, k.body FROM delivery d JOIN content c ON c.id = d.content JOIN chunk k ON k.content = c.id
         JOIN stream s ON s.id = c.stream WHERE d.sink = {named} AND d.lost = 0 AND s.origin = 'requeue'"
    );
    for (progress, body) in
        checks::column(stage, &requeued, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?
    {
        let opened = chunk::open(&body).map_err(|error| error.to_string())?;
        let frames = chunk::frames(&opened).skip(progress.max(0) as usize);
        kept.extend(frames.filter_map(Result::ok).map(|frame| frame.id));
    }
    kept.extend(given_up(stage, sink)?);
    Ok(kept)
}

/// What a person dropped: the story knows which records, and a gap must have as many.
fn given_up(stage: &Stage, sink: &str) -> Result<BTreeSet<EventId>, String> {
    let gaps: i64 = checks::sql(
        stage,
        &format!(
            "SELECT ifnull(sum(g.records), 0) FROM gap g JOIN sink k ON k.id = g.sink
             WHERE k.name = '{sink}' AND g.reason = 'dropped by an operator'"
        ),
        |row| row.get(0),
    )?;
    let dropped = stage.dropped.get(sink).cloned().unwrap_or_default();
    if gaps == 0 {
        return Ok(BTreeSet::new());
    }
    if gaps as usize != dropped.len() {
        return Err(format!("I3: {} records of {sink} were dropped, and {gaps} are in gaps", dropped.len()));
    }
    Ok(dropped)
}
