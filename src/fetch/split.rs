//! Cuts a streamed JSON array into its elements, without parsing them. Pure; memory is bounded by one record.
//!
//! Only brackets, strings and escapes are followed, so an element that is broken inside is still cut out and given to
//! the caller as it came: whether it can be read is decided later, record by record.

/// What one record may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one record; a longer one comes as [`Piece::Oversize`].
    pub record_bytes: usize,
    /// Nesting of one record; a deeper one comes as [`Piece::TooDeep`].
    pub depth: u32,
}

impl Default for Limits {
    /// 16 MiB and 128 levels: what code that looks inside a record accepts.
    fn default() -> Self {
        Limits { record_bytes: 16 << 20, depth: 128 }
    }
}

/// How much is kept of a record that is too large, bytes.
pub const OVERSIZE_HEAD: usize = 64 << 10;

/// One element of the array, in order. Surrounding white space is cut off.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// An element, byte for byte. Not checked: it may be a number, or broken.
    Record(&'a [u8]),
    /// An element nested deeper than the limit, byte for byte: don't hand it to a recursive parser.
    TooDeep(&'a [u8]),
    /// An element longer than the limit; what lies beyond the first [`OVERSIZE_HEAD`] bytes was let go.
    Oversize {
        /// The first bytes.
        head: &'a [u8],
        /// How many there were.
        total: u64,
    },
}

/// Why a body is not a (whole) array of records. Pieces given before stay valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Something else than an array or an object: a page of HTML, a text.
    #[error("not a json array: byte {at} is 0x{found:02x}")]
    NotAnArray {
        /// Position in the body.
        at: u64,
        /// The byte that can't begin an array.
        found: u8,
    },
    /// The array was complete, and then came something else.
    #[error("something follows the json array: byte {at} is 0x{found:02x}")]
    AfterEnd {
        /// Position in the body.
        at: u64,
        /// The first byte too many.
        found: u8,
    },
    /// The body ended before the array did: fetch it again.
    #[error("the body ends inside the json array, after {at} bytes")]
    Truncated {
        /// Length of the body.
        at: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but a byte order mark or white space came; so many bytes of the mark.
    Start(u8),
    /// Inside the array, before or within an element.
    Array,
    /// Objects without an array around them (one per body, or one per line).
    Bare,
    /// Behind the closing bracket.
    Done,
}

/// Cuts a body that arrives in chunks. One per body.
#[derive(Debug)]
pub struct Splitter {
    limits: Limits,
    state: State,
    /// Bytes of the current element from earlier chunks; of an oversize one only its head.
    carried: Vec<u8>,
    /// Length of the current element in earlier chunks.
    carried_total: u64,
    inside: bool,
    depth: u32,
    deepest: u32,
    in_string: bool,
    escaped: bool,
    bare_seen: bool,
    at: u64,
}

impl Splitter {
    /// A splitter at the beginning of a body.
    pub fn new(limits: Limits) -> Self {
        Splitter {
            limits,
            state: State::Start(0),
            carried: Vec::new(),
            carried_total: 0,
            inside: false,
            depth: 0,
            deepest: 0,
            in_string: false,
            escaped: false,
            bare_seen: false,
            at: 0,
        }
    }

    /// Takes the next bytes of the body and gives every element that ends in them. After an error: no more.
    pub fn push(&mut self, chunk: &[u8], sink: &mut dyn FnMut(Piece<'_>)) -> Result<(), SplitError> {
        let base = self.at;
        self.at += chunk.len() as u64;
        let mut from = 0; // where the current element begins in this chunk
        let mut i = 0;
        while i < chunk.len() {
            if self.in_string {
                i = self.string(chunk, i);
                continue;
            }
            let byte = chunk[i];
            match self.state {
                State::Start(mark) => self.begin(byte, mark, base + i as u64, &mut from, i)?,
                State::Done => {
                    if !is_space(byte) {
                        return Err(SplitError::AfterEnd { at: base + i as u64, found: byte });
                    }
                }
                State::Array | State::Bare if !self.inside => match byte {
                    _ if is_space(byte) => {}
                    b',' if self.state == State::Array => {}
                    b']' if self.state == State::Array => self.state = State::Done,
                    b'{' => self.enter(byte, &mut from, i),
                    _ if self.state == State::Array => self.enter(byte, &mut from, i),
                    _ => return Err(SplitError::AfterEnd { at: base + i as u64, found: byte }),
                },
                State::Array | State::Bare => match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.deeper(),
                    b'}' | b']' if self.depth > 0 => {
                        self.depth -= 1;
                        if self.depth == 0 && self.state == State::Bare {
                            self.emit(&chunk[from..=i], sink);
                        }
                    }
                    // at depth 0 only these two end an element; anything else there is junk that belongs to it
                    b',' if self.depth == 0 && self.state == State::Array => self.emit(&chunk[from..i], sink),
                    b']' if self.state == State::Array => {
                        self.emit(&chunk[from..i], sink);
                        self.state = State::Done;
                    }
                    _ => {}
                },
            }
            i += 1;
        }
        if self.inside {
            self.carry(&chunk[from..]);
        }
        Ok(())
    }

    /// Ends the body.
    pub fn finish(&self) -> Result<(), SplitError> {
        match self.state {
            State::Done => Ok(()),
            State::Bare if !self.inside && self.bare_seen => Ok(()),
            _ => Err(SplitError::Truncated { at: self.at }),
        }
    }

    /// Position behind the string's end, or the chunk's.
    fn string(&mut self, chunk: &[u8], mut i: usize) -> usize {
        if self.escaped {
            self.escaped = false;
            i += 1;
        }
        while let Some(step) = chunk.get(i..).and_then(|rest| rest.iter().position(|b| matches!(b, b'"' | b'\\'))) {
            i += step;
            if chunk[i] == b'"' {
                self.in_string = false;
                return i + 1;
            }
            if i + 1 == chunk.len() {
                self.escaped = true;
            }
            i += 2;
        }
        chunk.len()
    }

    fn begin(&mut self, byte: u8, mark: u8, at: u64, from: &mut usize, i: usize) -> Result<(), SplitError> {
        const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
        match byte {
            // the mark only at the very start; a broken one is no array
            _ if at == u64::from(mark) && MARK.get(usize::from(mark)) == Some(&byte) => {
                self.state = State::Start(mark + 1)
            }
            _ if is_space(byte) && matches!(mark, 0 | 3) => {}
            b'[' if matches!(mark, 0 | 3) => self.state = State::Array,
            b'{' if matches!(mark, 0 | 3) => {
                self.state = State::Bare;
                self.enter(byte, from, i);
            }
            _ => return Err(SplitError::NotAnArray { at, found: byte }),
        }
        Ok(())
    }

    fn enter(&mut self, byte: u8, from: &mut usize, i: usize) {
        self.inside = true;
        self.depth = 0;
        self.deepest = 0;
        *from = i;
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.deeper(),
            _ => {}
        }
    }

    fn deeper(&mut self) {
        self.depth = self.depth.saturating_add(1);
        self.deepest = self.deepest.max(self.depth);
    }

    /// Keeps the part of an element that a chunk ends with.
    fn carry(&mut self, part: &[u8]) {
        self.carried_total += part.len() as u64;
        if self.carried_total <= self.limits.record_bytes as u64 {
            self.carried.extend_from_slice(part);
            return;
        }
        // too large: its head is enough, and the rest costs no memory
        let head = OVERSIZE_HEAD.min(self.limits.record_bytes);
        if self.carried.len() < head {
            self.carried.extend_from_slice(&part[..part.len().min(head - self.carried.len())]);
        } else {
            self.carried.truncate(head);
            self.carried.shrink_to_fit();
        }
    }

    /// Gives the current element, of which `part` lies in this chunk.
    fn emit(&mut self, part: &[u8], sink: &mut dyn FnMut(Piece<'_>)) {
        if self.carried_total == 0 {
            give(part, part.len() as u64, self.deepest, &self.limits, sink);
        } else {
            self.carry(part);
            give(&self.carried, self.carried_total, self.deepest, &self.limits, sink);
            self.carried.clear();
            self.carried_total = 0;
        }
        self.inside = false;
        self.bare_seen = true;
    }
}

fn give(bytes: &[u8], total: u64, deepest: u32, limits: &Limits, sink: &mut dyn FnMut(Piece<'_>)) {
    let whole = bytes.len() as u64 == total;
    let trimmed = if whole { bytes.trim_ascii_end() } else { bytes };
    sink(if !whole || trimmed.len() > limits.record_bytes {
        let head = &trimmed[..trimmed.len().min(OVERSIZE_HEAD.min(limits.record_bytes))];
        Piece::Oversize { head, total: if whole { trimmed.len() as u64 } else { total } }
    } else if deepest > limits.depth {
        Piece::TooDeep(trimmed)
    } else {
        Piece::Record(trimmed)
    });
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
