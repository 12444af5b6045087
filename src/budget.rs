//! Which bodies to fetch and which to drop (design §4, Bodies). Pure.
//!
//! Bodies are kept compressed up to a budget. While there is room (a quarter of the budget free) everything owed is fetched:
//! with less, a body would be fetched only to be dropped, over and over. Without room every sink that
//! has less than its share before it gets its first missing content, so that each moves however long another is down.

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
    /// Everything owed.
    Everything,
    /// These contents only; there is no room for more.
    Only(Vec<i64>),
}

/// From whose back to drop bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop {
    /// The sink with most stored ahead of it.
    pub sink: i64,
    /// A body that a sink with less than this ahead of it is owed stays (bytes).
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
pub fn plan(sinks: &[SinkState], total: u64, budget: u64) -> Plan {
    let share = budget / sinks.len().max(1) as u64;
    let fetch = if total < budget - budget / 4 {
        Fetch::Everything
    } else {
        let mut contents: Vec<i64> =
            sinks.iter().filter(|sink| sink.ahead < share).filter_map(|sink| sink.first_missing).collect();
        contents.sort_unstable();
        contents.dedup();
        Fetch::Only(contents)
    };
    let drop = (total > budget)
        .then(|| sinks.iter().max_by_key(|sink| sink.ahead))
        .flatten()
        .map(|sink| Drop { sink: sink.sink, share });
    Plan { fetch, drop }
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
        let plan = plan(&[sink(1, 10, Some(7))], 10, 100);
        assert_eq!(plan, Plan { fetch: Fetch::Everything, drop: None });
    }

    #[test]
    fn without_room_a_living_sink_still_moves() {
        let plan = plan(&[sink(1, 0, Some(7)), sink(2, 100, Some(9))], 100, 100);
        assert_eq!(plan.fetch, Fetch::Only(vec![7]), "the dead sink has its share and gets no more");
        assert_eq!(plan.drop, None, "at the budget nothing has to go");
    }

    proptest! {
        /// Contents of random sizes arrive; one sink is dead, the others take what is stored at once.
        #[test]
        fn every_living_sink_moves_and_the_total_is_bounded(sizes in prop::collection::vec(1u64..20, 1..200), living in 1usize..4) {
            let budget = 100u64;
            let contents = sizes.len();
            let mut stored = vec![false; contents];
            let mut dropped_for_ever = 0;
            let mut next = vec![0usize; living];
            for _ in 0..20 * contents {
                let ahead_dead: u64 = (0..contents).filter(|&c| stored[c]).map(|c| sizes[c]).sum();
                let mut sinks = vec![sink(0, ahead_dead, (0..contents).find(|&c| !stored[c]).map(|c| c as i64))];
                for (n, &position) in next.iter().enumerate() {
                    let ahead = (position..contents).filter(|&c| stored[c]).map(|c| sizes[c]).sum();
                    sinks.push(sink(n as i64 + 1, ahead, (position..contents).find(|&c| !stored[c]).map(|c| c as i64)));
                }
                let total = ahead_dead;
                prop_assert!(total <= budget + 20 * (living as u64 + 1), "total {total}");
                let plan = plan(&sinks, total, budget);
                if let Some(drop) = plan.drop {
                    let needed = |c: usize| sinks.iter().enumerate().skip(1).any(|(n, s)| s.ahead < drop.share && c >= next[n - 1]);
                    if let Some(back) = (0..contents).rev().find(|&c| stored[c] && !needed(c)) {
                        stored[back] = false;
                        dropped_for_ever += 1;
                        continue;
                    }
                }
                match plan.fetch {
                    Fetch::Everything => if let Some(c) = (0..contents).find(|&c| !stored[c]) { stored[c] = true },
                    Fetch::Only(list) => for c in list { stored[c as usize] = true },
                }
                for position in &mut next {
                    while *position < contents && stored[*position] { *position += 1 }
                }
            }
            prop_assert!(next.iter().all(|&position| position == contents), "{next:?} of {contents}, {dropped_for_ever} drops");
        }
    }
}
