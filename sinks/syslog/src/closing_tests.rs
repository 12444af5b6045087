//! A clean stop settles what the peer has read, and nothing else.

use super::*;

/// As the agent does it.
async fn closed(sink: &SyslogSink) -> Option<Result<(), Cause>> {
    tokio::time::timeout(Duration::from_secs(5), sink.close()).await.ok()
}

#[tokio::test]
async fn closing_waits_until_everything_is_read() {
    let peer = Peer::new(Manner::BlackHole);
    let sink = peer.open().await;
    let sent = bodies(80, 400);
    sink.deliver(batch(&sent)).await.expect("it fits into the buffers");
    assert_eq!(peer.arrivals.messages(), 0);
    peer.receiver.be(Manner::Reads);
    assert_eq!(closed(&sink).await, Some(Ok(())));
    assert_eq!(peer.arrivals.bodies(), sent, "closed before the peer had read to the end");
    assert_eq!((peer.receiver.torn(), peer.receiver.faults()), (0, vec![]));
}

#[tokio::test]
async fn a_peer_that_hangs_settles_nothing() {
    let peer = Peer::new(Manner::BlackHole);
    let sink = peer.open().await;
    sink.deliver(batch(&bodies(1, 10))).await.expect("it fits into the buffers");
    assert_eq!(closed(&sink).await, None, "nobody has read it");
}

#[tokio::test]
async fn a_peer_that_breaks_off_settles_nothing() {
    for before in [true, false] {
        let peer = Peer::new(Manner::BlackHole);
        let sink = peer.open().await;
        sink.deliver(batch(&bodies(3, 30))).await.expect("it fits into the buffers");
        let breaks = async {
            peer.receiver.be(Manner::Slams);
            if before {
                ended(&sink).await;
            }
        };
        let close = async {
            if before {
                ended(&sink).await;
            }
            closed(&sink).await
        };
        let ((), found) = tokio::join!(breaks, close);
        assert!(matches!(found, Some(Err(_))), "{found:?}");
    }
}

#[tokio::test]
async fn a_peer_that_ended_before_us_settles_nothing() {
    // it has closed its side only, and reads no more
    let peer = Peer::new(Manner::HalfCloses);
    let sink = peer.open().await;
    ended(&sink).await;
    let found = closed(&sink).await;
    assert!(matches!(&found, Some(Err(cause)) if cause.0.contains("closed the connection")), "{found:?}");
}

#[tokio::test]
async fn half_a_message_settles_nothing() {
    let peer = Peer::new(Manner::BlackHole);
    let sink = peer.open().await;
    let given_up = tokio::time::timeout(Duration::from_millis(100), sink.deliver(batch(&bodies(1, 16 << 20)))).await;
    assert!(given_up.is_err());
    peer.receiver.be(Manner::Reads);
    let found = closed(&sink).await;
    assert!(matches!(&found, Some(Err(cause)) if cause.0.contains("half a message")), "{found:?}");
}
