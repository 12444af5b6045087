//! Takes out of every text of a bundle what the configuration refers to as a secret, wherever it came from.

use std::path::PathBuf;

use auditferry_contract::{ExposeSecret, SecretRef};

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
}
