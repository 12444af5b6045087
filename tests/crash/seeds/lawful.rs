//! What must hold in a random scenario beside what always holds.

use std::collections::BTreeSet;

use auditferry::{ledger::Millis, simulator::faults::Odd};
use auditferry_contract::EventId;

use super::plan::{MINUTE, Plan, SinkLine};
use crate::{
    checks, prompt,
    rows::blob,
    stage::{SinkPlan, Stage},
    truth,
};

/// What the agent says of a record that some lives of a sink have no room for.
const TOO_LARGE: &str = "no form of it fits into the 2500 bytes";

/// I6: bodies that the service listed may take so many bytes. One content per sink above the budget, those of which it has a batch out
/// or unsettled, and one
/// round of fetches: up to four of each tenant were begun while there was room.
pub fn bound(plan: &Plan, stage: &Stage) -> i64 {
    let Ok(budget) = i64::try_from(plan.budget) else { return i64::MAX };
    if plan.budget >= 1 << 30 {
        return budget;
    }
    let largest = truth::largest(&stage.profile, plan.calm_at);
    let out = |line: &SinkLine| line.limits.iter().map(|limits| limits.in_flight).max().unwrap_or(0);
    // nothing but time bounds what has not settled
    let unsettled = |line: &SinkLine| if line.limits[0].settle.is_zero() { 0 } else { 25 };
    let above: usize = plan.sinks.iter().map(|line| 1 + out(line) + unsettled(line)).sum();
    budget + largest * (above + 4 * plan.profile.tenants.len()) as i64
}

/// Deliveries that are still owed and can be made: of bodies that are no JSON only the expiry is left.
pub fn owed(stage: &Stage, plan: &Plan) -> i64 {
    let owed = checks::column(
        stage,
        "SELECT c.content_id FROM delivery d JOIN content c ON c.id = d.content JOIN sink k ON k.id = d.sink WHERE d.lost = 0 AND k.configured = 1",
        |row| row.get::<_, String>(0),
    );
    let Ok(mut owed) = owed else { return -1 };
    if !owed.is_empty()
        && plan.profile.tenants.iter().any(|it| it.faults.contents.iter().any(|it| it.odd == Odd::NotJson))
    {
        let simulator = stage.simulator.lock().unwrap();
        let now = jiff::Timestamp::from_millisecond(stage.now()).unwrap();
        let unreadable: BTreeSet<String> =
            simulator.truth(now).filter(|truth| !truth.readable).map(|truth| truth.content.id).collect();
        owed.retain(|content| !unreadable.contains(content));
    }
    owed.len() as i64
}

/// I3: at the end nothing is owed any more.
pub fn everything_arrived(stage: &Stage, plan: &Plan) -> Result<(), String> {
    let owed = owed(stage, plan);
    if owed == 0 {
        return Ok(());
    }
    let late = (stage.now() - plan.calm_at) / MINUTE;
    let some = checks::column(
        stage,
        "SELECT k.name || ' ' || c.content_id || ' state ' || c.state || ' ready ' || d.ready || ' progress ' || d.progress || ' of ' || ifnull(c.records, '?')
           || ' attempts ' || c.attempts || ' retry_at ' || c.retry_at || ' error ' || ifnull(c.error, '-')
         FROM delivery d JOIN content c ON c.id = d.content JOIN sink k ON k.id = d.sink WHERE d.lost = 0 AND k.configured = 1 LIMIT 3",
        |row| row.get::<_, String>(0),
    )?;
    let troubles = checks::column(stage, "SELECT name || ': ' || words FROM trouble", |row| row.get::<_, String>(0))?;
    Err(format!(
        "I3: {owed} deliveries are still owed {late} min after the last trouble:\n    {}\n    {}",
        some.join("\n    "),
        troubles.join("\n    ")
    ))
}

/// I11: the bearer token goes to the service alone.
pub fn token_stays_home(stage: &Stage) -> Result<(), String> {
    let told = stage.told.lock().unwrap();
    match told.iter().find(|origin| **origin != stage.profile.base_url) {
        None => Ok(()),
        Some(origin) => Err(format!("I11: {origin} got the bearer token")),
    }
}

/// I5: while nothing but sinks gives trouble, a sink that is well has everything a little after it could be seen.
pub fn nobody_waits(stage: &Stage, plan: &Plan, sinks: &[SinkPlan], begun: Millis) -> Result<(), String> {
    const PATIENCE: Millis = 80 * MINUTE;
    let now = stage.now();
    let poll = plan.poll.as_millis() as Millis;
    if now - begun < PATIENCE + poll {
        return Ok(());
    }
    for sink in sinks.iter().filter(|it| it.script.as_ref().is_some_and(|(script, _)| script.is_healthy())) {
        prompt::nothing_waits(stage, sink, PATIENCE + poll)?;
    }
    Ok(())
}

/// I4: a death brings no more again than is being confirmed, was in flight when that began, and has gone out since: a window each. A failure leaves
/// a window more, or what lies in its content behind what was not taken. `before`: what an earlier life had left.
pub fn little_is_unconfirmed(stage: &Stage, sink: &SinkPlan, before: u64, failures: u64) -> Result<(), String> {
    // what settles is not bounded by messages
    let Some((_, limits)) = sink.script.as_ref().filter(|(_, limits)| limits.settle.is_zero()) else { return Ok(()) };
    let window = (limits.in_flight * limits.batch_messages) as u64;
    let largest: i64 = checks::sql(stage, "SELECT ifnull(max(records), 0) FROM content", |row| row.get(0))?;
    let unconfirmed = checks::unconfirmed(stage, sink, false)?;
    match unconfirmed <= before + 3 * window + failures * window.max(largest as u64) {
        true => Ok(()),
        false => Err(format!(
            "I4: {} has taken {unconfirmed} records that are not confirmed, {before} of them before this life; three windows are {}, and {failures} failures",
            sink.name,
            3 * window
        )),
    }
}

/// I2: a record lies in the quarantine of a sink only when this sink refused it for good, or it was too large for it.
pub fn only_the_refused_is_kept(stage: &Stage, sink: &SinkPlan) -> Result<(), String> {
    let Some((script, _)) = sink.script.as_ref().filter(|(script, _)| !script.refuses_anything()) else {
        return Ok(());
    };
    let kept = format!(
        "SELECT q.event, q.words FROM quarantine q JOIN sink k ON k.id = q.sink WHERE k.name = '{}'",
        sink.name
    );
    let kept = checks::column(stage, &kept, |row| Ok((blob(row)?, row.get::<_, String>(1)?)))?;
    let unlawful = |(id, words): &&(EventId, String)| !script.spoils(id) && !words.starts_with(TOO_LARGE);
    match kept.iter().find(unlawful) {
        None => Ok(()),
        Some((id, words)) => {
            Err(format!("I2: {id} is in the quarantine of {}, which never refused it: {words}", sink.name))
        }
    }
}
