//! The cases.

mod answers;
mod basic;
mod closing;
mod connection;
mod driver;
mod refusals;

use std::{future::Future, pin::Pin};

use crate::Destination;

type Running<'a> = Pin<Box<dyn Future<Output = bool> + 'a>>;

/// One promise of the contract, and how it is tried. `run` gives false when the destination has no such situation.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Tries it.
    pub run: fn(&dyn Destination) -> Running<'_>,
}

/// All cases.
pub const CASES: [Case; 23] = [
    Case { name: "sample", run: |d| Box::pin(basic::sample(d)) },
    Case { name: "limits", run: |d| Box::pin(basic::limits(d)) },
    Case { name: "all taken", run: |d| Box::pin(basic::all_taken(d)) },
    Case { name: "empty batch", run: |d| Box::pin(basic::empty(d)) },
    Case { name: "all of unicode", run: |d| Box::pin(basic::unicode(d)) },
    Case { name: "largest message", run: |d| Box::pin(basic::largest(d)) },
    Case { name: "largest batch", run: |d| Box::pin(basic::largest_batch(d)) },
    Case { name: "line break", run: |d| Box::pin(refusals::line_break(d)) },
    Case { name: "poison", run: |d| Box::pin(refusals::poison(d)) },
    Case { name: "batch too large", run: |d| Box::pin(refusals::too_large(d)) },
    Case { name: "unauthorised", run: |d| Box::pin(refusals::unauthorised(d)) },
    Case { name: "unwritable, then fine", run: |d| Box::pin(connection::unwritable(d)) },
    Case { name: "answer lost", run: |d| Box::pin(answers::lost(d)) },
    Case { name: "answer unreadable", run: |d| Box::pin(answers::unreadable(d)) },
    Case { name: "slow", run: |d| Box::pin(answers::slow(d)) },
    Case { name: "one attempt per call", run: |d| Box::pin(answers::one_attempt(d)) },
    Case { name: "calls at once", run: |d| Box::pin(connection::at_once(d)) },
    Case { name: "abandoned beside others", run: |d| Box::pin(connection::abandoned_beside_others(d)) },
    Case { name: "cancelled, then reopened", run: |d| Box::pin(connection::cancelled(d)) },
    Case { name: "hung up", run: |d| Box::pin(connection::hung_up(d)) },
    Case { name: "closed, all read", run: |d| Box::pin(closing::read(d)) },
    Case { name: "closed, unread", run: |d| Box::pin(closing::unread(d)) },
    Case { name: "torn end", run: |d| Box::pin(connection::torn(d)) },
];
