//! Name, connection, handshake: one try each.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use auditferry_contract::{Cause, Env, SinkError};
use auditferry_tls::Tls;
use rustix::net::sockopt;
use rustls::{ProtocolVersion, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    address::Address,
    config::DEADLINE,
    words::{blocked, failed},
};

/// An open connection, plain or not, and its socket under another descriptor, which tells what the stream does not.
pub struct Connected {
    pub stream: Box<dyn Stream>,
    pub socket: OwnedFd,
    pub patience: Patience,
}

/// What bytes go through.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How long things may stand still.
#[derive(Clone, Debug)]
pub struct Patience {
    /// How long what is on its way may stay unacknowledged: then the peer's host is gone. Shorter than the sink's `settle`, so that it is
    /// noticed before what the host had acknowledged, and nobody read, counts as delivered.
    pub unacknowledged: Duration,
    /// How long a peer may keep its window shut: it reads too slowly to be waited for within the deadline, or not at all. A window opens in steps
    /// of some 64 KiB, so a peer that reads steadily may seem to do nothing for many seconds; `TCP_USER_TIMEOUT` would end it then.
    pub unread: Duration,
    /// How long a connection may be silent before the kernel asks whether the peer's host is still there: three times, as far apart. In
    /// all shorter than the sink's `settle`.
    pub idle: Duration,
    /// How long one address may take to answer at all, and no longer than its share of the deadline.
    pub connecting: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Patience { unacknowledged: seconds(8), unread: seconds(25), idle: seconds(2), connecting: seconds(10) }
    }
}

/// What waits in our kernel is neither at the receiver nor known to be lost; so it is kept small. 256 KiB over a round trip of 100 ms are
/// 2.5 MB/s, far above what audit events need.
const SEND_BUFFER: usize = 256 << 10;

/// How long the server's word on our certificate is waited for. It is there after one round trip where the server sends session
/// tickets, as most do; where it sends none, opening takes this long.
const VERDICT: Duration = Duration::from_millis(500);

/// Connects and shakes hands.
pub async fn connect(address: &Address, tls: &Tls, env: &dyn Env, patience: &Patience) -> Result<Connected, SinkError> {
    // files first: what is wrong with them needs no connection to be told
    let client = if address.tls { Some(tls.client(env).await.map_err(SinkError::blocked)?) } else { None };
    let found = lookup_host((address.host.as_str(), address.port)).await;
    let addresses: Vec<_> = found.map(Iterator::collect).map_err(|error| {
        let host = &address.host;
        SinkError::retry(Cause::coded(
            "Dns",
            format_args!("the name {host} can't be resolved: {error}; look at `address` and at this machine's DNS"),
        ))
    })?;
    let stream = dial(&addresses, patience).await.map_err(|error| failed(address, "connecting to", &error))?;
    let prepared = prepare(&stream, patience).and_then(|()| stream.as_fd().try_clone_to_owned());
    let socket = prepared.map_err(|error| failed(address, "setting up the connection to", &error))?;
    let connected = |stream| Connected { stream, socket, patience: patience.clone() };
    let Some(client) = client else { return Ok(connected(Box::new(stream))) };
    let name = ServerName::try_from(tls.server_name().unwrap_or(&address.host).to_string());
    // `check` has looked at both; said again rather than assumed
    let name = name.map_err(|error| {
        SinkError::blocked(Cause::coded("TlsName", format_args!("{address}: not a name for TLS: {error}")))
    })?;
    let refused = |error: io::Error| match client.explain(&error) {
        Some(words) => blocked(address, &words),
        None => failed(address, "the TLS handshake with", &error),
    };
    let mut stream = TlsConnector::from(client.config()).connect(name, stream).await.map_err(refused)?;
    verdict(&mut stream).await.map_err(refused)?;
    Ok(connected(Box::new(stream)))
}

/// Tries one address after the other: one where everything is dropped must not use up the others' time.
async fn dial(addresses: &[SocketAddr], patience: &Patience) -> io::Result<TcpStream> {
    let share = DEADLINE / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut why = io::Error::new(io::ErrorKind::AddrNotAvailable, "its name has no address");
    for address in addresses {
        match timeout(patience.connecting.min(share), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = error,
            Err(_) => why = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(why)
}

fn prepare(stream: &TcpStream, patience: &Patience) -> io::Result<()> {
    // a batch is one write; its last packet need not wait for an acknowledgement
    stream.set_nodelay(true)?;
    sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER)?;
    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(target_os = "linux")]
    {
        sockopt::set_tcp_keepidle(stream, patience.idle)?;
        sockopt::set_tcp_keepintvl(stream, patience.idle)?;
        sockopt::set_tcp_keepcnt(stream, 3)?;
    }
    Ok(())
}

/// With TLS 1.3 our side of the handshake ends before the server has looked at our certificate (RFC 8446 §4.4.4): whoever writes then
/// writes to a server that refuses. So its next words are waited for: a session ticket (it can make one only once it is content, since the
/// ticket's secret covers our certificate), or an alert.
async fn verdict(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    if stream.get_ref().1.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Ok(());
    }
    let mut ignored = [0; 512];
    let waiting = poll_fn(|context| {
        let mut buffer = ReadBuf::new(&mut ignored);
        let read = Pin::new(&mut *stream).poll_read(context, &mut buffer);
        match read {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(answer) => Poll::Ready(answer),
            Poll::Pending if stream.get_ref().1.tls13_tickets_received() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    });
    // silence is no refusal
    timeout(VERDICT, waiting).await.unwrap_or(Ok(()))
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
