//! Times as Microsoft writes them.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// `CreationTime`: UTC, on the wire without a zone letter; one with a zone or an offset is read as it says.
///
/// None for anything else, a bare date included: a time is never guessed and never *now*.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let clock = text.get(11..)?;
    if !matches!(text.as_bytes()[10], b'T' | b't' | b' ') {
        return None;
    }
    if clock.ends_with(['Z', 'z']) || clock.contains(['+', '-']) {
        return text.parse().ok();
    }
    TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_zoneless_times_as_utc_and_refuses_the_rest() {
        let second = |text| parse(text).map(|t| t.as_second());
        assert_eq!(second("2026-05-19T13:17:34"), Some(1_779_196_654));
        assert_eq!(second("2026-05-19T13:17:34Z"), Some(1_779_196_654));
        assert_eq!(second("2026-05-19T15:17:34+02:00"), Some(1_779_196_654));
        assert_eq!(second("2026-05-19 13:17:34.5"), Some(1_779_196_654));
        assert_eq!(parse("2026-05-19T13:17:34.123").map(|t| t.as_millisecond()), Some(1_779_196_654_123));
        for text in
            ["", "2026-05-19", "5/19/2026 1:17:34 PM", "2026-13-19T13:17:34", "now", "2026-05-19T", "ääääääääää"]
        {
            assert_eq!(second(text), None, "{text}");
        }
    }
}
