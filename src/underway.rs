//! Which bodies are on their way to a sink, and which are being dropped: none is both, since what was sent of a dropped body is sent again.
//!
//! A drop is chosen in the ledger's transaction, and who reads sees it after the COMMIT, on a slow disk seconds later. Until then it is noted
//! here: who begins to read leaves such a body out, and who has read it already lets go of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Contents by their key in the ledger.
#[derive(Default)]
struct Contents {
    /// How many hold each.
    held: BTreeMap<i64, usize>,
    /// The transactions that drop these have not ended.
    dropping: BTreeSet<i64>,
    /// Somebody who reads has left out some of those.
    left_out: bool,
    /// For each reading under way, what was dropped since it began.
    readings: BTreeMap<u64, BTreeSet<i64>>,
    last: u64,
}

/// Contents of which some sink has messages out, unsettled, or taken and not confirmed; shared by the loops.
#[derive(Clone, Default)]
pub struct Underway(Arc<Mutex<Contents>>);

impl Underway {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds these contents until what is returned is dropped. They are held already, or nobody minds that they may be gone.
    pub fn hold(&self, contents: BTreeSet<i64>) -> Hold {
        take(&mut self.lock().held, &contents);
        Hold { contents, of: self.clone() }
    }

    /// Somebody begins to read bodies, to send what is in them.
    pub fn reading(&self) -> Reading {
        let known = &mut *self.lock();
        known.last += 1;
        known.readings.insert(known.last, BTreeSet::new());
        known.left_out |= !known.dropping.is_empty();
        Reading { number: known.last, left_out: known.dropping.iter().copied().collect(), of: self.clone() }
    }

    /// Bodies are dropped from now on.
    pub fn drops(&self) -> Drops {
        Drops(self.clone())
    }

    /// All that are held now.
    pub fn held(&self) -> Vec<i64> {
        self.lock().held.keys().copied().collect()
    }

    /// This body is dropped, by the transaction that asks; false: it is held, and stays.
    pub fn give_up(&self, content: i64) -> bool {
        let known = &mut *self.lock();
        if known.held.contains_key(&content) {
            return false;
        }
        known.dropping.insert(content);
        known.readings.values_mut().for_each(|gone| {
            gone.insert(content);
        });
        true
    }
}

fn take(held: &mut BTreeMap<i64, usize>, contents: &BTreeSet<i64>) {
    for content in contents {
        *held.entry(*content).or_default() += 1;
    }
}

/// The contents stay until this is dropped.
pub struct Hold {
    contents: BTreeSet<i64>,
    of: Underway,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let known = &mut *self.of.lock();
        for content in &self.contents {
            if let Some(holds) = known.held.get_mut(content) {
                *holds -= 1;
                if *holds == 0 {
                    known.held.remove(content);
                }
            }
        }
    }
}

/// A look into the ledger for something to send; over when this is dropped.
pub struct Reading {
    number: u64,
    left_out: Vec<i64>,
    of: Underway,
}

impl Reading {
    /// Bodies that were being dropped when it began: they are not to be read.
    pub fn left_out(&self) -> &[i64] {
        &self.left_out
    }

    /// Holds what was read, but for what was dropped meanwhile, which is named.
    pub fn hold(&self, mut contents: BTreeSet<i64>) -> (Hold, BTreeSet<i64>) {
        let known = &mut *self.of.lock();
        let dropped = known.readings.get(&self.number);
        let gone: BTreeSet<i64> = dropped.map(|dropped| &contents & dropped).unwrap_or_default();
        contents.retain(|content| !gone.contains(content));
        take(&mut known.held, &contents);
        (Hold { contents, of: self.of.clone() }, gone)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.of.lock().readings.remove(&self.number);
    }
}

/// A transaction that drops bodies. When this is dropped the transaction has ended, or the whole agent has.
pub struct Drops(Underway);

impl Drops {
    /// The transaction has ended. True: somebody has left out a body because of it, and is to look again.
    pub fn end(self) -> bool {
        let known = &mut *self.0.lock();
        known.dropping.clear();
        std::mem::take(&mut known.left_out)
    }
}

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.lock().dropping.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_held_until_the_last_that_holds_it_is_gone() {
        let underway = Underway::default();
        let first = underway.hold([1, 2].into());
        let second = underway.hold([2, 3].into());
        let droppable = || (1..=3).filter(|content| underway.give_up(*content)).collect::<Vec<_>>();
        assert_eq!(droppable(), [0; 0]);
        drop(first);
        assert_eq!(droppable(), [1], "another sink has messages of 2 out");
        drop(second);
        assert_eq!(droppable(), [1, 2, 3]);
    }

    #[test]
    fn what_was_dropped_while_it_was_read_is_not_sent() {
        let underway = Underway::default();
        let drops = underway.drops();
        assert!(underway.give_up(1));
        let reading = underway.reading();
        assert_eq!(reading.left_out(), [1], "the COMMIT may be seconds away");
        assert!(underway.give_up(2));
        assert!(drops.end(), "and so it is told to look again");
        let (hold, gone) = reading.hold([2, 3].into());
        assert_eq!(gone, [2].into(), "its COMMIT may have been before or after the body was read");
        assert!(!underway.give_up(3), "it goes out");
        drop((hold, reading));
        assert!(underway.give_up(3));
    }

    #[test]
    fn nothing_is_remembered_of_drops_and_readings_that_are_over() {
        let underway = Underway::default();
        for content in 0..100 {
            let (drops, reading) = (underway.drops(), underway.reading());
            assert!(underway.give_up(content));
            drop((drops, reading));
        }
        let known = underway.lock();
        assert!(known.dropping.is_empty() && known.readings.is_empty() && known.held.is_empty());
    }
}
