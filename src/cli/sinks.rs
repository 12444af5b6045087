//! `auditferry sinks`: each sink, what it is, what it is worth and how it stands.

use std::fmt::Write as _;

use auditferry_contract::SinkKind;
use serde::Serialize;

use super::{
    ConfigArgs, Exit,
    ledger_args::{fail, now, unreadable},
    show::{ago, bytes, harmless, harmless_json},
};
use crate::{
    config::{self, Config},
    ledger::{Books, Ledger, Millis, OpenError},
    status::standing::{self, Standing},
};

/// Of which configuration, and how to show it.
#[derive(clap::Args, Clone, Debug)]
pub struct SinksArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

/// One sink.
#[derive(Clone, Debug, Serialize)]
struct Row {
    name: String,
    state: Standing,
    /// `None`: it is not in the configuration.
    kind: Option<&'static str>,
    codec: Option<&'static str>,
    /// What its `Ok` is worth; `None`: known only once it is open, or not in the configuration.
    promise: Option<String>,
    pending_records: i64,
    contents_owed: u64,
    oldest_owed: Option<Millis>,
    stored_bytes: u64,
    quarantine_records: i64,
    quarantine_bytes: u64,
    error: Option<String>,
    failing_since: Option<Millis>,
}

/// Shows the sinks of a configuration and of its ledger.
pub fn run(args: &SinksArgs, registry: &[SinkKind]) -> Exit {
    let config = match config::load(&args.config.paths, registry) {
        Ok(config) => config,
        Err(report) => return super::refuse(&report),
    };
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let books = match Ledger::open_for_reading(&config.agent.state_dir) {
        Ok(ledger) => match runtime.block_on(ledger.books()) {
            Ok(books) => Some(books),
            Err(error) => return unreadable(&error),
        },
        // before the first start there are sinks, and nothing is owed
        Err(OpenError::Missing { .. }) => None,
        Err(error) => return fail(Exit::Ledger, &error.to_string()),
    };
    if args.json {
        super::out(&json(&config, books.as_ref()));
    } else {
        super::out(&text(&rows(&config, books.as_ref()), now()));
    }
    Exit::Done
}

/// The sinks for programs.
pub(super) fn json(config: &Config, books: Option<&Books>) -> String {
    // plain data: it always serialises
    harmless_json(&serde_json::to_string_pretty(&rows(config, books)).unwrap_or_default()) + "\n"
}

/// The sinks of the configuration in its order, then those that are gone from it and of which something is kept.
fn rows(config: &Config, books: Option<&Books>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for sink in &config.sinks {
        let mut row = of_ledger(&sink.name, books);
        row.kind = Some(sink.kind);
        row.codec = Some(sink.codec.format().codec);
        row.promise = sink.checked.promise().map(|promise| promise.to_string());
        rows.push(row);
    }
    for sink in books.iter().flat_map(|books| &books.sinks).filter(|sink| !sink.retired) {
        let kept = sink.contents > 0 || sink.quarantine_bytes > 0;
        if kept && rows.iter().all(|row| row.name != sink.name) {
            rows.push(Row { state: Standing::Gone, ..of_ledger(&sink.name, books) });
        }
    }
    rows
}

fn of_ledger(name: &str, books: Option<&Books>) -> Row {
    let view = books.and_then(|books| books.sinks.iter().find(|sink| !sink.retired && sink.name == name));
    let trouble =
        books.and_then(|books| books.troubles.iter().find(|trouble| trouble.kind == "sink" && trouble.name == name));
    Row {
        name: name.to_owned(),
        state: Standing::of(view, trouble),
        kind: None,
        codec: None,
        promise: None,
        pending_records: books.map_or(0, |books| standing::pending(books, name)),
        contents_owed: view.map_or(0, |view| view.contents),
        oldest_owed: view.and_then(|view| view.oldest),
        stored_bytes: view.map_or(0, |view| view.ahead),
        quarantine_records: books.map_or(0, |books| books.quarantined(name)),
        quarantine_bytes: view.map_or(0, |view| view.quarantine_bytes),
        error: trouble.map(|trouble| trouble.words.clone()),
        failing_since: trouble.map(|trouble| trouble.since),
    }
}

fn text(rows: &[Row], now: Millis) -> String {
    let mut out = String::new();
    for row in rows {
        // writing into a String can't fail
        let _ = write(&mut out, row, now);
    }
    out
}

fn write(out: &mut String, row: &Row, now: Millis) -> std::fmt::Result {
    match (row.kind, row.codec) {
        (Some(kind), Some(codec)) => {
            let promise = row.promise.as_deref().unwrap_or("known only once it is open");
            writeln!(out, "{}  {kind}, codec {codec}, its Ok is worth: {promise}", row.name)?;
        }
        _ => writeln!(
            out,
            "{}  gone from the configuration: put it back under its name, or end it with `auditferry retire-sink {}`",
            row.name, row.name
        )?,
    }
    let since = row.failing_since.map_or(String::new(), |since| format!(" since {} ago", ago(now - since)));
    if let Some(error) = &row.error {
        writeln!(out, "  fails{since}: {}", harmless(error))?;
    }
    match row.oldest_owed {
        Some(oldest) => writeln!(
            out,
            "  owed: {} contents, the oldest published {} ago; {} records of them stored here, {}",
            row.contents_owed,
            ago(now - oldest),
            row.pending_records,
            bytes(row.stored_bytes)
        )?,
        None if row.state == Standing::New => writeln!(out, "  new: the agent has not run with it yet")?,
        None => writeln!(out, "  owed: nothing")?,
    }
    if row.quarantine_records > 0 {
        writeln!(
            out,
            "  quarantine: {} records, {}: `auditferry quarantine list --sink {}`",
            row.quarantine_records,
            bytes(row.quarantine_bytes),
            row.name
        )?;
    }
    Ok(())
}
