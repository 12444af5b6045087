//! The delays of every retry, in one place. `backon` computes them; the jitter's seed comes from `world.random`, so
//! that a run of the crash test repeats exactly.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::{ledger::Millis, world::Random};

/// How long to wait between attempts of one kind: doubling from `first`, never above `most`, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Name for logs and status.
    pub name: &'static str,
    /// The shortest first delay.
    pub first: Duration,
    /// No delay is longer.
    pub most: Duration,
}

/// A listing that failed: the service or the network has trouble.
pub const LISTING: Policy = Policy::new("listing", 2, 5 * 60);
/// A content that could not be fetched; it is retried on its own until it expires.
pub const FETCH: Policy = Policy::new("fetch", 5, 30 * 60);
/// AF429 or a refusal that looks like it.
pub const THROTTLED: Policy = Policy::new("throttled", 30, 10 * 60);
/// A sink whose destination is away.
pub const SINK: Policy = Policy::new("sink", 1, 5 * 60);
/// A person must act first (permission, secret, topic): slowly, and said loudly.
pub const BLOCKED: Policy = Policy::new("blocked", 60, 15 * 60);
/// Auditing is switched off or was switched on less than an hour ago: asking more often than every 15 min helps nobody.
pub const AUDIT_OFF: Policy = Policy::new("audit off", 15 * 60, 30 * 60);

/// No wait is longer, one that the service asks for (at most an hour) included.
pub const LONGEST: Millis = 61 * 60_000;

/// Whether something that waits until `at` may go on. A time further ahead than any wait comes from a clock that was set back since.
pub fn is_due(at: Millis, now: Millis) -> bool {
    is_due_within(at, now, LONGEST)
}

/// The same where no wait is longer than `longest`.
pub fn is_due_within(at: Millis, now: Millis, longest: Millis) -> bool {
    at <= now || at > now.saturating_add(longest)
}

/// Whether what was done at `at` is to be done again; a time ahead comes from a clock that was set back since.
pub fn hourly(at: Millis, now: Millis) -> bool {
    !(0..60 * 60_000).contains(&now.saturating_sub(at))
}

impl Policy {
    const fn new(name: &'static str, first: u64, most: u64) -> Self {
        Policy { name, first: Duration::from_secs(first), most: Duration::from_secs(most) }
    }

    /// The delays of one series of failures, from the first on.
    pub fn start(&self, random: &dyn Random) -> Delays {
        // backon adds up to the delay once more as jitter: with half the cap, the cap holds and even the longest
        // delay is spread
        let base = ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.most / 2)
            .without_max_times()
            .with_jitter()
            .with_jitter_seed(random.next());
        Delays { most: self.most, backoff: base.build() }
    }

    /// The delay when the destination asked for `after`: within reason. A proxy's "in a day" must not stop a sink, nor "at once" make a flood of
    /// its attempts.
    pub fn asked(own: Duration, after: Option<Duration>) -> Duration {
        after.map_or(own, |after| after.clamp(own, own.max(BLOCKED.most)))
    }

    /// The delay after failure number `failures` (1 is the first), for counts that a ledger keeps across restarts.
    pub fn after(&self, failures: u32, random: &dyn Random) -> Duration {
        let mut delays = self.start(random);
        // the cap is reached long before 40 doublings; a count from disk must not cost a long loop
        for _ in 1..failures.clamp(1, 40) {
            delays.next_delay();
        }
        delays.next_delay()
    }
}

/// A series of delays that never ends. Dropped and started anew once something succeeded.
#[derive(Debug)]
pub struct Delays {
    most: Duration,
    backoff: <ExponentialBuilder as BackoffBuilder>::Backoff,
}

impl Delays {
    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.backoff.next().unwrap_or(self.most).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);
    impl Random for Fixed {
        fn next(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn what_a_destination_asks_for_is_kept_within_reason() {
        let seconds = Duration::from_secs;
        assert_eq!(Policy::asked(seconds(4), None), seconds(4));
        assert_eq!(Policy::asked(seconds(4), Some(seconds(0))), seconds(4));
        assert_eq!(Policy::asked(seconds(4), Some(seconds(60))), seconds(60));
        assert_eq!(Policy::asked(seconds(4), Some(seconds(31_536_000))), seconds(900));
    }

    #[test]
    fn every_policy_starts_at_its_first_delay_grows_and_keeps_its_cap() {
        for policy in [LISTING, FETCH, THROTTLED, SINK, BLOCKED, AUDIT_OFF] {
            for seed in 0..50 {
                let mut delays = policy.start(&Fixed(seed));
                let series: Vec<_> = (0..40).map(|_| delays.next_delay()).collect();
                assert!(series[0] >= policy.first && series[0] <= policy.first * 2, "{policy:?} {series:?}");
                assert!(series.iter().all(|d| *d <= policy.most), "{policy:?} {series:?}");
                assert!(series[20..].iter().all(|d| *d >= policy.most / 2), "{policy:?} {series:?}");
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_back_ends_every_wait() {
        assert!(is_due(100, 100) && !is_due(101, 100) && !is_due(100 + LONGEST, 100));
        assert!(is_due(101 + LONGEST, 100));
    }

    #[test]
    fn the_same_seed_gives_the_same_delays_and_another_seed_others() {
        let series = |seed| {
            let mut delays = SINK.start(&Fixed(seed));
            (0..10).map(|_| delays.next_delay()).collect::<Vec<_>>()
        };
        assert_eq!(series(7), series(7));
        assert_ne!(series(7), series(8));
    }

    #[test]
    fn a_stored_count_of_failures_gives_the_delay_of_that_failure() {
        let mut delays = FETCH.start(&Fixed(3));
        for failures in 1..=12 {
            assert_eq!(FETCH.after(failures, &Fixed(3)), delays.next_delay());
        }
        assert!(FETCH.after(u32::MAX, &Fixed(3)) <= FETCH.most);
        assert!(FETCH.after(0, &Fixed(3)) >= FETCH.first);
    }
}
