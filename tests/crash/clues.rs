//! What the ledger knows of a record that a check is about: for a person who looks for the cause.

use auditferry_contract::EventId;
use jiff::Timestamp;

use crate::{checks::column, stage::Stage};

/// The contents that a record came in.
pub fn whereabouts(stage: &Stage, id: EventId) -> String {
    let id: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let rows = format!(
        "SELECT 'owned by ' || s.content || ' of ' || c.created || ' generation ' || s.generation FROM seen s LEFT JOIN content c ON c.id = s.content WHERE s.id = x'{id}'
         UNION ALL SELECT 'copied to ' || p.content || ' of ' || c.created || ' at ' || p.position FROM seen s JOIN copy p ON p.owner = s.content JOIN content c ON c.id = p.content WHERE s.id = x'{id}'
         UNION ALL SELECT 'account of ' || k.name || ' since ' || a.since FROM seen s JOIN content c ON c.id = s.content JOIN account a ON a.stream = c.stream JOIN sink k ON k.id = a.sink WHERE s.id = x'{id}'"
    );
    let rows = column(stage, &rows, |row| row.get::<_, String>(0)).unwrap_or_else(|error| vec![error]);
    format!("{id}: {}", rows.join(", "))
}

/// The ledger's rows about a record.
pub fn what_is_known(stage: &Stage, content_id: &str, id: EventId) -> String {
    let simulator = stage.simulator.lock().unwrap();
    let now = Timestamp::from_millisecond(stage.now()).unwrap();
    let truth = simulator.truth(now).find(|truth| truth.content.id == content_id);
    let odds = truth.map(|truth| format!("{:?}, fetched {:?} times", truth.content.odds, truth.fetched));
    let id: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let rows = format!(
        "SELECT 'content ' || c.id || ' created ' || created || ' state ' || state || ' generation ' || generation || ' records ' || ifnull(records, '?') FROM content c WHERE content_id = '{content_id}'
         UNION ALL SELECT 'delivery to ' || k.name || ' progress ' || d.progress || ' lost ' || d.lost FROM delivery d JOIN sink k ON k.id = d.sink JOIN content c ON c.id = d.content WHERE c.content_id = '{content_id}'
         UNION ALL SELECT 'owned by ' || s.content || ' state ' || c.state || ' created ' || c.created || ' ' || c.content_id || ' generation ' || s.generation FROM seen s LEFT JOIN content c ON c.id = s.content WHERE s.id = x'{id}'
         UNION ALL SELECT 'delivery of the owner to ' || k.name || ' progress ' || d.progress || ' lost ' || d.lost FROM seen s JOIN delivery d ON d.content = s.content JOIN sink k ON k.id = d.sink WHERE s.id = x'{id}'
         UNION ALL SELECT 'account of ' || k.name || ' since ' || a.since FROM account a JOIN sink k ON k.id = a.sink JOIN content c ON c.stream = a.stream WHERE c.content_id = '{content_id}'
         UNION ALL SELECT 'gap ' || g.reason || ' of ' || ifnull(k.name, 'all') || ' from ' || g.from_time || ' to ' || g.to_time || ' records ' || ifnull(g.records, '?')
           FROM gap g JOIN content c ON c.stream = g.stream AND c.content_id = '{content_id}' LEFT JOIN sink k ON k.id = g.sink
         UNION ALL SELECT 'quarantined by ' || q.sink || ' with ' || q.content_id FROM quarantine q WHERE q.event = x'{id}'
         UNION ALL SELECT 'copy in ' || p.content || ' at ' || p.position || ' of ' || p.owner FROM copy p JOIN content c ON c.id = p.content WHERE c.content_id = '{content_id}'"
    );
    let rows = column(stage, &rows, |row| row.get::<_, String>(0)).unwrap_or_else(|error| vec![error]);
    format!("{odds:?}\n    {}", rows.join("\n    "))
}
