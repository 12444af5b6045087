//! What a person should look at, worst first: the verdict of the page.

use std::collections::BTreeMap;

use super::{Snapshot, words};
use crate::{
    ledger::{Millis, SinkView},
    show::{ago, date, harmless},
};

/// A day without a fetch, and contents are lost: AuditferryTimeToLoss goes by the same number (milliseconds).
const LOSS_IS_NEAR: Millis = 24 * 3_600_000;
/// So long without a new content, and the audit log may be off (milliseconds): the alarm goes by the same number.
const SILENT: Millis = 24 * 3_600_000;
/// A certificate that ends within this time (milliseconds).
const ENDS_SOON: Millis = 14 * 24 * 3_600_000;
/// A gap is spoken of so long after it is over; the ledger keeps it for good (milliseconds).
const LATELY: Millis = 24 * 3_600_000;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Something is lost, or will be, unless a person acts.
    Act,
    /// Nothing is lost by waiting until tomorrow.
    Look,
}

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// How much it matters.
    pub urgency: Urgency,
    /// What it is about, as `sink siem`.
    pub subject: String,
    /// What happened.
    pub words: String,
    /// Since when, where that is known.
    pub since: Option<Millis>,
    /// What to do next.
    pub advice: &'static str,
    /// The entry of `docs/runbook.md`.
    pub entry: &'static str,
}

/// The entries of `docs/runbook.md` that an [`Attention`] names.
pub mod entries {
    /// The ledger can't be written.
    pub const LEDGER: &str = "AuditferryLedgerNotWritable";
    /// A loop hangs.
    pub const LOOP: &str = "AuditferryLoopHung";
    /// The books don't close.
    pub const BOOKS: &str = "AuditferryBooksOpen";
    /// Contents will expire unfetched.
    pub const LOSS: &str = "AuditferryTimeToLoss";
    /// A stream can't be listed.
    pub const STREAM: &str = "AuditferryStreamStale";
    /// The service publishes nothing for a tenant.
    pub const SILENT: &str = "AuditferryStreamSilent";
    /// A sink takes nothing.
    pub const SINK: &str = "AuditferrySinkDead";
    /// A sink is gone from the configuration.
    pub const GONE: &str = "AuditferrySinkUnconfigured";
    /// A sink refused records.
    pub const QUARANTINE: &str = "AuditferryQuarantine";
    /// Something is lost.
    pub const GAP: &str = "AuditferryGap";
    /// A certificate ends.
    pub const CERTIFICATE: &str = "AuditferryCertificateExpires";
    /// All of them.
    pub const ALL: [&str; 11] = [LEDGER, LOOP, BOOKS, LOSS, STREAM, SILENT, SINK, GONE, QUARANTINE, GAP, CERTIFICATE];
}

/// Everything to look at, worst first; empty: nothing needs anybody.
pub fn attention(snapshot: &Snapshot) -> Vec<Attention> {
    let mut found = agent(snapshot);
    found.extend(streams(snapshot));
    for sink in snapshot.books.sinks.iter().filter(|sink| !sink.retired) {
        found.extend(of_sink(snapshot, sink));
    }
    found.extend(gaps(snapshot));
    // stable: within an urgency the order above stands
    found.sort_by_key(|it| it.urgency);
    found
}

/// The verdict in one line, and how urgent it is; `None`: nothing needs anybody.
pub fn headline(found: &[Attention]) -> (Option<Urgency>, String) {
    let urgent = found.iter().filter(|it| it.urgency == Urgency::Act).count();
    let (urgency, number) = match (urgent, found.len()) {
        (0, 0) => return (None, "Fine: nothing needs you".into()),
        (0, all) => (Urgency::Look, all),
        (urgent, _) => (Urgency::Act, urgent),
    };
    let things = if number == 1 { "1 thing needs".into() } else { format!("{number} things need") };
    let what = match urgency {
        Urgency::Act => "attention now",
        Urgency::Look if number == 1 => "a look, not at once",
        Urgency::Look => "a look, none of them at once",
    };
    (Some(urgency), format!("{things} {what}"))
}

fn agent(snapshot: &Snapshot) -> Vec<Attention> {
    let mut found = Vec::new();
    let act = |subject: &str, words: String, advice, entry| Attention {
        urgency: Urgency::Act,
        subject: subject.into(),
        words,
        since: None,
        advice,
        entry,
    };
    if let Some(error) = &snapshot.live.ledger_error {
        let advice = "make it writable again; nothing is lost meanwhile, the agent goes on by itself";
        found.push(act("ledger", format!("fails: {}", harmless(error)), advice, entries::LEDGER));
    }
    if !snapshot.live.hung.is_empty() {
        let words = format!("hangs: these loops have not turned for 5 minutes: {}", snapshot.live.hung.join(", "));
        found.push(act("agent", words, "keep the log and start the agent again, which is always safe", entries::LOOP));
    }
    let open = snapshot.books.imbalances();
    if let Some(first) = open.first() {
        let more = if open.len() > 1 { format!(", and {} identities more", open.len() - 1) } else { String::new() };
        found.push(act("books", format!("don't close: {first}{more}"), words::OPEN, entries::BOOKS));
    }
    if snapshot.books.next_expiry.is_some_and(|expires| expires - snapshot.now < LOSS_IS_NEAR) {
        let words = format!("will be lost soon, not fetched yet: {}", words::unfetched(&snapshot.books, snapshot.now));
        let advice = "mend what keeps it from being fetched, or make room for bodies: what expires is lost";
        found.push(act("contents", words, advice, entries::LOSS));
    }
    found
}

