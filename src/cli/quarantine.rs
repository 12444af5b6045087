//! `auditferry quarantine`: what sinks refused, looked at, offered again or given up.

use std::{fmt::Write as _, path::Path};

use auditferry_contract::SinkKind;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{
    Exit,
    asking::{self, Waiting},
    ledger_args::{LedgerArgs, fail, unreadable},
    show::{bytes, date, harmless, harmless_json},
};
use crate::{
    config,
    ledger::{Ledger, Quarantined, Selection, Wanted},
};

/// What to do with the quarantine.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum QuarantineCommand {
    /// Lists refused records with the sink's words, in the order in which they were refused
    List(ListArgs),
    /// Shows one record as stored, and why it was refused
    Show(ShowArgs),
    /// Offers records to their sink again, encoded anew
    Retry(RetryArgs),
    /// Gives records up: each becomes part of a gap
    Drop(DropArgs),
}

/// What to list.
#[derive(clap::Args, Clone, Debug)]
pub struct ListArgs {
    /// Of this sink only
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Only records with a higher number than this
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// JSON for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ledger: LedgerArgs,
}

/// What to show.
#[derive(clap::Args, Clone, Debug)]
pub struct ShowArgs {
    /// The record's number, as `list` says it
    id: i64,
    /// Nothing but the record's bytes as Microsoft sent them, unchanged: not for a terminal
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// JSON for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    ledger: LedgerArgs,
}

/// Which records.
#[derive(clap::Args, Clone, Debug)]
struct Which {
    /// The records' numbers, as `list` says them
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    ids: Vec<i64>,
    /// Everything that is in quarantine now
    #[arg(long)]
    all: bool,
    /// Of this sink only
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

/// What to offer again.
#[derive(clap::Args, Clone, Debug)]
pub struct RetryArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    ledger: LedgerArgs,
}

/// What to give up.
#[derive(clap::Args, Clone, Debug)]
pub struct DropArgs {
    #[command(flatten)]
    which: Which,
    /// With --all: yes, all of it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    ledger: LedgerArgs,
}

/// Runs one of them.
pub fn run(command: &QuarantineCommand, registry: &[SinkKind]) -> Exit {
    let args = match command {
        QuarantineCommand::List(args) => &args.ledger,
        QuarantineCommand::Show(args) => &args.ledger,
        QuarantineCommand::Retry(args) => &args.ledger,
        QuarantineCommand::Drop(args) => &args.ledger,
    };
    let state_dir = match args.state_dir(registry) {
        Ok(state_dir) => state_dir,
        Err(exit) => return exit,
    };
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let ledger = match Ledger::open_for_reading(&state_dir) {
        Ok(ledger) => ledger,
        Err(error) => return fail(Exit::Ledger, &error.to_string()),
    };
    let done = runtime.block_on(async {
        match command {
            QuarantineCommand::List(args) => list(&ledger, args).await,
            QuarantineCommand::Show(args) => show(&ledger, args).await,
            QuarantineCommand::Retry(args) => {
                let selection = select(&ledger, &args.which).await?;
                Ok(act(&state_dir, selection, Wanted::QuarantineRetry, args.waiting).await)
            }
            QuarantineCommand::Drop(args) => {
                let selection = select(&ledger, &args.which).await?;
                if let Some((count, _)) = &selection
                    && args.which.all
                    && !args.yes
                {
                    let words =
                        format!("{count} records would be given up for good: say --yes, or name the ones you mean");
                    return Err(fail(Exit::Configuration, &words));
                }
                Ok(act(&state_dir, selection, Wanted::QuarantineDrop, args.waiting).await)
            }
        }
    });
    done.unwrap_or_else(|exit| exit)
}

async fn act(
    state_dir: &Path,
    selection: Option<(u64, Selection)>,
    wanted: fn(Selection) -> Wanted,
    waiting: Waiting,
) -> Exit {
    match selection {
        Some((_, selection)) => asking::ask(state_dir, wanted(selection), waiting).await,
        None => {
            super::err("nothing of that is in quarantine\n");
            Exit::Done
        }
    }
}

/// A sink that the ledger does not know is a slip of the pen, not an empty quarantine.
async fn known(ledger: &Ledger, sink: Option<&String>) -> Result<(), Exit> {
    let Some(name) = sink else { return Ok(()) };
    let sinks = ledger.sinks().await.map_err(|error| unreadable(&error))?;
    let names: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
    if names.contains(&name.as_str()) {
        return Ok(());
    }
    let words = format!("there is no sink `{}` in the ledger; {}", harmless(name), config::hint(name, &names));
    Err(fail(Exit::Failed, &words))
}

