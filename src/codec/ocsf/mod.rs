//! Codec `ocsf`: the Open Cybersecurity Schema Framework, 1.8.0.
//!
//! Class and activity come from the catalogue; an operation that it does not know is API Activity, an unreadable record
//! a Base Event. What a class requires and the record does not tell is filled with the word `unknown` and named in
//! `metadata.labels` (`grantee:unknown`), so that nobody takes it for a fact.

mod application;
mod iam;
mod parts;
mod unmapped;

use std::sync::Arc;

use super::{
    Codec, CodecOptions,
    json::{WHOLE, Writer},
};
use crate::event::{Event, Outcome};

/// The version of the schema that is written.
const VERSION: &str = "1.8.0";

/// Longest texts that are tried, one after the other, when an event does not fit. None is shorter than an id.
const CUTS: [usize; 5] = [16_384, 4_096, 1_024, 256, 64];

/// Codec `ocsf`.
pub(super) struct Ocsf {
    options: CodecOptions,
}

impl Ocsf {
    pub(super) fn new(options: CodecOptions) -> Self {
        Ocsf { options }
    }
}

impl Codec for Ocsf {
    fn name(&self) -> &'static str {
        "ocsf"
    }

    fn schema(&self) -> Arc<str> {
        Arc::from("ocsf/1.8.0")
    }

    fn media_type(&self) -> &'static str {
        "application/json"
    }

    fn encode(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        write(event, out, Size { raw_data: self.options.raw_data, flattened: true, longest: WHOLE });
    }

    fn encode_within(&self, event: &Event<'_>, limit: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let whole = Size { raw_data: self.options.raw_data, flattened: true, longest: WHOLE };
        let without_copy = Size { raw_data: false, ..whole };
        // leaving out what stands in the event twice loses nothing; cutting a text does, and is marked
        let once = Size { flattened: false, ..without_copy };
        let cut = CUTS.map(|longest| Size { longest, ..once });
        for size in [whole, without_copy, once].into_iter().chain(cut) {
            write(event, out, size);
            if out.len() - start <= limit {
                return true;
            }
            out.truncate(start);
        }
        false
    }
}

/// How much of an event is written.
#[derive(Clone, Copy)]
struct Size {
    /// The record as text.
    raw_data: bool,
    /// The property bag by name, beside the list that the record has.
    flattened: bool,
    /// Longest text, in bytes.
    longest: usize,
}

/// Class, activity and their captions.
struct Kind {
    class_uid: u16,
    class_name: &'static str,
    activity_id: u8,
    /// None: the operation's own name.
    activity_name: Option<&'static str>,
}

fn kind(event: &Event<'_>) -> Kind {
    let (class_uid, activity_id, activity_name) = match event.known {
        _ if event.unreadable.is_some() => (0, 99, None),
        Some(known) if known.activity_id == 99 => (known.class_uid, 99, None),
        Some(known) => (known.class_uid, known.activity_id, Some(known.activity_name)),
        None => (6003, 99, None),
    };
    let class_name = match class_uid {
        0 => "Base Event",
        3001 => "Account Change",
        3002 => "Authentication",
        3004 => "Entity Management",
        3005 => "User Access Management",
        3006 => "Group Management",
        6001 => "Web Resources Activity",
        6002 => "Application Lifecycle",
        6005 => "Datastore Activity",
        _ => "API Activity",
    };
    Kind { class_uid, class_name, activity_id, activity_name }
}

fn write(event: &Event<'_>, out: &mut Vec<u8>, size: Size) {
    let kind = kind(event);
    let mut writer = Writer::new(out, size.longest);
    writer.object(|w| {
        head(w, event, &kind);
        let labels = match kind.class_uid {
            0 => Vec::new(),
            3002 => iam::authentication(w, event),
            3005 => iam::user_access(w, event),
            3006 => iam::group(w, event),
            3004 => iam::entity(w, event),
            6001 => application::web_resources(w, event),
            6002 => application::lifecycle(w, event),
            6005 => application::datastore(w, event),
            _ => application::api_activity(w, event),
        };
        parts::metadata(w, event, &kind, &labels, size.longest != WHOLE);
        parts::cloud(w, event);
        parts::api(w, event);
        unmapped::write(w, event, size.flattened);
        if size.raw_data
            && event.unreadable.is_none()
            && let Ok(text) = std::str::from_utf8(event.record())
        {
            w.text("raw_data", text);
            w.int("raw_data_size", i64::try_from(text.len()).unwrap_or(i64::MAX));
        }
    });
}

/// What every class begins with.
fn head(w: &mut Writer<'_>, event: &Event<'_>, kind: &Kind) {
    w.int("time", event.time().as_millisecond());
    w.int("class_uid", i64::from(kind.class_uid));
    w.text("class_name", kind.class_name);
    let (category_uid, category_name) = match kind.class_uid / 1000 {
        3 => (3, "Identity & Access Management"),
        6 => (6, "Application Activity"),
        _ => (0, "Uncategorized"),
    };
    w.int("category_uid", category_uid);
    w.text("category_name", category_name);
    w.int("activity_id", i64::from(kind.activity_id));
    let activity = kind.activity_name.unwrap_or_else(|| event.operation());
    w.text("activity_name", activity);
    w.int("type_uid", i64::from(kind.class_uid) * 100 + i64::from(kind.activity_id));
    w.text("type_name", &format!("{}: {activity}", kind.class_name));
    let (severity_id, severity) = parts::severity(event.severity());
    w.int("severity_id", severity_id);
    w.text("severity", severity);
    let (status_id, status) = match event.outcome() {
        Outcome::Success => (1, "Success"),
        Outcome::Failure => (2, "Failure"),
        Outcome::Unknown => (0, "Unknown"),
    };
    w.int("status_id", status_id);
    w.text("status", status);
    w.maybe("status_detail", event.detail());
    w.int("timezone_offset", 0);
    w.text("message", event.title());
}
