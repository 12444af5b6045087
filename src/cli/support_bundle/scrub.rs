//! Takes out of every text of a bundle what the configuration refers to as a secret, wherever it came from.

use std::path::PathBuf;

use auditferry_contract::{ExposeSecret, SecretRef};
use base64::{Engine, engine::general_purpose};
use url::form_urlencoded;

use crate::config::{Config, SourceFile, secret::Secrets};

/// Shorter ones would hide half of the text, and protect nothing.
const SHORTEST: usize = 4;

/// The values of all secrets that can be found; they are compared with, never shown.
pub struct Scrub(Vec<String>);

impl Scrub {
    /// Of a configuration, or of what is left of one: a file that no parser takes is looked through for references.
    pub fn new(config: Option<&Config>, files: &[SourceFile], secrets: &Secrets) -> Self {
        let mut references: Vec<SecretRef> = files.iter().flat_map(|file| references(&file.text)).collect();
        if let Some(config) = config {
            references.extend(config.sources.iter().map(|source| source.secret.clone()));
            references.extend(config.sinks.iter().flat_map(|sink| sink.checked.references()));
        }
        let found = references.iter().filter_map(|reference| secrets.resolve(reference).ok());
        let mut values: Vec<String> = found.map(|secret| secret.expose_secret().to_owned()).collect();
        values.retain(|value| value.len() >= SHORTEST);
        let encoded: Vec<String> = values.iter().flat_map(|value| encoded(value)).collect();
        values.extend(encoded);
        // one may be part of another
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Scrub(values)
    }

    /// The text without them.
    pub fn clean(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), "***"))
    }
}

/// What a secret looks like where another program has logged a request or a configuration: in JSON, in an address or a form, in
/// Base64 (RFC 4648 §4 and §5), the last also as a part of something longer, as of `user:password`.
fn encoded(value: &str) -> Vec<String> {
    let mut forms = vec![form_urlencoded::byte_serialize(value.as_bytes()).collect()];
    // what stays as it is differs: forms, RFC 3986 §2.3, encodeURIComponent, encodeURI
    for plain in ["*-._", "-._~", "-._~!'()*", "-._~!'()*;/?:@&=+$,#"] {
        forms.push(in_address(value, plain));
    }
    // as short as JSON may be; with the slash escaped; then what Python, Go and .NET write
    for (ascii, signs) in [(false, ""), (true, ""), (false, "&<>"), (true, "&<>"), (true, "&<>'+`\"")] {
        let json: String = value.chars().map(|c| in_json(c, ascii, signs)).collect();
        forms.extend([json.replace('/', "\\/"), json]);
    }
    let lower: Vec<String> = forms.iter().map(|form| lower_escapes(&lower_escapes(form, "%", 2), "\\u", 4)).collect();
    forms.extend(lower);
    for before in 0..3 {
        let bytes = [&vec![0; before], value.as_bytes()].concat();
        // the characters that hold nothing of its neighbours
        let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for engine in [general_purpose::STANDARD_NO_PAD, general_purpose::URL_SAFE_NO_PAD] {
            forms.push(engine.encode(&bytes)[first..end].to_owned());
        }
    }
    forms.retain(|form| form != value && form.len() >= SHORTEST);
    forms
}

