//! The books: what each sink was owed and what became of it, whether it adds up, and what is known to be lost.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{Mark, SHOWN, counted, marked, more, short};
use crate::{
    ledger::{Account, StreamBooks},
    show::ago,
    status::{Snapshot, words},
};

pub(super) fn books(snapshot: &Snapshot) -> Markup {
    let open = snapshot.books.imbalances();
    let streams: Vec<_> =
        snapshot.books.streams.iter().filter(|stream| stream.origin == "listed" || stream.read > 0).collect();
    html! {
        section aria-labelledby="books" {
            h2 #books { "Books" }
            @if open.is_empty() {
                p { (marked(Mark::Fine, "the books close")) ": of every record that was owed it is known what became of it." }
            } @else {
                ul.list {
                    @for imbalance in open.iter().take(SHOWN) {
                        li { (marked(Mark::Act, "open")) " " (short(&imbalance.to_string())) "; " (words::OPEN) }
                    }
                }
                (more(open.len(), SHOWN, "identities"))
            }
            (per_sink(snapshot))
            details {
                summary { "Stream by stream (" (streams.len()) ")" }
                @for stream in streams.iter().take(SHOWN) { (per_stream(stream)) }
                (more(streams.len(), SHOWN, "streams"))
            }
        }
    }
}

/// Name of a sink, and whether it is retired: one of the same name is another one.
type Key<'a> = (bool, &'a str);

fn per_sink(snapshot: &Snapshot) -> Markup {
    let mut sums: BTreeMap<Key<'_>, Account> = BTreeMap::new();
    for account in snapshot.books.streams.iter().flat_map(|stream| &stream.accounts) {
        let key = (account.retired, account.sink.as_str());
        match sums.get_mut(&key) {
            None => drop(sums.insert(key, account.clone())),
            Some(sum) => add(sum, account),
        }
    }
    html! {
        p.quiet { "Records per sink, over all streams: owed = delivered + filtered + copies + quarantined + lost + pending." }
        div.scroll role="region" aria-label="Records per sink" tabindex="0" {
            table {
                thead {
                    tr {
                        th scope="col" { "Sink" }
                        @for column in ["Owed", "Delivered", "Filtered", "Copies", "Quarantined", "Lost", "Pending"] {
                            th.number scope="col" { (column) }
                        }
                    }
                }
                tbody {
                    @for ((retired, sink), it) in sums.iter().take(SHOWN) {
                        tr {
                            th.name scope="row" { (short(sink)) @if *retired { " (retired)" } }
                            @for number in [it.owed, it.delivered, it.filtered, it.skipped, it.quarantined, it.lost, it.pending] {
                                td.number { (counted(number)) }
                            }
                        }
                    }
                }
            }
        }
        (more(sums.len(), SHOWN, "sinks"))
    }
}

fn add(sum: &mut Account, more: &Account) {
    sum.owed += more.owed;
    sum.delivered += more.delivered;
    sum.filtered += more.filtered;
    sum.skipped += more.skipped;
    sum.quarantined += more.quarantined;
    sum.lost += more.lost;
    sum.pending += more.pending;
}

fn per_stream(stream: &StreamBooks) -> Markup {
    html! {
        h3 { (short(&words::stream(stream))) }
        ul.list {
            li { (words::read(stream)) }
            @for account in stream.accounts.iter().take(SHOWN) {
                li { "sink " (short(&account.sink)) @if account.retired { " (retired)" } ": " (words::owed(account)) }
            }
        }
    }
}

pub(super) fn gaps(snapshot: &Snapshot) -> Markup {
    let all = usize::try_from(snapshot.books.gaps).unwrap_or(usize::MAX);
    html! {
        section aria-labelledby="gaps" {
            h2 #gaps { "Gaps" }
            @if snapshot.gaps.is_empty() {
                p { "Nothing is known to be lost." }
            } @else {
                p.quiet { "What is known to be lost, the latest first." }
                ul.list {
                    @for gap in &snapshot.gaps {
                        li {
                            (short(&words::gap(gap)))
                            span.quiet {
                                " (found " (ago(snapshot.now - gap.found_at)) " ago"
                                @match gap.closed_at { Some(at) => { ", over for " (ago(snapshot.now - at)) }, None => ", still open" }
                                ")"
                            }
                        }
                    }
                }
                @if all > snapshot.gaps.len() { p.quiet { "and " (all - snapshot.gaps.len()) " before these" } }
            }
        }
    }
}
