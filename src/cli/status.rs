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
        self, Snapshot,
        attention::{Attention, Urgency, attention, entries, headline},
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
    let (state_dir, config) = match args.ledger.configured(registry) {
        Ok(configured) => configured,
        Err(exit) => return exit,
    };
    let polls = config.iter().flat_map(|config| &config.sources).map(|source| source.poll);
    let lately = polls.max().map_or(LATELY, status::lately);
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    match runtime.block_on(render(&state_dir, args.json, now(), lately)) {
        Ok((text, verdict)) => {
            super::out(&text);
            if verdict == Verdict::Open { Exit::Failed } else { Exit::Done }
        }
        Err(error) => fail(Exit::Ledger, &error.to_string()),
    }
}

/// Where no configuration tells how often streams are listed (milliseconds): AuditferryStreamStale goes by the same number.
pub const LATELY: Millis = 15 * 60_000;

/// What the books say as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every identity closes.
    Closed,
    /// At least one does not: exit code 1.
    Open,
}

/// Reads the ledger in `state_dir` and renders it. `lately`: a stream that was listed within this time is up to date (milliseconds).
pub async fn render(state_dir: &Path, json: bool, now: Millis, lately: Millis) -> Result<(String, Verdict), OpenError> {
    let ledger = Ledger::open_for_reading(state_dir)?;
    let snapshot = Snapshot::take(&ledger, None, BTreeMap::new(), now).await?;
    let verdict = if snapshot.books.imbalances().is_empty() { Verdict::Closed } else { Verdict::Open };
    let text = if json {
        // a snapshot is plain data: it always serialises
        harmless_json(&serde_json::to_string_pretty(&snapshot.json()).unwrap_or_default()) + "\n"
    } else {
        text(&snapshot, lately)
    };
    Ok((text, verdict))
}

/// The snapshot for a person.
pub fn text(snapshot: &Snapshot, lately: Millis) -> String {
    let mut out = String::new();
    // writing into a String can't fail
    let _ = write(&mut out, snapshot, lately);
    out
}

/// What a person should look at, before anything else.
fn verdict(out: &mut String, snapshot: &Snapshot, lately: Millis) -> std::fmt::Result {
    let mut found = attention(snapshot);
    found.extend(unlisted(snapshot, lately));
    found.sort_by_key(|it| it.urgency);
    match headline(&found) {
        // loops that hang and certificates that end are not in the ledger
        (None, _) => writeln!(out, "Nothing in the ledger needs you; of the agent itself /livez and its page tell")?,
        (_, words) => writeln!(out, "{words}")?,
    }
    for it in &found {
        let mark = if it.urgency == Urgency::Act { '!' } else { '?' };
        let since = it.since.map_or(String::new(), |since| format!(" (for {})", ago(snapshot.now - since)));
        writeln!(out, "{mark} {}: {}{since}", it.subject, it.words)?;
        writeln!(out, "  to do: {}; runbook: {}", it.advice, it.entry)?;
    }
    writeln!(out)
}

/// A ledger says nothing of who writes it: what was not listed lately is what a stopped agent leaves.
fn unlisted(snapshot: &Snapshot, lately: Millis) -> Vec<Attention> {
    let streams = snapshot.books.streams.iter().filter(|stream| stream.configured);
    let quiet = streams.filter(|stream| snapshot.trouble("stream", &stream.name()).is_none());
    let found = quiet.filter_map(|stream| {
        let (urgency, words) = match stream.listed.map(|listed| snapshot.now - listed) {
            None => (Urgency::Look, "is not listed yet: its first listing is under way, or no agent runs".to_owned()),
            Some(age) if age > lately => {
                let words = "no agent runs, or its first listing since a start is under way";
                (Urgency::Act, format!("was listed last {} ago: {words}", ago(age)))
            }
            Some(age) if age < -lately => {
                let words = "whether an agent runs now can't be told from that";
                (Urgency::Look, format!("was listed by a clock that was {} ahead: {words}", ago(-age)))
            }
            Some(_) => return None,
        };
        let advice = "see whether the agent runs: /livez answers while it does";
        let subject = format!("stream {}", stream.name());
        Some(Attention { urgency, subject, words, since: None, advice, entry: entries::STREAM })
    });
    found.collect()
}

fn write(out: &mut String, snapshot: &Snapshot, lately: Millis) -> std::fmt::Result {
    let (books, now) = (&snapshot.books, snapshot.now);
    verdict(out, snapshot, lately)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{Memory, SinkSpec, StreamSpec, Trouble},
        world::Gate,
    };

    const NOW: Millis = 1_779_196_654_321;
    const MINUTE: Millis = 60_000;

    /// The first two lines, of a ledger whose stream was listed then.
    async fn begins(change: impl FnOnce(&mut Snapshot), lately: Millis) -> String {
        let ledger = Ledger::in_memory(&Memory::new().unwrap(), Gate::default());
        let stream = StreamSpec { tenant: "t".into(), content_type: "Audit.General".into(), since: NOW };
        let sink = SinkSpec { name: "siem".into(), since: None, tenants: None };
        ledger.register(vec![stream], vec![sink], NOW).await.unwrap();
        let mut snapshot = Snapshot::take(&ledger, None, BTreeMap::new(), NOW).await.unwrap();
        snapshot.books.streams[0].listed = Some(NOW - MINUTE);
        change(&mut snapshot);
        text(&snapshot, lately).lines().take(2).collect::<Vec<_>>().join(" / ")
    }

    #[tokio::test]
    async fn it_begins_with_what_a_person_must_do() {
        let nothing = "Nothing in the ledger needs you; of the agent itself /livez and its page tell / ";
        assert_eq!(begins(|_| {}, LATELY).await, nothing);
        let trouble = Trouble { kind: "sink".into(), name: "siem".into(), words: "no".into(), since: NOW - 3 * MINUTE };
        assert_eq!(
            begins(|it| it.books.troubles = vec![trouble], LATELY).await,
            "1 thing needs attention now / ! sink siem: takes nothing: no (for 3 min)"
        );
        // a stopped agent leaves a ledger in which nothing is wrong
        let stopped = "1 thing needs attention now / ! stream t/Audit.General: was listed last 16 min ago: no agent runs, or its first listing since a start is under way";
        assert_eq!(begins(|it| it.books.streams[0].listed = Some(NOW - 16 * MINUTE), LATELY).await, stopped);
        // with a poll of an hour that is nothing
        assert_eq!(begins(|it| it.books.streams[0].listed = Some(NOW - 16 * MINUTE), 185 * MINUTE).await, nothing);
        assert_eq!(
            begins(|it| it.books.streams[0].listed = None, LATELY).await,
            "1 thing needs a look, not at once / ? stream t/Audit.General: is not listed yet: its first listing is under way, or no agent runs"
        );
        assert_eq!(
            begins(|it| it.books.streams[0].listed = Some(NOW + 60 * MINUTE), LATELY).await,
            "1 thing needs a look, not at once / ? stream t/Audit.General: was listed by a clock that was 60 min ahead: whether an agent runs now can't be told from that"
        );
        assert_eq!(begins(|it| it.books.streams[0].configured = false, LATELY).await, nothing);
    }
}
