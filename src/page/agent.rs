//! The agent itself: bodies that can't be fetched, what commands asked for, the ledger's sizes, the loops.

use maud::{Markup, html};

use super::{Mark, SHOWN, count, marked, more, short};
use crate::{
    ledger::Millis,
    show::{ago, bytes},
    status::{Snapshot, words},
};

pub(super) fn errors(snapshot: &Snapshot) -> Markup {
    let (failing, codes) = (&snapshot.books.failing, &snapshot.live.fetch_failures);
    html! {
        @if !failing.is_empty() || !codes.is_empty() {
            section aria-labelledby="errors" {
                h2 #errors { "Last errors of fetching" }
                p.quiet { "A body that can't be fetched is tried again until it expires." }
                ul.list {
                    @for (content, error) in failing.iter().take(SHOWN) {
                        li { "can't be fetched: " code { (short(content)) } ": " (short(error)) }
                    }
                    @for (code, number) in codes.iter().take(SHOWN) {
                        li { code { (short(code)) } ": " (count(*number)) " times since the agent started" }
                    }
                }
            }
        }
    }
}

pub(super) fn requests(snapshot: &Snapshot) -> Markup {
    let requests: Vec<_> = words::requests(&snapshot.books, snapshot.now).collect();
    html! {
        @if !requests.is_empty() {
            section aria-labelledby="requests" {
                h2 #requests { "Requests" }
                p.quiet { "What commands asked for: under way, and over for less than a day." }
                ul.list { @for request in requests { li { (short(&words::request(request))) } } }
            }
        }
    }
}

/// SQLite keeps its log at this size between two checkpoints (`journal_size_limit`).
const LOG: u64 = 64 << 20;

pub(super) fn ledger(snapshot: &Snapshot) -> Markup {
    let (books, bounds) = (&snapshot.books, snapshot.live.bounds);
    let fullest = books.sinks.iter().filter(|sink| !sink.retired).max_by_key(|sink| sink.quarantine_bytes);
    html! {
        section aria-labelledby="ledger" {
            h2 #ledger { "Ledger" }
            div.card {
                dl {
                    @if let Some(error) = &snapshot.live.ledger_error {
                        dt { "state" } dd { (marked(Mark::Act, "can't be written")) ": " (short(error)) }
                    } @else {
                        dt { "state" } dd { (marked(Mark::Fine, "can be written")) }
                    }
                    dt { "on disk" }
                    dd { (bytes(books.file_bytes + books.wal_bytes)) ", the file keeps its highest size" }
                    dt { "bodies" } dd { (size(books.stored_bytes, bounds.map(|it| it.bodies), "stored bodies")) }
                    dt { "its log" } dd { (size(books.wal_bytes, Some(LOG), "log")) }
                    @if let Some(sink) = fullest.filter(|sink| sink.quarantine_bytes > 0) {
                        dt { "quarantine" }
                        dd { (size(sink.quarantine_bytes, bounds.map(|it| it.quarantine), "quarantine")) "of sink " (short(&sink.name)) ", the fullest" }
                    }
                    dt { "remembers" } dd { (count(books.contents)) " contents and " (count(books.seen)) " ids, for 10 days" }
                }
            }
        }
    }
}

fn size(held: u64, bound: Option<u64>, what: &str) -> Markup {
    html! {
        (bytes(held))
        @if let Some(bound) = bound.filter(|bound| *bound > 0) {
            @let share = held.saturating_mul(100) / bound;
            " of " (bytes(bound)) " (" (share) " %) "
            meter min="0" max="100" high="90" value=(share.min(100)) aria-label=(what) { (share) " %" }
        }
    }
}

pub(super) fn loops(snapshot: &Snapshot) -> Markup {
    let pulses = &snapshot.live.pulses;
    let (hung, turning): (Vec<_>, Vec<_>) = pulses.iter().partition(|(name, _)| snapshot.live.hung.contains(name));
    let row = |name: &str, turned: Millis, until: Millis, hangs: bool| {
        let waits = until - snapshot.now;
        html! {
            tr {
                th.name scope="row" { (short(name)) }
                td { (ago(snapshot.now - turned)) " ago" }
                td {
                    @if hangs { (marked(Mark::Act, "hangs")) }
                    @else if waits > 0 { (marked(Mark::Fine, "turns")) ", again within " (ago(waits)) }
                    @else { (marked(Mark::Fine, "turns")) }
                }
            }
        }
    };
    html! {
        @if !pulses.is_empty() {
            section aria-labelledby="loops" {
                h2 #loops { "Loops" }
                @if hung.is_empty() { p { (marked(Mark::Fine, "all of them turn")) } }
                details open[!hung.is_empty()] {
                    summary { (pulses.len()) " loops" }
                    div.scroll role="region" aria-label="Loops" tabindex="0" {
                        table {
                            thead { tr { th scope="col" { "Loop" } th scope="col" { "Turned" } th scope="col" { "State" } } }
                            tbody {
                                @for (name, pulse) in hung.iter().take(SHOWN) { (row(name, pulse.turned, pulse.until, true)) }
                                @for (name, pulse) in turning.iter().take(SHOWN) { (row(name, pulse.turned, pulse.until, false)) }
                            }
                        }
                    }
                    (more(turning.len(), SHOWN, "loops"))
                }
            }
        }
    }
}
