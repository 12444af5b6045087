//! Reading a sink's own options: units in the value, every mistake with its place.
//!
//! All helpers here share one manner: a missing key gives `None`, a mistake is added to the table's errors and gives
//! `None` too. So read every option, take defaults with `unwrap_or`, and let `options.finalize(None)?` report.
//!
//! A mistake's text is one line that says what is wrong; after a line break may follow what to do about it, which the
//! agent shows as a hint of its own ([`mistake`] builds both).

use std::{fmt, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use toml_span::{DeserError, Deserialize, Error, ErrorKind, Span, Spanned, Value, de_helpers::TableHelper};

/// A mistake at `span`: what is wrong, and what to do about it (may be empty).
pub fn mistake(span: Span, what: &str, hint: &str) -> Error {
    let text = if hint.is_empty() { what.to_string() } else { format!("{what}\n{hint}") };
    Error { kind: ErrorKind::Custom(text.into()), span, line_info: None }
}

/// A length of time as people write it: `"15s"`, `"200 ms"`, `"1h 30m"`, `"7d"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TimeSpan(pub Duration);

impl FromStr for TimeSpan {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const HOW: &str = "write a number and a unit: ms, s, m, h or d, as in \"90s\" or \"1h 30m\"";
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(HOW);
        }
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(HOW)?;
            let number: u64 = rest[..digits].parse().map_err(|_| HOW)?;
            rest = rest[digits..].trim_start();
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let milliseconds = match &rest[..letters] {
                "ms" => 1,
                "s" => 1000,
                "m" | "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(HOW),
            };
            rest = rest[letters..].trim_start();
            let part = number.checked_mul(milliseconds).ok_or("the length of time is too large")?;
            total = total.checked_add(Duration::from_millis(part)).ok_or("the length of time is too large")?;
        }
        Ok(TimeSpan(total))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => f.write_str("0s"),
            _ if ms.is_multiple_of(86_400_000) => write!(f, "{}d", ms / 86_400_000),
            _ if ms.is_multiple_of(3_600_000) => write!(f, "{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => write!(f, "{}m", ms / 60_000),
            _ if ms.is_multiple_of(1000) => write!(f, "{}s", ms / 1000),
            _ => write!(f, "{ms}ms"),
        }
    }
}

/// A number of bytes as people write it: `"512 KiB"`, `"2 GiB"`, `"4 MB"`, `"900 B"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const HOW: &str = "write a whole number and a unit: B, kB, MB, GB, KiB, MiB or GiB, as in \"2 GiB\"";
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(HOW)?;
        let number: u64 = text[..digits].parse().map_err(|_| HOW)?;
        let unit: u64 = match text[digits..].trim_start() {
            "B" => 1,
            "kB" | "KB" => 1000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(HOW),
        };
        number.checked_mul(unit).map(ByteSize).ok_or("the size is too large")
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 8] = [
            (1 << 40, "TiB"),
            (1_000_000_000_000, "TB"),
            (1 << 30, "GiB"),
            (1_000_000_000, "GB"),
            (1 << 20, "MiB"),
            (1_000_000, "MB"),
            (1 << 10, "KiB"),
            (1000, "kB"),
        ];
        // the unit that leaves the shortest whole number: "64 MB" rather than "62500 KiB"
        let whole = UNITS.iter().filter(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        let (unit, name) = whole.min_by_key(|(unit, _)| self.0 / unit).unwrap_or(&(1, "B"));
        write!(f, "{} {name}", self.0 / unit)
    }
}

