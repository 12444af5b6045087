//! Times as the service reads and writes them. Milliseconds since 1970 inside, so that schedules are plain arithmetic.

use jiff::{Timestamp, tz::Offset};

/// One second, minute, hour, day in milliseconds.
pub const SECOND: i64 = 1_000;
/// One minute in milliseconds.
pub const MINUTE: i64 = 60 * SECOND;
/// One hour in milliseconds.
pub const HOUR: i64 = 60 * MINUTE;
/// One day in milliseconds.
pub const DAY: i64 = 24 * HOUR;

/// The point in time; the ends of what can be represented stand for everything beyond them.
pub fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Year, month, day, hour, minute, second, millisecond.
fn parts(ms: i64) -> (i64, i64, i64, i64, i64, i64, i64) {
    let at = Offset::UTC.to_datetime(timestamp(ms));
    let (date, time) = (at.date(), at.time());
    (
        i64::from(date.year()),
        i64::from(date.month()),
        i64::from(date.day()),
        i64::from(time.hour()),
        i64::from(time.minute()),
        i64::from(time.second()),
        i64::from(time.millisecond()),
    )
}

/// `2026-05-19T13:17:34.123Z`: contentCreated, contentExpiration.
pub fn iso(ms: i64) -> String {
    let (y, mo, d, h, mi, s, f) = parts(ms);
    format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{f:03}Z")
}

/// `2026-05-19T13:17:34`: CreationTime of a record, times in a NextPageUri.
pub fn zoneless(ms: i64) -> String {
    let (y, mo, d, h, mi, s, _) = parts(ms);
    format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}")
}

/// `20260519131734123`: the seventeen leading digits of a stamp in a contentId.
pub fn compact(ms: i64) -> String {
    let (y, mo, d, h, mi, s, f) = parts(ms);
    format!("{y:04}{mo:02}{d:02}{h:02}{mi:02}{s:02}{f:03}")
}

/// Reads what [`compact`] writes.
pub fn from_compact(text: &str) -> Option<i64> {
    if text.len() != 17 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let date = format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..8]);
    let time = format!("{}:{}:{}.{}", &text[8..10], &text[10..12], &text[12..14], &text[14..]);
    let at: Timestamp = format!("{date}T{time}Z").parse().ok()?;
    Some(at.as_millisecond())
}

/// `Tue, 19 May 2026 13:17:34 GMT`: the `Date` header.
pub fn http_date(ms: i64) -> String {
    let (y, mo, d, h, mi, s, _) = parts(ms);
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let weekday = DAYS[ms.div_euclid(DAY).rem_euclid(7) as usize];
    let month = MONTHS[(mo - 1).clamp(0, 11) as usize];
    format!("{weekday}, {d:02} {month} {y:04} {h:02}:{mi:02}:{s:02} GMT")
}

/// Reads a bound of a listing: date, minute, second or fraction; `Z`, an offset or (documented) no zone, which is UTC.
pub fn parse_bound(text: &str) -> Option<i64> {
    if text.contains(' ') || !text.is_ascii() || text.len() < 10 {
        return None;
    }
    let (date, rest) = text.split_at(10);
    if rest.is_empty() {
        return whole(&format!("{date}T00:00:00Z"));
    }
    let rest = rest.strip_prefix('T')?;
    let zone_at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let time = if time.len() == 5 { format!("{time}:00") } else { time.to_owned() };
    whole(&format!("{date}T{time}{}", if zone.is_empty() { "Z" } else { zone }))
}

fn whole(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(|at| at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_clients_send_is_read() {
        let noon = 1_779_192_000_000; // 2026-05-19T12:00:00Z
        for text in [
            "2026-05-19T12:00",
            "2026-05-19T12:00:00",
            "2026-05-19T12:00Z",
            "2026-05-19T12:00:00Z",
            "2026-05-19T12:00:00.000Z",
            "2026-05-19T14:00:00.000000+02:00",
        ] {
            assert_eq!(parse_bound(text), Some(noon), "{text}");
        }
        assert_eq!(parse_bound("2026-05-19"), Some(noon - 12 * HOUR));
        // an unescaped plus sign arrives as a blank
        for text in ["2026-05-19T12:00:00 00:00", "yesterday", "", "2026-05-19X12:00", "2026-13-19"] {
            assert_eq!(parse_bound(text), None, "{text}");
        }
    }

    #[test]
    fn stamps_are_written_as_the_service_does() {
        let at = 1_779_196_654_123;
        assert_eq!(iso(at), "2026-05-19T13:17:34.123Z");
        assert_eq!(zoneless(at), "2026-05-19T13:17:34");
        assert_eq!(http_date(at), "Tue, 19 May 2026 13:17:34 GMT");
        assert_eq!(from_compact(&compact(at)), Some(at));
        assert_eq!(from_compact("2026051913173412x"), None);
    }
}
