//! The suite of every sink against a collector, without acknowledgement and with it.

mod common;

use std::time::Duration;

use auditferry_conformance::{
    Destination, MOST, POISON, State, all,
    fakes::hec::{Behaviour, Indexing},
};
use auditferry_contract::SinkKind;
use common::Collector;

struct Place {
    collector: Collector,
    usual: Behaviour,
    options: &'static str,
}

fn place(indexing: Indexing, options: &'static str) -> Box<dyn Destination> {
    let usual = Behaviour { indexing, ..Behaviour::default() };
    Box::new(Place { collector: Collector::plain(usual.clone()), usual, options })
}

impl Destination for Place {
    fn kind(&self) -> SinkKind {
        auditferry_sink_splunk_hec::KIND
    }

    fn options(&self) -> String {
        format!("{}\n{}", self.collector.options(), self.options)
    }

    fn received(&self) -> Vec<Vec<u8>> {
        assert_eq!(self.collector.hec.errors(), [""; 0], "the client broke the protocol");
        assert_eq!(self.collector.arrivals.nameless(), 0, "an event without an id");
        self.collector.arrivals.bodies()
    }

    fn arrange(&self, state: State) -> bool {
        let usual = self.usual.clone();
        let wanted = match state {
            State::Fine => usual,
            State::Unwritable => Behaviour { down: true, ..usual },
            State::AnswerLost => Behaviour { lose: 1, ..usual },
            State::AnswerUnreadable => Behaviour { garble: 1, ..usual },
            State::Slow => Behaviour { delay: Duration::from_millis(500), ..usual },
            State::RefusesPoison => Behaviour { poison: Some(POISON.to_string()), ..usual },
            State::BatchTooLarge => Behaviour { max_events: MOST, ..usual },
            State::Unauthorised => Behaviour { tokens: vec!["another".to_string()], ..usual },
            _ => return false,
        };
        self.collector.hec.change(|behaviour| *behaviour = wanted);
        true
    }

    fn attempts(&self) -> Option<usize> {
        Some(self.collector.hec.posts())
    }
}

/// Cases for which a collector has no such state: a line break inside an event harms nobody, a connection that ends between
/// two requests is nobody's loss, and nothing is torn.
const SKIPPED: [&str; 3] = ["line break", "hung up", "torn end"];

#[tokio::test]
async fn without_acknowledgement() {
    assert_eq!(all(|| place(Indexing::Off, "ack = 'off'")).await, SKIPPED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_acknowledgement_where_the_token_decides_and_uncompressed() {
    assert_eq!(all(|| place(Indexing::Off, "gzip = false")).await, SKIPPED);
}

#[tokio::test]
async fn with_acknowledgement() {
    assert_eq!(all(|| place(Indexing::AtOnce, "ack = 'required'\nack_interval = '100ms'")).await, SKIPPED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_acknowledgement_some_questions_later() {
    assert_eq!(all(|| place(Indexing::After(2), "ack_interval = '100ms'")).await, SKIPPED);
}
