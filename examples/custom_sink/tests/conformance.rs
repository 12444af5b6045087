//! The suite of every sink, against as much of Redis as the sink uses.
//!
//! Protocol: RESP2, <https://redis.io/docs/latest/develop/reference/protocol-spec/>; error words as Redis 7 has them.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use auditferry_conformance::{Destination, SECRET, State, all};
use auditferry_contract::SinkKind;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

struct Kept {
    state: State,
    list: Vec<Vec<u8>>,
    pushes: usize,
}

struct Redis {
    /// Without a password: the sink of `sinks/README.md`, which knows none.
    login: bool,
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Redis {
    #[expect(clippy::disallowed_methods, reason = "a server of its own, on the test's runtime")]
    fn new(login: bool) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
        listener.set_nonblocking(true).expect("a listener for tokio");
        let address = listener.local_addr().expect("bound");
        let listener = TcpListener::from_std(listener).expect("within a runtime");
        let kept = Arc::new(Mutex::new(Kept { state: State::Fine, list: Vec::new(), pushes: 0 }));
        let shared = kept.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, shared.clone(), login));
            }
        });
        Redis { login, address, kept }
    }
}

/// One connection: commands in, answers out, until one of both sides ends it.
async fn serve(socket: TcpStream, kept: Arc<Mutex<Kept>>, login: bool) -> io::Result<()> {
    let mut socket = BufReader::new(socket);
    let mut admitted = !login;
    while let Some(parts) = command(&mut socket).await? {
        let state = lock(&kept).state;
        if state == State::Unwritable {
            return Ok(());
        }
        if parts[0] == b"AUTH" {
            admitted = state != State::Unauthorised && parts[1] == SECRET.as_bytes();
            let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
            socket.write_all(if admitted { "+OK\r\n" } else { wrong }.as_bytes()).await?;
            continue;
        }
        if !admitted || parts[0] != b"RPUSH" || parts[1] != b"events" || parts.len() < 3 {
            socket.write_all(b"-ERR not what this test expects\r\n").await?;
            continue;
        }
        let length = {
            let mut kept = lock(&kept);
            kept.pushes += 1;
            kept.list.extend_from_slice(&parts[2..]);
            kept.list.len()
        };
        match state {
            State::AnswerLost => {
                lock(&kept).state = State::Fine;
                return Ok(());
            }
            State::AnswerUnreadable => {
                lock(&kept).state = State::Fine;
                socket.write_all(b"HTTP/1.1 200 OK\r\n").await?;
                continue;
            }
            State::Slow => pause().await,
            _ => {}
        }
        socket.write_all(format!(":{length}\r\n").as_bytes()).await?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the answer that comes late")]
async fn pause() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// The next command that arrived whole; none when the connection ended before that.
async fn command(socket: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some(count) = number(socket, '*').await? else { return Ok(None) };
    let mut parts = Vec::new();
    for _ in 0..count {
        let Some(length) = number(socket, '$').await? else { return Ok(None) };
        let mut part = vec![0; length + 2];
        if socket.read_exact(&mut part).await.is_err() {
            return Ok(None);
        }
        assert!(part.ends_with(b"\r\n"), "a text is longer than it says");
        part.truncate(length);
        parts.push(part);
    }
    Ok(Some(parts))
}

async fn number(socket: &mut BufReader<TcpStream>, sign: char) -> io::Result<Option<usize>> {
    let mut line = String::new();
    socket.read_line(&mut line).await?;
    let Some(line) = line.strip_suffix("\r\n") else { return Ok(None) };
    let number = line.strip_prefix(sign).and_then(|digits| digits.parse().ok());
    Ok(Some(number.unwrap_or_else(|| panic!("no command of redis: {line:?}"))))
}

impl Destination for Redis {
    fn kind(&self) -> SinkKind {
        if self.login { custom_sink::KIND } else { custom_sink::forty::KIND }
    }

    fn options(&self) -> String {
        let address = format!("address = \"{}\"", self.address);
        if self.login {
            format!("{address}\nlist = \"events\"\npassword = {{ env = \"REDIS_PASSWORD\" }}")
        } else {
            address
        }
    }

    fn received(&self) -> Vec<Vec<u8>> {
        lock(&self.kept).list.clone()
    }

    fn arrange(&self, state: State) -> bool {
        use State::{AnswerLost, AnswerUnreadable, Fine, Slow, Unauthorised, Unwritable};
        let known = matches!(state, Fine | Unwritable | AnswerLost | AnswerUnreadable | Slow);
        let known = known || (state == Unauthorised && self.login);
        if known {
            lock(&self.kept).state = state;
        }
        known
    }

    fn attempts(&self) -> Option<usize> {
        Some(lock(&self.kept).pushes)
    }
}

/// What a list of Redis has no such thing as.
const SKIPPED: [&str; 6] =
    ["line break", "poison", "batch too large", "abandoned beside others", "hung up", "torn end"];

#[tokio::test]
async fn on_one_thread() {
    assert_eq!(all(|| Box::new(Redis::new(true))).await, SKIPPED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_several_threads() {
    assert_eq!(all(|| Box::new(Redis::new(true))).await, SKIPPED);
}

#[tokio::test]
async fn the_sink_in_forty_lines() {
    let mut skipped = all(|| Box::new(Redis::new(false))).await;
    skipped.retain(|case| *case != "unauthorised");
    assert_eq!(skipped, SKIPPED);
}
