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
            @if !bad.is_empty() { (list(snapshot, &bad)) (more(bad.len(), SHOWN, "of these")) }
            @if few { (list(snapshot, &good)) }
            @if !few {
                details {
                    summary { (count(good.len() as u64)) " streams are listed, those first that were listed longest ago" }
                    (list(snapshot, &good))
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

fn list(snapshot: &Snapshot, streams: &[&StreamBooks]) -> Markup {
    html! { ul.list { @for stream in streams.iter().take(SHOWN) { li { (item(snapshot, stream)) } } } }
}

fn item(snapshot: &Snapshot, stream: &StreamBooks) -> Markup {
    let name = stream.name();
    let live = snapshot.live.streams.get(&name);
    let code = live.and_then(|live| live.code.as_deref());
    let trouble = snapshot.trouble("stream", &name);
    let why = why(snapshot, &name);
    html! {
        p.row {
            strong { (short(&name)) }
            span {
                @if why.is_some() { (marked(Mark::Act, "can't be listed")) } @else { (marked(Mark::Fine, "is listed")) }
                span.quiet { " " (words::listed(stream, snapshot.now)) }
            }
        }
        @if let Some(words) = why {
            p {
                @if let Some(code) = code { code { (short(code)) } ": " }
                (short(&words))
                @if let Some(trouble) = trouble { " " span.quiet.since { "(for " (ago(snapshot.now - trouble.since)) ")" } }
            }
        }
    }
}
