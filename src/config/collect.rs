//! The tables of all files, put together: each is read on its own, then what only all of them tell is checked.

use auditferry_contract::{
    Options, SinkKind,
    toml_span::{self, Span, Value, value::ValueInner},
};

use super::{AgentConfig, Config, Mistake, SinkConfig, SourceConfig, SourceFile, read, sink, source, suggest};

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

/// Reads every file. `whole`: no file is missing from the list, so what is not there is a mistake.
pub(super) fn read_all(files: &[SourceFile], registry: &[SinkKind], whole: bool) -> (Option<Config>, Vec<Mistake>) {
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
            let shared = self.sinks[..i].iter().find(|(e, _)| {
                e.config.kind == sink.config.kind
                    && e.config.checked.exclusive().is_some_and(|x| Some(x) == sink.config.checked.exclusive())
            });
            if let Some((earlier, earlier_file)) = shared {
                let what = format!("two sinks write {}", sink.config.checked.exclusive().unwrap_or_default());
                let mistake =
                    Mistake::at(*file, sink.name.span, what).other(*earlier_file, earlier.name.span, "first here");
                self.mistakes.push(mistake.hint("each needs one of its own: one would wait for the other for ever"));
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