/// Reads a string and parses it; the error's text becomes the hint.
fn parsed<T: FromStr<Err = &'static str>>(value: &mut Value<'_>, what: &str) -> Result<T, DeserError> {
    let span = value.span;
    let found = value.as_ref().type_str();
    match value.take_string(None) {
        Ok(text) => text.parse().map_err(|hint| mistake(span, &format!("not {what}"), hint).into()),
        Err(_) => {
            let hint = T::from_str("").err().unwrap_or_default();
            Err(mistake(span, &format!("expected {what} in quotes, with its unit, found {found}"), hint).into())
        }
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        parsed(value, "a length of time")
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, DeserError> {
        parsed(value, "a size")
    }
}

/// Adds the mistake when `value` lies outside `range`.
fn within<T: PartialOrd + fmt::Display>(
    table: &mut TableHelper<'_>,
    name: &str,
    value: Spanned<T>,
    range: RangeInclusive<T>,
) -> Option<T> {
    if range.contains(&value.value) {
        return Some(value.value);
    }
    let hint = format!("allowed: {} to {}", range.start(), range.end());
    table.errors.push(mistake(value.span, &format!("`{name}` is out of range: {}", value.value), &hint));
    None
}

/// An optional length of time within `range`, both ends included.
pub fn duration(table: &mut TableHelper<'_>, name: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
    let value = table.optional_s::<TimeSpan>(name)?;
    within(table, name, value, TimeSpan(*range.start())..=TimeSpan(*range.end())).map(|t| t.0)
}

/// An optional size in bytes within `range`, both ends included.
pub fn size(table: &mut TableHelper<'_>, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
    let value = table.optional_s::<ByteSize>(name)?;
    within(table, name, value, ByteSize(*range.start())..=ByteSize(*range.end())).map(|b| b.0)
}

/// An optional whole number within `range`, both ends included.
pub fn number(table: &mut TableHelper<'_>, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
    let value = table.optional_s::<u64>(name)?;
    within(table, name, value, range)
}

/// An optional text that is not empty; spaces at its ends are a mistake, not repaired.
pub fn text(table: &mut TableHelper<'_>, name: &'static str) -> Option<Spanned<String>> {
    let value = table.optional_s::<String>(name)?;
    let (what, hint) = if value.value.is_empty() {
        (format!("`{name}` is empty"), "write its value between the quotes, or leave the key out if it may be missing")
    } else if value.value.trim() != value.value {
        (format!("`{name}` begins or ends with a space"), "take the spaces out")
    } else {
        return Some(value);
    };
    table.errors.push(mistake(value.span, &what, hint));
    None
}

/// An optional path; a relative one is taken from the agent's working directory.
pub fn path(table: &mut TableHelper<'_>, name: &'static str) -> Option<PathBuf> {
    text(table, name).map(|t| t.value.into())
}

/// Adds the mistake that `name` is missing, unless something was given there (then its own mistake says more).
/// Call it where a helper of this module returned `None` for a key that must be there.
pub fn missing(table: &mut TableHelper<'_>, name: &'static str, given: bool) {
    if !given {
        // asking once more for the key that is gone makes toml-span add its own error, with the table's place
        let _ = table.required::<String>(name);
    }
}

/// A path that must be there.
pub fn required_path(table: &mut TableHelper<'_>, name: &'static str) -> Option<PathBuf> {
    let given = table.contains(name);
    let value = path(table, name);
    missing(table, name, given);
    value
}

/// A text that must be there.
pub fn required_text(table: &mut TableHelper<'_>, name: &'static str) -> Option<Spanned<String>> {
    let given = table.contains(name);
    let value = text(table, name);
    missing(table, name, given);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, ms) in
            [("15s", 15_000), ("200 ms", 200), ("7d", 604_800_000), ("1h 30m", 5_400_000), ("2min", 120_000), ("0s", 0)]
        {
            assert_eq!(text.parse::<TimeSpan>(), Ok(TimeSpan(Duration::from_millis(ms))), "{text}");
        }
        for text in [
            "",
            "15",
            "s",
            "1.5h",
            "-1s",
            "15 seconds",
            "1h30",
            "99999999999999999999s",
            "999999999999999999d",
            "1\u{b5}s",
        ] {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("2 GiB", 2 << 30), ("1MB", 1_000_000), ("900 B", 900), ("64KiB", 65536)] {
            assert_eq!(text.parse::<ByteSize>(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "2", "GiB", "1.5 GiB", "2 gib", "99999999 TiB", "2 GiB x"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        for ms in [0, 1, 200, 1000, 61_000, 3_600_000, 604_800_000] {
            let span = TimeSpan(Duration::from_millis(ms));
            assert_eq!(span.to_string().parse(), Ok(span));
        }
        for bytes in [0, 1, 1000, 1024, 3 << 20, 10_000, 64_000_000, 512_000, (1 << 30) + 1, u64::MAX] {
            assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
        for (bytes, shown) in
            [(10_000, "10 kB"), (64_000_000, "64 MB"), (65_536, "64 KiB"), (8_190, "8190 B"), (2 << 30, "2 GiB")]
        {
            assert_eq!(ByteSize(bytes).to_string(), shown);
        }
    }

    #[test]
    fn every_mistake_of_a_table_is_collected() {
        let mut value = toml_span::parse("wait = 15\nroom = '9 GiB'\nname = ' x'\nmany = 7").expect("valid TOML");
        let mut table = TableHelper::new(&mut value).expect("a table");
        assert_eq!(duration(&mut table, "wait", Duration::ZERO..=Duration::MAX), None);
        assert_eq!(size(&mut table, "room", 1..=1 << 30), None);
        assert!(text(&mut table, "name").is_none());
        assert_eq!(number(&mut table, "many", 1..=9), Some(7));
        assert_eq!(required_path(&mut table, "path"), None);
        let errors = table.finalize(None).expect_err("four mistakes").errors;
        let texts: Vec<_> =
            errors.iter().map(|e| e.to_string().lines().next().unwrap_or_default().to_string()).collect();
        assert_eq!(
            texts,
            [
                "expected a length of time in quotes, with its unit, found integer",
                "`room` is out of range: 9 GiB",
                "`name` begins or ends with a space",
                "missing field 'path' in table",
            ]
        );
    }
}
