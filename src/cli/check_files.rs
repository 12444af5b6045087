//! What `check` finds in the files of certificates and keys: option, file, what is wrong, what to do.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{config::SinkConfig, expiry, ledger::Millis};

/// What is to be said of files.
#[derive(Default)]
pub(super) struct Found {
    /// Nothing works with it.
    pub(super) errors: Vec<String>,
    /// It works, for now.
    pub(super) warnings: Vec<String>,
}

/// A file, its option and what it holds.
struct Pem {
    /// Empty where the sink's settings do not name it.
    option: String,
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Looks at the files that a sink reads when it is opened.
pub(super) fn of_sink(sink: &SinkConfig, now: Millis) -> Found {
    let settings = sink.checked.settings();
    // the options of TLS stand flat in every sink's table, and its settings show them by name; one file may serve two of them
    let mut taken: Vec<&str> = Vec::new();
    let mut files = Vec::new();
    for path in sink.checked.files() {
        let shown = path.display().to_string();
        let option = settings.iter().find(|(key, value)| *value == shown && !taken.contains(key)).map(|(key, _)| *key);
        taken.extend(option);
        files.push((option.unwrap_or_default().to_string(), path));
    }
    look(&format!("sink `{}`", sink.name), files, now)
}

/// Looks at the `ca` of a source.
pub(super) fn of_source(name: &str, ca: &Path, now: Millis) -> Found {
    look(&format!("source `{name}`"), vec![("ca".to_string(), ca.to_path_buf())], now)
}

fn look(owner: &str, files: Vec<(String, PathBuf)>, now: Millis) -> Found {
    let whose = |option: &str| if option.is_empty() { owner.to_string() } else { format!("{owner}, {option}") };
    let mut found = Found::default();
    let mut read = Vec::new();
    for (option, path) in files {
        match fs::read(&path) {
            Ok(bytes) => read.push(Pem { option, path, bytes }),
            Err(error) => {
                let place = path.display();
                let words = format!(
                    "file {place} can't be read: {error}: it must be there, for the agent's user to read [File]"
                );
                found.errors.push(format!("{}: {words}", whose(&option)));
            }
        }
    }
    let by = |name: &str| read.iter().find(|pem| pem.option == name);
    let judged =
        [("ca", tls::judge(&[by("ca")])), ("certificate and key", tls::judge(&[by("certificate"), by("key")]))];
    found
        .errors
        .extend(judged.into_iter().filter_map(|(options, words)| Some(format!("{owner}, {options}: {}", words?))));
    for pem in &read {
        if !["ca", "certificate", "key"].contains(&pem.option.as_str()) && !is_pem(&pem.bytes) {
            let words = "holds neither a certificate nor a key: it must be PEM";
            found.errors.push(format!("{}: file {} {words}", whose(&pem.option), pem.path.display()));
        }
        if let Some(end) = expiry::earliest_end(&pem.bytes)
            && let Some(words) = expiry::words(&pem.path, end, now)
        {
            let words = format!("{}: {words}", whose(&pem.option));
            // nobody lets in a client certificate that has expired; of several CAs the others may do
            if end < now && pem.option == "certificate" {
                found.errors.push(words);
            } else {
                found.warnings.push(words);
            }
        }
    }
    found
}

fn is_pem(bytes: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN ";
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// What the sinks themselves would find, from the same code.
#[cfg(feature = "tls")]
mod tls {
    use std::path::Path;

    use auditferry_contract::{
        Cause, Env, Options, SecretRef, SecretString,
        toml_span::value::{Key, Table, Value, ValueInner},
    };
    use auditferry_tls::Tls;
    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::Pem;

    /// The files as they were read: nothing is awaited, nothing is read twice.
    struct Read<'a>(&'a [Option<&'a Pem>]);

    #[async_trait::async_trait]
    impl Env for Read<'_> {
        fn agent(&self) -> &str {
            crate::AGENT
        }

        async fn secret(&self, _: &SecretRef) -> Result<SecretString, Cause> {
            Err(Cause::from("certificates need no secret"))
        }

        async fn file(&self, path: &Path) -> Result<Bytes, Cause> {
            let known = self.0.iter().flatten().find(|pem| pem.path == path);
            known.map(|pem| Bytes::from(pem.bytes.clone())).ok_or_else(|| Cause::from("it was not read"))
        }

        fn random(&self) -> u128 {
            0
        }
    }

    /// Why these files can't be used together; `None` as well when one of them is not there: that is told already.
    pub(super) fn judge(files: &[Option<&Pem>]) -> Option<String> {
        let mut table = Table::new();
        for pem in files {
            let pem = (*pem)?;
            let key = Key { name: pem.option.clone().into(), span: Default::default() };
            table.insert(key, Value::new(ValueInner::String(pem.path.to_str()?.to_string().into())));
        }
        let mut value = Value::new(ValueInner::Table(table));
        let tls = Tls::read(&mut Options::new(&mut value).ok()?);
        tls.pem(&Read(files)).now_or_never()?.err().map(|cause| cause.0)
    }
}

/// No sink of this build speaks TLS; what a source needs is in the file or not.
#[cfg(not(feature = "tls"))]
mod tls {
    use super::{Pem, is_pem};

    pub(super) fn judge(files: &[Option<&Pem>]) -> Option<String> {
        let wrong = files.iter().flatten().find(|pem| !is_pem(&pem.bytes))?;
        Some(format!("{} holds neither a certificate nor a key: it must be PEM", wrong.path.display()))
    }
}
