//! What happened to a message before.

use crate::ledger::Millis;

/// A wait longer than any policy's comes from a clock that was set back.
const LONGEST: Millis = 20 * 60_000;

/// What happened to a message before this attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// The largest batch it may travel in: halved while it is a suspect. 0: no limit.
    pub cap: u32,
    /// Which batch came back: it goes out again by itself, or what is proved of it would be proved of others too. 0: none did.
    pub group: u64,
    /// How often it came back with `Retry`.
    pub retries: u32,
    /// When it came back first.
    pub since: Millis,
    /// How many batches this sink had taken then.
    pub taken: u64,
    /// Not before; a time long past or far ahead means nothing.
    pub retry_at: Millis,
    /// Connections that took it whole and were ended by the peer in an orderly way before it had settled.
    pub unproven: u8,
    /// It was refused in a row that may have been the sink's fault; once the sink has taken so many batches, another refusal is its own.
    /// 0: it was not.
    pub doubted: u64,
}

impl History {
    /// Whether it may go out again. `eager`: before its time, too.
    pub fn is_due(&self, now: Millis, eager: bool) -> bool {
        eager || self.retry_at <= now || self.retry_at > now + LONGEST
    }
}