/// What is meant, and how many records that are now; `None`: nothing.
async fn select(ledger: &Ledger, which: &Which) -> Result<Option<(u64, Selection)>, Exit> {
    known(ledger, which.sink.as_ref()).await?;
    for id in &which.ids {
        let found = ledger.quarantined_record(*id).await.map_err(|error| unreadable(&error))?;
        let of = |record: &Quarantined| which.sink.as_ref().is_none_or(|sink| *sink == record.sink);
        if !found.is_some_and(|(record, _)| of(&record)) {
            let whose = which.sink.as_ref().map_or(String::new(), |sink| format!(" of sink {}", harmless(sink)));
            let words = format!(
                "there is no record {id} in the quarantine{whose}; `auditferry quarantine list` shows what there is"
            );
            return Err(fail(Exit::Failed, &words));
        }
    }
    let count = match which.all {
        false => which.ids.len() as u64,
        true => {
            let books = ledger.books().await.map_err(|error| unreadable(&error))?;
            let names = books.sinks.iter().filter(|sink| !sink.retired).map(|sink| &sink.name);
            let meant = names.filter(|name| which.sink.as_ref().is_none_or(|sink| sink == *name));
            meant.map(|name| books.quarantined(name).max(0) as u64).sum()
        }
    };
    let up_to = ledger.quarantine_last().await.map_err(|error| unreadable(&error))?;
    let selection = Selection { sink: which.sink.clone(), ids: which.ids.clone(), up_to };
    Ok((count > 0).then_some((count, selection)))
}

async fn list(ledger: &Ledger, args: &ListArgs) -> Result<Exit, Exit> {
    known(ledger, args.sink.as_ref()).await?;
    let limit = args.limit as usize;
    let found = ledger.quarantined(args.sink.clone(), args.after, limit + 1).await;
    let mut found = found.map_err(|error| unreadable(&error))?;
    let more = found.len() > limit;
    found.truncate(limit);
    if args.json {
        // plain data: it always serialises
        super::out(&(harmless_json(&serde_json::to_string_pretty(&found).unwrap_or_default()) + "\n"));
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for record in &found {
        let Quarantined { id, sink, refused_at, operation, words, .. } = record;
        let operation = if operation.is_empty() { "(no operation)".into() } else { harmless(operation) };
        // writing into a String can't fail
        let _ = writeln!(text, "{id}  {sink}  {}  {operation}: {}", date(*refused_at), harmless(words));
    }
    super::out(&text);
    if let Some(last) = found.last().filter(|_| more) {
        super::err(&format!("there are more: --after {} goes on, --limit shows more at once\n", last.id));
    } else if found.is_empty() {
        super::err("nothing is in quarantine\n");
    }
    Ok(Exit::Done)
}

/// One record for programs.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    head: &'a Quarantined,
    /// As Microsoft sent it; `null` when it is not UTF-8.
    record: Option<&'a str>,
    /// The same bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    record_base64: Option<String>,
}

async fn show(ledger: &Ledger, args: &ShowArgs) -> Result<Exit, Exit> {
    let found = ledger.quarantined_record(args.id).await.map_err(|error| unreadable(&error))?;
    let Some((head, record)) = found else {
        let words =
            format!("there is no record {} in quarantine; `auditferry quarantine list` shows what there is", args.id);
        return Err(fail(Exit::Failed, &words));
    };
    if args.raw {
        super::out_bytes(&record);
        return Ok(Exit::Done);
    }
    let text = std::str::from_utf8(&record).ok();
    if args.json {
        let record_base64 = text.is_none().then(|| STANDARD.encode(&record));
        let shown = Shown { head: &head, record: text, record_base64 };
        super::out(&(harmless_json(&serde_json::to_string_pretty(&shown).unwrap_or_default()) + "\n"));
        return Ok(Exit::Done);
    }
    let whose = head.tenant.as_deref().unwrap_or("the agent itself");
    let mut said = String::new();
    for (label, value) in [
        ("record", format!("{}, {} on disk", head.id, bytes(head.bytes))),
        ("event", head.event.clone()),
        ("operation", head.operation.clone()),
        ("sink", head.sink.clone()),
        ("refused", date(head.refused_at)),
        ("its words", head.words.clone()),
        ("came with", format!("position {} of content {}", head.position, head.content_id)),
        ("published", format!("{}, {}, {whose}", date(head.created), head.content_type)),
    ] {
        let _ = writeln!(said, "{label:<10} {}", harmless(&value));
    }
    let _ = writeln!(said, "\n{}", harmless(&String::from_utf8_lossy(&record)));
    if text.is_none() {
        said.push_str("\n(it is not UTF-8: --raw prints its bytes)\n");
    }
    super::out(&said);
    Ok(Exit::Done)
}
