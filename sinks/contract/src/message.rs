//! What travels: one event, encoded, and a batch of them.

use std::{any::Any, fmt, ops::Deref, str::FromStr, sync::Arc};

use bytes::Bytes;

use crate::{Cause, Refusal, SinkError};

/// 128 bits that name one event for ever; written as a UUID of version 8 (RFC 9562 §5.8).
///
/// The same record has the same id in every run, on every machine, at every sink: use it as the destination's
/// idempotency key where it has one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// An id from the first 128 bits of a digest: the six bits that RFC 9562 reserves are set to version 8 and
    /// variant `10`, all others are kept.
    pub fn from_digest(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        EventId(bytes)
    }

    /// True when version and variant are those of RFC 9562's version 8.
    pub fn is_version_8(&self) -> bool {
        self.0[6] >> 4 == 8 && self.0[8] >> 6 == 0b10
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

/// The text is not an event id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAnEventId;

impl fmt::Display for NotAnEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an event id: expected a UUID of version 8, as in 01234567-89ab-8def-8123-456789abcdef")
    }
}

impl std::error::Error for NotAnEventId {}

impl FromStr for EventId {
    type Err = NotAnEventId;

    /// Reads the 36 characters that `Display` writes; capitals are accepted, other forms and versions are not.
    fn from_str(text: &str) -> Result<Self, NotAnEventId> {
        let text = text.as_bytes();
        if text.len() != 36 {
            return Err(NotAnEventId);
        }
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (i, &c) in text.iter().enumerate() {
            if matches!(i, 8 | 13 | 18 | 23) {
                if c != b'-' {
                    return Err(NotAnEventId);
                }
                continue;
            }
            let digit = (c as char).to_digit(16).ok_or(NotAnEventId)? as u8;
            bytes[digits / 2] |= if digits % 2 == 0 { digit << 4 } else { digit };
            digits += 1;
        }
        let id = EventId(bytes);
        if id.is_version_8() { Ok(id) } else { Err(NotAnEventId) }
    }
}

/// How bad the event is for whoever watches, not how bad it is for the agent. OCSF `severity_id` 1 to 5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Nothing to do: the ordinary case.
    Informational,
    /// Worth keeping in view.
    Low,
    /// Worth a look.
    Medium,
    /// Needs a person soon.
    High,
    /// Needs a person now.
    Critical,
}

/// One event, encoded, on its way to one sink.
#[derive(Clone, Debug)]
pub struct Message {
    /// Names the event for ever.
    pub id: EventId,
    /// When it happened, UTC; whole seconds in most records. Never the time of delivery.
    pub time: jiff::Timestamp,
    /// How bad it is for whoever watches.
    pub severity: Severity,
    /// Tenant GUID, lower case, 36 characters.
    pub tenant: Arc<str>,
    /// Product of the catalogue, `power_apps` for example.
    pub product: &'static str,
    /// The operation's name as Microsoft sends it; hostile records can put any text here.
    pub operation: Arc<str>,
    /// Messages with one key should stay in order where the destination has partitions.
    pub partition_key: Arc<str>,
    /// The encoded event: exactly one, never empty. **It holds no line break** (neither LF nor CR, not at its end either), so that a
    /// line-oriented sink ends it with one LF and needs no escaping. Codecs keep this rule; a sink that would break
    /// by a break of it answers [`Refused`](SinkError::Refused). UTF-8 in every codec but `raw`, whose bytes are Microsoft's.
    ///
    /// The bodies of one batch are slices of one buffer: cloning one is cheap, keeping one keeps all of them.
    pub body: Bytes,
}

/// What a sink gets in one call; derefs to `[Message]`. May be empty: then `Ok` at once.
///
/// While it lives it counts against [`Limits::in_hand`](crate::Limits::in_hand): drop it once its bytes are written,
/// also when the call goes on to wait for an acknowledgement.
pub struct Batch {
    messages: Vec<Message>,
    _held: Option<Box<dyn Any + Send + Sync>>,
}

impl Batch {
    /// A batch; `held` is what its end gives back to the agent (a permit), `None` in tests.
    pub fn new(messages: Vec<Message>, held: Option<Box<dyn Any + Send + Sync>>) -> Self {
        Batch { messages, _held: held }
    }

    /// All bodies, each ended by one LF: what a line-oriented sink writes in one go.
    ///
    /// # Errors
    /// [`Refused`](SinkError::Refused) names the messages that hold a line break (a fault of the codec); the others are *untaken*.
    pub fn lines(&self) -> Result<Vec<u8>, SinkError> {
        let broken = |body: &[u8]| body.iter().any(|b| matches!(b, b'\n' | b'\r'));
        let (refused, untaken): (Vec<_>, Vec<_>) = (0..self.len()).partition(|i| broken(&self[*i].body));
        if !refused.is_empty() {
            let cause = Cause::from(
                "the message holds a line break, so it is not one line: please report it, the codec is at fault",
            );
            let refused = refused.into_iter().map(|position| Refusal { position, cause: cause.clone() }).collect();
            return Err(SinkError::Refused { refused, untaken, cause });
        }
        let mut lines = Vec::with_capacity(self.iter().map(|m| m.body.len() + 1).sum());
        for message in self.iter() {
            lines.extend_from_slice(&message.body);
            lines.push(b'\n');
        }
        Ok(lines)
    }
}

impl Deref for Batch {
    type Target = [Message];

    fn deref(&self) -> &[Message] {
        &self.messages
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} messages)", self.messages.len())
    }
}

/// What the bytes are, given to [`SinkKind::check`](crate::SinkKind): a sink that can't carry them refuses there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Format {
    /// Name of the codec: `ocsf`, `raw`, …
    pub codec: &'static str,
    /// Schema and version, `ocsf/1.8.0` for example.
    pub schema: Arc<str>,
    /// Media type of one body, `application/json` for example.
    pub media_type: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_a_uuid_of_version_8_and_read_back() {
        let id = EventId::from_digest([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert_eq!(EventId::from_digest([0; 16]).to_string(), "00000000-0000-8000-8000-000000000000");
        let id = EventId::from_digest(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef");
        assert_eq!(id.to_string(), "01234567-89ab-8def-8123-456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "01234567-89ab-8def-8123-456789abcde",
            "01234567-89ab-4def-8123-456789abcdef",
            "01234567-89ab-8def-c123-456789abcdef",
            "01234567a89ab-8def-8123-456789abcdef",
            "0123456g-89ab-8def-8123-456789abcdef",
            "0123456\u{fc}-89ab-8def-8123-456789abcde",
            "{01234567-89ab-8def-8123-456789abcd}",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(NotAnEventId), "{text}");
        }
    }
}
