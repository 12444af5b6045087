//! The text of a configuration file as it may be shown: a mistake is shown with its line, and that line can hold a
//! password that somebody wrote where a reference belongs.

use std::ops::Range;

const SHOWN: &str = "***";

/// A file's text with what must not be shown replaced, and where its places went.
pub struct Hidden {
    /// What may be printed.
    pub text: String,
    cuts: Vec<(Range<usize>, usize)>,
}

impl Hidden {
    /// Hides `known` places, and whatever looks like a secret by the name of its key.
    pub fn new(text: &str, known: impl IntoIterator<Item = Range<usize>>) -> Self {
        Self::of(text, known.into_iter().chain(suspicious(text, false)).collect())
    }

    /// For a person who is not the operator: comments too, and values that look like a secret, whatever their key is called.
    pub fn for_others(text: &str, known: impl IntoIterator<Item = Range<usize>>) -> Self {
        Self::of(text, known.into_iter().chain(suspicious(text, true)).collect())
    }

    fn of(text: &str, mut places: Vec<Range<usize>>) -> Self {
        places.sort_by_key(|p| (p.start, p.end));
        let (mut out, mut cuts, mut at) = (String::with_capacity(text.len()), Vec::new(), 0);
        for place in places {
            let end = text.floor_char_boundary(place.end.min(text.len()));
            let start = text.floor_char_boundary(place.start.min(end)).max(at);
            if end <= start {
                continue;
            }
            out.push_str(&text[at..start]);
            // the lines keep their numbers
            let shown = SHOWN.to_string() + &"\n".repeat(text[start..end].matches('\n').count());
            cuts.push((start..end, shown.len()));
            out.push_str(&shown);
            at = end;
        }
        out.push_str(&text[at..]);
        Hidden { text: out, cuts }
    }

    /// Where a place of the original stands in the shown text.
    pub fn place(&self, place: &Range<usize>) -> Range<usize> {
        let start = self.offset(place.start);
        start..self.offset(place.end).max(start)
    }

    fn offset(&self, offset: usize) -> usize {
        let mut moved = offset;
        for (cut, len) in &self.cuts {
            if offset >= cut.end {
                moved = moved + len - (cut.end - cut.start);
            } else if offset > cut.start {
                return moved - (offset - cut.start);
            }
        }
        self.text.floor_char_boundary(moved.min(self.text.len()))
    }
}

/// True for keys whose value should never be shown, misspelled ones included.
fn secretive(key: &str) -> bool {
    let key = key.to_lowercase();
    ["secret", "token", "passw", "passphrase", "pwd", "credential", "apikey", "api_key"].iter().any(|w| key.contains(w))
        || ["secret", "token", "password", "passphrase", "client_secret"]
            .iter()
            .any(|w| strsim::damerau_levenshtein(&key, w) <= 2 && key.len() >= 4)
}

/// Keys whose GUIDs are no secrets; a token of Splunk is a GUID as well.
const GUIDS: [&str; 3] = ["tenant", "client", "publisher"];

/// True for what could be a token: a key in PEM, a GUID where none belongs, or a long word of letters and digits that is no address and no path.
fn token_like(key: &str, value: &str) -> bool {
    let guid = value.len() == 36 && value.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if guid {
        return !GUIDS.contains(&key);
    }
    let word = value.len() >= 16 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_~.+/=-".contains(&b));
    let mixed = value.bytes().any(|b| b.is_ascii_digit()) && value.bytes().any(|b| b.is_ascii_alphabetic());
    value.contains("-----BEGIN") || word && mixed && !value.starts_with(['/', '.'])
}

