//! The options: where, and with which permissions.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use auditferry_contract::{
    CheckedSink, ConfigErrors, Confirmation, Env, Format, Limits, Options, Sink, SinkError,
    options::{mistake, required_path, text},
};

use crate::{look::look, sink::FileSink};

pub fn check(mut options: Options<'_>, _: &Format) -> Result<Box<dyn CheckedSink>, ConfigErrors> {
    let path = required_path(&mut options, "path");
    let mode = mode(&mut options);
    let span = path.is_none();
    options.finalize(None)?;
    match path {
        Some(path) => Ok(Box::new(Checked { path, mode })),
        // `required_path` has reported it, so `finalize` has returned; said again rather than assumed
        None => Err(mistake(Default::default(), if span { "`path` is missing" } else { "`path` is wrong" }, "").into()),
    }
}

/// Octal permissions, as `chmod` takes them. The owner must be able to write; nobody needs to execute.
fn mode(options: &mut Options<'_>) -> u32 {
    const DEFAULT: u32 = 0o640;
    let Some(given) = text(options, "mode") else { return DEFAULT };
    let octal = given.value.len() <= 4 && given.value.chars().all(|c| c.is_digit(8));
    match u32::from_str_radix(&given.value, 8) {
        Ok(mode) if octal && mode & 0o600 == 0o600 && mode & !0o666 == 0 => mode,
        _ => {
            let hint = "octal, readable and writable by its owner, not executable, as in \"0640\" or \"0600\"";
            options.errors.push(mistake(given.span, "not usable permissions", hint));
            DEFAULT
        }
    }
}

struct Checked {
    path: PathBuf,
    mode: u32,
}

#[async_trait]
impl CheckedSink for Checked {
    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn promise(&self) -> Option<Confirmation> {
        Some(Confirmation::Stored)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("path", self.path.display().to_string()), ("mode", format!("{:04o}", self.mode))]
    }

    fn exclusive(&self) -> Option<String> {
        Some(format!("file {}", self.path.display()))
    }

    async fn open(&self, _: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        let sink = FileSink::open(self.path.clone(), self.mode).await?;
        Ok(Arc::new(sink))
    }

    async fn probe(&self, _: Arc<dyn Env>) -> Result<Confirmation, SinkError> {
        look(&self.path).map(|()| Confirmation::Stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(options: &str) -> Vec<String> {
        let mut value = auditferry_contract::toml_span::parse(options).expect("valid TOML");
        let format = Format { codec: "raw", schema: "raw".into(), media_type: "application/json" };
        let checked = check(Options::new(&mut value).expect("a table"), &format);
        checked.err().map_or(Vec::new(), |e| e.errors.iter().map(|e| e.to_string()).collect())
    }

    #[test]
    fn good_options_and_bad_ones() {
        assert_eq!(words("path = 'a'"), [""; 0]);
        assert_eq!(words("path = 'a'\nmode = '0600'"), [""; 0]);
        assert_eq!(words("mode = '0600'"), ["missing field 'path' in table"]);
        for mode in ["0440", "0750", "rw", "1640", "00640", "+640", "9"] {
            assert!(words(&format!("path = 'a'\nmode = '{mode}'"))[0].starts_with("not usable permissions"), "{mode}");
        }
        assert_eq!(words("path = ''\nmode = 640\npaht = 'a'").len(), 3);
    }
}
