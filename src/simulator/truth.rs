//! What should have arrived: the other side of the simulator, for a checker. Worked out from the schedule, not stored.

use super::{
    Simulator,
    profile::CONTENT_TYPES,
    records::{Fate, RecordTruth},
    schedule::{Content, Stream},
    stamp::DAY,
};
use jiff::Timestamp;

/// One content that has become visible.
#[derive(Clone, Debug)]
pub struct ContentTruth {
    /// Position of the tenant in the profile.
    pub tenant: usize,
    /// Content type.
    pub content_type: &'static str,
    /// As scheduled, with its times in milliseconds.
    pub content: Content,
    /// How often its whole body was served; `None` once it is so long gone that only the sum is known.
    pub fetched: Option<u32>,
    /// Created while the stream was not subscribed after it had been: no listing ever shows it.
    pub lost: bool,
    /// Whether its body is an array. What is not is retried until it expires.
    pub readable: bool,
}

/// How often contents were fetched as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchCounts {
    /// Contents that were there to be fetched.
    pub contents: u64,
    /// Never.
    pub never: u64,
    /// Exactly once.
    pub once: u64,
    /// More than once.
    pub repeatedly: u64,
}

impl Simulator {
    /// All contents visible at `now`, by tenant, type and number. Nothing is collected: take as many as needed.
    pub fn truth(&self, now: Timestamp) -> impl Iterator<Item = ContentTruth> + '_ {
        let now = self.service_time(now);
        let streams = (0..self.tenants.len())
            .flat_map(|tenant| CONTENT_TYPES.into_iter().map(move |content_type| (tenant, content_type)));
        streams.flat_map(move |(tenant, content_type)| {
            let stream = Stream { profile: &self.profile, tenant, content_type };
            let lost = self.tenants[tenant]
                .subscriptions
                .get(&content_type.to_ascii_lowercase())
                .filter(|_| stream.tenant().lose_while_stopped)
                .map(|subscription| subscription.lost.clone())
                .unwrap_or_default();
            (0u64..)
                .map_while(move |index| stream.content(index).filter(|content| content.created <= now))
                .filter(move |content| content.visible <= now)
                .map(move |content| {
                    let known = self.tenants[tenant].fetched.get(&(stream.key(), content.index)).copied();
                    let gone = content.expires + DAY < now;
                    ContentTruth {
                        tenant,
                        content_type,
                        fetched: if gone { known } else { Some(known.unwrap_or(0)) },
                        lost: lost.iter().any(|span| content.created >= span.0 && content.created < span.1),
                        readable: content.readable(),
                        content,
                    }
                })
        })
    }

    /// The records of a content, in the order of its body. `again`: as served when it was fetched before.
    pub fn records(&self, truth: &ContentTruth, again: bool) -> impl Iterator<Item = RecordTruth> + '_ {
        let stream = Stream { profile: &self.profile, tenant: truth.tenant, content_type: truth.content_type };
        let readable = truth.readable;
        let slots = stream.slots(&truth.content, again);
        slots.filter(move |_| readable).filter_map(move |slot| stream.record(slot)).map(|record| record.1)
    }

    /// All records that every sink is owed of contents visible at `now`, created from `since` on, readable, not lost and not
    /// expired before they appeared: selected ones and unreadable ones. A record comes once for each place where it
    /// stands; collect [`RecordTruth::mark`] into a set. Of a body that differs when fetched again, the first one counts.
    pub fn owed(&self, since: Timestamp, now: Timestamp) -> impl Iterator<Item = RecordTruth> + '_ {
        let since = since.as_millisecond();
        self.truth(now)
            .filter(move |it| {
                it.content.created >= since && it.readable && !it.lost && it.content.expires > it.content.visible
            })
            .flat_map(move |it| self.records(&it, false).collect::<Vec<_>>())
            .filter(|record| record.fate != Fate::Unselected)
    }

    /// How often what was visible by `now` was fetched, over all tenants.
    pub fn fetch_counts(&self, now: Timestamp) -> FetchCounts {
        let contents = self.truth(now).filter(|it| !it.lost).count() as u64;
        let mut counts = FetchCounts { contents, ..FetchCounts::default() };
        for state in &self.tenants {
            let once = state.fetched.values().filter(|times| **times == 1).count() as u64;
            counts.once += once + state.folded.0;
            counts.repeatedly += state.fetched.len() as u64 - once + state.folded.1;
        }
        counts.never = counts.contents.saturating_sub(counts.once + counts.repeatedly);
        counts
    }

    /// Forgets how often contents were fetched that expired more than a day ago; only the sums stay.
    pub(super) fn fold(&mut self, tenant: usize, stream: &Stream<'_>, now: i64) {
        let key = stream.key();
        let state = &mut self.tenants[tenant];
        while let Some((&entry, &times)) = state.fetched.range((key, 0)..=(key, u64::MAX)).next() {
            let gone = stream.content(entry.1).is_none_or(|content| content.expires + DAY < now);
            if !gone {
                break;
            }
            state.fetched.remove(&entry);
            if times == 1 {
                state.folded.0 += 1;
            } else {
                state.folded.1 += 1;
            }
        }
    }
}
