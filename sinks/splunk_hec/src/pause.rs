//! `Retry-After` (RFC 9110 §10.2.3): how long the collector, or what stands before it, asks to wait.

use std::time::Duration;

use http::header::{DATE, HeaderMap, RETRY_AFTER};

/// No longer, whoever asks: as slowly as the agent tries what a person must mend. A page of maintenance that names tomorrow must
/// not keep events back until then; asking again a few times harms nobody.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The pause that the answer asks for. A date is compared with the answer's own `Date`, so that no clock of ours matters; without
/// one it says nothing. `None` too for what can't be read and for a time that is over: the agent's own pauses hold then.
pub fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // more digits than a number takes: as long as can be
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let sent = headers.get(DATE)?.to_str().ok()?;
        let until = httpdate::parse_http_date(text).ok()?;
        until.duration_since(httpdate::parse_http_date(sent.trim()).ok()?).ok()?
    };
    (!pause.is_zero()).then(|| pause.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn seconds(retry_after: &str, date: Option<&str>) -> Option<u64> {
        let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).expect("a header's value");
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value(retry_after));
        headers.extend(date.map(|date| (DATE, value(date))));
        asked(&headers).map(|pause| pause.as_secs())
    }

    #[test]
    fn seconds_within_bounds() {
        for (text, expected) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("900", Some(900)),
            ("901", Some(900)),
            ("99999999999999999999999", Some(900)),
            ("0", None),
            ("", None),
            ("-1", None),
            ("+5", None),
            ("1.5", None),
            ("soon", None),
            ("\u{e9}", None),
        ] {
            assert_eq!(seconds(text, None), expected, "{text:?}");
            assert_eq!(seconds(text, Some("Sun, 06 Nov 1994 08:49:37 GMT")), expected, "{text:?}");
        }
        assert_eq!(asked(&HeaderMap::new()), None);
    }

    #[test]
    fn a_date_counts_from_the_answers_own() {
        let sent = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        // the three forms of RFC 9110 §5.6.7
        for date in ["Sun, 06 Nov 1994 08:51:37 GMT", "Sunday, 06-Nov-94 08:51:37 GMT", "Sun Nov  6 08:51:37 1994"] {
            assert_eq!(seconds(date, sent), Some(120), "{date}");
            assert_eq!(seconds(date, None), None, "{date}: no clock to compare with");
            assert_eq!(seconds(date, Some("today")), None, "{date}");
        }
        assert_eq!(seconds("Mon, 07 Nov 1994 08:49:37 GMT", sent), Some(900), "a day is too long");
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT", sent), None, "now");
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:36 GMT", sent), None, "over");
        assert_eq!(seconds("Sun, 06 Nov 1994 25:49:37 GMT", sent), None, "no time of day");
    }
}
