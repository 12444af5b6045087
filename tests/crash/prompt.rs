//! I5: whoever is well waits for nobody.

use auditferry::ledger::Millis;

use crate::{
    checks::{lines, published, settled},
    stage::{SinkPlan, Stage},
    truth::Published,
};

/// Everything arrived at this sink, of what could be seen for longer than `patience`.
pub fn nothing_waits(stage: &Stage, sink: &SinkPlan, patience: Millis) -> Result<(), String> {
    let service_now = stage.service_now();
    let simulator = stage.simulator.lock().unwrap();
    let published = published(stage, &simulator, stage.now());
    drop(simulator);
    let there = |content: &&Published| {
        content.visible < service_now - patience && content.expires > (content.visible + patience).max(service_now)
    };
    let settled = settled(stage, sink)?;
    for line in lines(stage, Some(sink.name))? {
        let Some(since) = line.since else { continue };
        let owed = published.iter().filter(|it| it.tenant == line.tenant && it.created >= since);
        for content in owed.filter(there) {
            if let Some(record) = content.known.certain().find(|record| !settled.contains(&record.id)) {
                let (id, minutes) = (record.id, (service_now - content.visible) / 60_000);
                let (name, content) = (sink.name, &content.content_id);
                return Err(format!(
                    "I5: {name} waits for {id} of content {content}, {minutes} min after it could be seen"
                ));
            }
        }
    }
    Ok(())
}
