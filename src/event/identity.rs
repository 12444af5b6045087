//! The name that a record keeps for ever, computed from nothing but the record.
//!
//! The rule and its vectors are in `docs/identity.md`; a change of one byte is a new rule version. It runs on every
//! record at fetch, so the canonical form is written in one pass over the text, without a tree.

use std::borrow::Cow;

use auditferry_contract::EventId;
use sha2::{Digest, Sha256};

use super::{
    Unreadable,
    json::{Scanner, Text},
    time,
};

/// First byte of everything that is hashed.
pub const RULE_VERSION: u8 = 1;

/// What `fetch` stores beside a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The event's name: SHA-256 cut to 128 bits, as a UUID of version 8.
    pub id: EventId,
    /// `CreationTime` in Unix seconds; 0 when it is missing or unreadable.
    pub second: i64,
    /// False when the record has no `Id`: such a record is never taken for a copy of another.
    pub deduplicable: bool,
}

/// The identity of one record of `tenant`, found in the content `content_id`.
///
/// `nth` counts records without `Id` that are alike within one content. Call with 0; when the answer is not
/// `deduplicable` and this content gave the same id before, call again with how often it did.
///
/// # Errors
/// The record is not a JSON object, is nested deeper than 128 or longer than 16 MiB: use [`identify_unreadable`].
pub fn identify(record: &[u8], tenant: &str, content_id: &str, nth: u32) -> Result<Identity, Unreadable> {
    let mut scanner = Scanner::new(record)?;
    if scanner.peek() != Some(b'{') {
        // tells text that is no JSON at all from JSON of another kind
        scanner.value(0)?;
        scanner.end()?;
        return Err(Unreadable::NotAnObject);
    }
    let mut form = Form { out: Vec::with_capacity(record.len() + 256), spare: Vec::new() };
    let mut named = Named::default();
    form.object(&mut scanner, 0, Some(&mut named))?;
    scanner.end()?;

    let second = named.time.as_deref().and_then(time::parse).map_or(0, |t| t.as_second());
    let tenant = tenant.trim().to_ascii_lowercase();
    let mut hash = match &named.id {
        Some(id) if !id.is_empty() => {
            let mut hash = Hash::new(b'r', &tenant);
            hash.field(Some(id.as_bytes()));
            for part in [&named.record_type, &named.operation, &named.time] {
                hash.field(part.as_deref().map(str::as_bytes));
            }
            hash
        }
        _ => {
            let mut hash = Hash::new(b'n', &tenant);
            hash.field(Some(content_id.as_bytes()));
            hash.0.update(nth.to_be_bytes());
            hash
        }
    };
    hash.field(Some(&form.out));
    Ok(Identity { id: hash.id(), second, deduplicable: named.id.is_some_and(|id| !id.is_empty()) })
}

/// The identity of bytes that [`identify`] refuses; the same for the same bytes of the same content.
pub fn identify_unreadable(bytes: &[u8], tenant: &str, content_id: &str, nth: u32) -> Identity {
    let mut hash = Hash::new(b'u', &tenant.trim().to_ascii_lowercase());
    hash.field(Some(content_id.as_bytes()));
    hash.0.update(nth.to_be_bytes());
    hash.field(Some(bytes));
    Identity { id: hash.id(), second: 0, deduplicable: false }
}

/// The 36 characters of a UUID.
pub fn uuid(id: EventId) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in id.0.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}

struct Hash(Sha256);

impl Hash {
    fn new(kind: u8, tenant: &str) -> Self {
        let mut hash = Hash(Sha256::new());
        hash.0.update([RULE_VERSION, kind]);
        hash.field(Some(tenant.as_bytes()));
        hash
    }

    /// Each field carries its length, so that no two lists of fields look alike; an absent one has its own mark.
    fn field(&mut self, field: Option<&[u8]>) {
        match field {
            Some(bytes) => {
                self.0.update(length(bytes.len()));
                self.0.update(bytes);
            }
            None => self.0.update([0xff; 4]),
        }
    }

    fn id(self) -> EventId {
        let digest = self.0.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        id[6] = (id[6] & 0x0f) | 0x80;
        id[8] = (id[8] & 0x3f) | 0x80;
        EventId(id)
    }
}

/// Lengths are below 2^32 - 1, since records are at most 16 MiB.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX - 1).to_be_bytes()
}

/// The texts of the outermost members that are part of the first parts.
#[derive(Default)]
struct Named<'a> {
    id: Option<Cow<'a, str>>,
    record_type: Option<Cow<'a, str>>,
    operation: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
}

