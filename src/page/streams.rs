//! Tenants and streams: what fails and why, and that the others are listed.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{Mark, SHOWN, count, marked, more, short};
use crate::{
    ledger::StreamBooks,
    show::ago,
    status::{Snapshot, words},
};

pub(super) fn section(snapshot: &Snapshot) -> Markup {
    let listed = || snapshot.books.streams.iter().filter(|stream| stream.origin == "listed");
    let (mut bad, mut good): (Vec<_>, Vec<_>) = listed().partition(|stream| why(snapshot, &stream.name()).is_some());
    // what was listed longest ago first
    bad.sort_by_key(|stream| stream.listed);
    good.sort_by_key(|stream| stream.listed);
    let tenants: BTreeSet<_> = listed().filter_map(|stream| stream.tenant.as_deref()).collect();
    let few = good.len() <= 8;
    html! {
        section aria-labelledby="streams" {
            h2 #streams { "Tenants and streams" }
            p.quiet {
                (count(tenants.len() as u64)) " tenants, " (count((bad.len() + good.len()) as u64)) " streams, "
                @if bad.is_empty() { "all of them are listed" } @else { (bad.len()) " of them can't be listed" }
            }
            @if !bad.is_empty() { (table(snapshot, &bad, "Streams that can't be listed")) (more(bad.len(), SHOWN, "of these")) }
            @if few && !good.is_empty() { (table(snapshot, &good, "Streams that are listed")) }
            @if !few {
                details {
                    summary { (count(good.len() as u64)) " streams are listed, those first that were listed longest ago" }
                    (table(snapshot, &good, "Streams that are listed"))
                    (more(good.len(), SHOWN, "of these"))
                }
            }
        }
    }
}

/// Why a stream fails: its trouble, or that it was not listed lately.
fn why(snapshot: &Snapshot, name: &str) -> Option<String> {
    let trouble = snapshot.trouble("stream", name).map(|trouble| trouble.words.clone());
    trouble.or_else(|| snapshot.live.stale.get(name).cloned())
}

fn table(snapshot: &Snapshot, streams: &[&StreamBooks], caption: &str) -> Markup {
    html! {
        div.scroll role="region" aria-label=(caption) tabindex="0" {
            table {
                caption { (caption) }
                thead { tr { th scope="col" { "Stream" } th scope="col" { "Listed" } th scope="col" { "State" } } }
                tbody { @for stream in streams.iter().take(SHOWN) { (row(snapshot, stream)) } }
            }
        }
    }
}

fn row(snapshot: &Snapshot, stream: &StreamBooks) -> Markup {
    let name = stream.name();
    let live = snapshot.live.streams.get(&name);
    let code = live.and_then(|live| live.code.as_deref());
    let trouble = snapshot.trouble("stream", &name);
    html! {
        tr {
            th.name scope="row" { (short(&name)) }
            td { (words::listed(stream, snapshot.now).trim_start_matches("listed ")) }
            td {
                @match why(snapshot, &name) {
                    None => { (marked(Mark::Fine, "listed")) },
                    Some(words) => {
                        (marked(Mark::Act, "not listed"))
                        @if let Some(trouble) = trouble { " for " (ago(snapshot.now - trouble.since)) }
                        ": " @if let Some(code) = code { code { (short(code)) } " " }
                        (short(&words))
                    },
                }
            }
        }
    }
}