fn in_address(value: &str, plain: &str) -> String {
    let byte = |byte: u8| match char::from(byte) {
        c if c.is_ascii_alphanumeric() || plain.contains(c) => c.to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(byte).collect()
}

fn in_json(c: char, ascii: bool, signs: &str) -> String {
    if signs.contains(c) || (ascii && !c.is_ascii()) {
        return c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect();
    }
    let quoted = serde_json::Value::from(c.to_string()).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// `%3D` as `%3d`: the digits behind each `escape` in lower case.
fn lower_escapes(text: &str, escape: &str, digits: usize) -> String {
    let mut parts = text.split(escape);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.char_indices().nth(digits).map_or(part.len(), |(at, _)| at);
        out = out + escape + &part[..end].to_ascii_lowercase() + &part[end..];
    }
    out
}

/// What follows `env =` or `file =` between quotes, however broken the rest is.
fn references(text: &str) -> Vec<SecretRef> {
    let mut found = Vec::new();
    for key in ["env", "file"] {
        for (at, _) in text.match_indices(key) {
            let rest = text[at + key.len()..].trim_start().strip_prefix('=').map(str::trim_start);
            let Some(rest) = rest else { continue };
            let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else { continue };
            let inside = rest[1..].split([quote, '\n']).next().unwrap_or_default();
            found.push(match key {
                "env" => SecretRef::Env(inside.to_owned()),
                _ => SecretRef::File(PathBuf::from(inside)),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_in_a_file_that_no_parser_takes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hunter2-of-a-file\n").unwrap();
        let text = format!(
            "[[[source\nsecret = {{ env = 'A' }}\ntoken.file=\"{}\"\nx = {{ env = \"GONE\" }}\nenv",
            path.display()
        );
        let secrets = Secrets::with_variables(|name| (name == "A").then(|| "hunter2".into()));
        let scrub = Scrub::new(None, &[SourceFile { path: "t".into(), text }], &secrets);
        assert_eq!(scrub.clean("a hunter2-of-a-file, hunter2 and hunter"), "a ***, *** and hunter");
    }

    #[test]
    fn a_secret_is_found_however_a_log_has_encoded_it() {
        const SECRET: &str = "hün/ter\\2+ \"x\"?>~";
        let secrets = Secrets::with_variables(|_| Some(SECRET.into()));
        let scrub =
            Scrub::new(None, &[SourceFile { path: "t".into(), text: "secret = { env = 'A' }".into() }], &secrets);
        let (standard, url_safe) = (general_purpose::STANDARD, general_purpose::URL_SAFE);
        for text in [
            SECRET.to_owned(),
            r#""password":"hün/ter\\2+ \"x\"?>~""#.to_owned(),
            "client_secret=h%C3%BCn%2Fter%5C2%2B+%22x%22%3F%3E%7E&grant".to_owned(),
            // as RFC 3986 has it; and what a browser makes of a whole address
            "client_secret=h%C3%BCn%2Fter%5C2%2B%20%22x%22%3F%3E~&grant".to_owned(),
            "client_secret=h%C3%BCn/ter%5C2+%20%22x%22?%3E~".to_owned(),
            // Python's JSON, PHP's, Go's, .NET's
            r#""h\u00fcn/ter\\2+ \"x\"?>~""#.to_owned(),
            r#""h\u00fcn\/ter\\2+ \"x\"?>~""#.to_owned(),
            r#""hün/ter\\2+ \"x\"?\u003e~""#.to_owned(),
            r#""h\u00FCn/ter\\2\u002B \u0022x\u0022?\u003E~""#.to_owned(),
            "client_secret=h%c3%bcn%2fter%5c2%2b%20%22x%22%3f%3e%7e&grant".to_owned(),
            standard.encode(SECRET),
            url_safe.encode(SECRET),
            format!("Basic {}", standard.encode(format!("u:{SECRET}"))),
            format!("Basic {}", standard.encode(format!("us:{SECRET}"))),
            format!("Basic {}", standard.encode(format!("use:{SECRET}."))),
        ] {
            let clean = scrub.clean(&text);
            assert!(clean.contains("***"), "{clean}");
            // what is left of Base64 at the edges holds less than a character of it
            let left: Vec<_> = clean.split("***").map(|part| part.trim_start_matches("Basic ")).collect();
            assert!(
                text.starts_with("client") || text.starts_with('"') || left.iter().all(|part| part.len() <= 8),
                "{clean}"
            );
            assert!(!clean.contains("ter"), "{clean}");
        }
    }
}
