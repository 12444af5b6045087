//! A fake syslog receiver: RFC 5424 with octet counting, over TCP and TLS.
//!
//! It is strict: what breaks a rule is kept in [`Syslog::faults`], which a test wants to be empty. Its tasks never panic.

mod connection;
mod frames;
mod rfc5424;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard},
};

use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::AbortHandle,
};

use super::Arrivals;

pub use frames::Frames;
pub use rfc5424::{Parameter, Record, parse};

/// Most records and faults that are kept.
const KEPT: usize = 1000;

/// How the receiver treats its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Reads and keeps everything.
    Reads,
    /// Nobody listens on the port, which stays reserved; open connections are reset.
    Refuses,
    /// Takes connections, shakes hands, and reads nothing: a stopped process, a full queue.
    BlackHole,
    /// Closes each connection once so many messages have come, or more: what it has read it keeps, and what comes behind that is
    /// answered by a reset, as the operating system does it.
    ClosesAfter(usize),
    /// Ends its own side of each connection at once, and goes on to read and keep.
    HalfCloses,
    /// Resets each connection at its first bytes.
    Resets,
    /// Keeps everything, half a second after it came.
    Late,
    /// Reads and keeps everything, slowly: at most 8 KiB every 100 ms.
    Sips,
    /// Reads everything and keeps nothing.
    Swallows,
    /// Closes each connection at once, without having read: a load balancer with nobody behind it.
    Slams,
}

#[derive(Clone, Copy, Debug)]
struct Orders {
    manner: Manner,
    /// Connections begun under a lower number are to end, in an orderly way.
    generation: u64,
}

#[derive(Debug, Default)]
struct Seen {
    connections: u64,
    open: u64,
    torn: u64,
    refused_handshakes: u64,
    faults: Vec<String>,
    records: Vec<Record>,
}

struct Shared {
    tls: Mutex<Option<Arc<ServerConfig>>>,
    arrivals: Arc<Arrivals>,
    orders: watch::Sender<Orders>,
    /// A second handle of the socket that listens, while one does.
    listening: Mutex<Option<std::net::TcpListener>>,
    seen: Mutex<Seen>,
}

impl Shared {
    fn listening(&self) -> MutexGuard<'_, Option<std::net::TcpListener>> {
        self.listening.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Keeps a second handle of what listens now.
    fn listens(&self, listener: &TcpListener) -> io::Result<()> {
        let handle = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?);
        *self.listening() = Some(handle);
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn tls(&self) -> MutexGuard<'_, Option<Arc<ServerConfig>>> {
        self.tls.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn fault(&self, words: String) {
        let mut seen = self.seen();
        if seen.faults.len() < KEPT {
            seen.faults.push(words);
        }
    }
}

/// A running receiver; dropped, it is gone with all its connections.
pub struct Syslog {
    address: SocketAddr,
    encrypted: bool,
    shared: Arc<Shared>,
    listening: AbortHandle,
}

