//! How fast one tenant may be asked. Pure: the caller says what time it is.
//!
//! Microsoft's baseline is 2,000 requests per minute and tenant (Management Activity API reference and its
//! troubleshooting page); it may be shared with other programs of the same publisher, so a tenth is left to them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Requests per minute in the long run.
const PER_MINUTE: i64 = 1_700;
/// Requests that may go out at once after a pause. In any minute: at most 1,700 + 100.
const BURST: i64 = 100;
const INTERVAL: SignedDuration = SignedDuration::from_nanos(60_000_000_000 / PER_MINUTE);

/// A token bucket, kept as the time at which it would be full again.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    full_at: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Bucket {
    /// Takes one request out of the bucket; it may be sent after the returned wait.
    pub fn take(&mut self, now: Timestamp) -> Duration {
        // a clock that was set back must not close the bucket for as long
        if let (Some(last), Some(full)) = (self.last, self.full_at)
            && now < last
        {
            self.full_at = Some(add(full, now.duration_since(last)));
        }
        self.last = Some(now);
        let full_at = add(self.full_at.map_or(now, |full| full.max(now)), INTERVAL);
        self.full_at = Some(full_at);
        let burst = INTERVAL * i32::try_from(BURST).unwrap_or(i32::MAX);
        Duration::try_from(full_at.duration_since(now) - burst).unwrap_or_default()
    }
}

/// The back-off of one tenant: shut until a time, longer each time it is refused again.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    refusals: u32,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Throttle {
    /// How long nothing may be sent; `None`: go ahead.
    pub fn shut(&self, now: Timestamp) -> Option<Duration> {
        let (since, until) = (self.since?, self.until?);
        // longer than it ever was to last: the clock was set back
        if now >= until || until.duration_since(now) > until.duration_since(since) + SignedDuration::from_secs(1) {
            return None;
        }
        // up to the millisecond: callers keep times in these, and would wake up just too early
        let wait = Duration::try_from(until.duration_since(now)).ok()?;
        Some(Duration::from_millis(u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)))
    }

    /// A request sent at `sent` was refused at `now`. `delay` gives the back-off of the n-th refusal in a row. Returns
    /// how long it is shut now. Several requests in flight that are refused together count once.
    pub fn refused(
        &mut self,
        sent: Timestamp,
        now: Timestamp,
        retry_after: Option<Duration>,
        delay: impl FnOnce(u32) -> Duration,
    ) -> Duration {
        let same_wave = self.since.is_some_and(|since| sent <= since) && self.shut(now).is_some();
        if !same_wave {
            self.refusals = self.refusals.saturating_add(1);
        }
        let wait = match (retry_after, same_wave) {
            (Some(wait), _) => wait,
            (None, true) => Duration::ZERO,
            (None, false) => delay(self.refusals),
        };
        let until = add(now, SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO));
        self.until = Some(if same_wave { self.until.map_or(until, |old| old.max(until)) } else { until });
        if !same_wave {
            self.since = Some(now);
        }
        self.shut(now).unwrap_or(wait)
    }

    /// A request sent at `sent` was served: the next refusal starts small again, unless it is an older one's answer.
    pub fn served(&mut self, sent: Timestamp) {
        if self.until.is_some_and(|until| sent >= until) {
            *self = Throttle::default();
        }
    }
}

fn add(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::retry;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
    }

    proptest! {
        #[test]
        fn no_minute_ever_holds_2000_requests(gaps in proptest::collection::vec(0i64..60, 3000..3500)) {
            let mut bucket = Bucket::default();
            let mut now = 0;
            let mut sent: Vec<i64> = Vec::new();
            for gap in gaps {
                now += gap * gap / 60;
                let wait = bucket.take(at(now));
                sent.push(now + i64::try_from(wait.as_millis()).unwrap());
            }
            sent.sort_unstable();
            for (i, start) in sent.iter().enumerate() {
                let within = sent.partition_point(|t| *t < start + 60_000) - i;
                prop_assert!(within <= 1_802, "{within}");
            }
        }
    }

    #[test]
    fn the_rate_is_used_and_a_pause_gives_a_burst() {
        let mut bucket = Bucket::default();
        let waits: Vec<_> = (0..1_800).map(|_| bucket.take(at(0))).collect();
        assert!(waits[..100].iter().all(Duration::is_zero));
        assert!(waits[100] > Duration::ZERO);
        assert!(waits[1_799] > Duration::from_secs(59) && waits[1_799] < Duration::from_secs(61), "{:?}", waits[1_799]);
        assert_eq!(bucket.take(at(120_000)), Duration::ZERO);
    }

    #[test]
    fn a_clock_set_back_does_not_shut_the_bucket() {
        let mut bucket = Bucket::default();
        for _ in 0..200 {
            bucket.take(at(7_200_000));
        }
        assert!(bucket.take(at(0)) < Duration::from_secs(5));
    }

    #[test]
    fn refusals_together_count_once_and_later_ones_grow() {
        let mut throttle = Throttle::default();
        let delay = |n: u32| Duration::from_secs(30 * u64::from(n));
        assert_eq!(throttle.shut(at(0)), None);
        assert_eq!(throttle.refused(at(0), at(100), None, delay), Duration::from_secs(30));
        // sent before the first refusal was known
        assert!(throttle.refused(at(50), at(200), None, delay) < Duration::from_secs(30));
        assert_eq!(throttle.shut(at(30_099)), Some(Duration::from_millis(1)));
        assert_eq!(throttle.shut(at(30_100)), None);
        assert_eq!(throttle.refused(at(30_200), at(30_300), None, delay), Duration::from_secs(60));
        // an answer to an old request doesn't open it, one sent since does
        throttle.served(at(40_000));
        assert!(throttle.shut(at(40_000)).is_some());
        throttle.served(at(90_400));
        assert_eq!(throttle.refused(at(90_500), at(90_600), None, delay), Duration::from_secs(30));
    }

    #[test]
    fn the_services_word_counts_and_a_clock_set_back_does_not_shut_for_hours() {
        let mut throttle = Throttle::default();
        let word = Some(Duration::from_secs(3_600));
        assert_eq!(throttle.refused(at(0), at(0), word, |_| Duration::ZERO), Duration::from_secs(3_600));
        assert_eq!(throttle.shut(at(3_599_000)), Some(Duration::from_secs(1)));
        assert_eq!(throttle.shut(at(-7_200_000)), None);
    }

    #[test]
    fn the_policy_of_throttling_is_30_s_to_10_min() {
        assert_eq!(
            (retry::THROTTLED.first, retry::THROTTLED.most),
            (Duration::from_secs(30), Duration::from_secs(600))
        );
    }
}
