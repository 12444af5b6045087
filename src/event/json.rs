//! A strict reader of JSON text that hands out slices of it.
//!
//! Own code instead of `serde_json`, because identity and mapping need what a deserializer throws away or refuses:
//! numbers as they were written (`1.0` is not `1`, `1e999` is legal), every one of duplicate keys, lone surrogates, and
//! the raw text of a value to copy on. It builds no tree. Tests compare it with `serde_json` on generated input.

use std::borrow::Cow;

use super::Unreadable;

/// Deepest nesting of objects and arrays that is looked into.
pub const MAX_DEPTH: usize = 128;
/// Longest record, in bytes, that is looked into.
pub const MAX_BYTES: usize = 16 << 20;

/// A JSON string as it stands between its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// The decoded text; borrowed unless it holds an escape. A lone surrogate becomes U+FFFD.
    pub(crate) fn decode(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(slash) = rest.find('\\') {
        out.push_str(&rest[..slash]);
        let code = rest.as_bytes().get(slash + 1).copied().unwrap_or(b'\\');
        let mut used = slash + 2;
        match code {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let (character, length) = unicode_escape(&rest.as_bytes()[slash..]);
                out.push(character);
                used = slash + length;
            }
            other => out.push(other as char),
        }
        rest = rest.get(used..).unwrap_or("");
    }
    out.push_str(rest);
    out
}

/// The character of `\uXXXX` (or of a surrogate pair) at the start of `bytes`, and how many bytes it takes.
fn unicode_escape(bytes: &[u8]) -> (char, usize) {
    let unit = |from: usize| {
        let digits = bytes.get(from..from + 6)?;
        (digits[0] == b'\\' && digits[1] == b'u').then_some(())?;
        u32::from_str_radix(std::str::from_utf8(&digits[2..]).ok()?, 16).ok()
    };
    match unit(0) {
        Some(high @ 0xd800..=0xdbff) => match unit(6) {
            Some(low @ 0xdc00..=0xdfff) => {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
            }
            _ => (char::REPLACEMENT_CHARACTER, 6),
        },
        Some(code) => (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
        None => (char::REPLACEMENT_CHARACTER, 6),
    }
}

/// One JSON value as raw, checked text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a>(pub(crate) &'a str);

impl<'a> Raw<'a> {
    fn first(self) -> u8 {
        self.0.as_bytes().first().copied().unwrap_or(b'n')
    }
    pub(crate) fn is_object(self) -> bool {
        self.first() == b'{'
    }
    pub(crate) fn is_array(self) -> bool {
        self.first() == b'['
    }
    pub(crate) fn is_null(self) -> bool {
        self.first() == b'n'
    }

    /// The decoded text of a scalar: a string without quotes, a number or boolean as written; none for the rest.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        match self.first() {
            b'{' | b'[' | b'n' => None,
            b'"' => Scanner { text: self.0, at: 0 }.string().ok().map(Text::decode),
            _ => Some(Cow::Borrowed(self.0)),
        }
    }

    /// Calls `each` for every member of an object; nothing for another value.
    pub(crate) fn members(self, mut each: impl FnMut(Text<'a>, Raw<'a>)) {
        if self.is_object() {
            // the text was checked when it was cut out, so an error can't come; it would end the walk
            let _ = Scanner { text: self.0, at: 0 }.object(0, |scanner, key| {
                each(key, scanner.value(1)?);
                Ok(())
            });
        }
    }

    /// Calls `each` for every element of an array; nothing for another value.
    pub(crate) fn elements(self, mut each: impl FnMut(Raw<'a>)) {
        if self.is_array() {
            let _ = Scanner { text: self.0, at: 0 }.array(0, |scanner| {
                each(scanner.value(1)?);
                Ok(())
            });
        }
    }
}

