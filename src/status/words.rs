//! The words in which `auditferry status` and the page say the same things.

use auditferry_contract::Confirmation;

use crate::{
    ledger::{Account, Books, Gap, Millis, Request, SinkView, StreamBooks, Trouble},
    show::{ago, bytes, date, harmless},
};

/// What `Ok` of a sink is worth.
pub fn worth(confirmation: Confirmation) -> &'static str {
    match confirmation {
        Confirmation::Sent => "handed to the operating system; whoever reads it may still lose it",
        Confirmation::Accepted => "the destination said that it has it",
        Confirmation::Stored => "on stable storage at the destination",
    }
}

/// How a stream is called.
pub fn stream(stream: &StreamBooks) -> String {
    match stream.origin.as_str() {
        "agent" => "auditferry's own events".into(),
        _ => stream.name(),
    }
}

/// Up to when everything that the service listed is in the ledger.
pub fn listed(stream: &StreamBooks, now: Millis) -> String {
    let point = stream.listed.map_or("no point yet".into(), |listed| format!("{} ago", ago(now - listed)));
    let gone = if stream.configured { "" } else { "gone from the configuration, " };
    let newest = stream.newest.map_or("no content seen yet".into(), |newest| {
        format!("the newest content published {} ago", ago(now - newest))
    });
    format!("{gone}listed up to {point}, {newest}")
}

/// The identity of a stream's books.
pub fn read(stream: &StreamBooks) -> String {
    let StreamBooks { read, unselected, unreadable, copies, accepted, .. } = stream;
    format!("read {read} = unselected {unselected} + unreadable {unreadable} + copies {copies} + accepted {accepted}")
}

/// The identity of what a sink is owed of a stream.
pub fn owed(account: &Account) -> String {
    let Account { owed, delivered, filtered, skipped, quarantined, lost, pending, .. } = account;
    format!(
        "owed {owed} = delivered {delivered} + filtered {filtered} + skipped copies {skipped} + quarantined {quarantined} + lost {lost} + pending {pending}"
    )
}

/// What a sink waits for.
pub fn backlog(sink: &SinkView, now: Millis) -> String {
    match sink.oldest {
        Some(oldest) => format!(
            "{} contents owed, the oldest published {} ago; {} stored for it",
            sink.contents,
            ago(now - oldest),
            bytes(sink.ahead)
        ),
        None => "nothing owed".into(),
    }
}

/// What a sink's quarantine holds; `None`: nothing.
pub fn quarantine(books: &Books, sink: &SinkView) -> Option<String> {
    let refused = if sink.retired { 0 } else { books.quarantined(&sink.name) };
    let size = bytes(sink.quarantine_bytes);
    (refused > 0).then(|| format!("{refused} records in its quarantine, {size}: see `auditferry quarantine list`"))
}

/// What is owed without a stored body.
pub fn unfetched(books: &Books, now: Millis) -> String {
    match books.next_expiry {
        Some(expires) if expires < now => {
            format!("{} contents, the first expired {} ago", books.unfetched, ago(now - expires))
        }
        Some(expires) => format!("{} contents, the first expires in {}", books.unfetched, ago(expires - now)),
        None => "nothing".into(),
    }
}

/// What fails, since when and why.
pub fn trouble(trouble: &Trouble, now: Millis) -> String {
    let since = ago(now - trouble.since);
    format!("{} {} fails since {since} ago: {}", trouble.kind, trouble.name, harmless(&trouble.words))
}

/// What is lost, for whom and why.
pub fn gap(gap: &Gap) -> String {
    let records = gap.records.map_or("an unknown number of".into(), |records| records.to_string());
    let what = if gap.suspected { "suspected gap" } else { "gap" };
    let who = gap.asked_by.as_ref().map_or(String::new(), |who| format!(" ({})", harmless(who)));
    let whom = gap.sink.as_ref().map_or("all sinks".into(), |sink| format!("sink {sink}"));
    format!(
        "{what} {}: {records} records of {} published {} to {}, {whom}: {}{who}",
        gap.id,
        gap.content_type,
        date(gap.from),
        date(gap.to),
        gap.reason
    )
}

/// What a command asked for, and what came of it.
pub fn request(request: &Request) -> String {
    let state = match (&request.outcome, request.taken_at) {
        (Some(words), _) if request.refused => format!("not done: {}", harmless(words)),
        (Some(words), _) => harmless(words),
        (None, Some(_)) => format!("{} records so far", request.done),
        (None, None) => "waits for the agent".into(),
    };
    let (what, who) = (harmless(&request.what), harmless(&request.who));
    format!("request {} ({what}, {who}, {}): {state}", request.id, date(request.asked_at))
}

/// What to do about books that do not close.
pub const OPEN: &str = "stop the agent, keep a copy of state_dir and ask for help";

/// A request that is over is shown for a day; the ledger keeps it for good.
const DAY: Millis = 24 * 3_600_000;

/// The requests to show, oldest first.
pub fn requests(books: &Books, now: Millis) -> impl Iterator<Item = &Request> {
    books.requests.iter().filter(move |it| it.ended_at.is_none_or(|ended| now - ended < DAY)).rev()
}
