//! Cuts JSON lines and JSON arrays into records, streaming, in bounded memory.
//!
//! Broken input must not take what follows along: outside arrays, a line that begins at its first column with `{` or
//! `[` begins anew whatever came before it; a raw line break inside a string, which JSON forbids, ends the record
//! there.

use std::io::{self, BufRead};

use crate::event::MAX_BYTES;

/// One piece of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'b> {
    /// Balanced text that should be a record.
    Record(&'b [u8]),
    /// Something that can't be one: what is wrong with it.
    Bad(&'static str),
}

/// Reads `input` to its end and calls `each` with every piece and the number of the line where it begins, from 1.
///
/// # Errors
/// Those of reading, and those of `each`, which end the walk.
pub(super) fn split(input: &mut dyn BufRead, each: &mut dyn FnMut(u64, Piece<'_>) -> io::Result<()>) -> io::Result<()> {
    let mut splitter = Splitter { state: State::Between, line: 1, started: 1, ..Splitter::default() };
    loop {
        let buffer = match input.fill_buf() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        if buffer.is_empty() {
            return splitter.finish(each);
        }
        for byte in buffer {
            splitter.byte(*byte, each)?;
        }
        let used = buffer.len();
        input.consume(used);
    }
}

/// Where the splitter stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// Between records.
    #[default]
    Between,
    /// Inside a bracketed record.
    Inside,
    /// Inside something else, which ends with its line (in an array also at a comma or the bracket).
    Stray,
    /// Inside an array after a broken record, until a line begins with `{`.
    Broken,
}

type Each<'e> = &'e mut dyn FnMut(u64, Piece<'_>) -> io::Result<()>;

#[derive(Default)]
struct Splitter {
    state: State,
    /// Inside an outermost array.
    array: bool,
    depth: usize,
    string: bool,
    escape: bool,
    offset: u64,
    line: u64,
    column: u64,
    /// Only white space since the line began.
    blank: bool,
    /// Line where the present piece began.
    started: u64,
    bytes: Vec<u8>,
    too_long: bool,
}

impl Splitter {
    fn byte(&mut self, byte: u8, each: Each<'_>) -> io::Result<()> {
        if self.column == 0 {
            self.blank = true;
        }
        self.step(byte, each)?;
        self.blank &= byte.is_ascii_whitespace();
        self.offset += 1;
        self.column += 1;
        if byte == b'\n' {
            self.line += 1;
            self.column = 0;
        }
        Ok(())
    }

    fn step(&mut self, byte: u8, each: Each<'_>) -> io::Result<()> {
        match self.state {
            State::Between => self.between(byte),
            State::Inside if self.column == 0 && !self.array && matches!(byte, b'{' | b'[') => {
                self.bad("the record ends before its last bracket", State::Between, each)?;
                self.between(byte);
            }
            State::Inside => return self.inside(byte, each),
            State::Stray => {
                let ends = byte == b'\n' || self.array && matches!(byte, b',' | b']');
                if ends {
                    self.bad("not a JSON object", State::Between, each)?;
                    self.between(byte);
                }
            }
            State::Broken => {
                if self.blank && (byte == b'{' || byte == b']' && self.column == 0) {
                    self.state = State::Between;
                    self.between(byte);
                }
            }
        }
        Ok(())
    }

    fn between(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => {}
            // the mark that some editors put before UTF-8
            0xef | 0xbb | 0xbf if self.offset < 3 => {}
            b'[' if !self.array => {
                self.array = true;
                self.started = self.line;
            }
            b']' if self.array => self.array = false,
            b'{' | b'[' => {
                self.state = State::Inside;
                self.started = self.line;
                self.depth = 1;
                self.bytes.push(byte);
            }
            _ => {
                self.state = State::Stray;
                self.started = self.line;
            }
        }
    }

    fn inside(&mut self, byte: u8, each: Each<'_>) -> io::Result<()> {
        if self.bytes.len() < MAX_BYTES {
            self.bytes.push(byte);
        } else {
            self.too_long = true;
        }
        if self.string {
            match byte {
                b'\n' => {
                    let next = if self.array { State::Broken } else { State::Between };
                    return self.bad("a line break inside a string", next, each);
                }
                _ if self.escape => self.escape = false,
                b'\\' => self.escape = true,
                b'"' => self.string = false,
                _ => {}
            }
            return Ok(());
        }
        match byte {
            b'"' => self.string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        if self.depth > 0 {
            return Ok(());
        }
        if self.too_long {
            return self.bad("longer than 16 MiB", State::Between, each);
        }
        self.state = State::Between;
        let sent = each(self.started, Piece::Record(&self.bytes));
        self.bytes.clear();
        sent
    }

    fn bad(&mut self, why: &'static str, next: State, each: Each<'_>) -> io::Result<()> {
        self.state = next;
        self.bytes.clear();
        (self.too_long, self.string, self.escape, self.depth) = (false, false, false, 0);
        each(self.started, Piece::Bad(why))
    }

    fn finish(mut self, each: Each<'_>) -> io::Result<()> {
        match self.state {
            State::Between | State::Broken if self.array => {
                each(self.line, Piece::Bad("the input ends before the end of its array"))
            }
            State::Between | State::Broken => Ok(()),
            State::Inside => self.bad("the input ends inside a record", State::Between, each),
            State::Stray => self.bad("not a JSON object", State::Between, each),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces as text, with a buffer of `size` bytes, so that every border is met.
    fn pieces(input: &str, size: usize) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        let mut reader = io::BufReader::with_capacity(size, input.as_bytes());
        let walked = split(&mut reader, &mut |line, piece| {
            found.push((
                line,
                match piece {
                    Piece::Record(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    Piece::Bad(why) => format!("! {why}"),
                },
            ));
            Ok(())
        });
        assert!(walked.is_ok());
        found
    }

    fn check(input: &str, expected: &[(u64, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
        for size in [1, 3, 4096] {
            assert_eq!(pieces(input, size), expected, "buffer of {size}");
        }
    }

    #[test]
    fn lines_and_arrays_mix() {
        check("{\"a\":1}\n\n{\"b\":\"}\\\"\"}\r\n", &[(1, "{\"a\":1}"), (3, "{\"b\":\"}\\\"\"}")]);
        check("[{\"a\":[1]},{\"b\":2}]\n{\"c\":3}", &[(1, "{\"a\":[1]}"), (1, "{\"b\":2}"), (2, "{\"c\":3}")]);
        check("\u{feff}[\n  {\n  \"a\": {}\n  },\n{}\n]\n", &[(2, "{\n  \"a\": {}\n  }"), (5, "{}")]);
        check("{\n \"a\": 1\n}\n{\n}\n", &[(1, "{\n \"a\": 1\n}"), (4, "{\n}")]);
        check("", &[]);
    }

    #[test]
    fn what_is_broken_takes_nothing_along() {
        let unbalanced = "! the record ends before its last bracket";
        check("{\"a\":1\n{\"b\":2}\n", &[(1, unbalanced), (2, "{\"b\":2}")]);
        check("{\"a\":\"x\n{\"b\":2}\n", &[(1, "! a line break inside a string"), (2, "{\"b\":2}")]);
        check("nonsense, here\n{\"b\":2}\n", &[(1, "! not a JSON object"), (2, "{\"b\":2}")]);
        check("[5,{\"b\":2},\"x\"]", &[(1, "! not a JSON object"), (1, "{\"b\":2}"), (1, "! not a JSON object")]);
        check("[\n {\n  \"a\":\"x\n },\n {\"b\":2}\n]\n", &[(2, "! a line break inside a string"), (5, "{\"b\":2}")]);
        check("{\"a\":1}\n{\"b\"", &[(1, "{\"a\":1}"), (2, "! the input ends inside a record")]);
        check("[{\"a\":1},\n", &[(1, "{\"a\":1}"), (2, "! the input ends before the end of its array")]);
    }

    #[test]
    fn memory_is_bounded_by_one_record() {
        let long = format!("{{\"a\":\"{}\"}}\n{{\"b\":2}}\n", "x".repeat(MAX_BYTES));
        let found = pieces(&long, 65_536);
        assert_eq!(found, [(1, "! longer than 16 MiB".to_owned()), (2, "{\"b\":2}".to_owned())]);
    }
}
