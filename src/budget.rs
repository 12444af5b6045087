//! Which bodies to fetch and which to drop (design §4, Bodies). Pure.
//!
//! Bodies are kept compressed up to a budget. While there is room (a quarter of the budget free) everything owed is fetched:
//! with less, a body would be fetched only to be dropped, over and over. Without room every sink that
//! has less than its share before it gets its first missing content, so that each moves however long another is down. A body that was dropped
//! has a size that is known: it comes back with room for it only.

use std::collections::BTreeMap;

/// One sink as the budget sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkState {
    /// Key of the sink.
    pub sink: i64,
    /// Compressed bytes stored and owed to it.
    pub ahead: u64,
    /// The first content owed to it that has no stored body.
    pub first_missing: Option<i64>,
}

/// What to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// These contents, and then everything owed that fits.
    Everything {
        /// The first that each sink misses which has less than its share.
        first: Vec<i64>,
        /// Bytes that may be added.
        room: u64,
    },
    /// These contents only; there is no room for more.
    Only(Vec<i64>),
}

/// From whose back to drop bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop {
    /// The sink with most stored ahead of it.
    pub sink: i64,
    /// A body that a sink with less than this ahead of it is owed stays (bytes); so does the only one that a sink has, however large.
    pub share: u64,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What to fetch.
    pub fetch: Fetch,
    /// Whether, and from where, to drop.
    pub drop: Option<Drop>,
}

/// Decides. `total` and `budget` in compressed bytes. A dead sink's share is filled once and kept: health plays no part.
pub fn plan(sinks: &[SinkState], total: u64, budget: u64, sizes: &Sizes) -> Plan {
    let share = budget / sinks.len().max(1) as u64;
    // what has no place in its share and would have to be dropped again comes when a sink has nothing else
    let fits = |sink: &SinkState, content: i64| {
        let size = sizes.of(content);
        sink.ahead == 0 || sink.ahead + size < share || total + size <= budget
    };
    let below = sinks.iter().filter(|sink| sink.ahead < share);
    let mut first: Vec<i64> =
        below.filter_map(|sink| sink.first_missing.filter(|content| fits(sink, *content))).collect();
    first.sort_unstable();
    first.dedup();
    let fetch = match (budget - budget / 4).checked_sub(total) {
        None | Some(0) => Fetch::Only(first),
        Some(room) => Fetch::Everything { first, room },
    };
    let drop = (total > budget)
        .then(|| sinks.iter().max_by_key(|sink| sink.ahead))
        .flatten()
        .map(|sink| Drop { sink: sink.sink, share });
    Plan { fetch, drop }
}

/// Sizes of bodies that were dropped. Only so many are remembered; one that is forgotten is fetched and dropped once more.
#[derive(Clone, Debug, Default)]
pub struct Sizes(BTreeMap<i64, u64>);

/// A hundred bytes each.
const REMEMBERED: usize = 10_000;

impl Sizes {
    /// A body of so many bytes was dropped.
    pub fn dropped(&mut self, content: i64, bytes: u64) {
        self.0.insert(content, bytes);
        // bodies are dropped from the newest to the oldest, and the oldest come back first
        while self.0.len() > REMEMBERED {
            self.0.pop_last();
        }
    }

    /// Bytes of a content, as far as they are known.
    pub fn of(&self, content: i64) -> u64 {
        self.0.get(&content).copied().unwrap_or(0)
    }