impl Syslog {
    /// Receives on `listener`; with `tls`, over TLS.
    ///
    /// # Errors
    /// The listener has no address, or no second handle can be had of it.
    pub fn start(listener: TcpListener, tls: Option<Arc<ServerConfig>>, arrivals: Arc<Arrivals>) -> io::Result<Syslog> {
        let address = listener.local_addr()?;
        let (orders, ordered) = watch::channel(Orders { manner: Manner::Reads, generation: 0 });
        let encrypted = tls.is_some();
        let (tls, listening, seen) = (Mutex::new(tls), Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { tls, arrivals, orders, listening, seen });
        shared.listens(&listener)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "a receiver runs beside what is tested; dropping it ends the task"
        )]
        let listening = tokio::spawn(listen(listener, address, shared.clone(), ordered)).abort_handle();
        Ok(Syslog { address, encrypted, shared, listening })
    }

    /// Receives on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// There is no free port, or no runtime.
    pub fn local(tls: Option<Arc<ServerConfig>>, arrivals: Arc<Arrivals>) -> io::Result<Syslog> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Syslog::start(TcpListener::from_std(listener)?, tls, arrivals)
    }

    /// Where it receives.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as the sink's `address`.
    pub fn url(&self) -> String {
        let scheme = if self.encrypted { "tls" } else { "tcp" };
        format!("{scheme}://{}", self.address)
    }

    /// From now on it treats new connections so, and open ones from the next bytes on.
    pub fn be(&self, manner: Manner) {
        self.shared.orders.send_modify(|orders| {
            orders.manner = manner;
            // now, and not when the task below comes to it on another thread: until then a client would be taken, and its bytes
            // acknowledged. Where a socket that listens can't be shut down (elsewhere than on Linux), the task does it
            if manner == Manner::Refuses
                && let Some(listener) = self.shared.listening().take()
            {
                let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Read);
            }
        });
    }

    /// Shakes hands in another way from the next connection on: another certificate, or a client certificate wanted.
    pub fn show(&self, config: Arc<ServerConfig>) {
        *self.shared.tls() = Some(config);
    }

    /// Ends every open connection in an orderly way: what has come is read and kept first.
    pub fn hang_up(&self) {
        self.shared.orders.send_modify(|orders| orders.generation += 1);
    }

    /// Connections taken so far, failed handshakes included.
    pub fn connections(&self) -> u64 {
        self.shared.seen().connections
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.shared.seen().open
    }

    /// Connections that ended in the middle of a frame.
    pub fn torn(&self) -> u64 {
        self.shared.seen().torn
    }

    /// TLS handshakes that failed.
    pub fn refused_handshakes(&self) -> u64 {
        self.shared.seen().refused_handshakes
    }

    /// What broke a rule of framing or format, the first thousand. A test wants none.
    pub fn faults(&self) -> Vec<String> {
        self.shared.seen().faults.clone()
    }

    /// The first thousand messages, taken apart, without what stands behind the structured data (that is in [`Arrivals`]).
    pub fn records(&self) -> Vec<Record> {
        self.shared.seen().records.clone()
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Takes connections, or keeps the port without listening.
async fn listen(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>, mut orders: watch::Receiver<Orders>) {
    // aborted with this task
    let mut connections = tokio::task::JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let current = *orders.borrow_and_update();
        if current.manner == Manner::Refuses || shared.listening().is_none() {
            drop(listener.take());
            let reserved = match reserve(address) {
                Ok(socket) => socket,
                Err(error) => return shared.fault(format!("the receiver's port is gone: {error}")),
            };
            // held until it listens: an order to refuse comes before that or after it
            let Ok(_order) = orders.wait_for(|orders| orders.manner != Manner::Refuses).await else { return };
            match reserved.listen(128).and_then(|again| shared.listens(&again).map(|()| again)) {
                Ok(again) => listener = Some(again),
                Err(error) => return shared.fault(format!("the receiver can't listen again: {error}")),
            }
            continue;
        }
        let Some(open) = &listener else { return };
        tokio::select! {
            biased;
            changed = orders.changed() => if changed.is_err() { return },
            _ = connections.join_next(), if !connections.is_empty() => {}
            accepted = open.accept() => {
                // an error here is one client's (it left before it was taken)
                let Ok((stream, _)) = accepted else { continue };
                shared.seen().connections += 1;
                let task = connection::serve(stream, shared.clone(), orders.clone());
                // tidy: a receiver serves its clients beside what is tested
                connections.spawn(task);
            }
        }
    }
}

/// The port, bound and not listening: who connects is refused, and nobody else gets it.
fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    /// Its task is on another thread, and slow to hear.
    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_is_told_to_refuse_refuses_from_then_on() {
        let receiver = Syslog::local(None, Arc::new(Arrivals::with_bodies())).expect("a port");
        for turn in 0..500 {
            receiver.be(Manner::Refuses);
            let refused = TcpStream::connect(receiver.address()).await;
            assert!(refused.is_err(), "turn {turn}: taken though it refuses");
            receiver.be(Manner::Reads);
            let again = async { while TcpStream::connect(receiver.address()).await.is_err() {} };
            let again = tokio::time::timeout(std::time::Duration::from_secs(10), again);
            assert!(again.await.is_ok(), "turn {turn}: not taken again; {:?}", receiver.faults());
        }
        assert_eq!(receiver.faults(), [""; 0]);
    }
}
