//! What the log says of one sink: each change of its state in one line, what repeats folded.
//!
//! A sink that fails and takes again several times a minute with the same words is one thing to a person, too: that is folded as well,
//! and its next change that lasts is said.

use std::{sync::Arc, time::Duration};

use tracing::{Level, error, info, warn};

use super::{Deliver, course::Course};
use crate::{
    agent::millis,
    fold::{Fold, QUIET, Say, and_more, clock},
    ledger::Millis,
};

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Untaken,
    Blocked,
    Refused,
    Quarantined,
    Gone,
    Ledger,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    level: Level,
    words: String,
}

/// What the log said last of the sink's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Takes,
    Fails,
}

type Key = (About, Arc<str>);

/// Stands for causes that are too many to tell apart.
const OTHERS: &str = "each time in other words";

/// What was said of one sink.
#[derive(Debug, Default)]
pub(super) struct Voice {
    fold: Fold<Key>,
    told: Told,
    /// How often it failed since it last took something, and since when.
    failing: Option<(u64, Millis)>,
    ledger_fails: bool,
}

impl Voice {
    /// It did not take what it was offered; `delay`: until the next try.
    pub fn failed(&mut self, blocked: bool, cause: &str, delay: Duration, now: Millis) -> Option<Line> {
        let (times, since) = self.failing.unwrap_or((0, now));
        self.failing = Some((times + 1, since));
        let about = if blocked { About::Blocked } else { About::Untaken };
        let line = self.line(about, cause, 1, &format!("; tried again in {} s", delay.as_secs()), now)?;
        self.told = Told::Fails;
        Some(line)
    }

    /// It takes events.
    pub fn takes(&mut self, now: Millis) -> Option<Line> {
        self.works("takes events", now)
    }

    /// It goes on, since its quarantine is not full any more.
    pub fn has_room(&mut self, now: Millis) -> Option<Line> {
        self.works("has room in its quarantine, takes events", now)
    }

    fn works(&mut self, how: &str, now: Millis) -> Option<Line> {
        let failing = self.failing.take();
        let told = std::mem::replace(&mut self.told, Told::Takes);
        if failing.is_some() {
            let state = |key: &Key| matches!(key.0, About::Untaken | About::Blocked);
            self.fold.close(state, told != Told::Takes);
        }
        let words = match (told, failing) {
            (Told::Takes, _) => return None,
            (Told::Nothing, _) | (_, None) => how.to_owned(),
            (Told::Fails, Some((1, since))) => format!("{how} again; it had failed at {}", clock(since, now)),
            (Told::Fails, Some((times, since))) => {
                format!("{how} again; it had failed {times} times since {}", clock(since, now))
            }
        };
        Some(Line { level: Level::INFO, words })
    }

    /// It refused messages.
    pub fn refused(&mut self, cause: &str, now: Millis) -> Option<Line> {
        self.line(About::Refused, cause, 1, "", now)
    }

    /// So many records are in its quarantine now.
    pub fn quarantined(&mut self, records: u64, now: Millis) -> Option<Line> {
        self.line(About::Quarantined, "", records, "", now)
    }

    /// Its connection is gone, and nothing was out.
    pub fn gone(&mut self, cause: &str, now: Millis) -> Option<Line> {
        self.line(About::Gone, cause, 1, "", now)
    }

    /// The ledger can't be written.
    pub fn ledger_fails(&mut self, cause: &str, now: Millis) -> Option<Line> {
        self.ledger_fails = true;
        self.line(About::Ledger, cause, 1, "", now)
    }

    /// The ledger can be written.
    pub fn ledger_works(&mut self) -> Option<Line> {
        if !std::mem::take(&mut self.ledger_fails) {
            return None;
        }
        self.fold.close(|key| key.0 == About::Ledger, true);
        Some(Line { level: Level::INFO, words: "the ledger can be written again".into() })
    }

    /// What is to be said since time has gone by.
    pub fn due(&mut self, now: Millis) -> Vec<Line> {
        let due = self.fold.due(now);
        due.into_iter().filter_map(|(key, say)| self.later(&key, say, now)).collect()
    }

    /// What was not said yet: the loop ends.
    pub fn rest(&mut self, now: Millis) -> Vec<Line> {
        let rest = self.fold.rest();
        rest.into_iter().filter_map(|(key, say)| self.later(&key, say, now)).collect()
    }

    fn line(&mut self, about: About, cause: &str, times: u64, then: &str, now: Millis) -> Option<Line> {
        let (key, say) = self.fold.occurs((about, cause.into()), (about, OTHERS.into()), times, now);
        let words = match (about, say?) {
            (About::Quarantined, Say::First) => quarantined(&times.to_string(), ""),
            (_, Say::First) => format!("{}{then}", head(about, &key.1)),
            (_, Say::More { more, since }) => counted(&key, then, more, since, now),
            (_, Say::Over { .. }) => return None,
        };
        Some(Line { level: level(about), words })
    }

    fn later(&mut self, key: &Key, say: Say, now: Millis) -> Option<Line> {
        let (about, cause) = key;
        let state = matches!(about, About::Untaken | About::Blocked);
        match say {
            Say::First => None,
            Say::More { more, since } => {
                if state && self.failing.is_some() {
                    self.told = Told::Fails;
                }
                Some(Line { level: level(*about), words: counted(key, "", more, since, now) })
            }
            // that it takes again, or fails for another cause, was said
            Say::Over { .. } if state => None,
            Say::Over { all, since } => {
                let (minutes, since) = (QUIET / 60_000, clock(since, now));
                let what = head(*about, cause);
                let words = format!("over: not any more for {minutes} min, {all} in all since {since}: {what}");
                Some(Line { level: Level::INFO, words })
            }
        }
    }
}

fn head(about: About, cause: &str) -> String {
    match about {
        About::Untaken => format!("not taken: {cause}"),
        About::Blocked => format!("blocked, a person must act: {cause}"),
        About::Refused => format!("refused: {cause}"),
        About::Quarantined => "records went to quarantine".into(),
        About::Gone => format!("the connection is gone while nothing was out: {cause}"),
        About::Ledger => cause.to_owned(),
    }
}

fn counted(key: &Key, then: &str, more: u64, since: Millis, now: Millis) -> String {
    match key.0 {
        About::Quarantined => quarantined(&format!("{more} more"), &format!(" since {}", clock(since, now))),
        about => format!("{}{then}{}", head(about, &key.1), and_more(more, since, now)),
    }
}

fn quarantined(number: &str, since: &str) -> String {
    format!("{number} records went to quarantine{since}: see `auditferry quarantine list`")
}

fn level(about: About) -> Level {
    match about {
        About::Blocked | About::Quarantined | About::Ledger => Level::ERROR,
        About::Untaken | About::Refused => Level::WARN,
        About::Gone => Level::INFO,
    }
}

impl Deliver {
    /// Writes lines of this sink.
    pub(super) fn say(&self, lines: impl IntoIterator<Item = Line>) {
        for Line { level, words } in lines {
            match level {
                Level::ERROR => error!(sink = self.name, "{words}"),
                Level::WARN => warn!(sink = self.name, "{words}"),
                _ => info!(sink = self.name, "{words}"),
            }
        }
    }

    /// Writes what has waited for its time.
    pub(super) fn say_due(&self, course: &mut Course) {
        self.say(course.voice.due(millis(&self.world)));
    }
}

#[cfg(test)]
#[path = "voice_tests.rs"]
mod tests;
