//! How a sink stands, in one word.

use serde::Serialize;

use crate::ledger::{Books, SinkView, Trouble};

/// How a sink stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The agent has not run with it yet.
    New,
    /// Nothing is owed to it.
    Idle,
    /// It is owed something, and nothing is wrong.
    Behind,
    /// It does not take what it is offered.
    Failing,
    /// It is not in the configuration, and what it is owed is kept.
    Gone,
}

impl Standing {
    /// Of a sink of the configuration; `view`, `trouble`: what the ledger has of it.
    pub fn of(view: Option<&SinkView>, trouble: Option<&Trouble>) -> Standing {
        match (view, trouble) {
            (None, _) => Standing::New,
            (_, Some(_)) => Standing::Failing,
            (Some(view), None) if view.contents > 0 => Standing::Behind,
            _ => Standing::Idle,
        }
    }

    /// For a person.
    pub fn word(self) -> &'static str {
        match self {
            Standing::New => "new",
            Standing::Idle => "has everything",
            Standing::Behind => "takes events",
            Standing::Failing => "takes nothing",
            Standing::Gone => "gone from the configuration",
        }
    }
}

/// Records that are stored and owed to the sink of this name.
pub fn pending(books: &Books, name: &str) -> i64 {
    let accounts = books.streams.iter().flat_map(|stream| &stream.accounts);
    accounts.filter(|it| !it.retired && it.sink == name).map(|it| it.pending).sum()
}
