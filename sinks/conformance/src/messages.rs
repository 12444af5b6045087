//! Messages for tests.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use auditferry_contract::{Batch, EventId, Limits, Message, Severity};
use bytes::Bytes;

/// A message with this body; `number` makes its id.
pub fn message(number: usize, body: impl Into<Bytes>) -> Message {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&(number as u64).to_be_bytes());
    Message {
        id: EventId::from_digest(id),
        time: jiff::Timestamp::UNIX_EPOCH,
        severity: Severity::Informational,
        tenant: Arc::from("41463f53-8812-40f4-890f-865bf6e35190"),
        product: "power_apps",
        operation: Arc::from("CreatePowerApp"),
        partition_key: Arc::from("conformance"),
        body: body.into(),
    }
}

/// A batch of these bodies, slices of one buffer, as the agent makes them.
pub fn batch(bodies: &[Vec<u8>]) -> Batch {
    Batch::new(slices(bodies), None)
}

/// A batch, and a flag that turns true when the sink has dropped it.
pub fn watched_batch(bodies: &[Vec<u8>]) -> (Batch, Arc<AtomicBool>) {
    struct Flag(Arc<AtomicBool>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    (Batch::new(slices(bodies), Some(Box::new(Flag(dropped.clone())))), dropped)
}

/// A batch that gives something back when it is dropped, a permit for example.
pub(crate) fn held_batch(bodies: &[Vec<u8>], held: Option<Box<dyn Any + Send + Sync>>) -> Batch {
    Batch::new(slices(bodies), held)
}

fn slices(bodies: &[Vec<u8>]) -> Vec<Message> {
    let buffer = Bytes::from(bodies.concat());
    let mut at = 0;
    let mut messages = Vec::new();
    for (number, body) in bodies.iter().enumerate() {
        messages.push(message(number, buffer.slice(at..at + body.len())));
        at += body.len();
    }
    messages
}

/// Every character that can stand in a message, up to some thousand to each body: all of Unicode but the control characters,
/// which JSON escapes. Line separators of Unicode (U+0085, U+2028, U+2029) are among them: they are no line breaks here.
///
/// No body is longer than `limit` bytes: four for each character, and what stands around them.
pub(crate) fn all_of_unicode(limit: usize) -> Vec<Vec<u8>> {
    let part = ((limit - 16) / 4).clamp(1, 4096);
    let characters: Vec<char> = ('\u{20}'..=char::MAX).filter(|c| !matches!(c, '"' | '\\')).collect();
    characters
        .chunks(part)
        .map(|part| format!("{{\"text\":\"{}\"}}", part.iter().collect::<String>()).into_bytes())
        .collect()
}

/// `count` small bodies, all different.
pub(crate) fn small(label: &str, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("{{\"case\":\"{label}\",\"n\":{n}}}").into_bytes()).collect()
}

/// A body of exactly `bytes` bytes, at least 100.
pub(crate) fn padded(label: &str, number: usize, bytes: usize) -> Vec<u8> {
    let start = format!("{{\"case\":\"{label}\",\"n\":{number},\"text\":\"");
    let fill = bytes.saturating_sub(start.len() + 2);
    format!("{start}{}\"}}", "x".repeat(fill)).into_bytes()
}

/// The bodies in batches that keep the limits, as the agent cuts them.
pub(crate) fn cut<'a>(bodies: &'a [Vec<u8>], limits: &Limits) -> Vec<&'a [Vec<u8>]> {
    let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (i, body) in bodies.iter().enumerate() {
        if i > start && (i - start == limits.batch_messages || bytes + body.len() > limits.batch_bytes) {
            batches.push(&bodies[start..i]);
            (start, bytes) = (i, 0);
        }
        bytes += body.len();
    }
    batches.push(&bodies[start..]);
    batches
}
