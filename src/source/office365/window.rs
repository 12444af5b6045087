//! Which intervals of publication time to list. Pure: no clock, no network.
//!
//! The service lists by `contentCreated`, half open, at most 24 h wide and about 7 days back (Management Activity API
//! reference, "List available content"). Contents become listable late, so what was listed is listed again: the last
//! two hours at every poll, the last seven days once an hour.

use jiff::{SignedDuration, Timestamp};

/// The widest window the service answers completely; a wider one may be answered with 200 and a part.
pub const WIDEST: SignedDuration = SignedDuration::from_hours(24);
/// How far before the cursor each poll starts: contents appear late.
pub const OVERLAP: SignedDuration = SignedDuration::from_hours(2);
/// How far back the service can be asked: 7 days, less 5 min because an exact 7 days with a skewed clock is refused.
pub const REACH: SignedDuration = SignedDuration::from_secs(7 * 86_400 - 300);
/// How often the whole reach is listed again.
pub const PAST_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// `[start, end)` of publication time, on whole seconds (the precision of the wire), at most 24 h, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    start: Timestamp,
    end: Timestamp,
}

impl Window {
    /// A window; both ends are cut to whole seconds. `None` if nothing is left or it is wider than 24 h.
    pub fn new(start: Timestamp, end: Timestamp) -> Option<Window> {
        let (start, end) = (floor(start), floor(end));
        (start < end && end.duration_since(start) <= WIDEST).then_some(Window { start, end })
    }

    /// First second that belongs to it.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// First second that no longer belongs to it.
    pub fn end(&self) -> Timestamp {
        self.end
    }
}

/// What to list now, oldest first, and what can't be listed any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Adjoining windows, oldest first: the cursor may move to the end of each as soon as its last page is admitted.
    pub slices: Vec<Window>,
    /// `[from, to)` that was owed and has fallen out of the service's reach unlisted: a gap.
    pub gap: Option<(Timestamp, Timestamp)>,
}

/// The first `since` of a stream: `start` before now, but inside the reach, with ten minutes to spare so that the first
/// listing, seconds later, does not find a gap where nobody owed anything.
pub fn first_since(start: SignedDuration, now: Timestamp) -> Timestamp {
    let most = REACH - SignedDuration::from_mins(10);
    floor(back(now, start.clamp(SignedDuration::ZERO, most)))
}

/// What a poll lists: from two hours before the cursor (end of the newest completely listed window; `None`: never
/// listed) to the service's `now`, never before `since`.
pub fn live(cursor: Option<Timestamp>, since: Timestamp, now: Timestamp) -> Plan {
    let reach = ceil(back(now, REACH));
    let since = ceil(since);
    let owed = cursor.unwrap_or(since).max(since);
    let gap = (owed < reach).then_some((owed, reach));
    let from = back(owed, OVERLAP).max(since).max(reach);
    Plan { slices: slices(floor(from), floor(now)), gap }
}

/// What the hourly tier lists: everything within the service's reach, never before `since`. It finds what appeared
/// late; what is out of reach is [`live`]'s to report.
pub fn past(since: Timestamp, now: Timestamp) -> Plan {
    let from = ceil(back(now, REACH)).max(ceil(since));
    Plan { slices: slices(from, floor(now)), gap: None }
}

/// The one window of a clamped plan that the service refused (AF20030, AF20055): what of it is still within reach.
pub fn clamp(window: Window, now: Timestamp) -> Option<Window> {
    Window::new(window.start.max(ceil(back(now, REACH))), window.end.min(floor(now)))
}

fn slices(from: Timestamp, to: Timestamp) -> Vec<Window> {
    let mut slices = Vec::new();
    let mut start = from;
    while start < to {
        let end = forth(start, WIDEST).min(to);
        slices.push(Window { start, end });
        start = end;
    }
    slices
}

/// Cuts to the whole second at or before.
fn floor(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_nanosecond().div_euclid(1_000_000_000) as i64).unwrap_or(Timestamp::MIN)
}

