//! The status page: one page of HTML, without script, written from one [`Snapshot`].
//!
//! Whatever it shows comes from outside somewhere (names, a service's words, a sink's words): `maud` escapes all of it, and what acts
//! on the order of a text is shown as its number. How much it shows is bounded: troubles first, the rest counted.

mod agent;
mod books;
mod sinks;
mod streams;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::{
    ledger::Millis,
    show::{ago, date, harmless},
    status::{
        Snapshot,
        attention::{self, Attention, Urgency, attention},
        words,
    },
};

const STYLE: &str = include_str!("style.css");
/// Lists that the world outside makes long show so many; the rest is counted.
const SHOWN: usize = 50;
/// So much of somebody's words (characters); all of it is in `auditferry status`.
const WORDS: usize = 600;
/// Between two loads of `/?refresh` (seconds).
const REFRESH: u32 = 30;

/// What a browser may do with the page: nothing but show it, in its own style. The icon is part of the page.
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The page. `refresh`: it loads itself again, for a screen that nobody touches.
pub fn render(snapshot: &Snapshot, refresh: bool) -> String {
    let found = attention(snapshot);
    let (mark, title) = headline(&found);
    let body = html! {
        (verdict(snapshot, mark, &title, &found))
        (facts(snapshot))
        (sinks::section(snapshot))
        (streams::section(snapshot))
        (books::books(snapshot))
        (books::gaps(snapshot))
        (agent::errors(snapshot))
        (agent::requests(snapshot))
        (agent::ledger(snapshot))
        (agent::loops(snapshot))
    };
    shell(mark, &title, snapshot.now, snapshot.live.started, refresh, &body)
}

/// The page when there is no snapshot to be had.
pub fn unreadable(error: &str, now: Millis) -> String {
    let title = "The ledger can't be read";
    let body = html! {
        section.verdict.act aria-labelledby="verdict" {
            h2 #verdict { (Mark::Act) " " (title) }
            p { (short(error)) }
            p.quiet { "The agent may go on meanwhile; /metrics has the same answer, its log says more." }
        }
    };
    shell(Mark::Act, title, now, None, false, &body)
}

/// A state, for the eye and in words: never by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Fine,
    Look,
    Act,
}

impl Mark {
    fn class(self) -> &'static str {
        match self {
            Mark::Fine => "fine",
            Mark::Look => "look",
            Mark::Act => "act",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Mark::Fine => "✓",
            Mark::Look => "?",
            Mark::Act => "!",
        }
    }
}

impl maud::Render for Mark {
    fn render(&self) -> Markup {
        html! { span.(self.class()) aria-hidden="true" { (self.sign()) } }
    }
}

/// A state as a word with its sign.
fn marked(mark: Mark, words: &str) -> Markup {
    html! { span.mark.(mark.class()) { span aria-hidden="true" { (mark.sign()) " " } (words) } }
}

fn headline(found: &[Attention]) -> (Mark, String) {
    let (urgency, words) = attention::headline(found);
    let mark = match urgency {
        None => Mark::Fine,
        Some(Urgency::Look) => Mark::Look,
        Some(Urgency::Act) => Mark::Act,
    };
    (mark, words)
}