/// A position in a JSON text.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Starts at the first value of `bytes`, which must be UTF-8 and not longer than [`MAX_BYTES`].
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        if bytes.len() > MAX_BYTES {
            return Err(Unreadable::TooLarge { bytes: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|e| Unreadable::NotUtf8 { at: e.valid_up_to() })?;
        let mut scanner = Scanner { text, at: 0 };
        scanner.space();
        Ok(scanner)
    }

    /// The byte at the position.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn wrong<T>(&self, expected: &'static str) -> Result<T, Unreadable> {
        Err(Unreadable::NotJson { at: self.at, expected })
    }

    fn eat(&mut self, byte: u8, expected: &'static str) -> Result<(), Unreadable> {
        if self.peek() != Some(byte) {
            return self.wrong(expected);
        }
        self.at += 1;
        Ok(())
    }

    /// Only white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), Unreadable> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { self.wrong("the end of the record") }
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<Text<'a>, Unreadable> {
        self.eat(b'"', "a string")?;
        let (start, bytes) = (self.at, self.text.as_bytes());
        let mut escaped = false;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    match bytes.get(self.at + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
                        Some(b'u') => {
                            let digits = bytes.get(self.at + 2..self.at + 6).unwrap_or(&[]);
                            if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                                return self.wrong("four hexadecimal digits after \\u");
                            }
                            self.at += 6;
                        }
                        _ => return self.wrong("an escape that JSON knows"),
                    }
                }
                Some(0..0x20) => return self.wrong("no control character inside a string"),
                Some(_) => self.at += 1,
                None => return self.wrong("the closing quote of a string"),
            }
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        Ok(Text { raw, escaped })
    }

    /// Reads a number, `true`, `false` or `null`; gives the text as written.
    pub(crate) fn literal(&mut self) -> Result<&'a str, Unreadable> {
        let start = self.at;
        for word in ["true", "false", "null"] {
            if self.text.as_bytes()[start..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(word);
            }
        }
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.wrong("a value"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), Unreadable> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.wrong("a digit") } else { Ok(()) }
    }

    /// Reads an object that lies at `depth` (the outermost is 0). `member` must read the value of each key.
    pub(crate) fn object(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, Text<'a>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.eat(b'{', "an object")?;
        if depth >= MAX_DEPTH {
            return Err(Unreadable::TooDeep);
        }
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.eat(b':', "a colon after a key")?;
            self.space();
            member(self, key)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => return self.eat(b'}', "a comma or the end of an object"),
            }
        }
    }

    /// Reads an array that lies at `depth`. `element` must read each element.
    pub(crate) fn array(
        &mut self,
        depth: usize,
        mut element: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        self.eat(b'[', "an array")?;
        if depth >= MAX_DEPTH {
            return Err(Unreadable::TooDeep);
        }
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            element(self)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                _ => return self.eat(b']', "a comma or the end of an array"),
            }
        }
    }

    /// Reads any value that lies at `depth` and gives its raw text.
    pub(crate) fn value(&mut self, depth: usize) -> Result<Raw<'a>, Unreadable> {
        let start = self.at;
        self.skip(depth)?;
        Ok(Raw(&self.text[start..self.at]))
    }

    fn skip(&mut self, depth: usize) -> Result<(), Unreadable> {
        match self.peek() {
            Some(b'{') => self.object(depth, |scanner, _| scanner.skip(depth + 1)),
            Some(b'[') => self.array(depth, |scanner| scanner.skip(depth + 1)),
            Some(b'"') => self.string().map(drop),
            _ => self.literal().map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &str) -> Result<(), Unreadable> {
        let mut scanner = Scanner::new(text.as_bytes())?;
        scanner.value(0)?;
        scanner.end()
    }

    #[test]
    fn depth_is_bounded_exactly() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(accepts(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(accepts(&nested(MAX_DEPTH + 1)), Err(Unreadable::TooDeep));
        assert_eq!(accepts(&nested(5_000_000)), Err(Unreadable::TooDeep));
    }

    #[test]
    fn surrogates_decode_as_json_says_and_lone_ones_become_replacement_characters() {
        let decode = |text: &str| Raw(text).text().map(Cow::into_owned);
        assert_eq!(decode(r#""\ud83d\ude00""#).as_deref(), Some("😀"));
        assert_eq!(decode(r#""a\ud83dz""#).as_deref(), Some("a\u{fffd}z"));
        assert_eq!(decode(r#""\ude00\ud83d""#).as_deref(), Some("\u{fffd}\u{fffd}"));
        assert_eq!(decode(r#""\ud83d\u0041""#).as_deref(), Some("\u{fffd}A"));
        assert_eq!(decode(r#""\/\b\f\n\r\t\"\\é""#).as_deref(), Some("/\u{8}\u{c}\n\r\t\"\\é"));
    }

    proptest! {
        // any text built of JSON's own characters: both readers must agree on what is JSON
        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{}:,"\\ \n0-9a-ftrulsn.+E-]{0,24}"#) {
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(accepts(&text).is_ok(), theirs, "{}", text);
        }

        #[test]
        fn decodes_what_serde_json_encodes(text in any::<String>()) {
            let encoded = serde_json::to_string(&text).unwrap_or_default();
            prop_assert_eq!(accepts(&encoded), Ok(()));
            prop_assert_eq!(Raw(&encoded).text().map(Cow::into_owned), Some(text));
        }
    }
}
