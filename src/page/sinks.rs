//! The sinks: how each stands, what its `Ok` is worth, what it waits for, its last error.

use maud::{Markup, html};

use super::{Mark, SHOWN, count, counted, marked, more, short};
use crate::{
    ledger::SinkView,
    show::{ago, bytes},
    status::{
        Snapshot,
        standing::{self, Standing},
        words,
    },
};

pub(super) fn section(snapshot: &Snapshot) -> Markup {
    let live = |sink: &&SinkView| !sink.retired && (sink.configured || sink.contents > 0 || sink.quarantine_bytes > 0);
    let mut sinks: Vec<_> =
        snapshot.books.sinks.iter().filter(live).map(|sink| (standing(snapshot, sink), sink)).collect();
    // troubles first; otherwise in the ledger's order
    sinks.sort_by_key(|(standing, _)| mark(*standing) == Mark::Fine);
    html! {
        section aria-labelledby="sinks" {
            h2 #sinks { "Sinks" }
            @if sinks.is_empty() { p { "No sink is configured." } }
            div.cards {
                @for (standing, sink) in sinks.iter().take(SHOWN) { (card(snapshot, *standing, sink)) }
            }
            (more(sinks.len(), SHOWN, "sinks"))
        }
    }
}

fn standing(snapshot: &Snapshot, sink: &SinkView) -> Standing {
    match sink.configured {
        true => Standing::of(Some(sink), snapshot.trouble("sink", &sink.name)),
        false => Standing::Gone,
    }
}

fn mark(standing: Standing) -> Mark {
    match standing {
        Standing::Failing => Mark::Act,
        Standing::Gone => Mark::Look,
        _ => Mark::Fine,
    }
}

fn card(snapshot: &Snapshot, standing: Standing, sink: &SinkView) -> Markup {
    let live = snapshot.live.sinks.get(&sink.name);
    let configured = snapshot.live.configured.get(&sink.name);
    let trouble = snapshot.trouble("sink", &sink.name).filter(|_| sink.configured);
    let worth = live.and_then(|it| it.confirmation).or(configured.and_then(|it| it.promise));
    let attempts = live.map(|it| it.attempts.iter().map(|(how, number)| format!("{how} {number}")).collect::<Vec<_>>());
    html! {
        article.card {
            header {
                h3 { (short(&sink.name)) }
                (marked(mark(standing), standing.word()))
            }
            dl {
                @if let Some(it) = configured { dt { "kind" } dd { (it.kind) ", codec " (it.codec) } }
                @if sink.configured {
                    dt { "Ok is worth" }
                    dd {
                        @match worth {
                            Some(worth) => { (worth.to_string()) ": " (words::worth(worth)) },
                            None => "known only once it is open",
                        }
                    }
                }
                dt { "owed" } dd { (words::backlog(sink, snapshot.now)) }
                dt { "records" } dd { (counted(standing::pending(&snapshot.books, &sink.name))) " stored and not yet taken" }
                @if let Some(live) = live {
                    @if let Some(at) = live.taken_at {
                        dt { "last taken" }
                        dd {
                            (ago(snapshot.now - at)) " ago"
                            @if let Some(lag) = live.lag { ", " (ago(lag)) " after it happened" }
                        }
                    }
                    @if live.messages > 0 { dt { "since start" } dd { (count(live.messages)) " events, " (bytes(live.bytes)) } }
                }
                @if let Some(attempts) = attempts.filter(|it| !it.is_empty()) { dt { "attempts" } dd { (attempts.join(", ")) } }
                @if let Some(words) = words::quarantine(&snapshot.books, sink) { dt { "quarantine" } dd { (words) } }
                @if let Some(trouble) = trouble {
                    dt { "last error" }
                    dd { (short(&trouble.words)) " " span.quiet.since { "(for " (ago(snapshot.now - trouble.since)) ")" } }
                }
                @if standing == Standing::Gone {
                    dt { "to do" } dd { "put it back under its name, or end it with " code { "auditferry retire-sink " (short(&sink.name)) } }
                }
            }
        }
    }
}
