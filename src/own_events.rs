//! What the agent says itself, as records that go to every sink (origin `agent`, past all filters).

use auditferry_contract::EventId;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::ledger::{Gap, GapNews, Millis, OwnEvent};

/// The `Workload` of the agent's own records.
pub const WORKLOAD: &str = "auditferry";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GapRecord<'a> {
    id: String,
    creation_time: String,
    operation: &'static str,
    workload: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization_id: Option<&'a str>,
    content_type: &'a str,
    gap: i64,
    state: &'a str,
    reason: &'a str,
    suspected: bool,
    from: String,
    to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sink: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_by: Option<&'a str>,
    result_status: &'static str,
}

/// The event that tells of a gap: what is missing, from when to when, for whom and why.
pub fn gap_event(news: &GapNews, now: Millis) -> OwnEvent {
    let Gap { id: gap, tenant, content_type, sink, content_id, from, to, records, reason, suspected, asked_by, .. } =
        &news.gap;
    let mut hash = Sha256::new();
    hash.update(b"auditferry gap 1\0");
    for part in [*gap, *from, *to, now] {
        hash.update(part.to_be_bytes());
    }
    hash.update(news.what.as_bytes());
    hash.update(tenant.as_deref().unwrap_or_default().as_bytes());
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    let id = EventId::from_digest(bytes);
    let record = GapRecord {
        id: id.to_string(),
        creation_time: time(now),
        operation: match news.what {
            "opened" => "AuditGapOpened",
            "grown" => "AuditGapGrown",
            _ => "AuditGapClosed",
        },
        workload: WORKLOAD,
        organization_id: tenant.as_deref(),
        content_type,
        gap: *gap,
        state: news.what,
        reason,
        suspected: *suspected,
        from: time(*from),
        to: time(*to),
        records: *records,
        sink: sink.as_deref(),
        content_id: content_id.as_deref(),
        asked_by: asked_by.as_deref(),
        result_status: "Failed",
    };
    // plain data of our own can't fail to serialise; an empty record would still be delivered, as unreadable
    OwnEvent { id, record: serde_json::to_vec(&record).unwrap_or_default() }
}

/// As Microsoft writes times: UTC, whole seconds, no zone letter.
fn time(millis: Millis) -> String {
    match Timestamp::from_millisecond(millis) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        Err(_) => millis.to_string(),
    }
}
