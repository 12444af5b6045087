//! What must hold in a random scenario beside what always holds.

use std::collections::BTreeSet;

use auditferry::{ledger::Millis, simulator::faults::Odd};

use super::plan::{MINUTE, Plan};
use crate::{
    checks::{self, Published},
    stage::{SinkPlan, Stage},
};

/// More than a compressed record, and than the frame of a chunk, takes.
const RECORD: i64 = 700;
const CHUNK: i64 = 400;

/// I6: bodies that the service listed may take so many bytes. One content per sink above the budget, and one round of fetches: up to four of
/// each tenant were begun while there was room.
pub fn bound(plan: &Plan) -> i64 {
    let Ok(budget) = i64::try_from(plan.budget) else { return i64::MAX };
    let largest = plan.profile.tenants.iter().map(|tenant| {
        let many = tenant.faults.contents.iter().filter_map(|fault| match fault.odd {
            Odd::Records(many) => Some(many),
            _ => None,
        });
        // with all that it repeats
        i64::from(many.max().unwrap_or(0).max(tenant.records_per_content)) * 2 + 1
    });
    let largest = largest.max().unwrap_or(0) * RECORD + CHUNK;
    budget + largest * (plan.sinks.len() + 4 * plan.profile.tenants.len()) as i64
}

/// Deliveries that are still owed and can be made: of bodies that are no JSON only the expiry is left.
pub fn owed(stage: &Stage, plan: &Plan) -> i64 {
    let owed = checks::column(
        stage,
        "SELECT c.content_id FROM delivery d JOIN content c ON c.id = d.content JOIN sink k ON k.id = d.sink WHERE d.lost = 0 AND k.configured = 1",
        |row| row.get::<_, String>(0),
    );
    let Ok(mut owed) = owed else { return -1 };
    if !owed.is_empty() && plan.profile.tenants.iter().any(|it| it.faults.contents.iter().any(|it| it.odd == Odd::NotJson)) {
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
    let simulator = stage.simulator.lock().unwrap();
    let published = checks::published(stage, &simulator, now);
    drop(simulator);
    let there = |content: &&Published| {
        content.visible < now - PATIENCE - poll && content.expires > content.visible + PATIENCE + poll && content.expires > now
    };
    for sink in sinks {
        let healthy = sink.script.as_ref().is_some_and(|(script, _)| script.is_healthy());
        if !healthy {
            continue;
        }
        let settled = checks::settled(stage, sink)?;
        for line in checks::lines(stage, Some(sink.name))? {
            let Some(since) = line.since else { continue };
            for content in published.iter().filter(there).filter(|it| it.tenant == line.tenant && it.created >= since) {
                if let Some(record) = content.known.certain().find(|record| !settled.contains(&record.id)) {
                    return Err(format!(
                        "I5: {} waits for {} of content {}, {} min after it could be seen",
                        sink.name,
                        record.id,
                        content.content_id,
                        (now - content.visible) / MINUTE
                    ));
                }
            }
        }
    }
    Ok(())
}