fn streams(snapshot: &Snapshot) -> Vec<Attention> {
    let mut found = Vec::new();
    let mut told = Vec::new();
    for trouble in snapshot.books.troubles.iter().filter(|it| it.kind == "stream") {
        told.push(&trouble.name);
        found.push(Attention {
            urgency: Urgency::Act,
            subject: format!("stream {}", trouble.name),
            words: format!("can't be listed: {}", harmless(&trouble.words)),
            since: Some(trouble.since),
            advice: "mend what these words name; contents stay with the service for 7 days",
            entry: entries::STREAM,
        });
    }
    let starts = |since: Option<Millis>| since.is_some_and(|at| snapshot.now - at < super::SETTLES);
    for (name, why) in snapshot.live.stale.iter().filter(|(name, _)| !told.contains(name)) {
        if starts(snapshot.live.started) {
            continue;
        }
        found.push(Attention {
            urgency: Urgency::Act,
            subject: format!("stream {name}"),
            words: format!("was not listed lately: {}", harmless(why)),
            since: None,
            advice: "see the log for the last error; contents stay with the service for 7 days",
            entry: entries::STREAM,
        });
    }
    found.extend(silent(snapshot));
    found
}

/// Tenants for which nothing is published: the audit log is one for all content types, and some of those are rarely used.
fn silent(snapshot: &Snapshot) -> Vec<Attention> {
    let mut newest: BTreeMap<&str, Millis> = BTreeMap::new();
    for stream in snapshot.books.streams.iter().filter(|it| it.configured) {
        let name = stream.name();
        // what can't be listed is silent of itself
        let unlisted = snapshot.live.stale.contains_key(&name) || snapshot.trouble("stream", &name).is_some();
        let (Some(tenant), Some(at)) = (&stream.tenant, stream.newest.or(stream.registered)) else { continue };
        let at = if unlisted { snapshot.now } else { at };
        newest.entry(tenant).and_modify(|newest| *newest = at.max(*newest)).or_insert(at);
    }
    let silent = newest.into_iter().filter(|(_, at)| snapshot.now - at >= SILENT);
    let attention = silent.map(|(tenant, at)| Attention {
        urgency: Urgency::Look,
        subject: format!("tenant {tenant}"),
        words: format!("is listed, and nothing new was published for {}", ago(snapshot.now - at)),
        since: None,
        advice: "see whether its audit log is still on; while it is off, what happens is recorded nowhere",
        entry: entries::SILENT,
    });
    attention.collect()
}

fn of_sink(snapshot: &Snapshot, sink: &SinkView) -> Vec<Attention> {
    let mut found = Vec::new();
    let look = |words: String, since, advice, entry| Attention {
        urgency: Urgency::Look,
        subject: format!("sink {}", sink.name),
        words,
        since,
        advice,
        entry,
    };
    if let Some(trouble) = snapshot.trouble("sink", &sink.name).filter(|_| sink.configured) {
        let words = format!("takes nothing: {}", harmless(&trouble.words));
        let advice =
            "mend its destination; what it is owed is kept, it goes on by itself, and no other sink waits for it";
        let attention = look(words, Some(trouble.since), advice, entries::SINK);
        found.push(Attention { urgency: Urgency::Act, ..attention });
    }
    if !sink.configured && (sink.contents > 0 || sink.quarantine_bytes > 0) {
        let words = format!("is gone from the configuration: {}", words::backlog(sink, snapshot.now));
        let advice = "put it back under its name, or end it with `auditferry retire-sink`";
        found.push(look(words, None, advice, entries::GONE));
    }
    if let Some(words) = words::quarantine(&snapshot.books, sink) {
        let advice = "see what it refused and why; then `auditferry quarantine retry` or `drop`";
        found.push(look(words, None, advice, entries::QUARANTINE));
    }
    for (file, ends) in snapshot.live.sinks.get(&sink.name).iter().flat_map(|live| &live.certificates) {
        if *ends - snapshot.now < ENDS_SOON {
            let words = format!("the first certificate in {} ends {}", harmless(file), date(*ends));
            found.push(look(words, None, "replace the file; the agent reads it anew by itself", entries::CERTIFICATE));
        }
    }
    found
}

fn gaps(snapshot: &Snapshot) -> Option<Attention> {
    let recent = |closed: Option<Millis>| closed.is_none_or(|at| snapshot.now - at < LATELY);
    // what an operator decided needs nobody's attention
    let mut lately = snapshot.gaps.iter().filter(|gap| gap.asked_by.is_none() && recent(gap.closed_at));
    let latest = lately.next()?;
    let more = lately.count();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Some(Attention {
        urgency: Urgency::Look,
        subject: "gaps".into(),
        words: format!(
            "were found, the latest {} ago: {}{more}",
            ago(snapshot.now - latest.found_at),
            words::gap(latest)
        ),
        since: None,
        advice: "find the cause, so that it does not grow; what it names is missing at the sinks",
        entry: entries::GAP,
    })
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
