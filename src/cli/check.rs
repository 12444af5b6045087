//! `check`: every mistake of a configuration, whether what it refers to is there, and the settings that apply.

use std::fmt::Write;

use auditferry_contract::{Confirmation, SecretRef, SinkKind};
use futures_util::FutureExt;
use serde::Serialize;

use super::{
    ConfigArgs, Exit, check_files,
    connect::{self, Tried},
};
use crate::{
    config::{self, CodecName, Config, Line, SinkConfig, SourceConfig, secret::Secrets},
    ledger::{self, Ledger, Millis, SinkView},
};

/// Options of `check`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Try everything that the agent will need, and change nothing: hosts, proxy, TLS, clock, cloud, token, permissions, subscriptions, a first
    /// listing, every sink. Nothing is delivered. Exit code 1 when something fails
    #[arg(long)]
    connect: bool,
}

/// What `check` found. `ok` is false exactly when the exit code is 2.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Outcome {
    /// False also for what is referred to and missing, and for a sink that is gone while owed; `run` would start and retry.
    pub ok: bool,
    /// Mistakes in the files.
    pub mistakes: Vec<Line>,
    /// What the files refer to and what is not there.
    pub unresolved: Vec<String>,
    /// What works but is unwise.
    pub warnings: Vec<String>,
    /// `[agent]`, the sources, the sinks; empty when the files have mistakes.
    pub tables: Vec<Table>,
    /// With `--connect`: what was tried, in the order of the tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Vec<Tried>>,
}

/// One table with the settings that apply, defaults included, secrets as `***`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Table {
    /// `agent`, `source` or `sink`.
    pub table: &'static str,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Settings in order.
    pub settings: Vec<Setting>,
    /// Of a sink: what its `Ok` is worth.
    pub promise: Option<String>,
}

/// One setting.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Setting {
    /// As in the configuration.
    pub key: &'static str,
    /// As printed.
    pub value: String,
}

/// Runs the command.
pub fn run(args: &Args, registry: &[SinkKind]) -> Exit {
    let outcome = match config::load(&args.config.paths, registry) {
        Err(report) if !args.json => return super::refuse(&report),
        Err(report) => {
            let mistakes = report.lines();
            Outcome {
                ok: false,
                mistakes,
                unresolved: Vec::new(),
                warnings: Vec::new(),
                tables: Vec::new(),
                connect: None,
            }
        }
        Ok(config) => {
            let mut outcome = examine(&config, &Secrets::default(), super::ledger_args::now());
            if args.connect {
                let runtime = match super::runtime() {
                    Ok(runtime) => runtime,
                    Err(exit) => return exit,
                };
                outcome.connect = Some(runtime.block_on(connect::run(&config, &super::production())));
                // a name that is still being looked up must not hold up the end
                runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            }
            outcome
        }
    };
    if args.json {
        // plain strings and lists: this can't fail; if it ever did, the empty text would be no JSON, and noticed
        super::out(&(serde_json::to_string_pretty(&outcome).unwrap_or_default() + "\n"));
    } else {
        // first what a person must act on
        super::err(&outcome.complaints());
        super::out(&outcome.text());
    }
    match &outcome.connect {
        _ if !outcome.ok => Exit::Configuration,
        Some(tried) if !tried.iter().all(Tried::works) => Exit::Failed,
        _ => Exit::Done,
    }
}

/// Looks at what a configuration refers to; connects to nothing. `now`: which certificates end soon.
pub fn examine(config: &Config, secrets: &Secrets, now: Millis) -> Outcome {
    let (mut unresolved, mut warnings, mut tables) = (Vec::new(), Vec::new(), Vec::new());
    tables.push(Table { table: "agent", name: None, settings: settings(config.agent.settings()), promise: None });
    if let Err(error) = ledger::ground(&config.agent.state_dir) {
        unresolved.push(format!("agent: {error}"));
    }
    let mut look = |whose: String, reference: &SecretRef| {
        match secrets.resolve(reference) {
            Ok(_) => {}
            Err(cause) => unresolved.push(format!("{whose}: {cause}")),
        }
        warnings.extend(secrets.warning(reference).map(|warning| format!("{whose}: {warning}")));
    };
    for source in &config.sources {
        look(format!("source `{}`, secret", source.name), &source.secret);
        tables.push(source_table(source));
    }
    for sink in &config.sinks {
        for reference in sink.checked.references() {
            look(format!("sink `{}`", sink.name), &reference);
        }
        tables.push(sink_table(sink));
    }
    for sink in &config.sinks {
        warnings.extend(never_fits(sink));
        let found = check_files::of_sink(sink, now);
        unresolved.extend(found.errors);
        warnings.extend(found.warnings);
    }
    for source in &config.sources {
        if let Some(ca) = &source.ca {
            let found = check_files::of_source(&source.name, ca, now);
            unresolved.extend(found.errors);
            warnings.extend(found.warnings);
        }
        if source.cloud == config::Cloud::China {
            let words = "the hosts of cloud `china` are not in Microsoft's reference: compare them with your tenant's";
            warnings.push(format!("source `{}`: {words}", source.name));
        }
    }
    unresolved.extend(gone_sinks(config));
    Outcome { ok: unresolved.is_empty(), mistakes: Vec::new(), unresolved, warnings, tables, connect: None }
}

