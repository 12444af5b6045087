//! The configuration: typed, secrets by reference only, every mistake at once with its place.
//!
//! [`load`] reads files; [`parse`] is pure. What leads to a [`Report`] ends the process with code 2 before anything
//! was started. Unknown keys are mistakes, units stand in the value, and no default loses data.

mod agent;
mod cloud;
mod collect;
mod hide;
mod predicates;
mod read;
mod report;
mod sample;
pub mod secret;
mod sink;
mod source;
mod suggest;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use auditferry_contract::SinkKind;
use collect::read_all;

pub use agent::{AgentConfig, LogFormat};
pub use cloud::Cloud;
pub use predicates::{Filter, POWER_PLATFORM_TYPES, PRODUCTS, Select};
pub use report::{Line, Mistake, Report, SourceFile};
pub use sink::{BatchOverrides, CodecName, SinkConfig};
pub use source::{ContentType, SourceConfig, SourceKind};
pub(crate) use suggest::hint;

/// A configuration in which no mistake was found.
#[derive(Debug)]
pub struct Config {
    /// `[agent]`.
    pub agent: AgentConfig,
    /// `[[source]]`, at least one.
    pub sources: Vec<SourceConfig>,
    /// `[[sink]]`, at least one.
    pub sinks: Vec<SinkConfig>,
}

/// A file larger than this is no configuration.
const LARGEST_FILE: u64 = 4 << 20;

/// Names the configuration where no path is given: files and folders, with `:` between them.
pub const VARIABLE: &str = "AUDITFERRY_CONFIG";

/// Reads the configuration from files and folders (there: every `*.toml`, by name), all of them together one configuration.
/// Without `paths`: from those of [`VARIABLE`].
///
/// # Errors
/// Every mistake of every file.
pub fn load(paths: &[PathBuf], registry: &[SinkKind]) -> Result<Config, Report> {
    let paths = named(paths);
    let (files, mut mistakes) = read_files(&paths);
    if paths.is_empty() {
        let hint = format!("give a file or folder: --config FILE, or name it in the environment: {VARIABLE}=FILE");
        mistakes.push(Mistake::nowhere("no configuration was given").hint(hint));
    }
    // with a file missing, what the others seem to lack may stand in it
    let whole = mistakes.is_empty();
    let (config, more) = read_all(&files, registry, whole);
    mistakes.extend(more);
    match config {
        Some(config) if mistakes.is_empty() => Ok(config),
        _ => Err(Report::new(files, mistakes)),
    }
}