impl<'a> Named<'a> {
    /// Of duplicate keys the text that sorts first, so that the order of keys can't change it.
    fn offer(&mut self, key: &str, text: Cow<'a, str>) {
        let slot = match key {
            "Id" => &mut self.id,
            "RecordType" => &mut self.record_type,
            "Operation" => &mut self.operation,
            "CreationTime" => &mut self.time,
            _ => return,
        };
        if slot.as_ref().is_none_or(|old| text < *old) {
            *slot = Some(text);
        }
    }
}

/// Writes the canonical form: `s` length text, `a` count elements, `o` count (length key, value)…
struct Form {
    out: Vec<u8>,
    spare: Vec<u8>,
}

/// Where one child lies in `out`: start, end of its key (for elements: the start), end.
type Span = (usize, usize, usize);

impl Form {
    /// Writes one value; false, and nothing written, for `null`.
    fn value<'a>(&mut self, scanner: &mut Scanner<'a>, depth: usize) -> Result<bool, Unreadable> {
        match scanner.peek() {
            Some(b'{') => self.object(scanner, depth, None)?,
            Some(b'[') => self.array(scanner, depth)?,
            Some(b'"') => self.scalar(&scanner.string()?.decode()),
            _ => match scanner.literal()? {
                "null" => return Ok(false),
                text => self.scalar(text),
            },
        }
        Ok(true)
    }

    fn scalar(&mut self, text: &str) {
        self.out.push(b's');
        self.out.extend(length(text.len()));
        self.out.extend(text.as_bytes());
    }

    fn object<'a>(
        &mut self,
        scanner: &mut Scanner<'a>,
        depth: usize,
        mut named: Option<&mut Named<'a>>,
    ) -> Result<(), Unreadable> {
        let start = self.open(b'o');
        let mut spans: Vec<Span> = Vec::new();
        scanner.object(depth, |scanner, key: Text<'a>| {
            let key = key.decode();
            if key.starts_with("@odata.") {
                return scanner.value(depth + 1).map(drop);
            }
            let from = self.out.len();
            self.out.extend(length(key.len()));
            self.out.extend(key.as_bytes());
            let value = self.out.len();
            let written = match (&mut named, scanner.peek()) {
                (Some(named), Some(first)) if !matches!(first, b'{' | b'[' | b'n') => {
                    let text = if first == b'"' { scanner.string()?.decode() } else { scanner.literal()?.into() };
                    self.scalar(&text);
                    named.offer(&key, text);
                    true
                }
                _ => self.value(scanner, depth + 1)?,
            };
            if written {
                spans.push((from, value, self.out.len()));
            } else {
                self.out.truncate(from);
            }
            Ok(())
        })?;
        // by key, then by the form of the value; the four bytes of length before the key don't take part
        self.arrange(start, spans, |out, (from, value, to)| (&out[from + 4..value], &out[value..to]));
        Ok(())
    }

    fn array(&mut self, scanner: &mut Scanner<'_>, depth: usize) -> Result<(), Unreadable> {
        let start = self.open(b'a');
        let mut spans: Vec<Span> = Vec::new();
        scanner.array(depth, |scanner| {
            let from = self.out.len();
            if self.value(scanner, depth + 1)? {
                spans.push((from, from, self.out.len()));
            }
            Ok(())
        })?;
        self.arrange(start, spans, |out, (from, _, to)| (&[], &out[from..to]));
        Ok(())
    }

    /// Writes a tag and room for a count; gives the position after them.
    fn open(&mut self, tag: u8) -> usize {
        self.out.extend([tag, 0, 0, 0, 0]);
        self.out.len()
    }

    /// Writes the count before the children, which lie in `out` from `start`, and sorts them. Sorted ones stay where
    /// they are: otherwise a deeply nested record would be copied once a level.
    fn arrange(
        &mut self,
        start: usize,
        mut spans: Vec<Span>,
        key: impl for<'o> Fn(&'o [u8], Span) -> (&'o [u8], &'o [u8]),
    ) {
        self.out[start - 4..start].copy_from_slice(&length(spans.len()));
        if spans.is_sorted_by(|a, b| key(&self.out, *a) <= key(&self.out, *b)) {
            return;
        }
        spans.sort_unstable_by(|a, b| key(&self.out, *a).cmp(&key(&self.out, *b)));
        self.spare.clear();
        for (from, _, to) in spans {
            self.spare.extend(&self.out[from..to]);
        }
        self.out.truncate(start);
        self.out.extend(&self.spare);
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
