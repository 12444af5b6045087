//! `auditferry status`: the books of a running or stopped agent, read from its ledger.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use super::{
    Exit,
    ledger_args::{LedgerArgs, fail, now},
    show::{ago, bytes, harmless, harmless_json},
};
use crate::{
    ledger::{Ledger, Millis, OpenError},
    status::{
        Snapshot,
        attention::{Urgency, attention, headline},
        words,
    },
};
use auditferry_contract::SinkKind;

/// Which ledger, and how to show it.
#[derive(clap::Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    ledger: LedgerArgs,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

/// Shows the books of the agent whose configuration this is, running or stopped.
pub fn run(args: &StatusArgs, registry: &[SinkKind]) -> Exit {
    let state_dir = match args.ledger.state_dir(registry) {
        Ok(state_dir) => state_dir,
        Err(exit) => return exit,
    };
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    match runtime.block_on(render(&state_dir, args.json, now())) {
        Ok((text, verdict)) => {
            super::out(&text);
            if verdict == Verdict::Open { Exit::Failed } else { Exit::Done }
        }
        Err(error) => fail(Exit::Ledger, &error.to_string()),
    }
}

/// A stream that was listed within this time is up to date (milliseconds): AuditferryStreamStale goes by the same number.
const LATELY: Millis = 15 * 60_000;

/// What the books say as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every identity closes.
    Closed,
    /// At least one does not: exit code 1.
    Open,
}

/// Reads the ledger in `state_dir` and renders it.
pub async fn render(state_dir: &Path, json: bool, now: Millis) -> Result<(String, Verdict), OpenError> {
    let ledger = Ledger::open_for_reading(state_dir)?;
    let mut snapshot = Snapshot::take(&ledger, None, BTreeMap::new(), now)
        .await
        .map_err(|error| OpenError::Sqlite { file: state_dir.to_owned(), cause: error.to_string() })?;
    snapshot.live.stale = not_listed_lately(&snapshot);
    let verdict = if snapshot.books.imbalances().is_empty() { Verdict::Closed } else { Verdict::Open };
    let text = if json {
        // a snapshot is plain data: it always serialises
        harmless_json(&serde_json::to_string_pretty(&snapshot.json()).unwrap_or_default()) + "\n"
    } else {
        text(&snapshot)
    };
    Ok((text, verdict))
}

/// The snapshot for a person.
pub fn text(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    // writing into a String can't fail
    let _ = write(&mut out, snapshot);
    out
}

/// What a person should look at, before anything else.
fn verdict(out: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    let found = attention(snapshot);
    writeln!(out, "{}", headline(&found).1)?;
    for it in &found {
        let mark = if it.urgency == Urgency::Act { '!' } else { '?' };
        let since = it.since.map_or(String::new(), |since| format!(" (for {})", ago(snapshot.now - since)));
        writeln!(out, "{mark} {}: {}{since}", it.subject, it.words)?;
        writeln!(out, "  to do: {}; runbook: {}", it.advice, it.entry)?;
    }
    writeln!(out)
}

/// A ledger says nothing of who writes it: what was not listed lately is what a stopped agent leaves.
fn not_listed_lately(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let streams = snapshot.books.streams.iter().filter(|stream| stream.configured);
    let late = streams.filter(|stream| stream.listed.is_none_or(|listed| snapshot.now - listed > LATELY));
    late.map(|stream| {
        let listed = stream
            .listed
            .map_or("it never was".into(), |at| format!("the last time was {} ago", ago(snapshot.now - at)));
        (stream.name(), format!("{listed}; does the agent run?"))
    })
    .collect()
}

fn write(out: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    let (books, now) = (&snapshot.books, snapshot.now);
    verdict(out, snapshot)?;
    for stream in &books.streams {
        if stream.origin != "listed" && stream.read == 0 {
            continue;
        }
        match stream.origin.as_str() {
            "listed" => writeln!(out, "{}  ({})", words::stream(stream), words::listed(stream, now))?,
            _ => writeln!(out, "{}", words::stream(stream))?,
        }
        writeln!(out, "  {}", words::read(stream))?;
        for account in &stream.accounts {
            let retired = if account.retired { " (retired)" } else { "" };
            writeln!(out, "  sink {}{retired}: {}", account.sink, words::owed(account))?;
        }
    }
    writeln!(out)?;
    for sink in books.sinks.iter().filter(|sink| !sink.retired) {
        let gone = if sink.configured { "" } else { "  (gone from the configuration)" };
        writeln!(out, "sink {}: {}{gone}", sink.name, words::backlog(sink, now))?;
        if let Some(refused) = words::quarantine(books, sink) {
            writeln!(out, "  {refused}")?;
        }
    }
    writeln!(out, "not fetched yet: {}", words::unfetched(books, now))?;
    for trouble in &books.troubles {
        writeln!(out, "{}", words::trouble(trouble, now))?;
    }
    for (content, error) in &books.failing {
        writeln!(out, "  can't be fetched: {}: {}", harmless(content), harmless(error))?;
    }
    for gap in snapshot.gaps.iter().rev() {
        writeln!(out, "{}", words::gap(gap))?;
    }
    for request in words::requests(books, now) {
        writeln!(out, "{}", words::request(request))?;
    }
    writeln!(
        out,
        "ledger: {} on disk, {} of it its log, {} bodies; {} contents and {} ids remembered",
        bytes(books.file_bytes + books.wal_bytes),
        bytes(books.wal_bytes),
        bytes(books.stored_bytes),
        books.contents,
        books.seen
    )?;
    let open = books.imbalances();
    if open.is_empty() {
        writeln!(out, "the books close")?;
    }
    for imbalance in open {
        writeln!(out, "{imbalance}; {}", words::OPEN)?;
    }
    Ok(())
}
