//! Receivers that go away, hang and lie, and calls that are given up.

use std::sync::Arc;

use auditferry_conformance::{
    TestEnv, batch,
    fakes::{
        Arrivals,
        syslog::{Manner, Syslog},
    },
};
use rustix::net::{RecvFlags, recv};
use syslog::Facility;

use super::*;
use crate::connect::{Patience, connect};

#[path = "closing_tests.rs"]
mod closing;

pub(crate) struct Peer {
    pub receiver: Syslog,
    pub arrivals: Arc<Arrivals>,
}

impl Peer {
    pub fn new(manner: Manner) -> Peer {
        let arrivals = Arc::new(Arrivals::with_bodies());
        let receiver = Syslog::local(None, arrivals.clone()).expect("a port");
        receiver.be(manner);
        Peer { receiver, arrivals }
    }

    pub async fn open(&self) -> SyslogSink {
        self.open_with(Patience::default()).await
    }

    pub async fn open_with(&self, patience: Patience) -> SyslogSink {
        let address: Address = self.receiver.url().parse().expect("an address");
        let tls = auditferry_tls::Tls::default();
        let connected = connect(&address, &tls, &TestEnv::default(), &patience).await.expect("a connection");
        let (facility, app_name) = (Facility::LOG_LOCAL0, "auditferry".to_string());
        SyslogSink::new(connected, address, Formatter { facility, hostname: None, app_name, enterprise_id: 32473 })
    }
}

pub(crate) fn bodies(count: usize, octets: usize) -> Vec<Vec<u8>> {
    let body = |n: usize| {
        let mut body = n.to_string().into_bytes();
        body.resize(octets, b' ');
        body
    };
    (0..count).map(body).collect()
}

/// Waits until it holds; at most 10 s.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(5), pending::<()>()).await;
    }
    panic!("{what}: not within 10 s");
}

/// The peer's end has arrived here, and nobody of us has looked at it yet.
async fn ended(sink: &SyslogSink) {
    until("the peer's end", || {
        let mut one = [0_u8; 1];
        !matches!(recv(&sink.socket, &mut one, RecvFlags::PEEK | RecvFlags::DONTWAIT), Err(rustix::io::Errno::AGAIN))
    })
    .await;
}

pub(crate) async fn lost(sink: &SyslogSink) -> Lost {
    tokio::time::timeout(Duration::from_secs(10), sink.lost()).await.expect("it is noticed")
}

#[tokio::test]
async fn what_is_said_arrives_byte_for_byte() {
    let peer = Peer::new(Manner::Reads);
    let sink = peer.open().await;
    let large = "Ünïcødé 漢字 ".repeat(6000).into_bytes();
    assert!(large.len() > 100_000);
    let sent = vec!["Ünïcødé 漢字".as_bytes().to_vec(), large, b"\xff\xfe raw \n with a line break".to_vec()];
    sink.deliver(batch(&sent)).await.expect("taken");
    until("three messages", || peer.arrivals.messages() == 3).await;
    assert_eq!(peer.arrivals.bodies(), sent);
    assert_eq!(peer.receiver.faults(), [""; 0]);
    assert_eq!(peer.arrivals.counts().len(), 3, "the ids are those of the events");
}

#[tokio::test]
async fn a_peer_that_closed_is_noticed_before_the_next_batch() {
    let peer = Peer::new(Manner::Reads);
    let sink = peer.open().await;
    sink.deliver(batch(&bodies(1, 10))).await.expect("taken");
    until("a message", || peer.arrivals.messages() == 1).await;
    peer.receiver.hang_up();
    ended(&sink).await;
    // nobody has polled `lost`
    let error = sink.deliver(batch(&bodies(5, 20))).await.expect_err("the peer is gone");
    assert!(
        matches!(&error, SinkError::Retry { untaken, cause, .. } if untaken.is_empty() && cause.0.contains("closed the connection")),
        "{error}"
    );
    drop(sink);
    until("no connection", || peer.receiver.open() == 0).await;
    assert_eq!((peer.arrivals.messages(), peer.receiver.torn()), (1, 0), "something was written all the same");
}

#[tokio::test]
async fn a_half_closed_peer_is_lost_in_an_orderly_way() {
    let peer = Peer::new(Manner::HalfCloses);
    let sink = peer.open().await;
    let lost = lost(&sink).await;
    assert!(lost.orderly, "{lost:?}");
    assert!(lost.cause.0.starts_with("the receiver at tcp://127.0.0.1:"), "{lost:?}");
}

#[tokio::test]
async fn the_loss_is_told_to_whoever_waits_though_others_look() {
    let peer = Peer::new(Manner::Reads);
    let sink = Arc::new(peer.open().await);
    let waiting = sink.clone();
    // another task: its waker is not the one of the calls below
    #[expect(clippy::disallowed_methods, reason = "a second task is what this test is about")]
    let lost = tokio::spawn(async move { waiting.lost().await });
    for n in 1..50 {
        sink.deliver(batch(&bodies(3, 30))).await.expect("taken");
        until("the messages", || peer.arrivals.messages() == 3 * n).await;
    }
    peer.receiver.hang_up();
    let lost = tokio::time::timeout(Duration::from_secs(10), lost).await.expect("it is told").expect("no panic");
    assert!(lost.orderly);
}

