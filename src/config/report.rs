//! Every mistake of a configuration, with file, line, source line and hint.

use std::{fmt, ops::Range, path::PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use auditferry_contract::{
    SecretRef,
    toml_span::{Error, ErrorKind},
};

use super::{hide::Hidden, suggest};

/// One configuration file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// As the user named it.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
}

/// One mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// Index of the file and bytes in it; `None`: the mistake is in no file.
    pub place: Option<(usize, Range<usize>)>,
    /// What is wrong: one line, lower case.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The other place that it takes to see it, and what is there.
    pub other: Option<(usize, Range<usize>, &'static str)>,
    /// True when the place holds a secret: it is shown as `***`.
    pub secret: bool,
}

impl Mistake {
    /// A mistake at a place of file number `file`.
    pub fn at(file: usize, span: impl Into<Range<usize>>, what: impl Into<String>) -> Self {
        Mistake { place: Some((file, span.into())), what: what.into(), hint: None, other: None, secret: false }
    }

    /// A mistake that no line of a file shows.
    pub fn nowhere(what: impl Into<String>) -> Self {
        Mistake { place: None, what: what.into(), hint: None, other: None, secret: false }
    }

    /// Adds what to do about it; an empty text adds nothing.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into()).filter(|h| !h.is_empty());
        self
    }

    /// Adds the other place.
    pub fn other(mut self, file: usize, span: impl Into<Range<usize>>, label: &'static str) -> Self {
        self.other = Some((file, span.into(), label));
        self
    }

    /// The mistakes that one error of the TOML reader stands for.
    pub fn from_toml(file: usize, error: Error) -> Vec<Self> {
        let span = error.span;
        vec![match error.kind {
            ErrorKind::UnexpectedKeys { keys, expected } => {
                let mut known: Vec<&str> = Vec::new();
                for key in &expected {
                    if !known.contains(&key.as_str()) {
                        known.push(key);
                    }
                }
                let unknown = |(key, span): (String, _)| {
                    Mistake::at(file, span, format!("unknown key `{key}`")).hint(suggest::hint(&key, &known))
                };
                let mut keys = keys;
                keys.sort_by_key(|(_, span)| span.start);
                return keys.into_iter().map(unknown).collect();
            }
            ErrorKind::MissingField(name) => {
                Mistake::at(file, span, format!("`{name}` is missing in this table")).hint(example(name))
            }
            ErrorKind::Wanted { expected, found } => {
                let (expected, hint) = wanted(expected);
                Mistake::at(file, span, format!("expected {expected}, found {found}")).hint(hint)
            }
            ErrorKind::UnterminatedString | ErrorKind::InvalidCharInString('\n' | '\r') => {
                Mistake::at(file, span, "the text does not end").hint("close the quotes on the same line")
            }
            ErrorKind::DuplicateKey { key, first } => {
                Mistake::at(file, span, format!("`{key}` stands here twice")).other(file, first, "first here")
            }
            ErrorKind::DuplicateTable { name, first } => {
                Mistake::at(file, span, format!("table `{name}` stands here twice")).other(file, first, "first here")
            }
            ErrorKind::UnquotedString => {
                Mistake::at(file, span, "not a value of TOML").hint("a text stands in quotes: \"…\"")
            }
            ErrorKind::Custom(ref text) => {
                let (what, hint) = text.split_once('\n').unwrap_or((text, ""));
                let mut mistake = Mistake::at(file, span, what).hint(hint);
                mistake.secret = matches!(what, SecretRef::INLINE | SecretRef::NO_NAME);
                mistake
            }
            _ => Mistake::at(file, span, error.to_string()),
        }]
    }
}

/// All mistakes of one configuration, and the text they are shown in. Its `Display` is what a user sees.
#[derive(Debug)]
pub struct Report {
    /// The files that were read.
    pub files: Vec<SourceFile>,
    /// In the order of files and lines; at least one.
    pub mistakes: Vec<Mistake>,
}

