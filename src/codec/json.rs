//! Writes one line of JSON, byte by byte.
//!
//! Whatever a record holds, what comes out is one line, valid UTF-8 and valid JSON, with the members that the codec
//! wrote and no others: quotes, backslashes and control characters inside texts are escaped, a lone surrogate (legal
//! in JSON, refused by most readers) becomes U+FFFD, a number beyond a double is written as text.

use crate::event::json::Raw;

/// Longest text written whole when nothing has to be cut.
pub(super) const WHOLE: usize = usize::MAX;

/// A JSON text under construction.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Where this text begins: `out` may hold others before it.
    start: usize,
    /// Texts longer than this many bytes are cut.
    longest: usize,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, longest: usize) -> Self {
        let start = out.len();
        Writer { out, start, longest }
    }

    fn comma(&mut self) {
        if !matches!(self.out[self.start..].last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }

    /// `"key":`, with a comma before it where one is needed.
    pub(super) fn key(&mut self, key: &str) {
        self.comma();
        self.quoted(key);
        self.out.push(b':');
    }

    /// Writes `{`, what `inside` writes, `}`.
    pub(super) fn object(&mut self, inside: impl FnOnce(&mut Self)) {
        self.comma();
        self.out.push(b'{');
        inside(self);
        self.out.push(b'}');
    }

    /// Writes `[`, what `inside` writes, `]`.
    pub(super) fn array(&mut self, inside: impl FnOnce(&mut Self)) {
        self.comma();
        self.out.push(b'[');
        inside(self);
        self.out.push(b']');
    }

    /// A member that is an object.
    pub(super) fn member(&mut self, key: &str, inside: impl FnOnce(&mut Self)) {
        self.key(key);
        self.object(inside);
    }

    /// A member that is a list of texts.
    pub(super) fn texts<'t>(&mut self, key: &str, texts: impl IntoIterator<Item = &'t str>) {
        self.key(key);
        self.array(|w| texts.into_iter().for_each(|text| w.value(text)));
    }

    /// A member that is a text.
    pub(super) fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        self.value(text);
    }

    /// A member that is a text, when there is one.
    pub(super) fn maybe(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    /// A member that is an integer.
    pub(super) fn int(&mut self, key: &str, number: i64) {
        self.key(key);
        self.out.extend(number.to_string().as_bytes());
    }

    /// A member that is true.
    pub(super) fn yes(&mut self, key: &str) {
        self.key(key);
        self.out.extend(b"true");
    }

    /// A text as a value, cut if it must be.
    pub(super) fn value(&mut self, text: &str) {
        self.comma();
        let text = self.within(text);
        self.quoted(text);
    }

    /// Whether a text would be written whole.
    pub(super) fn fits(&self, text: &str) -> bool {
        text.len() <= self.longest
    }

    fn within<'t>(&mut self, text: &'t str) -> &'t str {
        if self.fits(text) {
            return text;
        }
        let mut end = self.longest;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        &text[..end]
    }

    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        let bytes = text.as_bytes();
        let mut from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if !matches!(byte, b'"' | b'\\' | 0..0x20) {
                continue;
            }
            self.out.extend(&bytes[from..at]);
            from = at + 1;
            match byte {
                b'"' => self.out.extend(b"\\\""),
                b'\\' => self.out.extend(b"\\\\"),
                b'\n' => self.out.extend(b"\\n"),
                b'\r' => self.out.extend(b"\\r"),
                b'\t' => self.out.extend(b"\\t"),
                other => {
                    let hex = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 15)];
                    self.out.extend([b'\\', b'u', b'0', b'0', hex(other >> 4), hex(*other)]);
                }
            }
        }
        self.out.extend(&bytes[from..]);
        self.out.push(b'"');
    }

    /// Copies a checked JSON value: without white space between tokens, with sound strings and numbers.
    pub(super) fn copy(&mut self, raw: &str) {
        self.comma();
        let bytes = raw.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => at += 1,
                b'"' => {
                    let end = string_end(bytes, at);
                    // a colon after it makes it a key, which is never cut
                    let key = bytes[end..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':');
                    self.string(&raw[at..end], key);
                    at = end;
                }
                b'-' | b'0'..=b'9' => {
                    let length =
                        bytes[at..].iter().take_while(|b| !matches!(b, b',' | b']' | b'}') && !b.is_ascii_whitespace());
                    let end = at + length.count();
                    self.number(&raw[at..end]);
                    at = end;
                }
                other => {
                    self.out.push(*other);
                    at += 1;
                }
            }
        }
    }

    fn number(&mut self, text: &str) {
        if text.len() <= 17 && !text.contains(['e', 'E']) || text.parse::<f64>().is_ok_and(f64::is_finite) {
            self.out.extend(text.as_bytes());
        } else {
            let text = self.within(text);
            self.quoted(text);
        }
    }

    /// A string with its quotes, as it stands in a record. Escapes are written anew, in the one way of this writer.
    fn string(&mut self, quoted: &str, key: bool) {
        if !quoted.contains('\\') && (key || quoted.len() <= self.longest) {
            self.out.extend(quoted.as_bytes());
            return;
        }
        let text = Raw(quoted).text().unwrap_or_default();
        let text = if key { &text } else { self.within(&text) };
        self.quoted(text);
    }
}

/// The position after the closing quote of the string that starts at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Copies JSON text without the white space between tokens; strings are left as they are.
pub(super) fn minify(text: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            b'"' => {
                let end = string_end(text, at);
                out.extend(&text[at..end]);
                at = end;
            }
            other => {
                out.push(*other);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn copied(raw: &str, longest: usize) -> String {
        let mut out = Vec::new();
        Writer::new(&mut out, longest).copy(raw);
        String::from_utf8(out).unwrap_or_default()
    }

    #[test]
    fn copies_values_sound_and_in_one_line() {
        let whole = |raw| copied(raw, WHOLE);
        assert_eq!(whole("{ \"a\" :\n [1 , 2.50,\r\n\"x y\" ] }"), r#"{"a":[1,2.50,"x y"]}"#);
        assert_eq!(whole(r#""a\ud800\"b""#), "\"a\u{fffd}\\\"b\"");
        assert_eq!(whole(r#""\\ud800""#), r#""\\ud800""#);
        assert_eq!(whole(r#"[1e999,-1E+400,1e3,null]"#), r#"["1e999","-1E+400",1e3,null]"#);
    }

    #[test]
    fn cuts_on_character_borders_and_never_a_key() {
        assert_eq!(copied(r#"{"schlüssel":"ääää"}"#, 3), r#"{"schlüssel":"ä"}"#);
        assert_eq!(copied(r#""\u00e4\u00e4\n""#, 8), "\"ää\\n\"");
    }

    proptest! {
        #[test]
        fn any_text_survives_in_one_line(text in any::<String>()) {
            let mut out = Vec::new();
            Writer::new(&mut out, WHOLE).object(|w| w.text("k", &text));
            prop_assert!(!out.iter().any(|b| *b < 0x20));
            let back: std::collections::BTreeMap<String, String> = serde_json::from_slice(&out)?;
            prop_assert_eq!(back.get("k"), Some(&text));
        }
    }
}
