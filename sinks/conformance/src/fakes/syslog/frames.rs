//! Octet counting, from the receiver's side: `MSG-LEN SP SYSLOG-MSG`, one after the other (RFC 6587 §3.4.1, RFC 5425 §4.3).

/// The largest message that is taken, octets: above what any sink here sends.
const LARGEST: usize = 32 << 20;

/// Puts frames together from what comes in pieces.
#[derive(Debug, Default)]
pub struct Frames {
    read: Vec<u8>,
    /// What stands in front of it has been taken.
    start: usize,
}

impl Frames {
    /// Adds what was read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.read.drain(..self.start);
        self.start = 0;
        self.read.extend_from_slice(bytes);
    }

    /// The next whole message, if it is there.
    ///
    /// # Errors
    /// What stands at the front is no frame; nothing behind it can be found.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, String> {
        // the count has at most eight digits: LARGEST
        let pending = &self.read[self.start..];
        let head = &pending[..pending.len().min(9)];
        let Some(space) = head.iter().position(|b| *b == b' ') else {
            let fine = head.first() != Some(&b'0') && head.iter().all(u8::is_ascii_digit) && head.len() < 9;
            return if fine { Ok(None) } else { Err(format!("not an octet count: {}", head.escape_ascii())) };
        };
        let digits = &head[..space];
        if digits.is_empty() || digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
            return Err(format!("not an octet count: {}", digits.escape_ascii()));
        }
        let length = digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
        if length > LARGEST {
            return Err(format!("a message of {length} octets is larger than anybody sends"));
        }
        let whole = space + 1 + length;
        if pending.len() < whole {
            return Ok(None);
        }
        let message = pending[space + 1..whole].to_vec();
        self.start += whole;
        Ok(Some(message))
    }

    /// True in the middle of a frame.
    pub fn torn(&self) -> bool {
        self.start < self.read.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_any_pieces() {
        let wire = b"1 a12 hello\nworld!4 \xc3\xbc\xc3\xbc0";
        for size in 1..wire.len() {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            let mut end = Ok(None);
            for piece in wire.chunks(size) {
                frames.feed(piece);
                while let Some(message) = {
                    end = frames.take();
                    end.clone().unwrap_or(None)
                } {
                    got.push(message);
                }
            }
            assert_eq!(got, [b"a".to_vec(), b"hello\nworld!".to_vec(), "üü".as_bytes().to_vec()], "{size}");
            assert!(end.is_err_and(|e| e == "not an octet count: 0") && frames.torn());
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for wire in [&b"<14>1 -"[..], b" x", b"01 a", b"1x a", b"123456789", b"99999999 a", b"-1 a"] {
            let mut frames = Frames::default();
            frames.feed(wire);
            assert!(frames.take().is_err(), "{}", wire.escape_ascii());
        }
        assert_eq!(Frames::default().take(), Ok(None));
    }
}
