//! What the agent says itself, as records that go to every sink (origin `agent`, past all filters).

use auditferry_contract::EventId;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::ledger::{BlockNews, Gap, GapNews, Millis, OwnEvent};

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
    let id = id(hash);
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

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SinkRecord<'a> {
    id: String,
    creation_time: String,
    operation: &'static str,
    workload: &'static str,
    sink: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    result_status: &'static str,
}

/// A sink's words are said up to here (bytes).
const WORDS: usize = 1000;

/// The event that tells of a sink that is blocked, or takes events again: which, why, since when.
pub fn block_event(news: &BlockNews, now: Millis) -> OwnEvent {
    let BlockNews { sink, since, words } = news;
    let mut hash = Sha256::new();
    hash.update(b"auditferry sink 1\0");
    for part in [*since, now] {
        hash.update(part.to_be_bytes());
    }
    hash.update([u8::from(words.is_some())]);
    hash.update(sink.as_bytes());
    let id = id(hash);
    let over = words.is_none();
    let record = SinkRecord {
        id: id.to_string(),
        creation_time: time(now),
        operation: if over { "AuditSinkUnblocked" } else { "AuditSinkBlocked" },
        workload: WORKLOAD,
        sink,
        state: if over { "over" } else { "blocked" },
        reason: words.as_deref().map(|words| &words[..words.floor_char_boundary(WORDS)]),
        from: time(*since),
        to: over.then(|| time(now)),
        result_status: if over { "Succeeded" } else { "Failed" },
    };
    OwnEvent { id, record: serde_json::to_vec(&record).unwrap_or_default() }
}

fn id(hash: Sha256) -> EventId {
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    EventId::from_digest(bytes)
}

/// As Microsoft writes times: UTC, whole seconds, no zone letter.
fn time(millis: Millis) -> String {
    match Timestamp::from_millisecond(millis) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        Err(_) => millis.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_779_196_654_321;

    fn news(words: Option<&str>) -> BlockNews {
        BlockNews { sink: "siem".into(), since: NOW - 60_000, words: words.map(str::to_owned) }
    }

    #[test]
    fn a_blocked_sink_and_its_end_are_two_documented_records() {
        let blocked = block_event(&news(Some("the token is wrong")), NOW);
        let expected = format!(
            r#"{{"Id":"{}","CreationTime":"2026-05-19T13:17:34","Operation":"AuditSinkBlocked","Workload":"auditferry","Sink":"siem","State":"blocked","Reason":"the token is wrong","From":"2026-05-19T13:16:34","ResultStatus":"Failed"}}"#,
            blocked.id
        );
        assert_eq!(String::from_utf8(blocked.record).unwrap(), expected);
        let over = block_event(&news(None), NOW);
        let expected = format!(
            r#"{{"Id":"{}","CreationTime":"2026-05-19T13:17:34","Operation":"AuditSinkUnblocked","Workload":"auditferry","Sink":"siem","State":"over","From":"2026-05-19T13:16:34","To":"2026-05-19T13:17:34","ResultStatus":"Succeeded"}}"#,
            over.id
        );
        assert_eq!(String::from_utf8(over.record).unwrap(), expected);
    }

    #[test]
    fn the_id_depends_on_what_is_said_and_on_nothing_else() {
        let id = |news: &BlockNews, now| block_event(news, now).id.to_string();
        let first = id(&news(Some("a")), NOW);
        assert_eq!(first, "f5a83431-7b70-8c9a-8dfb-3b2618b20da6");
        assert_eq!(first, id(&news(Some("other words")), NOW));
        let other = BlockNews { sink: "lake".into(), ..news(Some("a")) };
        let earlier = BlockNews { since: NOW - 1, ..news(Some("a")) };
        let others = [id(&news(None), NOW), id(&news(Some("a")), NOW + 1), id(&other, NOW), id(&earlier, NOW)];
        assert!(!others.contains(&first), "{others:?}");
    }

    #[test]
    fn words_without_end_are_cut_between_characters() {
        let long = block_event(&news(Some(&"ä".repeat(5000))), NOW);
        let record = String::from_utf8(long.record).unwrap();
        assert_eq!(record.matches('ä').count(), 500);
    }
}