fn shell(mark: Mark, title: &str, now: Millis, started: Option<Millis>, refresh: bool, body: &Markup) -> String {
    let colour = match mark {
        Mark::Fine => "1a7f4b",
        Mark::Look => "a86b00",
        Mark::Act => "c0281f",
    };
    let sign = if mark == Mark::Fine { "%E2%9C%93" } else { mark.sign() };
    let sign = if sign == "?" { "%3F" } else { sign };
    let icon = format!(
        "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><circle cx='8' cy='8' r='8' fill='%23{colour}'/><text x='8' y='12' font-size='11' font-weight='700' text-anchor='middle' fill='white'>{sign}</text></svg>"
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if refresh { meta http-equiv="refresh" content=(REFRESH); }
                title { (title) " · auditferry" }
                link rel="icon" href=(icon);
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "auditferry" }
                    span.quiet {
                        "as of " time datetime=(date(now)) { (date(now)) }
                        @if let Some(started) = started { ", running for " (ago(now - started)) }
                    }
                }
                main { (body) }
                footer {
                    p {
                        @if refresh { "Loaded again every " (REFRESH) " s. " a href="/" { "Stop that" } }
                        @else { "This page stands still. " a href="/?refresh" { "Load it again every " (REFRESH) " s" } }
                        ". The same for a terminal: " code { "auditferry status" } ". For Prometheus: " a href="/metrics" { "/metrics" }
                        ". For supervisors: " a href="/livez" { "/livez" } ", " a href="/readyz" { "/readyz" } "."
                    }
                    p { (crate::AGENT) ", sinks of this build: " (crate::features().join(", ")) }
                }
            }
        }
    };
    page.into_string()
}

fn verdict(snapshot: &Snapshot, mark: Mark, title: &str, found: &[Attention]) -> Markup {
    let shown = found.iter().take(12);
    html! {
        section.verdict.(mark.class()) aria-labelledby="verdict" {
            h2 #verdict { (mark) " " (title) }
            @if found.is_empty() {
                p { "Every stream is listed, every sink takes what it is offered, the books close and nothing is about to be lost." }
            } @else {
                ol {
                    @for it in shown {
                        @let mark = if it.urgency == Urgency::Act { Mark::Act } else { Mark::Look };
                        li {
                            p {
                                (marked(mark, &short(&it.subject))) " " (short(&it.words))
                                @if let Some(since) = it.since { " " span.quiet.since { "(for " (ago(snapshot.now - since)) ")" } }
                            }
                            p.quiet { "To do: " (it.advice) ". Runbook: " code { (it.entry) } }
                        }
                    }
                }
                @if found.len() > 12 { p.quiet { "and " (found.len() - 12) " more, listed below" } }
            }
        }
    }
}

fn facts(snapshot: &Snapshot) -> Markup {
    let books = &snapshot.books;
    let sinks: Vec<_> = books.sinks.iter().filter(|sink| !sink.retired).collect();
    let owed: u64 = sinks.iter().map(|sink| sink.contents).sum();
    let waiting = sinks.iter().filter(|sink| sink.contents > 0).count();
    let open = books.imbalances().len();
    let loss = match books.next_expiry {
        None => "none in sight".into(),
        Some(expires) if expires < snapshot.now => format!("begun {} ago", ago(snapshot.now - expires)),
        Some(expires) => ago(expires - snapshot.now),
    };
    html! {
        dl.facts {
            div {
                dt { "Time to loss" }
                dd { (loss) small { "not fetched yet: " (words::unfetched(books, snapshot.now)) } }
            }
            div {
                dt { "Owed to sinks" }
                dd { (count(owed)) " contents" small { "to " (waiting) " of " (sinks.len()) " sinks" } }
            }
            div {
                dt { "Books" }
                dd { @if open == 0 { "close" } @else { "open" } small { (open) " identities that don't close" } }
            }
            div {
                dt { "Gaps" }
                dd { (count(books.open_gaps)) " open" small { (count(books.gaps)) " in all" } }
            }
        }
    }
}

/// A number with its thousands apart.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

fn counted(number: i64) -> String {
    count(number.max(0).unsigned_abs())
}

/// Somebody's words: harmless, and not without end.
fn short(text: &str) -> String {
    // words that come from an `Attention` are harmless already, and stay as they are
    let mut shown: String = harmless(&text.chars().take(WORDS).collect::<String>());
    if text.chars().nth(WORDS).is_some() {
        shown.push('…');
    }
    shown
}

/// What a list leaves out.
fn more(all: usize, shown: usize, what: &str) -> Markup {
    html! {
        @if all > shown { p.quiet { "and " (count((all - shown) as u64)) " more " (what) ": " code { "auditferry status" } " has all of them" } }
    }
}
