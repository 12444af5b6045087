//! Reads whatever stands in the body of an error: the documented envelope, its malformed variants, text and HTML.

use serde::Deserialize;
use serde_json::Value;

use super::errors::{AUDIT_OFF, NO_WINDOW, known};

/// How much of a body is shown, bytes.
const SHOWN: usize = 200;

/// What an error body told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Codes, the most telling first; empty: none was given.
    pub codes: Vec<String>,
    /// The service's own words, cleaned and short, quoted; empty: none.
    pub said: String,
}

/// Reads a body of the Management Activity API.
pub(super) fn api(body: &[u8]) -> Told {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    // some answers are printed with single quotes; as a second try this can only win
    let parsed = serde_json::from_str::<Value>(text)
        .or_else(|_| serde_json::from_str(&text.replace('\'', "\"")))
        .ok()
        .and_then(|value| error_of(&value));
    match parsed {
        Some((code, message)) => told(code, message),
        // a stack trace or an AF code inside text that is no JSON is still worth its hint
        None => told(code_in(text).unwrap_or_default(), text.to_owned()),
    }
}

/// The error of a body that came with a 2xx status, if it is one.
pub(super) fn inside_success(body: &[u8]) -> Option<Told> {
    let value: Value = serde_json::from_slice(body).ok()?;
    // a record may well have a member named `Message`: only the documented envelope counts here
    value.get("error").filter(|error| error.is_object())?;
    error_of(&value).map(|(code, message)| told(code, message))
}

fn error_of(value: &Value) -> Option<(String, String)> {
    // {"error":{"code","message"}}; some front ends leave the outer object out, or answer {"Message"}
    let error = value.get("error").unwrap_or(value);
    let text = |names: [&str; 2]| {
        names.iter().find_map(|name| match error.get(*name)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        })
    };
    let (code, message) = (text(["code", "Code"]), text(["message", "Message"]));
    if let (None, None, Value::String(text)) = (&code, &message, error) {
        return Some((String::new(), text.clone()));
    }
    if code.is_none() && message.is_none() {
        return None;
    }
    Some((code.unwrap_or_default(), message.unwrap_or_default()))
}

fn told(code: String, message: String) -> Told {
    // audit off: the service cuts its own text at a colon, so the exception's name is in either half
    let whole = format!("{code} {message}");
    if whole.contains("DataServiceException") || (whole.contains("Tenant ") && whole.contains(" does not exist.")) {
        let from = whole.find("Tenant ").unwrap_or(0);
        let line = whole[from..].lines().next().unwrap_or_default();
        return Told { codes: vec![AUDIT_OFF.to_owned()], said: quoted(line) };
    }
    if code.starts_with("String reference not set") {
        return Told { codes: vec![NO_WINDOW.to_owned()], said: quoted(&code) };
    }
    let mut codes = Vec::new();
    let code = code.trim();
    if known(code) {
        codes.push(code.to_owned());
    } else if let Some(inner) = code_in(code).or_else(|| code_in(&message)) {
        codes.push(inner);
    } else if !code.is_empty() {
        codes.push(clean(code, 60));
    }
    let said = if message.is_empty() { code.to_owned() } else { message };
    Told { codes, said: quoted(&said) }
}

/// The first code that the table knows, standing alone: `AF` occurs in hexadecimal ids, too.
fn code_in(text: &str) -> Option<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| word.starts_with("AF") && known(word))
        .map(str::to_owned)
}

#[derive(Deserialize)]
struct TokenError {
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    error_description: Option<String>,
    #[serde(default)]
    error_codes: Vec<Value>,
}

/// Reads a body of Entra ID's token endpoint.
pub(super) fn token(body: &[u8]) -> Told {
    let Ok(parsed) = serde_json::from_slice::<TokenError>(body) else {
        return Told { codes: Vec::new(), said: quoted(&String::from_utf8_lossy(body)) };
    };
    let description = parsed.error_description.unwrap_or_default();
    let mut codes = Vec::new();
    if description.contains("service principal for resource") && description.contains("disabled") {
        codes.push("ServicePrincipalDisabled".to_owned());
    }
    codes.extend(parsed.error_codes.iter().map(|code| match code {
        Value::String(code) => format!("AADSTS{}", code.trim_start_matches("AADSTS")),
        other => format!("AADSTS{other}"),
    }));
    if let Some(at) = description.find("AADSTS") {
        let digits: String = description[at + 6..].chars().take_while(char::is_ascii_digit).take(12).collect();
        codes.push(format!("AADSTS{digits}"));
    }
    // `error` last: it steers where no number is known
    if let Some(Value::String(error)) = &parsed.error {
        codes.push(clean(error, 60));
    }
    codes.dedup();
    // the first line says what; the correlation id is what Microsoft's support asks for
    let first = description.lines().next().unwrap_or_default();
    let correlation = description.lines().find(|line| line.starts_with("Correlation ID:")).unwrap_or_default();
    let said = if correlation.is_empty() {
        clean(first, SHOWN)
    } else {
        format!("{} {}", clean(first, 140), clean(correlation, 60))
    };
    Told { codes, said: quoted(&said) }
}

fn quoted(text: &str) -> String {
    let text = clean(text, SHOWN);
    if text.is_empty() { text } else { format!("“{text}”") }
}

/// Without control characters, runs of white space as one blank, at most `most` bytes on a character border.
pub(super) fn clean(text: &str, most: usize) -> String {
    let mut out = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        // part of a bearer token, which a front end might echo
        out.push_str(if word.len() > 30 && word.contains("eyJ") { "***" } else { word });
        if out.len() > most {
            let end = (0..=most).rev().find(|i| out.is_char_boundary(*i)).unwrap_or(0);
            out.truncate(end);
            out.push('…');
            break;
        }
    }
    out
}