    /// Whether a content fits what is left of `room`; then it takes its part.
    pub fn take(&self, content: i64, room: &mut u64) -> bool {
        let left = room.checked_sub(self.of(content));
        *room = left.unwrap_or(*room);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sink(sink: i64, ahead: u64, first_missing: Option<i64>) -> SinkState {
        SinkState { sink, ahead, first_missing }
    }

    #[test]
    fn with_room_everything_is_fetched_and_nothing_dropped() {
        let plan = plan(&[sink(1, 10, Some(7))], 10, 100, &Sizes::default());
        assert_eq!(plan, Plan { fetch: Fetch::Everything { first: vec![7], room: 65 }, drop: None });
    }

    #[test]
    fn what_was_dropped_comes_back_when_there_is_room_for_it() {
        let mut sizes = Sizes::default();
        sizes.dropped(7, 50);
        let mut room = 65;
        assert!(sizes.take(7, &mut room) && room == 15);
        assert!(!sizes.take(7, &mut room) && room == 15, "a second one of this size does not fit");
        assert!(sizes.take(8, &mut room), "how large this one is, nobody knows");
        for content in 0..20_000 {
            sizes.dropped(content, 1);
        }
        assert_eq!((sizes.of(9_999), sizes.of(10_000)), (1, 0));
    }

    #[test]
    fn without_room_a_living_sink_still_moves() {
        let plan = plan(&[sink(1, 0, Some(7)), sink(2, 100, Some(9))], 100, 100, &Sizes::default());
        assert_eq!(plan.fetch, Fetch::Only(vec![7]), "the dead sink has its share and gets no more");
        assert_eq!(plan.drop, None, "at the budget nothing has to go");
    }

    #[test]
    fn a_dropped_body_has_its_place_in_a_share_however_full_the_budget_is() {
        let mut sizes = Sizes::default();
        sizes.dropped(7, 30);
        // over the budget for good: what two dead sinks have ahead of them may not be dropped
        let only = |ahead: u64, total: u64| match plan(
            &[sink(1, ahead, Some(7)), sink(2, 70, None)],
            total,
            100,
            &sizes,
        )
        .fetch
        {
            Fetch::Only(first) => first,
            Fetch::Everything { .. } => panic!("no room is left"),
        };
        assert_eq!(only(10, 130), [7], "10 and 30 are less than its share of 50");
        assert_eq!(only(25, 130), [0; 0], "25 and 30 are not, and it has something to do");
        assert_eq!(only(0, 130), [7], "it has nothing else");
        sizes.dropped(7, 80);
        let plan = plan(&[sink(1, 0, Some(7)), sink(2, 70, None)], 130, 100, &sizes);
        assert_eq!(plan.fetch, Fetch::Only(vec![7]), "however large it is");
    }

    proptest! {
        /// Contents of random sizes arrive; one sink is dead, the others take what is stored at once.
        #[test]
        fn every_living_sink_moves_and_the_total_is_bounded(sizes in prop::collection::vec(1u64..70, 1..200), living in 1usize..4) {
            let budget = 100u64;
            let contents = sizes.len();
            let mut stored = vec![false; contents];
            let (mut dropped, mut known) = (vec![0; contents], Sizes::default());
            let mut next = vec![0usize; living];
            for _ in 0..20 * contents {
                let ahead_dead: u64 = (0..contents).filter(|&c| stored[c]).map(|c| sizes[c]).sum();
                let mut sinks = vec![sink(0, ahead_dead, (0..contents).find(|&c| !stored[c]).map(|c| c as i64))];
                for (n, &position) in next.iter().enumerate() {
                    let ahead = (position..contents).filter(|&c| stored[c]).map(|c| sizes[c]).sum();
                    sinks.push(sink(n as i64 + 1, ahead, (position..contents).find(|&c| !stored[c]).map(|c| c as i64)));
                }
                let total = ahead_dead;
                prop_assert!(total <= budget + 70 * (living as u64 + 1), "total {total}");
                let plan = plan(&sinks, total, budget, &known);
                if let Some(drop) = plan.drop {
                    let owed = |n: usize, c: usize| n == 0 || c >= next[n - 1];
                    let needed = |c: usize| sinks.iter().enumerate().any(|(n, s)| owed(n, c) && (s.ahead < drop.share || s.ahead == sizes[c]));
                    if let Some(back) = (0..contents).rev().find(|&c| stored[c] && !needed(c)) {
                        stored[back] = false;
                        dropped[back] += 1;
                        known.dropped(back as i64, sizes[back]);
                        continue;
                    }
                }
                match plan.fetch {
                    Fetch::Everything { first, mut room } => {
                        let fits = (0..contents).find(|&c| !stored[c] && (first.contains(&(c as i64)) || known.take(c as i64, &mut room)));
                        if let Some(c) = fits { stored[c] = true }
                    }
                    Fetch::Only(list) => for c in list { stored[c as usize] = true },
                }
                for position in &mut next {
                    while *position < contents && stored[*position] { *position += 1 }
                }
            }
            prop_assert!(next.iter().all(|&position| position == contents), "{next:?} of {contents}, {dropped:?} drops");
            // once because nobody knew its size, and once for each living sink that needs it
            prop_assert!(dropped.iter().all(|&drops| drops <= 1 + living), "{dropped:?} drops");
        }
    }
}
