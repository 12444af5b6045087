//! The configuration: typed, secrets by reference only, every mistake at once with its place.
//!
//! [`load`] reads files; [`parse`] is pure. What leads to a [`Report`] ends the process with code 2 before anything
//! was started. Unknown keys are mistakes, units stand in the value, and no default loses data.

mod agent;
mod cloud;
mod hide;
mod predicates;
mod read;
mod report;
pub mod secret;
mod sink;
mod source;
mod suggest;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use auditferry_contract::{
    Options, SinkKind,
    toml_span::{self, Span, Value, value::ValueInner},
};

pub use agent::{AgentConfig, LogFormat};
pub use cloud::Cloud;
pub use predicates::{Filter, POWER_PLATFORM_TYPES, PRODUCTS, Select};
pub use report::{Line, Mistake, Report, SourceFile};
pub use sink::{BatchOverrides, CodecName, SinkConfig};
pub use source::{ContentType, SourceConfig, SourceKind};

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

/// Reads the configuration from files and folders (there: every `*.toml`, by name), all of them together one configuration.
///
/// # Errors
/// Every mistake of every file.
pub fn load(paths: &[PathBuf], registry: &[SinkKind]) -> Result<Config, Report> {
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
    if paths.is_empty() {
        mistakes.push(Mistake::nowhere("no configuration was given").hint("give a file or folder: --config FILE"));
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
        io::ErrorKind::NotFound => "check the path given with --config",
        io::ErrorKind::PermissionDenied => "the user that runs the agent must be able to read it",
        _ => "",
    };
    Mistake::nowhere(format!("can't read {}: {error}", path.display())).hint(hint)
}

/// Where in which file something stands.
type Place = (usize, Span);

#[derive(Default)]
struct Collected {
    agent: Option<(Option<AgentConfig>, Place)>,
    sources: Vec<(source::ReadSource, usize)>,
    sinks: Vec<(sink::ReadSink, usize)>,
    // tables seen, also those with mistakes in them
    seen: (usize, usize),
    mistakes: Vec<Mistake>,
}

fn read_all(files: &[SourceFile], registry: &[SinkKind], whole: bool) -> (Option<Config>, Vec<Mistake>) {
    let mut all = Collected::default();
    let mut parsed = whole;
    for (i, file) in files.iter().enumerate() {
        match toml_span::parse(&file.text) {
            Ok(mut root) => all.file(i, &mut root, registry),
            Err(error) => {
                parsed = false;
                all.mistakes.extend(Mistake::from_toml(i, error));
            }
        }
    }
    all.cross_check(parsed);
    if parsed {
        all.missing();
    }
    let config = all.agent.and_then(|(agent, _)| agent).map(|agent| Config {
        agent,
        sources: all.sources.into_iter().map(|(s, _)| s.config).collect(),
        sinks: all.sinks.into_iter().map(|(s, _)| s.config).collect(),
    });
    (config, all.mistakes)
}

impl Collected {
    fn file(&mut self, file: usize, root: &mut Value<'_>, registry: &[SinkKind]) {
        let Ok(mut root) = Options::new(root) else { return };
        if let Some((key, mut value)) = root.take("agent") {
            match Options::new(&mut value) {
                Ok(mut table) => {
                    let agent = AgentConfig::read(&mut table);
                    self.take_errors(file, table.finalize(None).err().map_or(Vec::new(), |e| e.errors));
                    if let Some((_, (first, span))) = &self.agent {
                        let (first, span) = (*first, *span);
                        self.mistakes.push(Mistake::at(file, key.span, "`[agent]` stands here twice").other(
                            first,
                            span,
                            "first here",
                        ));
                    } else {
                        self.agent = Some((agent, (file, key.span)));
                    }
                }
                Err(_) => {
                    self.agent.get_or_insert((None, (file, key.span)));
                    self.mistakes.push(Mistake::at(file, value.span, "`agent` must be a table").hint("write [agent]"));
                }
            }
        }
        for mut table in self.tables(file, &mut root, "source") {
            let source = SourceConfig::read(&mut table);
            self.take_errors(file, table.finalize(None).err().map_or(Vec::new(), |e| e.errors));
            self.sources.extend(source.map(|s| (s, file)));
        }
        for table in self.tables(file, &mut root, "sink") {
            let (sink, errors) = SinkConfig::read(table, registry);
            self.take_errors(file, errors);
            self.sinks.extend(sink.map(|s| (s, file)));
        }
        self.take_errors(file, root.finalize(None).err().map_or(Vec::new(), |e| e.errors));
    }

