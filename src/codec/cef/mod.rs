//! Codec `cef`: ArcSight's Common Event Format, `CEF:0` (CEF Implementation Standard v27), for syslog receivers.
//!
//! Same meaning as codec `ocsf`, in the keys of the CEF dictionary; `docs/cef.md` has the table. The format has no
//! place for a record as a whole: what the dictionary has no key for goes to `cs5` as far as it fits.

mod keys;
mod line;
mod properties;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use auditferry_contract::Severity;
use base64::Engine as _;

use self::{
    keys::Key,
    line::{Line, Size},
};
use super::Codec;
use crate::event::{Event, Outcome, TimeSource, User, identity, time};

/// Version of this mapping, the header's device version. A change that a rule could notice is a new one.
const MAPPING: &str = "1";

/// Longest header fields, in bytes.
const CLASS_ID: usize = 1023;
const NAME: usize = 512;

/// What is tried, one after the other, until an event fits: first the further properties go, then texts are cut, at
/// last only what identifies the event is left. No text is cut shorter than an id.
const SIZES: [Size; 9] = [
    Size { properties: 4_000, longest: usize::MAX, identity_only: false },
    Size { properties: 2_000, longest: usize::MAX, identity_only: false },
    Size { properties: 1_000, longest: usize::MAX, identity_only: false },
    Size { properties: 0, longest: usize::MAX, identity_only: false },
    Size { properties: 0, longest: 1_000, identity_only: false },
    Size { properties: 0, longest: 256, identity_only: false },
    Size { properties: 0, longest: 256, identity_only: true },
    Size { properties: 0, longest: 64, identity_only: true },
    Size { properties: 0, longest: 40, identity_only: true },
];

/// Codec `cef`.
pub(super) struct Cef;

impl Codec for Cef {
    fn name(&self) -> &'static str {
        "cef"
    }

    fn schema(&self) -> Arc<str> {
        Arc::from("cef/0")
    }

    fn media_type(&self) -> &'static str {
        "text/plain; charset=utf-8"
    }

    fn encode(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        write(event, out, SIZES[0]);
    }

    fn encode_within(&self, event: &Event<'_>, limit: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        for size in SIZES {
            write(event, out, size);
            if out.len() - start <= limit {
                return true;
            }
            out.truncate(start);
        }
        false
    }
}

fn write(event: &Event<'_>, out: &mut Vec<u8>, size: Size) {
    let mut line = Line::new(out, size);
    header(&mut line, event);
    times(&mut line, event);
    line.text(keys::ACT, Some(event.operation()));
    line.text(
        keys::OUTCOME,
        match event.outcome() {
            Outcome::Success => Some("Success"),
            Outcome::Failure => Some("Failure"),
            Outcome::Unknown => None,
        },
    );
    line.text(keys::EXTERNAL_ID, Some(&identity::uuid(event.id())));
    line.text(keys::SUSER, event.actor.name.as_deref());
    line.text(keys::SUID, event.actor.uid.as_deref());
    line.text(keys::SPRIV, Some(event.actor.type_name()).filter(|_| event.actor.type_id != 0));
    line.scalar(keys::SRC, event.ip.as_deref().filter(|ip| !ip.contains(':')));
    line.scalar(keys::C6A2, event.ip.as_deref().filter(|ip| ip.contains(':')));
    line.scalar(keys::SPT, event.port);
    line.text(keys::CAT, event.workload.as_deref());
    line.text(keys::PRODUCT, Some(event.product()));
    line.text(keys::TENANT, event.organization());
    line.text(keys::FACILITY, Some(event.context.content_type));
    target(&mut line, event);
    line.text(keys::USER_AGENT, event.user_agent.as_deref());
    line.text(keys::REASON, reason(event).as_deref());
    line.text(keys::REQUEST, event.target.url.as_deref());
    line.text(keys::MSG, Some(&summary(event)));
    line.text(keys::ENVIRONMENT, event.environment());
    line.text(keys::RECORD_TYPE, event.event_code.as_deref());
    line.text(keys::ENVIRONMENT_NAME, event.environment_name().as_deref());
    line.text(keys::CONNECTORS, event.flow_connectors().as_deref());
    match event.unreadable_because() {
        Some(_) => original(&mut line, event.record()),
        None => further(&mut line, event),
    }
    line.text(keys::ORIGINAL_ID, event.original_id.as_deref());
    line.text(keys::CORRELATION, event.correlation.as_deref());
    line.scalar(keys::FETCHED, event.context.fetched.map(|time| time.as_millisecond()));
    line.finish(event.record().len());
}

