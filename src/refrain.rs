//! What a loop says of things that go wrong again and again: of each cause the first in full, then how many more, then that it works
//! again or is over. Pure: time is handed in. What sinks say has more states: `deliver/voice.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    fold::{Fold, QUIET, Say, and_more, clock},
    ledger::Millis,
};

/// Stands for causes that are too many to tell apart.
const OTHERS: &str = "others";

/// What fails (a stream, for example), and the stable code of why.
type Key = (String, String);

/// A line that has waited for its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is about.
    pub about: String,
    /// The code of the cause.
    pub code: String,
    /// What to say.
    pub words: String,
    /// It is over: no reason for concern.
    pub over: bool,
}

/// What was said by one loop.
#[derive(Debug, Default)]
pub struct Refrain {
    fold: Fold<Key>,
    /// The last words, by cause.
    words: BTreeMap<Key, String>,
    /// How often something failed since it last worked, and since when.
    failing: BTreeMap<String, (u64, Millis)>,
    /// Of these the log said last that they fail.
    told: BTreeSet<String>,
}

impl Refrain {
    /// Something failed: what the log is to say of it now, if anything. `then`: what happens next, said with the first and with a count.
    pub fn fails(&mut self, about: &str, code: &str, words: &str, then: &str, now: Millis) -> Option<String> {
        let (times, since) = self.failing.get(about).copied().unwrap_or((0, now));
        self.failing.insert(about.to_owned(), (times + 1, since));
        let key = |code: &str| (about.to_owned(), code.to_owned());
        let (key, say) = self.fold.occurs(key(code), key(OTHERS), 1, now);
        self.words.insert(key, words.to_owned());
        let line = match say? {
            Say::First => format!("{words}{then}"),
            Say::More { more, since } => format!("{words}{then}{}", and_more(more, since, now)),
            Say::Over { .. } => return None,
        };
        self.told.insert(about.to_owned());
        Some(line)
    }

    /// It works: what the log is to say, if it said last that it fails.
    pub fn works(&mut self, about: &str, now: Millis) -> Option<String> {
        let (times, since) = self.failing.remove(about)?;
        let told = self.told.remove(about);
        self.fold.pause(|(key, _)| key == about, told);
        let since = clock(since, now);
        told.then(|| match times {
            1 => format!("works again; it had failed at {since}"),
            _ => format!("works again; it had failed {times} times since {since}"),
        })
    }

    /// What is to be said since time has gone by.
    pub fn due(&mut self, now: Millis) -> Vec<Line> {
        let due = self.fold.due(now);
        let lines = due.into_iter().filter_map(|(key, say)| self.later(key, say, now)).collect();
        let Refrain { fold, words, .. } = self;
        words.retain(|key, _| fold.knows(key));
        lines
    }

    /// What was not said yet: the loop ends.
    pub fn rest(&mut self, now: Millis) -> Vec<Line> {
        let rest = self.fold.rest();
        rest.into_iter().filter_map(|(key, say)| self.later(key, say, now)).collect()
    }

    fn later(&mut self, key: Key, say: Say, now: Millis) -> Option<Line> {
        let last = self.words.get(&key).cloned().unwrap_or_default();
        let (words, over) = match say {
            Say::First => return None,
            Say::More { more, since } => {
                if self.failing.contains_key(&key.0) {
                    self.told.insert(key.0.clone());
                }
                (format!("{last}{}", and_more(more, since, now)), false)
            }
            Say::Over { all, since } => {
                let (minutes, since) = (QUIET / 60_000, clock(since, now));
                (format!("over: not any more for {minutes} min, {all} in all since {since}: {last}"), true)
            }
        };
        let (about, code) = key;
        Some(Line { about, code, words, over })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Millis = 60_000;
    /// 12:00 UTC.
    const NOON: Millis = 20_000 * 86_400_000 + 12 * 3_600_000;

    fn more(about: &str, words: &str) -> Line {
        Line { about: about.into(), code: "Connect".into(), words: words.into(), over: false }
    }

    #[test]
    fn an_outage_is_its_first_line_counts_and_its_end() {
        let mut log = Refrain::default();
        let fails = |log: &mut Refrain, now| log.fails("general", "Connect", "no route", "; again in 2 s", now);
        assert_eq!(fails(&mut log, NOON).as_deref(), Some("no route; again in 2 s"));
        for n in 1..30 {
            assert_eq!(fails(&mut log, NOON + n * 1_000), None);
        }
        assert_eq!(log.due(NOON + MINUTE), [more("general", "no route … and 29 more since 12:00 UTC")]);
        assert_eq!(log.due(NOON + 2 * MINUTE), []);
        let again = log.works("general", NOON + 3 * MINUTE);
        assert_eq!(again.as_deref(), Some("works again; it had failed 30 times since 12:00 UTC"));
        assert_eq!(log.works("general", NOON + 3 * MINUTE), None, "said once");
        assert_eq!(log.due(NOON + 60 * MINUTE), [], "its end was said");
    }

    #[test]
    fn what_fails_and_works_in_turns_is_a_few_lines() {
        let mut log = Refrain::default();
        let mut lines = 0;
        for now in (0..240).map(|n| NOON + n * MINUTE) {
            lines += usize::from(log.fails("general", "Connect", "no route", "", now).is_some());
            lines += usize::from(log.works("general", now + 1_000).is_some());
            lines += log.due(now + 2_000).len();
        }
        assert!((2..20).contains(&lines), "{lines} lines in four hours");
    }

    #[test]
    fn another_cause_is_another_line_and_what_never_works_again_is_over() {
        let mut log = Refrain::default();
        assert!(log.fails("general", "Connect", "no route", "", NOON).is_some());
        assert!(log.fails("general", "401", "who are you", "", NOON).is_some());
        assert!(log.fails("exchange", "401", "who are you", "", NOON).is_some());
        assert!(log.fails("general", "401", "who are you", "", NOON).is_none());
        assert_eq!(log.rest(NOON).len(), 1);
        let mut log = Refrain::default();
        log.fails("", "AF20051", "content a has expired", "", NOON);
        log.fails("", "AF20051", "content b has expired", "", NOON);
        log.due(NOON + MINUTE);
        let over = log.due(NOON + 21 * MINUTE);
        assert!(over[0].over && over[0].words.ends_with("2 in all since 12:00 UTC: content b has expired"), "{over:?}");
        assert!(log.words.is_empty(), "nothing is remembered of it");
    }
}
