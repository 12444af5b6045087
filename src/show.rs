//! How commands and the status page show what others have written: records and a sink's words come from outside, and a terminal obeys some of it.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::ledger::Millis;

/// True for what a terminal or an editor acts on instead of showing it: controls, and marks that turn the order of the text around
/// or take no room (Unicode TR 36, <https://trojansource.codes>).
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text from outside for a terminal, on one line: what acts is written as `\u{1b}`.
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            // writing into a String can't fail
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// JSON for a terminal too: what acts stands in it as an escape, which means the same. The line breaks between its parts stay: inside a
/// string JSON has none.
pub fn harmless_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if acts(c) && c != '\n' {
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// How long a time is, in one unit.
pub fn ago(millis: Millis) -> String {
    let seconds = millis / 1000;
    match seconds.abs() {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A time, UTC.
pub fn date(millis: Millis) -> String {
    Timestamp::from_millisecond(millis)
        .map_or_else(|_| millis.to_string(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A size, in one unit.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_and_the_rest_stays() {
        let attack = "a\u{1b}[2J\r\n\u{9b}31m\u{202e}\u{200b}Ünïcødé 漢字 \"\\";
        assert_eq!(harmless(attack), "a\\u{1b}[2J\\u{d}\\u{a}\\u{9b}31m\\u{202e}\\u{200b}Ünïcødé 漢字 \"\\");
        let json = serde_json::to_string_pretty(&[attack, "\u{e0001}"]).unwrap();
        let shown = harmless_json(&json);
        assert_eq!(shown.lines().count(), 4);
        assert!(!shown.replace('\n', "").chars().any(acts), "{shown}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [attack, "\u{e0001}"], "it means the same");
    }
}