/// Values that must not be shown, found without a parser, since the file may be one that no parser takes. `others`: see [`Hidden::for_others`].
fn suspicious(text: &str, others: bool) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let (mut key, mut outer, mut word) = (String::new(), Vec::<String>::new(), 0..0);
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'#' => {
                let end = line_end(text, i);
                if others {
                    found.push(i + 1..end);
                }
                i = end;
            }
            b'=' => {
                key = text[word.clone()].to_string();
                i += 1;
                let value = i + text[i..].len() - text[i..].trim_start_matches([' ', '\t']).len();
                // a value without quotes is a mistake of its own, and shown as such
                let bare = bytes.get(value).is_some_and(|b| !matches!(b, b'"' | b'\'' | b'{' | b'[' | b'\n' | b'\r'));
                if bare && hides(&key, &outer) {
                    i = line_end(text, value);
                    found.push(value..i);
                }
            }
            quote @ (b'"' | b'\'') => {
                let (inside, end) = quoted(text, i, quote);
                let content = &text[inside.clone()];
                let reference = matches!(key.as_str(), "file" | "env" | "key_vault" | "path" | "state_dir");
                let looks = others && !reference && token_like(&key, content);
                let telling = others && (content.contains("://") && content.contains('?') || authorizes(content));
                if looks || telling || hides(&key, &outer) || content.contains("://") && content.contains('@') {
                    found.push(inside.clone());
                }
                word = inside;
                i = end;
            }
            b'{' => {
                outer.push(std::mem::take(&mut key));
                i += 1;
            }
            b'}' => {
                key = outer.pop().unwrap_or_default();
                i += 1;
            }
            b'[' if text[..i].trim_end_matches([' ', '\t']).ends_with('\n') || i == 0 => {
                key.clear();
                outer.clear();
                outer.extend(text[i..line_end(text, i)].split(['[', ']', '.']).map(str::to_string));
                i = line_end(text, i);
            }
            b if b.is_ascii_alphanumeric() || b == b'_' || b == b'-' => {
                let end = text[i..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
                let end = end.map_or(text.len(), |n| i + n);
                word = i..end;
                i = end;
            }
            _ => i += 1,
        }
    }
    found
}

/// The value of a header that lets somebody in.
fn authorizes(content: &str) -> bool {
    let words = content.to_ascii_lowercase();
    ["bearer ", "basic ", "splunk "].iter().any(|scheme| words.contains(scheme))
}

fn hides(key: &str, outer: &[String]) -> bool {
    !matches!(key, "file" | "env" | "key_vault") && (secretive(key) || outer.iter().any(|o| secretive(o)))
}

fn line_end(text: &str, from: usize) -> usize {
    text[from..].find('\n').map_or(text.len(), |n| from + n)
}

