//! Errors that repeat, folded for the log: the first in full, then how many more, then that it is over. Pure: time is handed in.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::ledger::Millis;

/// The shortest time between two lines about one cause.
const FIRST_WAIT: Millis = 60_000;
/// The longest: what lasts for days is still said every hour.
const LONGEST_WAIT: Millis = 3_600_000;
/// A cause that did not come up for so long is over: longer than any policy of `retry` waits.
pub const QUIET: Millis = 20 * 60_000;
/// Causes that are told apart. Words that hold a number are all different, and must not make a line each.
const MOST: usize = 16;

/// What the log is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// It came up: in full.
    First,
    /// It came up so often since it was said last.
    More {
        /// How often.
        more: u64,
        /// When it came up first.
        since: Millis,
    },
    /// It did not come up for [`QUIET`], after it had come up more than once.
    Over {
        /// How often in all.
        all: u64,
        /// When it came up first.
        since: Millis,
    },
}

#[derive(Clone, Debug)]
struct Row {
    since: Millis,
    last: Millis,
    said: Millis,
    wait: Millis,
    unsaid: u64,
    all: u64,
    /// Its end was said otherwise.
    closed: bool,
}

/// What came up lately, by cause.
#[derive(Clone, Debug)]
pub struct Fold<K> {
    rows: BTreeMap<K, Row>,
}

