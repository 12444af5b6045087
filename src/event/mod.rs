//! From a record, as Microsoft sent it, to an event in the common schema.
//!
//! Pure: no time, no network, no store. An [`Event`] borrows from the record's bytes; no tree of values is built. What
//! the families (one file each) do not know stays in the record's members and goes out as unmapped.

mod admin;
mod bag;
pub mod catalogue;
mod envelope;
mod fields;
pub mod identity;
pub(crate) mod json;
mod model;
mod power_apps;
mod power_automate;
pub(crate) mod time;

use std::borrow::Cow;

pub(crate) use self::{fields::Fields, model::User};
pub use self::{
    json::{MAX_BYTES, MAX_DEPTH},
    model::{Context, Event, Outcome, TimeSource},
};

/// Why a record can't be looked into. It is delivered as it came, as an unreadable event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not UTF-8.
    #[error("not UTF-8 from byte {at} on")]
    NotUtf8 {
        /// First byte that is not.
        at: usize,
    },
    /// Not JSON.
    #[error("not JSON: expected {expected} at byte {at}")]
    NotJson {
        /// Offset in bytes.
        at: usize,
        /// What JSON asks for there.
        expected: &'static str,
    },
    /// JSON, but no object.
    #[error("JSON, but not an object")]
    NotAnObject,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than 128")]
    TooDeep,
    /// Longer than [`MAX_BYTES`].
    #[error("{bytes} bytes long, more than 16 MiB")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
}

/// Reads a record into an event.
///
/// # Errors
/// The record can't be looked into; [`unreadable`] makes an event of it.
///
/// # Panics
/// With feature `testing`, when `Operation` holds `auditferry-test-panic`: the switch that proves that a panic inside
/// a record stays inside that record.
pub fn read<'a>(record: &'a [u8], context: &Context<'a>) -> Result<Event<'a>, Unreadable> {
    let fields = Fields::read(record)?;
    #[cfg(feature = "testing")]
    if fields.text("Operation").is_some_and(|name| name.contains("auditferry-test-panic")) {
        panic!("a record asked for this panic");
    }
    let mut event = Event::new(record, *context, fields);
    envelope::common(&mut event);
    // which family: by record type, and by workload where that is missing or new to us
    let code = event.record_type.filter(|code| catalogue::is_power_platform_record_type(*code));
    match (code, event.workload.as_deref()) {
        (Some(30), _) | (None, Some("MicrosoftFlow")) => power_automate::read(&mut event),
        (Some(45 | 46), _) | (None, Some("PowerApps")) => power_apps::read(&mut event),
        (Some(256), _) | (None, Some("PowerPlatform")) => admin::read(&mut event),
        _ => envelope::read(&mut event),
    }
    envelope::finish(&mut event);
    Ok(event)
}

/// The event of a record that can't be looked into, or in which mapping panicked. It holds the original.
pub fn unreadable<'a>(record: &'a [u8], context: &Context<'a>, reason: &str) -> Event<'a> {
    let mut event = Event::new(record, *context, Fields::default());
    event.product = "other";
    event.operation = Cow::Borrowed("unreadable");
    event.unreadable = Some(reason.to_owned());
    event
}

/// What `select` looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peek<'a> {
    /// `RecordType`, a number or a number in a string.
    pub record_type: Option<i64>,
    /// `Workload`.
    pub workload: Option<Cow<'a, str>>,
    /// `Operation`, as on the wire.
    pub operation: Option<Cow<'a, str>>,
}

/// Looks at three members without keeping the rest. All empty for a record that can't be read.
pub fn peek(record: &[u8]) -> Peek<'_> {
    let mut peek = Peek::default();
    let walk = || -> Result<Peek<'_>, Unreadable> {
        let mut scanner = json::Scanner::new(record)?;
        scanner.object(0, |scanner, key| {
            let key = key.decode();
            let value = scanner.value(1)?;
            match &*key {
                "RecordType" => {
                    peek.record_type = peek.record_type.or(value.text().and_then(|t| t.trim().parse().ok()))
                }
                "Workload" => peek.workload = peek.workload.take().or(value.text()),
                "Operation" => peek.operation = peek.operation.take().or(value.text()),
                _ => {}
            }
            Ok(())
        })?;
        scanner.end()?;
        Ok(peek)
    };
    walk().unwrap_or_default()
}

/// The record's own word on its tenant, `OrganizationId`: for records that come without a configured tenant.
pub fn organization(record: &[u8]) -> Option<String> {
    Fields::read(record).ok()?.text("OrganizationId").map(Cow::into_owned)
}

#[cfg(test)]
mod tests;