fn header(line: &mut Line<'_>, event: &Event<'_>) {
    let device = match event.product() {
        "auditferry" => "auditferry|auditferry|",
        "other" => "Microsoft|Microsoft 365|",
        _ => "Microsoft|Power Platform|",
    };
    line.literal("CEF:0|");
    line.literal(device);
    line.literal(MAPPING);
    line.literal("|");
    line.header(event.operation(), CLASS_ID);
    let name = match event.unreadable_because() {
        Some(_) => "Unreadable audit record",
        None => own_title(event).unwrap_or_else(|| event.title()),
    };
    line.header(name, NAME);
    line.literal(match event.severity() {
        Severity::Informational => "1|",
        Severity::Low => "3|",
        Severity::Medium => "5|",
        Severity::High => "7|",
        Severity::Critical => "9|",
    });
}

/// What the agent says itself is in no catalogue.
fn own_title(event: &Event<'_>) -> Option<&'static str> {
    let own = event.product() == "auditferry";
    match event.operation() {
        "AuditGapOpened" if own => Some("Audit gap opened"),
        "AuditGapGrown" if own => Some("Audit gap grown"),
        "AuditGapClosed" if own => Some("Audit gap closed"),
        "AuditSinkBlocked" if own => Some("Sink blocked"),
        "AuditSinkUnblocked" if own => Some("Sink takes events again"),
        _ => None,
    }
}

/// `rt` always; `start` only when the record itself tells the time, so that an inexact one is known by its absence. A
/// gap has the window that it covers.
fn times(line: &mut Line<'_>, event: &Event<'_>) {
    let own =
        |name| event.fields.text(name).filter(|_| event.product() == "auditferry").and_then(|text| time::parse(&text));
    line.scalar(keys::RT, Some(event.time().as_millisecond()));
    let told = (event.time_source() == TimeSource::Record).then(|| event.time());
    line.scalar(keys::START, own("From").or(told).map(|time| time.as_millisecond()));
    line.scalar(keys::END, own("To").map(|time| time.as_millisecond()));
}

/// What was acted on, who was given or lost what, where.
fn target(line: &mut Line<'_>, event: &Event<'_>) {
    line.text(keys::FNAME, event.target.name.as_deref());
    line.text(keys::FILE_ID, event.target.uid.as_deref());
    line.text(keys::FILE_TYPE, Some(event.target.kind));
    line.text(keys::DUSER, event.grantee.name.as_deref());
    line.text(keys::DUID, event.grantee.uid.as_deref());
    let privileges = event.privileges.join(", ");
    line.text(keys::DPRIV, Some(&privileges));
    line.text(keys::DHOST, event.instance_host());
}

/// Why it failed, or what came of it when that is neither success nor failure.
fn reason<'e>(event: &'e Event<'_>) -> Option<Cow<'e, str>> {
    let own = || event.fields.text("Reason").filter(|_| event.product() == "auditferry");
    match event.outcome() {
        Outcome::Success => None,
        Outcome::Failure | Outcome::Unknown => own().or_else(|| event.detail().map(Into::into)),
    }
}

/// One sentence for a person: what, on what, by whom, for whom, where.
fn summary(event: &Event<'_>) -> String {
    let mut text = own_title(event).unwrap_or_else(|| event.title()).to_owned();
    let mut say = |before: &str, what: Option<&str>| {
        if let Some(what) = what {
            // writing to a String can't fail
            let _ = write!(text, "{before}{what}");
        }
    };
    let named = |user: &User<'_>| user.name.as_deref().or(user.uid.as_deref()).map(str::to_owned);
    let target = event.target.name.as_deref().or(event.target.uid.as_deref());
    say(": ", Some(event.target.kind).filter(|kind| target.is_some() && !kind.is_empty()));
    say(if event.target.kind.is_empty() { ": " } else { " " }, target);
    say(", by ", named(&event.actor).as_deref());
    say(", for ", named(&event.grantee).as_deref());
    say(", in environment ", event.environment_name().as_deref().or(event.environment()));
    say(", on ", event.instance_host());
    say(", because: ", reason(event).as_deref());
    text
}

/// What the record says beyond the keys of the dictionary.
fn further(line: &mut Line<'_>, event: &Event<'_>) {
    let properties = properties::write(event, line.size.properties);
    if let Some(json) = &properties.json {
        line.whole(keys::PROPERTIES, json);
    }
    if !properties.all {
        line.shorten(keys::PROPERTIES);
    }
}

/// The beginning of what could not be read: as text, or, when it is none, in base64.
fn original(line: &mut Line<'_>, record: &[u8]) {
    let most = line.size.properties;
    let (key, text): (Key, _) = match std::str::from_utf8(record) {
        Ok(text) => (keys::RECORD, text.into()),
        Err(_) => {
            let head = &record[..record.len().min(most / 4 * 3)];
            (keys::RECORD_BASE64, Cow::Owned(base64::engine::general_purpose::STANDARD.encode(head)))
        }
    };
    if most == 0 {
        return line.shorten(key);
    }
    line.text_within(key, &text, most);
    if key.label == keys::RECORD_BASE64.label && record.len() > most / 4 * 3 {
        line.shorten(key);
    }
}
