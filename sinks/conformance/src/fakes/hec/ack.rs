//! Which batches are indexed, by indexer and channel.

use std::collections::BTreeMap;

use super::Indexing;

/// The state that one Splunk keeps per indexer and channel: numbers from 0, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Channels(BTreeMap<(usize, String), Channel>);

#[derive(Debug, Default)]
struct Channel {
    next: u64,
    /// Number → how often it was asked for.
    open: BTreeMap<u64, u32>,
}

impl Channels {
    /// A number for a batch that `node` has taken.
    pub fn number(&mut self, node: usize, channel: &str) -> u64 {
        let channel = self.0.entry((node, channel.to_string())).or_default();
        let number = channel.next;
        channel.next += 1;
        channel.open.insert(number, 0);
        number
    }

    /// Says whether it is indexed. A `true` is told once and forgotten; a number that is not known is simply not indexed.
    pub fn indexed(&mut self, node: usize, channel: &str, number: u64, indexing: Indexing) -> bool {
        let Some(channel) = self.0.get_mut(&(node, channel.to_string())) else { return false };
        let Some(asked) = channel.open.get_mut(&number) else { return false };
        let indexed = match indexing {
            Indexing::Off | Indexing::Never => false,
            Indexing::AtOnce => true,
            Indexing::After(questions) => *asked >= questions,
        };
        *asked += 1;
        if indexed {
            channel.open.remove(&number);
        }
        indexed
    }
}