/// The paths that were given, or else those that the environment names.
pub fn named(paths: &[PathBuf]) -> Vec<PathBuf> {
    if !paths.is_empty() {
        return paths.to_vec();
    }
    let named = env::var_os(VARIABLE).unwrap_or_default();
    env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// The files behind the paths, and which could not be read.
pub(crate) fn read_files(paths: &[PathBuf]) -> (Vec<SourceFile>, Vec<Mistake>) {
    let (mut files, mut mistakes) = (Vec::new(), Vec::new());
    for path in paths {
        match files_of(path) {
            Ok(found) if found.is_empty() => {
                mistakes.push(
                    Mistake::nowhere(format!("no file *.toml in folder {}", path.display()))
                        .hint("give a file, or a folder that holds some"),
                );
            }
            Ok(found) => {
                for file in found {
                    match read_file(&file) {
                        Ok(text) => files.push(SourceFile { path: file, text }),
                        Err(mistake) => mistakes.push(*mistake),
                    }
                }
            }
            Err(error) => mistakes.push(unreadable(path, &error)),
        }
    }
    (files, mistakes)
}

/// Reads the configuration from texts.
///
/// # Errors
/// Every mistake of every text.
pub fn parse(files: Vec<SourceFile>, registry: &[SinkKind]) -> Result<Config, Report> {
    match read_all(&files, registry, true) {
        (Some(config), mistakes) if mistakes.is_empty() => Ok(config),
        (_, mistakes) => Err(Report::new(files, mistakes)),
    }
}

/// A file's text for a person who is not the operator: no secret, nothing that looks like one, no comment.
pub(crate) fn for_others(number: usize, file: &SourceFile, mistakes: &[Mistake]) -> String {
    let secret = mistakes.iter().filter(|mistake| mistake.secret);
    let known = secret.filter_map(|mistake| mistake.place.clone()).filter(|(file, _)| *file == number);
    hide::Hidden::for_others(&file.text, known.map(|(_, place)| place)).text
}

fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if file.extension().is_some_and(|e| e == "toml") && !hidden && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> Result<String, Box<Mistake>> {
    let failed = |error: io::Error| Box::new(unreadable(path, &error));
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > LARGEST_FILE {
        let mistake = Mistake::nowhere(format!("{} has {size} bytes: that is no configuration", path.display()));
        return Err(Box::new(mistake.hint("give a TOML file")));
    }
    String::from_utf8(fs::read(path).map_err(failed)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let mistake = Mistake::nowhere(format!("{} is not UTF-8 at byte {at}", path.display()));
        Box::new(mistake.hint("save it as UTF-8"))
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Mistake {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "check the path given with --config, or in AUDITFERRY_CONFIG",
        io::ErrorKind::PermissionDenied => "the user that runs the agent must be able to read it",
        _ => "",
    };
    Mistake::nowhere(format!("can't read {}: {error}", path.display())).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that a table really takes, from the list that the hint for an unknown one gives.
    fn keys_of(text: &str) -> Vec<String> {
        let file = SourceFile { path: "t".into(), text: text.to_string() };
        let report = parse(vec![file], &crate::sinks::registry()).expect_err("an unknown key");
        let mistake = report.mistakes.iter().find(|m| m.what == "unknown key `zzzzzzzz`").expect("it is reported");
        let list = mistake.hint.as_deref().and_then(|h| h.strip_prefix("known here: ")).expect("a list");
        list.split(", ").map(str::to_string).collect()
    }

    #[test]
    fn the_lists_of_keys_are_those_that_are_read() {
        assert_eq!(keys_of("[agent]\nzzzzzzzz = 1"), AgentConfig::KEYS);
        assert_eq!(keys_of("[[source]]\nzzzzzzzz = 1"), SourceConfig::KEYS);
        assert_eq!(keys_of("[[sink]]\nkind = 'stdout'\nzzzzzzzz = 1"), SinkConfig::KEYS);
    }

    #[test]
    fn a_whole_configuration() {
        let text = "
            [agent]
            state_dir = 's'
            [[source]]
            name = 'gov'
            kind = 'office365'
            cloud = 'gcc-high'
            tenant = ' 41463F53-8812-40F4-890F-865BF6E35190 '
            client = '6f9c2f0e-5b1e-4c0f-9a51-2f6d1f0f7c11'
            secret.file = 'x'
            content = ['dlp.all', 'Audit.General']
            api = 'http://127.0.0.1:8080/'
            [[sink]]
            name = 'out'
            kind = 'stdout'
            start = '7d'
            sources = ['gov']
            filter = { product = ['power_apps'] }
            batch = { messages = 7, bytes = '1 MiB' }";
        // as another system's editor saves it
        let text = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        let file = SourceFile { path: "t".into(), text };
        let config = parse(vec![file], &crate::sinks::registry()).unwrap_or_else(|report| panic!("{report}"));
        let source = &config.sources[0];
        assert_eq!(source.tenant, "41463f53-8812-40f4-890f-865bf6e35190");
        assert_eq!(source.publisher, source.tenant);
        assert_eq!(source.api.as_str(), "http://127.0.0.1:8080/");
        assert_eq!(source.authority.as_str(), "https://login.microsoftonline.us/");
        assert_eq!(source.audience, "https://manage.office365.us");
        assert_eq!(source.content, [ContentType::Dlp, ContentType::General]);
        let sink = &config.sinks[0];
        assert_eq!((sink.limits().batch_messages, sink.limits().batch_bytes), (7, 1 << 20));
        assert!(sink.filter.matches("power_apps", "x", None) && sink.raw_data && sink.codec == CodecName::Ocsf);
    }

    #[test]
    fn plain_http_goes_to_this_machine_only() {
        for (host, taken) in [
            ("http://localhost:1", true),
            ("http://127.9.9.9:1", true),
            ("http://[::1]:1", true),
            ("http://localhost.example:1", false),
            ("http://169.254.169.254", false),
            ("http://[::ffff:127.0.0.1]", false),
            ("https://h", true),
            ("ftp://h", false),
            ("https://u@h", false),
            ("https://h/?q", false),
            ("https:", false),
        ] {
            let text = format!("[[source]]\napi = '{host}'");
            let report = parse(vec![SourceFile { path: "t".into(), text }], &[]).expect_err("much is missing");
            let complains = report.mistakes.iter().any(|m| m.what.starts_with("`api`"));
            assert_eq!(!complains, taken, "{host}\n{report}");
        }
    }
}
