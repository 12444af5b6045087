//! Receivers that read slowly, and what is still in our own kernel.

use auditferry_conformance::{batch, fakes::syslog::Manner};
use auditferry_contract::Sink;

use super::*;
use crate::sink::tests::{Peer, bodies, lost, until};

#[tokio::test]
async fn what_is_still_in_our_kernel_is_not_taken() {
    let peer = Peer::new(Manner::BlackHole);
    let sink = peer.open().await;
    // the kernels of both sides hold it, but ours the larger part
    let sent = bodies(600, 400);
    let mut call = Box::pin(sink.deliver(batch(&sent)));
    let waiting = tokio::time::timeout(Duration::from_millis(500), call.as_mut()).await;
    assert!(waiting.is_err(), "taken, and not yet sent: {waiting:?}");
    assert!(Queue::of(&sink.socket).expect("a number").all > 10_000, "the peer's host has it: nothing was tried");
    peer.receiver.be(Manner::Reads);
    call.await.expect("read");
    assert_eq!(Queue::of(&sink.socket).expect("a number").all, 0);
    until("the messages", || peer.arrivals.messages() == 600).await;
}

#[tokio::test]
async fn a_slow_and_steady_reader_gets_all_of_it() {
    let peer = Peer::new(Manner::Sips);
    // less than the window stays shut at a time
    let patience = Patience { unacknowledged: Duration::from_secs(1), ..Patience::default() };
    let sink = peer.open_with(patience).await;
    let sent = bodies(8, 64 << 10);
    let begun = tokio::time::Instant::now();
    sink.deliver(batch(&sent)).await.expect("it reads all the time");
    assert!(begun.elapsed() > Duration::from_secs(2), "it was not slow: {:?}", begun.elapsed());
    peer.receiver.be(Manner::Reads);
    until("the messages", || peer.arrivals.messages() == 8).await;
    assert_eq!(peer.arrivals.bodies(), sent);
}

#[tokio::test]
async fn a_peer_that_closes_after_every_batch_has_taken_it() {
    for _ in 0..5 {
        let peer = Peer::new(Manner::ClosesAfter(3));
        let sink = peer.open().await;
        sink.deliver(batch(&bodies(3, 30))).await.expect("every byte is acknowledged");
        assert!(lost(&sink).await.orderly);
        assert_eq!(peer.arrivals.messages(), 3);
    }
}

#[tokio::test]
async fn a_host_that_is_gone_is_told_from_a_window_that_is_shut() {
    let peer = Peer::new(Manner::Reads);
    let sink = peer.open().await;
    let patience = Patience::default();
    let mut watch = Watch::new(&sink.socket, &patience);
    let start = Instant::now();
    let mut after =
        |seconds, all, flying| watch.judge(Queue { all, flying }, start + Duration::from_secs(seconds)).ok();
    assert_eq!(after(0, 100, 100), Some(false));
    assert_eq!(after(7, 100, 100), Some(false));
    assert_eq!(after(8, 80, 80), Some(false), "something was acknowledged");
    assert_eq!(after(15, 80, 80), Some(false));
    assert_eq!(after(16, 80, 80), None, "the host is gone");
    assert_eq!(after(17, 60, 0), Some(false));
    assert_eq!(after(40, 60, 0), Some(false), "shut, for long");
    assert_eq!(after(41, 60, 10), Some(false), "a little opened");
    assert_eq!(after(42, 60, 0), None, "nothing is read");
    assert_eq!(after(43, 0, 0), Some(true));
}