/// The inside of a string that begins at `at`, and where it ends. One that never ends is taken to end with its line, or with the
/// text if it may have several lines.
fn quoted(text: &str, at: usize, quote: u8) -> (Range<usize>, usize) {
    let mark = if quote == b'"' { ["\"", "\"\"\""] } else { ["'", "'''"] };
    let mark = if text[at..].starts_with(mark[1]) { mark[1] } else { mark[0] };
    let start = at + mark.len();
    let limit = if mark.len() == 1 { line_end(text, at) } else { text.len() };
    let mut i = start;
    while i < limit {
        if text.as_bytes()[i] == b'\\' && quote == b'"' {
            i += 2;
        } else if text.as_bytes()[i..].starts_with(mark.as_bytes()) {
            return (start..i, i + mark.len());
        } else {
            i += 1;
        }
    }
    // the line's end may split an escape or a character of several bytes
    let end = text.floor_char_boundary(limit.max(start).min(text.len()));
    (start.min(end)..end, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Hidden::new(text, []).text
    }

    #[test]
    fn secrets_are_not_shown_however_they_are_written() {
        for text in [
            "secret = \"hunter2\"",
            "secret = 'hunter2'",
            "secret=hunter2 # x",
            "secret = \"hunter2",
            "secret = \"\"\"\nhunter2\n\"\"\"",
            "\"secret\" = \"hunter2\"",
            "secret = { value = \"hunter2\" }",
            "secret = [\"a\", \"hunter2\"]",
            "client_secret = \"hunter2\"",
            "sceret = \"hunter2\"",
            "pasword = \"hunter2\"",
            "HEC_TOKEN = \"hunter2\"",
            "[source.secret]\nvalue = \"hunter2\"",
            "proxy = \"http://user:hunter2@proxy:8080\"",
            "auth = { password = \"a\\\"hunter2\" }",
            "secret = \"ü hunter2",
        ] {
            assert!(!shown(text).contains("hunter2"), "{}", shown(text));
        }
    }

    #[test]
    fn references_and_other_values_are_shown() {
        for text in [
            "secret = { file = \"/run/x\" }",
            "token = { env = \"SPLUNK\" }",
            "tenant = \"41463f53-8812-40f4-890f-865bf6e35190\"",
            "[[source]]\nname = \"contoso\"\ncontent = [\"Audit.General\"]",
            "endpoint = \"https://splunk.example:8088\"\ntopic = \"a\"",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn others_see_no_comments_and_nothing_that_looks_like_a_token() {
        for (text, seen) in [
            ("# secret = \"hunter2\"\nname = \"a\" # hunter2\n", "#***\nname = \"a\" #***\n"),
            ("channel = \"5b0f3a52-91c5-4a36-8d0f-hunter2\"", "channel = \"***\""),
            ("channel = \"5b0f3a52-91c5-4a36-8d0f-000000000001\"", "channel = \"***\""),
            ("headers = [\"abc8Q~hunter2.x_y-zhunter2\"]", "headers = [\"***\"]"),
            ("endpoint = \"https://splunk.example/?sig=hunter2\"", "endpoint = \"***\""),
            ("headers = [\"Authorization: Bearer hunter2\"]", "headers = [\"***\"]"),
            ("pem = \"\"\"\n-----BEGIN PRIVATE KEY-----\nhunter2\n\"\"\"", "pem = \"\"\"***\n\n\n\"\"\""),
        ] {
            assert_eq!(Hidden::for_others(text, []).text, seen);
        }
        for text in [
            "tenant = \"41463f53-8812-40f4-890f-865bf6e35190\"",
            "token = { env = \"SPLUNK_TOKEN_OF_2026_NO_2\" }\nstate_dir = \"state-of-agent-number-2\"",
            "path = \"events-of-2026-november.jsonl\"\nca = \"/etc/ssl/certs/company-root-2.pem\"",
            "brokers = [\"kafka-1.example:9093\"]\nendpoint = \"https://splunk-1.example:8088\"\ntopic = \"audit.power-platform\"",
        ] {
            assert_eq!(Hidden::for_others(text, []).text, text);
        }
    }

    #[test]
    fn places_follow_the_text_they_mark() {
        let text = "a = 1\nsecret = \"hunter2hunter2\" # ü\nb = 2\n";
        let hidden = Hidden::new(text, []);
        for mark in ["a = 1", "# ü", "b = 2", "secret"] {
            let at = text.find(mark).unwrap_or_default();
            assert_eq!(&hidden.text[hidden.place(&(at..at + mark.len()))], mark);
        }
        let at = text.find("hunter2").unwrap_or_default();
        assert_eq!(&hidden.text[hidden.place(&(at..at + 14))], "***");
        assert_eq!(Hidden::new("a\nb", Some(0..3)).text, "***\n");
    }

    #[test]
    fn any_text_is_survived() {
        for text in [
            "=",
            "\"",
            "'''",
            "a = \"\\",
            "\u{fc}=\"\u{fc}",
            "}}{",
            "[",
            "secret =",
            "a = \"\\\u{fc}",
            "secret = \"\\\u{fc}",
        ] {
            let hidden = Hidden::new(text, Some(0..99));
            let _ = hidden.place(&(0..text.len() + 5));
        }
    }
}
