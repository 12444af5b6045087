//! Addresses where nobody answers.

use std::net::TcpListener;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};
use tokio::time::Instant;

use super::*;

/// A port that drops who knocks: its queue is full. Alive as long as what comes with it.
async fn black_hole() -> (SocketAddr, OwnedFd, Vec<TcpStream>) {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    listen(&socket, 0).expect("it listens");
    let address = SocketAddr::try_from(getsockname(&socket).expect("a name")).expect("an address");
    let mut inside = Vec::new();
    for _ in 0..16 {
        match timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            Ok(stream) => inside.push(stream.expect("there is room")),
            Err(_) => return (address, socket, inside),
        }
    }
    panic!("the queue never fills up");
}

#[tokio::test]
async fn an_address_that_answers_nothing_does_not_use_up_the_others_time() {
    let (hole, _socket, _inside) = black_hole().await;
    let there = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = there.local_addr().expect("it has one");
    let patience = Patience { connecting: Duration::from_millis(300), ..Patience::default() };
    let stream = timeout(Duration::from_secs(5), dial(&[hole, address], &patience)).await;
    let stream = stream.expect("the second one is tried").expect("it is there");
    assert_eq!(stream.peer_addr().expect("it has one"), address);

    let begun = Instant::now();
    let error = dial(&[hole, hole], &patience).await.expect_err("nobody answers");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() >= Duration::from_millis(600));
}