    fn take_errors(&mut self, file: usize, errors: Vec<toml_span::Error>) {
        self.mistakes.extend(errors.into_iter().flat_map(|e| Mistake::from_toml(file, e)));
    }

    fn tables<'de>(&mut self, file: usize, root: &mut Options<'de>, name: &'static str) -> Vec<Options<'de>> {
        let Some((key, mut value)) = root.take(name) else { return Vec::new() };
        if let ValueInner::Array(_) = value.as_ref()
            && let ValueInner::Array(items) = value.take()
        {
            let mut tables = Vec::new();
            self.saw(name, items.len());
            for mut item in items {
                match Options::new(&mut item) {
                    Ok(table) => tables.push(table),
                    Err(_) => {
                        let mistake = Mistake::at(file, item.span, format!("expected a table under [[{name}]]"));
                        self.mistakes
                            .push(mistake.hint(format!("write [[{name}]] on a line of its own, its keys below")));
                    }
                }
            }
            return tables;
        }
        let hint = format!("there can be several: write [[{name}]], in double brackets");
        self.mistakes.push(Mistake::at(file, key.span, format!("`{name}` must be a list of tables")).hint(hint));
        // it was meant, so it is not missing
        self.saw(name, 1);
        Vec::new()
    }

    fn saw(&mut self, name: &str, count: usize) {
        match name {
            "source" => self.seen.0 += count,
            _ => self.seen.1 += count,
        }
    }

    /// What only all tables together tell.
    fn cross_check(&mut self, whole: bool) {
        for (i, (source, file)) in self.sources.iter().enumerate() {
            for (earlier, earlier_file) in &self.sources[..i] {
                if earlier.config.name == source.config.name {
                    let what = format!("two sources are named `{}`", source.config.name);
                    self.mistakes.push(Mistake::at(*file, source.name.span, what).other(
                        *earlier_file,
                        earlier.name.span,
                        "first here",
                    ));
                }
                let shared = source.config.content.iter().find(|c| earlier.config.content.contains(c));
                if let Some(content) = shared.filter(|_| earlier.config.tenant == source.config.tenant) {
                    let what = format!("two sources read {content} of tenant {}", source.config.tenant);
                    let mistake = Mistake::at(*file, source.content.span, what)
                        .other(*earlier_file, earlier.content.span, "first here")
                        .hint("one source per tenant and content type; several sinks can take from one source");
                    self.mistakes.push(mistake);
                }
            }
        }
        let names: Vec<_> = self.sources.iter().map(|(s, _)| s.config.name.as_str()).collect();
        // a source that could not be read may well have the name
        let all_known = whole && names.len() == self.seen.0;
        for (i, (sink, file)) in self.sinks.iter().enumerate() {
            for (earlier, earlier_file) in &self.sinks[..i] {
                if earlier.config.name == sink.config.name {
                    let what = format!("two sinks are named `{}`", sink.config.name);
                    let mistake =
                        Mistake::at(*file, sink.name.span, what).other(*earlier_file, earlier.name.span, "first here");
                    self.mistakes.push(mistake.hint("a sink is its name: what is owed is kept under it"));
                }
            }
            for source in sink.sources.iter().filter(|s| all_known && !names.contains(&s.value.as_str())) {
                let what = format!("no source is named `{}`", read::printable(&source.value));
                self.mistakes.push(Mistake::at(*file, source.span, what).hint(suggest::hint(&source.value, &names)));
            }
        }
    }

    fn missing(&mut self) {
        let lacks = [
            (self.agent.is_none(), "[agent]", "state_dir = \"/var/lib/auditferry\""),
            (self.seen.0 == 0, "[[source]]", "see the example in the README"),
            (self.seen.1 == 0, "[[sink]]", "name = \"out\", kind = \"stdout\" is the smallest"),
        ];
        for (_, table, hint) in lacks.iter().filter(|(lacking, _, _)| *lacking) {
            self.mistakes.push(
                Mistake::nowhere(format!("no {table} in the configuration")).hint(format!("add {table}: {hint}")),
            );
        }
    }
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
        let file = SourceFile { path: "t".into(), text: text.to_string() };
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