#[tokio::test]
async fn a_reset_and_bytes_that_nobody_read_are_a_broken_connection() {
    let peer = Peer::new(Manner::Resets);
    let sink = peer.open().await;
    let _ = sink.deliver(batch(&bodies(1, 10))).await;
    let found = lost(&sink).await;
    assert!(!found.orderly && found.cause.0.contains("broke the connection off"), "{found:?}");

    // it closes with bytes of ours unread, or still on their way: an end, and a reset behind it
    let peer = Peer::new(Manner::ClosesAfter(1));
    let sink = peer.open().await;
    let _ = sink.deliver(batch(&bodies(500, 500))).await;
    let found = lost(&sink).await;
    assert!(!found.orderly, "{found:?}");
    assert!(peer.arrivals.messages() < 500, "it has read everything: nothing was tried");
}

#[tokio::test]
async fn an_end_with_a_reset_behind_it_is_no_orderly_one() {
    let peer = Peer::new(Manner::HalfCloses);
    let sink = peer.open().await;
    ended(&sink).await;
    // it has ended here before the reset is on its way
    let (found, ()) = tokio::join!(lost(&sink), async { peer.receiver.be(Manner::Refuses) });
    assert!(!found.orderly, "{found:?}");
    // a socket tells its error once; the sink remembers
    assert!(!lost(&sink).await.orderly);
}

#[tokio::test]
async fn a_door_that_is_slammed_takes_nothing() {
    // a load balancer with nobody behind it: what was written to it must never count as read
    let peer = Peer::new(Manner::Reads);
    let sink = peer.open().await;
    peer.receiver.be(Manner::BlackHole);
    sink.deliver(batch(&bodies(3, 30))).await.expect("the kernel takes it");
    peer.receiver.be(Manner::Slams);
    let found = lost(&sink).await;
    assert!(!found.orderly, "{found:?}");
}

#[tokio::test]
async fn a_peer_that_never_reads_keeps_the_call_waiting_and_is_given_up() {
    let peer = Peer::new(Manner::BlackHole);
    let sink = peer.open().await;
    // more than the kernel's buffers on both sides hold
    let much = bodies(1, 16 << 20);
    let waiting = tokio::time::timeout(Duration::from_millis(300), sink.deliver(batch(&much))).await;
    assert!(waiting.is_err(), "it can't have been taken: {waiting:?}");

    let patience = Patience { unread: Duration::from_millis(700), ..Patience::default() };
    let sink = peer.open_with(patience).await;
    let mut call = Box::pin(sink.deliver(batch(&much)));
    let mut lost = Box::pin(sink.lost());
    let (mut answer, mut end) = (None, None);
    let both = poll_fn(|context| {
        if answer.is_none()
            && let Poll::Ready(ready) = call.as_mut().poll(context)
        {
            answer = Some(ready);
        }
        if end.is_none()
            && let Poll::Ready(ready) = lost.as_mut().poll(context)
        {
            end = Some(ready);
        }
        if answer.is_some() && end.is_some() { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("it is given up");
    let error = answer.expect("it is there").expect_err("nobody has read it");
    assert!(error.cause().0.contains("has stopped reading"), "{error}");
    let end = end.expect("it is there");
    assert!(!end.orderly && end.cause.0.contains("has stopped reading"), "{end:?}");
}

#[tokio::test]
async fn a_call_given_up_in_the_middle_spoils_the_connection() {
    let peer = Peer::new(Manner::BlackHole);
    let sink = peer.open().await;
    let waiting = tokio::time::timeout(Duration::from_millis(100), sink.deliver(batch(&bodies(1, 16 << 20)))).await;
    assert!(waiting.is_err());
    peer.receiver.be(Manner::Reads);
    let error = sink.deliver(batch(&bodies(1, 10))).await.expect_err("half a message stands in front");
    assert!(error.cause().0.contains("half a message"), "{error}");
    drop(sink);
    until("no connection", || peer.receiver.open() == 0).await;
    assert_eq!((peer.arrivals.messages(), peer.receiver.torn()), (0, 1));
    assert_eq!(peer.receiver.faults(), [""; 0], "the rest of a frame was followed by another one");
}

#[tokio::test]
async fn a_port_where_nobody_listens() {
    let peer = Peer::new(Manner::Reads);
    peer.receiver.be(Manner::Refuses);
    let address: Address = peer.receiver.url().parse().expect("an address");
    let tls = auditferry_tls::Tls::default();
    let mut found = None;
    for _ in 0..2000 {
        // until the receiver has heard of it
        match connect(&address, &tls, &TestEnv::default(), &Patience::default()).await {
            Err(error) if error.cause().0.contains("nothing listens there") => {
                found = Some(error);
                break;
            }
            _ => tokio::task::yield_now().await,
        }
    }
    assert!(matches!(&found, Some(SinkError::Retry { .. })), "{found:?}");
}

#[tokio::test]
async fn what_a_peer_says_means_nothing_and_holds_up_nobody() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address: Address = format!("tcp://{}", listener.local_addr().expect("it has one")).parse().expect("an address");
    let tls = auditferry_tls::Tls::default();
    let connected = connect(&address, &tls, &TestEnv::default(), &Patience::default()).await.expect("a connection");
    let (facility, app_name) = (Facility::LOG_LOCAL0, "auditferry".to_string());
    let sink = SyslogSink::new(connected, address, Formatter { facility, hostname: None, app_name, enterprise_id: 1 });
    let (mut peer, _) = listener.accept().await.expect("it is there");
    // far more than the kernel holds: it must be read away, by whoever polls
    let talking = async {
        peer.write_all(&vec![b'x'; 32 << 20]).await.expect("it is read");
        peer.shutdown().await.expect("an end");
    };
    let (lost, ()) = tokio::join!(sink.lost(), talking);
    assert!(lost.orderly, "{lost:?}");
}
