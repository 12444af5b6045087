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
                        Err(mistake) => mistakes.push(mistake),
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

fn read_file(path: &Path) -> Result<String, Mistake> {
    let size = fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if size > LARGEST_FILE {
        return Err(Mistake::nowhere(format!("{} has {size} bytes: that is no configuration", path.display()))
            .hint("give a TOML file"));
    }
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Mistake::nowhere(format!("{} is not UTF-8 at byte {at}", path.display())).hint("save it as UTF-8")
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
    all.cross_check();
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
                    self.mistakes.push(Mistake::at(file, value.span, "`agent` must be a table").hint("write [agent]"))
                }
            }
        }
        for mut table in self.tables(file, &mut root, "source") {
            self.seen.0 += 1;
            let source = SourceConfig::read(&mut table);
            self.take_errors(file, table.finalize(None).err().map_or(Vec::new(), |e| e.errors));
            self.sources.extend(source.map(|s| (s, file)));
        }
        for table in self.tables(file, &mut root, "sink") {
            self.seen.1 += 1;
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
            for mut item in items {
                match Options::new(&mut item) {
                    Ok(table) => tables.push(table),
                    Err(_) => {
                        self.mistakes.push(Mistake::at(file, item.span, format!("expected a table under [[{name}]]")))
                    }
                }
            }
            return tables;
        }
        let hint = format!("there can be several: write [[{name}]], in double brackets");
        self.mistakes.push(Mistake::at(file, key.span, format!("`{name}` must be a list of tables")).hint(hint));
        // it was meant, so it is not missing
        self.seen.0 += usize::from(name == "source");
        self.seen.1 += usize::from(name == "sink");
        Vec::new()
    }

    /// What only all tables together tell.
    fn cross_check(&mut self) {
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
        let all_known = names.len() == self.seen.0;
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