impl<K> Default for Fold<K> {
    fn default() -> Self {
        Fold { rows: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Fold<K> {
    /// The cause came up so many times now. `others` stands for causes beyond those that can be told apart. Returns under which of both it
    /// goes, and what to say.
    pub fn occurs(&mut self, cause: K, others: K, times: u64, now: Millis) -> (K, Option<Say>) {
        let known = self.rows.contains_key(&cause);
        let key = if known || self.rows.len() < MOST { cause } else { others };
        let Some(row) = self.rows.get_mut(&key) else {
            let new = Row { since: now, last: now, said: now, wait: FIRST_WAIT, unsaid: 0, all: times, closed: false };
            self.rows.insert(key.clone(), new);
            return (key, Some(Say::First));
        };
        row.last = now;
        row.closed = false;
        row.unsaid += times;
        row.all += times;
        let say = row.more(now);
        (key, say)
    }

    /// What is to be said since time has gone by.
    pub fn due(&mut self, now: Millis) -> Vec<(K, Say)> {
        let mut say = Vec::new();
        self.rows.retain(|key, row| {
            if now - row.last >= QUIET {
                let repeated = row.unsaid > 0 || row.said > row.since;
                if repeated && !row.closed {
                    say.push((key.clone(), Say::Over { all: row.all, since: row.since }));
                }
                return false;
            }
            say.extend(row.more(now).map(|more| (key.clone(), more)));
            true
        });
        say
    }

    /// Causes of which `which` is true are over for now, and that is said otherwise. One that comes up again soon is still folded, but waits
    /// for a minute at most. `counted`: what was not said of them is said therewith.
    pub fn close(&mut self, which: impl Fn(&K) -> bool, counted: bool) {
        self.pause(&which, counted);
        for (_, row) in self.rows.iter_mut().filter(|(key, _)| which(key)) {
            row.wait = FIRST_WAIT;
        }
    }

    /// The same for what comes and goes as often as once a minute: when it comes again soon, it goes on being said less and less often.
    pub fn pause(&mut self, which: impl Fn(&K) -> bool, counted: bool) {
        for (_, row) in self.rows.iter_mut().filter(|(key, _)| which(key)) {
            row.closed = true;
            if counted {
                row.unsaid = 0;
            }
        }
    }

    /// Whether something is remembered of it.
    pub fn knows(&self, key: &K) -> bool {
        self.rows.contains_key(key)
    }

    /// What was not said yet: the log ends.
    pub fn rest(&mut self) -> Vec<(K, Say)> {
        let rest = self.rows.iter().filter(|(_, row)| row.unsaid > 0);
        let say = rest.map(|(key, row)| (key.clone(), Say::More { more: row.unsaid, since: row.since })).collect();
        self.rows.clear();
        say
    }
}

impl Row {
    /// The count, when there is one and it may be said again. A clock that was set back must not keep anything quiet.
    fn more(&mut self, now: Millis) -> Option<Say> {
        if self.unsaid == 0 || (now - self.said < self.wait && now >= self.said) {
            return None;
        }
        let more = std::mem::take(&mut self.unsaid);
        self.said = now;
        self.wait = (2 * self.wait).min(LONGEST_WAIT);
        Some(Say::More { more, since: self.since })
    }
}

/// ` … and 120 more since 12:00 UTC`: how a line ends that stands for several.
pub fn and_more(more: u64, since: Millis, now: Millis) -> String {
    format!(" … and {more} more since {}", clock(since, now))
}

/// The time of day, with the date when that is not today's.
pub fn clock(time: Millis, now: Millis) -> String {
    let day = |millis: Millis| millis.div_euclid(86_400_000);
    let form = if day(time) == day(now) { "%H:%M UTC" } else { "%Y-%m-%d %H:%M UTC" };
    Timestamp::from_millisecond(time).map_or_else(|_| time.to_string(), |time| time.strftime(form).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Millis = 1000;
    const MINUTE: Millis = 60 * SECOND;
    /// 12:00 UTC.
    const NOON: Millis = 20_000 * 86_400_000 + 12 * 3_600_000;

    fn occurs(fold: &mut Fold<&'static str>, cause: &'static str, now: Millis) -> Option<Say> {
        fold.occurs(cause, "others", 1, now).1
    }

    #[test]
    fn of_121_in_a_row_the_first_is_said_then_120_more() {
        let mut fold = Fold::default();
        let said: Vec<_> = (0..121).filter_map(|n| occurs(&mut fold, "a", NOON + n * SECOND / 4)).collect();
        assert_eq!(said, [Say::First]);
        assert_eq!(fold.due(NOON + 59 * SECOND), []);
        assert_eq!(fold.due(NOON + MINUTE), [("a", Say::More { more: 120, since: NOON })]);
        assert_eq!(fold.due(NOON + 2 * MINUTE), [], "nothing new");
        assert_eq!(and_more(120, NOON, NOON + MINUTE), " … and 120 more since 12:00 UTC");
    }

    #[test]
    fn it_is_over_once_after_20_minutes_without_and_a_single_one_was_never_a_row() {
        let mut fold = Fold::default();
        for now in [NOON, NOON + SECOND] {
            occurs(&mut fold, "a", now);
        }
        occurs(&mut fold, "b", NOON);
        fold.due(NOON + MINUTE);
        assert_eq!(fold.due(NOON + QUIET), [], "b is forgotten, a came up a second later");
        assert_eq!(fold.due(NOON + QUIET + SECOND), [("a", Say::Over { all: 2, since: NOON })]);
        assert_eq!(fold.due(NOON + QUIET + MINUTE), []);
        assert_eq!(occurs(&mut fold, "a", NOON + QUIET + MINUTE), Some(Say::First), "as if it had never been");
    }

    #[test]
    fn never_more_than_a_line_a_minute_and_every_hour_at_the_least() {
        let mut fold = Fold::default();
        let said: Vec<Millis> = (0..24 * 3600)
            .map(|n| NOON + n * SECOND)
            .filter(|now| occurs(&mut fold, "a", *now).is_some() || !fold.due(*now).is_empty())
            .collect();
        let between: Vec<Millis> = said.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(between.iter().all(|time| (MINUTE..=60 * MINUTE).contains(time)), "{between:?}");
        assert!(said.len() < 32, "{} lines in a day", said.len());
    }

    #[test]
    fn what_is_closed_says_no_end_of_its_own_and_waits_a_minute_at_most_when_it_comes_again() {
        let mut fold = Fold::default();
        for n in 0..600 {
            occurs(&mut fold, "a", NOON + n * SECOND);
        }
        fold.close(|key| *key == "a", true);
        let again = NOON + 601 * SECOND;
        let one = Say::More { more: 1, since: NOON };
        assert_eq!(occurs(&mut fold, "a", again), Some(one));
        assert_eq!(occurs(&mut fold, "a", again + SECOND), None);
        // its wait has doubled by now, but for this
        fold.close(|key| *key == "a", false);
        assert_eq!(fold.due(again + MINUTE), [("a", one)]);
        assert_eq!(fold.due(again + SECOND + QUIET), []);
        assert_eq!(occurs(&mut fold, "a", again + SECOND + QUIET), Some(Say::First));
    }

    #[test]
    fn causes_beyond_what_can_be_told_apart_are_one() {
        let mut fold = Fold::default();
        let causes: Vec<String> = (0..1000).map(|n| format!("event {n} is invalid")).collect();
        let mut occurs = |cause: &String| fold.occurs(cause.clone(), String::new(), 1, NOON).1;
        assert_eq!(causes.iter().filter_map(&mut occurs).count(), MOST + 1);
        let due = fold.due(NOON + MINUTE);
        assert_eq!(due, [(String::new(), Say::More { more: 1000 - MOST as u64 - 1, since: NOON })]);
    }

    #[test]
    fn the_rest_is_said_at_the_end_and_a_clock_set_back_keeps_nothing_quiet() {
        let mut fold = Fold::default();
        occurs(&mut fold, "a", NOON);
        assert_eq!(fold.rest(), []);
        occurs(&mut fold, "a", NOON);
        assert_eq!(occurs(&mut fold, "a", NOON - 3600 * SECOND), Some(Say::More { more: 1, since: NOON }));
        occurs(&mut fold, "a", NOON - 3599 * SECOND);
        assert_eq!(fold.rest(), [("a", Say::More { more: 1, since: NOON })]);
    }

    #[test]
    fn a_time_of_another_day_has_its_date() {
        assert_eq!(clock(NOON, NOON + 11 * 3_600_000), "12:00 UTC");
        assert_eq!(clock(NOON, NOON + 12 * 3_600_000), "2024-10-04 12:00 UTC");
    }
}
