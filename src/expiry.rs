//! When certificates end: for a metric, and for words while there is time to act.
//!
//! A sink reads its PEM files through [`SinkEnv`](crate::env::SinkEnv), whatever they are for; the agent sees each of them go by.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use crate::ledger::Millis;

const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;
/// A certificate is worth a warning while less than this remains.
const SOON: Millis = 14 * DAY;

/// When the first certificate in a PEM file ends; `None`: there is none in it, but a key for example.
#[cfg(feature = "tls")]
pub fn earliest_end(pem: &[u8]) -> Option<Millis> {
    auditferry_tls::earliest_end(pem).map(Timestamp::as_millisecond)
}

/// No sink of this build speaks TLS.
#[cfg(not(feature = "tls"))]
pub fn earliest_end(_: &[u8]) -> Option<Millis> {
    None
}

/// What there is to say of a file whose first certificate ends then; `None` while there is time.
pub fn words(file: &Path, end: Millis, now: Millis) -> Option<String> {
    let (place, left) = (file.display(), end - now);
    if left >= SOON {
        return None;
    }
    let day = Timestamp::from_millisecond(end)
        .map_or_else(|_| "another age".to_owned(), |end| end.strftime("%F").to_string());
    let act = "put its successor into the file; no restart is needed";
    Some(match left {
        ..0 => format!("a certificate in {place} expired on {day}: {act}"),
        _ if left < 2 * DAY => format!("a certificate in {place} expires within {} h ({day}): {act}", left / HOUR + 1),
        _ => format!("a certificate in {place} expires in {} days ({day}): {act}", left / DAY),
    })
}

/// What was said of which file: once a day, however many sinks read it and however often.
#[derive(Debug, Default)]
pub struct Reminders {
    /// When, and whether it had expired by then: that is news.
    said: Mutex<BTreeMap<PathBuf, (Millis, bool)>>,
}

impl Reminders {
    /// What is to be said now of a file whose first certificate ends then, if anything.
    pub fn due(&self, file: &Path, end: Millis, now: Millis) -> Option<String> {
        let words = words(file, end, now)?;
        let expired = end < now;
        // whole entries only: a panic elsewhere leaves nothing half written
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, as_expired)) = said.get(file)
            && (0..DAY).contains(&(now - at))
            && (*as_expired || !expired)
        {
            return None;
        }
        said.insert(file.to_owned(), (now, expired));
        Some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2027-01-15 at 08:00 UTC.
    const END: Millis = 1_800_000_000_000;

    fn file() -> &'static Path {
        Path::new("/etc/ca.pem")
    }

    #[test]
    fn words_come_14_days_before_the_end() {
        let words = |left: Millis| words(file(), END, END - left).unwrap_or_default();
        assert_eq!(words(SOON), "");
        let act = "put its successor into the file; no restart is needed";
        for (left, expected) in [
            (SOON - 1, "expires in 13 days (2027-01-15)"),
            (2 * DAY, "expires in 2 days (2027-01-15)"),
            (2 * DAY - 1, "expires within 48 h (2027-01-15)"),
            (0, "expires within 1 h (2027-01-15)"),
            (-1, "expired on 2027-01-15"),
            (-400 * DAY, "expired on 2027-01-15"),
        ] {
            assert_eq!(words(left), format!("a certificate in /etc/ca.pem {expected}: {act}"));
        }
    }

    #[test]
    fn a_file_is_spoken_of_once_a_day_and_when_its_certificate_has_expired() {
        let reminders = Reminders::default();
        let due = |now| reminders.due(file(), END, now).is_some();
        assert!(!due(END - SOON));
        assert!(due(END - 10 * DAY));
        assert!(!due(END - 10 * DAY), "another sink, or another look");
        assert!(!due(END - 9 * DAY - 1));
        assert!(due(END - 9 * DAY));
        assert!(due(END - 1));
        assert!(due(END + 1), "that it has expired is news on the same day");
        assert!(!due(END + 2));
        assert!(due(END + DAY + 1));
        assert!(due(END + 5), "a clock that was set back says nothing of the day");
        assert!(reminders.due(Path::new("other.pem"), END, END + 5).is_some());
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for bytes in [&b""[..], b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\x30\x82"] {
            assert_eq!(earliest_end(bytes), None);
        }
    }
}
