//! Several indexers behind one address.

use auditferry_conformance::{
    batch,
    fakes::hec::{Behaviour, Indexing},
};
use auditferry_contract::SinkError;

use crate::common::{Collector, bodies};

#[tokio::test]
async fn the_balancers_cookie_keeps_us_at_one_indexer() {
    let behaviour = Behaviour { indexing: Indexing::AtOnce, nodes: 3, ..Behaviour::default() };
    let collector = Collector::plain(behaviour);
    let sink = collector.sink("ack_interval = '100ms'").await;
    for n in 0..10 {
        assert_eq!(sink.deliver(batch(&bodies(&n.to_string(), 2))).await, Ok(()), "batch {n}");
    }
    assert_eq!(collector.arrivals.messages(), 20, "nothing was sent again");
}

#[tokio::test]
async fn without_a_cookie_a_number_that_comes_twice_releases_nobody() {
    let behaviour = Behaviour { indexing: Indexing::Never, nodes: 2, sticky: false, ..Behaviour::default() };
    let collector = Collector::plain(behaviour);
    let sink = collector.sink("ack_interval = '60s'").await;
    // both indexers begin to count at 0
    let (one, two) = tokio::join!(sink.deliver(batch(&bodies("a", 1))), sink.deliver(batch(&bodies("b", 1))));
    for end in [one, two] {
        match end {
            Err(SinkError::Retry { cause, .. }) => assert!(cause.0.contains("load balancer"), "{cause}"),
            other => panic!("{other:?}"),
        }
    }
}
