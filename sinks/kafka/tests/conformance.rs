//! The suite of every sink against a Kafka cluster in memory, and what only Kafka has.

#[path = "conformance/cluster.rs"]
mod cluster;
#[path = "conformance/door.rs"]
mod door;

use std::{sync::Arc, time::Duration};

use auditferry_conformance::{
    Destination, State, all,
    fakes::{
        Arrivals,
        kafka::{Code, Kafka},
    },
};
use auditferry_contract::SinkKind;

struct InMemory {
    kafka: Kafka,
    arrivals: Arc<Arrivals>,
}

impl InMemory {
    fn new() -> Self {
        let arrivals = Arc::new(Arrivals::with_bodies());
        let kafka = Kafka::start(2, "audit.power-platform", 1, arrivals.clone()).expect("a cluster in memory");
        InMemory { kafka, arrivals }
    }
}

impl Destination for InMemory {
    fn kind(&self) -> SinkKind {
        auditferry_sink_kafka::KIND
    }

    fn options(&self) -> String {
        let brokers: Vec<_> = self.kafka.bootstrap_servers().split(',').collect();
        format!("brokers = {brokers:?}\ntopic = \"audit.power-platform\"\ntimeout = \"3s\"")
    }

    fn received(&self) -> Vec<Vec<u8>> {
        assert!(self.kafka.catch_up(), "the consumer of the fake does not get on");
        assert_eq!(self.kafka.missed(), 0, "the fake forgot messages before it read them");
        self.arrivals.bodies()
    }

    fn arrange(&self, state: State) -> bool {
        match state {
            State::Fine => self.kafka.heal(),
            State::Unwritable => self.kafka.down(-1),
            // three answers of this kind must fit into the call's time-out with room for a busy machine
            State::Slow => self.kafka.answer_after(-1, Duration::from_millis(500)),
            State::Unauthorised => {
                self.kafka.topic_error(Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
                self.kafka.refuse(Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1000);
            }
            // for sinks whose `Ok` has to settle: here it is final
            State::Hangs | State::Breaks => return false,
            // the mock cluster looks into no message, no answer of it is nonsense, and it takes a repeat for something new (see
            // `cluster::an_answer_that_is_lost_…`); and there is no half message in Kafka
            State::Torn | State::AnswerLost | State::AnswerUnreadable | State::RefusesPoison | State::BatchTooLarge => {
                return false;
            }
        }
        true
    }
}

/// The cases that need one of those states, or a count of attempts: what librdkafka sends again, and when it connects anew, is its own
/// affair. `line break` is for sinks that write lines.
const SKIPPED: [&str; 8] = [
    "line break",
    "poison",
    "batch too large",
    "answer lost",
    "answer unreadable",
    "one attempt per call",
    "hung up",
    "torn end",
];

// once, since it takes a minute (closing a producer takes half a second); the tests beside it run on one thread
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_several_threads() {
    assert_eq!(all(|| Box::new(InMemory::new())).await, SKIPPED);
}
