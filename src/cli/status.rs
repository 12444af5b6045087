//! `auditferry status`: the books of a running or stopped agent, read from its ledger.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use super::{
    Exit,
    ledger_args::{LedgerArgs, fail, now},
    show::{ago, bytes, date, harmless, harmless_json},
};
use crate::{
    ledger::{Ledger, Millis, OpenError},
    status::Snapshot,
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

/// A request that is over is shown for a day; the ledger keeps it for good.
const DAY: Millis = 24 * 3_600_000;

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
    let snapshot = Snapshot::take(&ledger, None, BTreeMap::new(), now)
        .await
        .map_err(|error| OpenError::Sqlite { file: state_dir.to_owned(), cause: error.to_string() })?;
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

fn write(out: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    let books = &snapshot.books;
    for stream in &books.streams {
        if stream.origin != "listed" && stream.read == 0 {
            continue;
        }
        let listed =
            stream.listed.map_or("no point yet".into(), |listed| format!("{} ago", ago(snapshot.now - listed)));
        match stream.origin.as_str() {
            "listed" if stream.configured => writeln!(out, "{}  (listed up to {listed})", stream.name())?,
            "listed" => writeln!(out, "{}  (gone from the configuration, listed up to {listed})", stream.name())?,
            "agent" => writeln!(out, "auditferry's own events")?,
            _ => writeln!(out, "{}", stream.name())?,
        }
        writeln!(
            out,
            "  read {} = unselected {} + unreadable {} + copies {} + accepted {}",
            stream.read, stream.unselected, stream.unreadable, stream.copies, stream.accepted
        )?;
        for account in &stream.accounts {
            writeln!(
                out,
                "  sink {}{}: owed {} = delivered {} + filtered {} + skipped copies {} + quarantined {} + lost {} + pending {}",
                account.sink,
                if account.retired { " (retired)" } else { "" },
                account.owed,
                account.delivered,
                account.filtered,
                account.skipped,
                account.quarantined,
                account.lost,
                account.pending
            )?;
        }
    }
    writeln!(out)?;
    for sink in books.sinks.iter().filter(|sink| !sink.retired) {
        let gone = if sink.configured { "" } else { "  (gone from the configuration)" };
        match sink.oldest {
            Some(oldest) => writeln!(
                out,
                "sink {}: {} contents owed, the oldest published {} ago; {} stored for it{gone}",
                sink.name,
                sink.contents,
                ago(snapshot.now - oldest),
                bytes(sink.ahead)
            )?,
            None => writeln!(out, "sink {}: nothing owed{gone}", sink.name)?,
        }
        let refused = books.quarantined(&sink.name);
        if refused > 0 {
            let size = bytes(sink.quarantine_bytes);
            writeln!(out, "  {refused} records in its quarantine, {size}: see `auditferry quarantine list`")?;
        }
    }
    match books.next_expiry {
        Some(expires) if expires < snapshot.now => writeln!(
            out,
            "not fetched yet: {} contents, the first expired {} ago",
            books.unfetched,
            ago(snapshot.now - expires)
        )?,
        Some(expires) => writeln!(
            out,
            "not fetched yet: {} contents, the first expires in {}",
            books.unfetched,
            ago(expires - snapshot.now)
        )?,
        None => writeln!(out, "not fetched yet: nothing")?,
    }
    for trouble in &books.troubles {
        let since = ago(snapshot.now - trouble.since);
        writeln!(out, "{} {} fails since {since} ago: {}", trouble.kind, trouble.name, harmless(&trouble.words))?;
    }
    for (content, error) in &books.failing {
        writeln!(out, "  can't be fetched: {}: {}", harmless(content), harmless(error))?;
    }
    for gap in snapshot.gaps.iter().rev() {
        let records = gap.records.map_or("an unknown number of".into(), |records| records.to_string());
        let what = if gap.suspected { "suspected gap" } else { "gap" };
        let who = gap.asked_by.as_ref().map_or(String::new(), |who| format!(" ({})", harmless(who)));
        let whom = gap.sink.as_ref().map_or("all sinks".into(), |sink| format!("sink {sink}"));
        writeln!(
            out,
            "{what} {}: {records} records of {} published {} to {}, {whom}: {}{who}",
            gap.id,
            gap.content_type,
            date(gap.from),
            date(gap.to),
            gap.reason
        )?;
    }
    for request in books.requests.iter().filter(|it| it.ended_at.is_none_or(|ended| snapshot.now - ended < DAY)).rev() {
        let state = match (&request.outcome, request.taken_at) {
            (Some(words), _) if request.refused => format!("not done: {}", harmless(words)),
            (Some(words), _) => harmless(words),
            (None, Some(_)) => format!("{} records so far", request.done),
            (None, None) => "waits for the agent".into(),
        };
        let (what, who) = (harmless(&request.what), harmless(&request.who));
        writeln!(out, "request {} ({what}, {who}, {}): {state}", request.id, date(request.asked_at))?;
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
        writeln!(out, "{imbalance}; stop the agent, keep a copy of state_dir and ask for help")?;
    }
    Ok(())
}
