//! Writes one line of CEF: the seven fields of the header, then pairs of key and value.
//!
//! Whatever a text holds, it stays the value of its key: what would end a field or start another one is escaped or
//! replaced (CEF Implementation Standard v27, "Character Encoding"), and the line has no line break. Reading the line
//! gives the text back, but for what [`plain`] replaces, white space at its end, which readers drop, and what is cut.

use super::keys::{self, Key};

/// Stands at the end of a text that was cut.
const CUT: char = '…';

/// How much of an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Most bytes of the record's further properties; none at 0.
    pub(super) properties: usize,
    /// Longest text, in bytes.
    pub(super) longest: usize,
    /// Without what is no part of [`Key::identity`].
    pub(super) identity_only: bool,
}

/// A line under construction.
pub(super) struct Line<'o> {
    out: &'o mut Vec<u8>,
    pub(super) size: Size,
    /// Nothing stands behind the header yet; the standard's own lines have no space after the last pipe.
    first: bool,
    /// Keys whose text was cut or left out.
    shortened: Vec<&'static str>,
}

/// A character as it goes into a value, before escaping.
///
/// Controls have no place in a line that people read on terminals: those of ASCII become the pictures that Unicode has
/// for them, those of Latin-1 (U+009B starts an escape sequence) U+FFFD. The three further line breaks of Unicode become
/// line feeds, which the format can escape: some readers would take them for the end of the line.
fn plain(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => c,
        '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
        '\0'..' ' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(' '),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// True for what [`plain`] replaces.
pub(super) fn is_replaced(c: char) -> bool {
    plain(c) != c
}

/// A character of the header, where a line break can't be escaped.
fn plain_in_header(c: char) -> char {
    if c == '\t' || c == '\n' || c == '\r' || is_replaced(c) { ' ' } else { c }
}

/// Without the white space at the end, which readers drop. Line breaks stay: they are escaped.
fn trimmed(text: &str) -> &str {
    text.trim_end_matches(|c| !matches!(plain(c), '\n' | '\r') && plain(c).is_whitespace())
}

impl<'o> Line<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, size: Size) -> Self {
        Line { out, size, first: true, shortened: Vec::new() }
    }

    /// Bytes that come from this program.
    pub(super) fn literal(&mut self, text: &str) {
        self.out.extend(text.as_bytes());
    }

    /// A field of the header, of at most `most` bytes, and its pipe.
    pub(super) fn header(&mut self, text: &str, most: usize) {
        let most = most.min(self.size.longest);
        let text = text.trim_matches(|c: char| c.is_whitespace() || plain_in_header(c) == ' ');
        // no field of the header may be missing
        let text = if text.is_empty() { "unknown" } else { text };
        self.cut_to(text, most, plain_in_header, |out, c| match c {
            '\\' => out.extend(b"\\\\"),
            '|' => out.extend(b"\\|"),
            c => push(out, c),
        });
        self.out.push(b'|');
    }

    /// A text under its key; nothing when there is none.
    pub(super) fn text(&mut self, key: Key, text: Option<&str>) {
        let Some(text) = text.map(trimmed).filter(|text| !text.is_empty()) else { return };
        if !self.left_out(key) {
            self.value(key, text, key.most().min(self.size.longest));
        }
    }

    /// Like [`Line::text`], of at most `most` bytes, whatever the size of the other texts.
    pub(super) fn text_within(&mut self, key: Key, text: &str, most: usize) {
        let text = trimmed(text);
        if !text.is_empty() {
            self.value(key, text, key.most().min(most));
        }
    }

    /// A text that is at most as long as its key allows and has no part that could be cut off.
    pub(super) fn whole(&mut self, key: Key, text: &str) {
        self.value(key, text, usize::MAX);
    }

    fn value(&mut self, key: Key, text: &str, most: usize) {
        self.key(key.name);
        let cut = self.cut_to(text, most, plain, |out, c| match c {
            '\\' => out.extend(b"\\\\"),
            '=' => out.extend(b"\\="),
            '\r' => out.extend(b"\\r"),
            '\n' => out.extend(b"\\n"),
            c => push(out, c),
        });
        if cut {
            self.shorten(key);
        }
        self.label(key);
    }

    /// A number, a time in milliseconds or an address.
    pub(super) fn scalar(&mut self, key: Key, value: Option<impl std::fmt::Display>) {
        let Some(value) = value else { return };
        if !self.left_out(key) {
            self.key(key.name);
            self.literal(&value.to_string());
            self.label(key);
        }
    }

    /// Notes that the text of this key is not all there.
    pub(super) fn shorten(&mut self, key: Key) {
        self.shortened.push(key.name);
    }

    /// Ends the line: which keys are not all there, and how long the record is.
    pub(super) fn finish(mut self, record_bytes: usize) {
        if !self.shortened.is_empty() {
            let names = std::mem::take(&mut self.shortened).join(",");
            self.scalar(keys::RECORD_BYTES, Some(record_bytes));
            self.text(keys::SHORTENED, Some(&names));
        }
    }

    fn left_out(&mut self, key: Key) -> bool {
        let left_out = self.size.identity_only && !key.identity;
        if left_out {
            self.shorten(key);
        }
        left_out
    }

    fn key(&mut self, name: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b' ');
        }
        self.literal(name);
        self.out.push(b'=');
    }

    fn label(&mut self, key: Key) {
        if let Some(label) = key.label {
            self.key(&format!("{}Label", key.name));
            self.literal(label);
        }
    }

    /// Writes at most `most` bytes of the text, counted as a reader gives them back: cut between characters and before
    /// escaping, so no escape sequence is ever torn. True when it was cut.
    fn cut_to(&mut self, text: &str, most: usize, plain: fn(char) -> char, write: fn(&mut Vec<u8>, char)) -> bool {
        let length = |c: char| plain(c).len_utf8();
        // a replacement takes up to three bytes, so a text of a third surely fits
        let mut measured = 0_usize;
        let mut within = |c| {
            measured += length(c);
            measured <= most
        };
        let fits = text.len() <= most / 3 || text.chars().all(&mut within);
        let mut room = if fits { usize::MAX } else { most.saturating_sub(CUT.len_utf8()) };
        for c in text.chars() {
            let Some(left) = room.checked_sub(length(c)) else { break };
            room = left;
            write(self.out, plain(c));
        }
        if !fits {
            push(self.out, CUT);
        }
        !fits
    }
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
}
