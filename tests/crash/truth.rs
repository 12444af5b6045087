//! What the simulated service has published, as the checks know it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use auditferry::{
    event::identity,
    fetch::chunk::{ChunkBuilder, Frame},
    ledger::Millis,
    simulator::{ContentTruth, Fate, Profile, Simulator, faults::Odd, schedule::Stream},
};
use auditferry_contract::EventId;
use jiff::Timestamp;

use crate::stage::Stage;

/// A selected record as the checks know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub id: EventId,
    pub record_type: i64,
    pub unreadable: bool,
}

/// The selected records of a content.
pub struct Ids {
    pub first: Vec<Record>,
    /// As served when it was fetched before, when that differs.
    pub again: Option<Vec<Record>>,
}

impl Ids {
    /// What stands in every body that was ever served.
    pub fn certain(&self) -> impl Iterator<Item = &Record> {
        let stays = |record: &&Record| self.again.as_ref().is_none_or(|again| again.contains(record));
        self.first.iter().filter(stays)
    }

    pub fn all(&self) -> impl Iterator<Item = &Record> {
        self.first.iter().chain(self.again.iter().flatten())
    }
}

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
    pub known: Arc<Ids>,
}

/// Everything visible at `now` that can be read.
pub fn published(stage: &Stage, simulator: &Simulator, now: Millis) -> Vec<Published> {
    let now = Timestamp::from_millisecond(now).unwrap();
    simulator
        .truth(now)
        .filter(|truth| truth.readable && !truth.lost)
        .map(|truth| {
            let known = known(stage, &truth);
            Published {
                tenant: truth.tenant,
                content_id: truth.content.id.clone(),
                created: truth.content.created,
                visible: truth.content.visible,
                late: truth.content.visible > truth.content.created,
                expires: truth.content.expires,
                ids: known.first.iter().map(|record| record.id).collect(),
                known,
            }
        })
        .collect()
}

/// The selected records of a content, worked out once.
fn known(stage: &Stage, truth: &ContentTruth) -> Arc<Ids> {
    let mut cache = stage.ids.lock().unwrap();
    if let Some(known) = cache.get(&truth.content.id) {
        return Arc::clone(known);
    }
    let differs = truth.content.odds.iter().any(|odd| matches!(odd, Odd::Differs | Odd::Reordered));
    let known = Arc::new(Ids {
        first: records_in(&stage.profile, truth, false),
        again: differs.then(|| records_in(&stage.profile, truth, true)),
    });
    cache.insert(truth.content.id.clone(), Arc::clone(&known));
    known
}

/// The ids of the selected records of a body. `again`: as served when it was fetched before.
pub fn ids_in(profile: &Profile, truth: &ContentTruth, again: bool) -> BTreeSet<EventId> {
    records_in(profile, truth, again).into_iter().map(|record| record.id).collect()
}

fn records_in(profile: &Profile, truth: &ContentTruth, again: bool) -> Vec<Record> {
    let stream = Stream { profile, tenant: truth.tenant, content_type: truth.content_type };
    let tenant = &profile.tenants[truth.tenant].id;
    let mut copies: BTreeMap<EventId, u32> = BTreeMap::new();
    let slots = stream.slots(&truth.content, again).filter_map(|slot| stream.record(slot));
    slots
        .filter(|(_, record)| record.fate != Fate::Unselected)
        .map(|(bytes, record)| Record {
            id: id(&bytes, tenant, &truth.content.id, &mut copies),
            record_type: record.record_type,
            unreadable: record.fate == Fate::Unreadable,
        })
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

/// Bytes of the largest stored body of all contents that are there by then.
pub fn largest(profile: &Profile, until: Millis) -> i64 {
    let simulator = Simulator::new(profile.clone());
    let until = Timestamp::from_millisecond(until).unwrap();
    let bodies = simulator.truth(until).filter(|truth| truth.readable).map(|truth| {
        let stream = Stream { profile, tenant: truth.tenant, content_type: truth.content_type };
        let mut builder = ChunkBuilder::default();
        let mut bytes = 0;
        for (record, _) in stream.slots(&truth.content, false).filter_map(|slot| stream.record(slot)) {
            if builder.is_full() {
                bytes += builder.take().unwrap().map_or(0, |(body, _)| body.len());
            }
            let id = EventId([7; 16]);
            builder.push(&Frame { id, second: 0, unreadable: false, no_id: false, record: &record });
        }
        (bytes + builder.take().unwrap().map_or(0, |(body, _)| body.len())) as i64
    });
    // ids can hardly be compressed, and none of them is the same
    bodies.max().unwrap_or(0) * 5 / 4 + 200
}

/// The ids of the whole lines of a file.
pub fn ids_of(path: &std::path::Path) -> Vec<EventId> {
    let text = std::fs::read(path).unwrap_or_default();
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    text[..whole]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let event: serde_json::Value = serde_json::from_slice(line).expect("a whole line of JSON");
            event["metadata"]["uid"].as_str().expect("an id").parse().expect("a UUID")
        })
        .collect()
}