/// The whole second at or after.
fn ceil(time: Timestamp) -> Timestamp {
    let floor = floor(time);
    if floor == time { time } else { forth(floor, SignedDuration::from_secs(1)) }
}

fn back(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn forth(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn spans(plan: &Plan) -> Vec<(String, String)> {
        plan.slices.iter().map(|w| (w.start.to_string(), w.end.to_string())).collect()
    }

    #[test]
    fn a_poll_begins_two_hours_before_the_cursor() {
        let plan = live(Some(at("2026-03-01T10:00:00Z")), at("2026-02-28T10:00:00Z"), at("2026-03-01T10:01:00.9Z"));
        assert_eq!(spans(&plan), [("2026-03-01T08:00:00Z".into(), "2026-03-01T10:01:00Z".into())]);
        assert_eq!(plan.gap, None);
    }

    #[test]
    fn a_poll_never_begins_before_since() {
        let since = at("2026-03-01T09:00:00Z");
        assert_eq!(live(None, since, at("2026-03-01T09:30:00Z")).slices[0].start(), since);
        assert_eq!(live(Some(at("2026-03-01T09:20:00Z")), since, at("2026-03-01T09:30:00Z")).slices[0].start(), since);
    }

    #[test]
    fn a_cursor_out_of_reach_is_a_gap_up_to_the_reach() {
        let plan = live(Some(at("2026-03-01T00:00:00Z")), at("2026-02-01T00:00:00Z"), at("2026-03-11T00:00:00Z"));
        assert_eq!(plan.gap, Some((at("2026-03-01T00:00:00Z"), at("2026-03-04T00:05:00Z"))));
        assert_eq!(plan.slices[0].start(), at("2026-03-04T00:05:00Z"));
        assert_eq!(plan.slices.len(), 7);
    }

    #[test]
    fn the_longest_first_run_has_no_gap() {
        let now = at("2026-03-11T00:00:00Z");
        let since = first_since(SignedDuration::from_hours(7 * 24), now);
        assert_eq!(live(None, since, forth(now, SignedDuration::from_mins(9))).gap, None);
        assert_eq!(since, at("2026-03-04T00:15:00Z"));
    }

    #[test]
    fn a_window_wider_than_a_day_or_empty_is_none() {
        let start = at("2026-03-01T00:00:00Z");
        assert!(Window::new(start, at("2026-03-02T00:00:00Z")).is_some());
        assert!(Window::new(start, at("2026-03-02T00:00:01Z")).is_none());
        assert!(Window::new(start, at("2026-03-01T00:00:00.9Z")).is_none());
    }

    proptest! {
        #[test]
        fn windows_cover_what_is_owed_and_keep_the_services_rules(
            now in 1_700_000_000_000i64..1_900_000_000_000,
            since_back in 0i64..40 * 86_400_000,
            cursor_back in proptest::option::of(0i64..40 * 86_400_000),
        ) {
            let time = |ms| Timestamp::from_millisecond(ms).unwrap();
            let (now_t, since) = (time(now), time(now - since_back));
            let cursor = cursor_back.map(|b| time(now - b));
            let owed = cursor.unwrap_or(since).max(since);
            for (plan, is_live) in [(live(cursor, since, now_t), true), (past(since, now_t), false)] {
                for pair in plan.slices.windows(2) {
                    prop_assert_eq!(pair[0].end, pair[1].start);
                }
                for w in &plan.slices {
                    prop_assert!(w.start < w.end && w.end.duration_since(w.start) <= WIDEST);
                    prop_assert!(w.start >= since && w.start >= back(now_t, REACH) && w.end <= now_t);
                }
                // nothing owed lies outside of slices and gap, whole seconds granted
                if let Some(first) = plan.slices.first() {
                    prop_assert_eq!(plan.slices.last().unwrap().end, floor(now_t));
                    let covered = plan.gap.map_or(first.start, |gap| gap.0);
                    let from = if is_live { ceil(owed) } else { ceil(since).max(ceil(back(now_t, REACH))) };
                    prop_assert!(covered <= from);
                    if let Some((_, to)) = plan.gap {
                        prop_assert_eq!(to, first.start);
                    }
                }
            }
        }
    }
}