/// A mistake as plain data, for `--json`.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Line {
    /// The file, if the mistake is in one.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub mistake: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Report {
    /// A report; sorts the mistakes by place.
    pub fn new(files: Vec<SourceFile>, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|m| m.place.as_ref().map(|(file, span)| (*file, span.start)));
        mistakes.dedup();
        let misspelt: Vec<usize> = mistakes.iter().filter_map(|it| misspelt(it, &mistakes, &files)).collect();
        let mut number = 0..;
        mistakes.retain(|_| number.next().is_none_or(|number| !misspelt.contains(&number)));
        Report { files, mistakes }
    }

    /// The mistakes as plain data.
    pub fn lines(&self) -> Vec<Line> {
        let line = |m: &Mistake| {
            let place = m
                .place
                .as_ref()
                .map(|(file, span)| (&self.files[*file], line_and_column(&self.files[*file].text, span.start)));
            Line {
                file: place.map(|(file, _)| file.path.display().to_string()),
                line: place.map(|(_, (line, _))| line),
                column: place.map(|(_, (_, column))| column),
                mistake: m.what.clone(),
                hint: m.hint.clone(),
            }
        };
        self.mistakes.iter().map(line).collect()
    }

    /// The report as text, with colours for a terminal or without.
    pub fn render(&self, colours: bool) -> String {
        let shown = |(i, file): (usize, &SourceFile)| Hidden::new(&file.text, self.secrets_of(i));
        self.with(colours, self.files.iter().enumerate().map(shown).collect())
    }

    /// The same for a person who is not the operator: see [`Hidden::for_others`].
    pub fn render_for_others(&self) -> String {
        let shown = |(i, file): (usize, &SourceFile)| Hidden::for_others(&file.text, self.secrets_of(i));
        self.with(false, self.files.iter().enumerate().map(shown).collect())
    }

    fn with(&self, colours: bool, shown: Vec<Hidden>) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for mistake in &self.mistakes {
            out.push_str(&renderer.render(&[self.group(mistake, &shown)]));
            out.push_str("\n\n");
        }
        let n = self.mistakes.len();
        out.push_str(&format!("{n} mistake{} in the configuration\n", if n == 1 { "" } else { "s" }));
        out
    }

    fn secrets_of(&self, file: usize) -> impl Iterator<Item = Range<usize>> {
        let places = self.mistakes.iter().filter(|m| m.secret).filter_map(|m| m.place.clone());
        places.filter(move |(f, _)| *f == file).map(|(_, span)| span)
    }

    fn group<'a>(&'a self, mistake: &'a Mistake, shown: &'a [Hidden]) -> Group<'a> {
        let mut group = Group::with_title(Level::ERROR.primary_title(&mistake.what));
        if let Some((file, span)) = &mistake.place {
            let mut snippet =
                self.snippet(*file, shown).annotation(AnnotationKind::Primary.span(first_line(&shown[*file], span)));
            if let Some((other, span, label)) = &mistake.other
                && other == file
            {
                snippet =
                    snippet.annotation(AnnotationKind::Context.span(first_line(&shown[*other], span)).label(*label));
            }
            group = group.element(snippet);
            if let Some((other, span, label)) = &mistake.other
                && other != file
            {
                let annotation = AnnotationKind::Context.span(first_line(&shown[*other], span)).label(*label);
                group = group.element(self.snippet(*other, shown).annotation(annotation));
            }
        }
        if let Some(hint) = &mistake.hint {
            group = group.element(Level::HELP.message(hint));
        }
        group
    }

    fn snippet<'a>(&self, file: usize, shown: &'a [Hidden]) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        Snippet::source(shown[file].text.as_str()).path(self.files[file].path.display().to_string())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

/// The mistake that says a key is missing which `unknown` shows under a wrong name: what to do stands once, where the name is.
fn misspelt(unknown: &Mistake, mistakes: &[Mistake], files: &[SourceFile]) -> Option<usize> {
    let (file, here) = unknown.place.as_ref()?;
    let meant = unknown.hint.as_deref()?.strip_prefix("did you mean ")?.strip_suffix('?')?;
    let missing = format!("{meant} is missing in this table");
    mistakes.iter().position(|it| {
        let Some((of, table)) = it.place.as_ref().filter(|_| it.what == missing) else { return false };
        // the table that says so is the one that the name stands in: no other begins between
        let between = files.get(*file).and_then(|file| file.text.get(table.start..here.start));
        of == file && between.is_some_and(|text| !text.lines().skip(1).any(|line| line.trim_start().starts_with('[')))
    })
}

/// What to write where a key of the agent's own is missing; those of a sink are in its sample.
fn example(name: &str) -> String {
    let value = match name {
        "state_dir" => "\"/var/lib/auditferry\"",
        "tenant" | "client" => "\"00000000-…\", a GUID from the app registration's overview page",
        "secret" => "{ file = \"/run/secrets/o365\" } or { env = \"NAME\" }",
        "kind" => "\"…\": what it is, \"office365\" for a source, \"file\" for a sink",
        "name" => "\"…\": it stands in logs, metrics and the ledger",
        _ => return String::new(),
    };
    format!("add {name} = {value}")
}

/// The TOML reader's names of types in words, and how such a value is written.
fn wanted(expected: &'static str) -> (&'static str, &'static str) {
    match expected {
        "a string" => ("a text", "write it in quotes: \"…\""),
        "an array" => ("a list", "write it in brackets, each element in quotes: [\"…\"]"),
        "a bool" => ("true or false", "write true or false, without quotes"),
        "i64" | "u64" | "u32" | "u16" | "usize" => ("a whole number", "write it without quotes"),
        other => (other, ""),
    }
}

/// A place in the shown text, cut at its first line's end, since a mistake of a whole table is shown at its header.
fn first_line(shown: &Hidden, span: &Range<usize>) -> Range<usize> {
    let place = shown.place(span);
    let length = shown.text[place.clone()].find('\n').unwrap_or(place.len());
    place.start..place.start + length
}

/// Line and column, in characters, both from 1.
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
    let start = before.rfind('\n').map_or(0, |n| n + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}
