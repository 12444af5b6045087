//! The tests that every sink must pass.
//!
//! A sink's `tests/conformance.rs` implements [`Destination`] for the place it writes to (a fake receiver, a file, a
//! pipe) and calls [`all`]. Each case gets a destination of its own. Real sockets and files, real time, no sleeps for luck.

mod cases;
mod env;
pub mod fakes;
mod messages;
mod trial;

use auditferry_contract::SinkKind;

pub use cases::{CASES, Case};
pub use env::{SECRET, TestEnv};
pub use messages::{batch, message, watched_batch};

/// What a destination can be put into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It takes everything.
    Fine,
    /// It can't be opened or written until it is fine again: folder missing, reader gone, connection refused.
    Unwritable,
    /// An earlier run was killed in the middle of a message; what it left behind is no whole message.
    Torn,
    /// It takes the next batch whole, and its answer never comes: the connection ends. Fine after that.
    AnswerLost,
    /// It takes the next batch whole, and its answer makes no sense. Fine after that.
    AnswerUnreadable,
    /// It takes everything, and answers at least half a second later than usual.
    Slow,
    /// It refuses for good each message whose body holds [`POISON`], in the way in which the real one refuses a message.
    RefusesPoison,
    /// It takes no batch of more than [`MOST`] messages, and says so as the real one does when a batch is too large for it.
    BatchTooLarge,
    /// It takes what fits into its buffers and reads nothing: a stopped process.
    Hangs,
    /// It breaks off every connection; what it has not read is gone.
    Breaks,
    /// It refuses the agent: token expired, login refused.
    Unauthorised,
}

/// What a destination in [`State::RefusesPoison`] refuses.
pub const POISON: &str = "\u{2620}poison";

/// The largest batch, in messages, of a destination in [`State::BatchTooLarge`].
pub const MOST: usize = 3;

/// Where a sink delivers to, seen from the other side.
pub trait Destination: Send + Sync {
    /// The sink under test.
    fn kind(&self) -> SinkKind;

    /// Its options, as TOML, leading to this destination.
    fn options(&self) -> String;

    /// Bodies of all messages that have arrived whole, in the order of arrival. Panics when something else than whole
    /// messages is there.
    fn received(&self) -> Vec<Vec<u8>>;

    /// Puts the destination into a state; false: it has no such state, and the case is skipped.
    fn arrange(&self, state: State) -> bool;

    /// True when `Ok` rests on an answer of the destination, so that everything is there when the sink says so. False for a
    /// destination that says nothing (plain syslog): the suite then waits until the messages have arrived.
    fn confirms(&self) -> bool {
        true
    }

    /// True when messages arrive in the order of sending as long as one call runs at a time.
    fn in_order(&self) -> bool {
        true
    }

    /// True when the client library asks again by itself after a lost or unreadable answer, and the destination knows a
    /// repeat when it sees one (Kafka's idempotent producer). Then `Ok` is a right answer, and nothing may come twice.
    fn knows_repeats(&self) -> bool {
        false
    }

    /// The destination ends every connection that is open, in an orderly way; false: it has none, or the sink notices at
    /// the next call only.
    fn hang_up(&self) -> bool {
        false
    }

    /// How many times something tried to deliver here, where the destination can count that. Opening is no attempt.
    fn attempts(&self) -> Option<usize> {
        None
    }

    /// True when a line break inside a message would break the destination's framing.
    fn line_oriented(&self) -> bool {
        false
    }
}

/// Runs every case against a destination of its own and returns the names of those that were skipped.
///
/// # Panics
/// When the sink breaks a promise; the message begins with the case's name.
pub async fn all(make: impl Fn() -> Box<dyn Destination>) -> Vec<&'static str> {
    let mut skipped = Vec::new();
    for case in CASES {
        let destination = make();
        if !(case.run)(destination.as_ref()).await {
            skipped.push(case.name);
        }
    }
    skipped
}