/// Room for a record with many properties; most have 1 to 5 KiB.
const LARGE_RECORD: usize = 32 << 10;

/// Codec `raw` is the record or nothing, while the others shorten.
fn never_fits(sink: &SinkConfig) -> Option<String> {
    let room = sink.limits().message_bytes;
    (sink.codec == CodecName::Raw && room < LARGE_RECORD).then(|| {
        let name = &sink.name;
        format!("sink `{name}`: codec `raw` never shortens, and at most {room} bytes of a record fit: larger ones go to quarantine; raise `max_message` or `max_event` and what the destination takes, or choose another codec")
    })
}

/// Sinks that the ledger owes something and the configuration does not name: a sink is its name.
fn gone_sinks(config: &Config) -> Vec<String> {
    // without a ledger nothing is owed; one that can't be read is for `run` and `status` to tell
    let Ok(ledger) = Ledger::open_for_reading(&config.agent.state_dir) else { return Vec::new() };
    let Some(Ok(books)) = ledger.books().now_or_never() else { return Vec::new() };
    let gone = |name: &str| config.sinks.iter().all(|sink| sink.name != name);
    let kept = |sink: &SinkView| sink.contents > 0 || sink.quarantine_bytes > 0;
    let owed = books.sinks.iter().filter(|sink| !sink.retired && kept(sink) && gone(&sink.name));
    owed.map(|sink| {
        let (name, contents) = (&sink.name, sink.contents);
        let what = match (contents, books.quarantined(name)) {
            (0, records) => format!("{records} records that it refused are kept"),
            (_, 0) => format!("{contents} contents are owed to it"),
            (_, records) => format!("{contents} contents are owed to it and {records} records that it refused are kept"),
        };
        format!("sink `{name}` is gone from the configuration while {what}: put it back under its name, or end it with `auditferry retire-sink {name}`")
    })
    .collect()
}

fn source_table(source: &SourceConfig) -> Table {
    Table { table: "source", name: Some(source.name.clone()), settings: settings(source.settings()), promise: None }
}

fn sink_table(sink: &SinkConfig) -> Table {
    let promise =
        sink.checked.promise().map_or("known only once it is open: `check --connect` tells".to_string(), worth);
    Table { table: "sink", name: Some(sink.name.clone()), settings: settings(sink.settings()), promise: Some(promise) }
}

/// What an `Ok` is worth, in words.
pub(super) fn worth(confirmation: Confirmation) -> String {
    format!("{confirmation}: {}", crate::status::words::worth(confirmation))
}

fn settings(pairs: Vec<(&'static str, String)>) -> Vec<Setting> {
    pairs.into_iter().map(|(key, value)| Setting { key, value }).collect()
}

impl Outcome {
    /// The settings, for people.
    pub fn text(&self) -> String {
        // what is in force, `check` alone says; who connects wants to know what works
        if let Some(tried) = &self.connect {
            return connect::text(tried);
        }
        let mut text = String::new();
        for table in &self.tables {
            let name = table.name.as_ref().map_or(String::new(), |name| format!(" {name}"));
            let _ = writeln!(text, "{}{name}", table.table);
            for setting in &table.settings {
                let _ = writeln!(text, "  {:<20} {}", setting.key, setting.value);
            }
            if let Some(promise) = &table.promise {
                let _ = writeln!(text, "  {:<20} {promise}", "its Ok is worth");
            }
            text.push('\n');
        }
        if self.ok {
            text.push_str("the configuration is in order\n");
        }
        text
    }

    /// What is wrong or unwise, for people.
    pub fn complaints(&self) -> String {
        let mut text = String::new();
        let tried = self.connect.as_deref().unwrap_or_default();
        let failures = connect::failures(tried);
        // what a step has stumbled over as well is said once, by the step
        let again = |words: &str| {
            words.split_once(": ").is_some_and(|(_, cause)| failures.lines().any(|line| line.ends_with(cause)))
        };
        for words in self.unresolved.iter().filter(|words| !again(words)) {
            let _ = writeln!(text, "error: {words}");
        }
        // the first line is the one that a person acts on: whatever fails comes before whatever is unwise
        text += &failures;
        for words in &self.warnings {
            let _ = writeln!(text, "warning: {words}");
        }
        text + &connect::warnings(tried)
    }
}
