//! One client.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Frames, KEPT, Manner, Orders, Shared, parse};

/// See [`Manner::Late`].
const LATE: Duration = Duration::from_millis(500);

/// See [`Manner::Sips`].
const SIP: (usize, Duration) = (8 << 10, Duration::from_millis(100));

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Counts open connections, also when a task is aborted.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.seen().open -= 1;
    }
}

/// Serves one client to its end.
pub async fn serve(stream: TcpStream, shared: Arc<Shared>, orders: watch::Receiver<Orders>) {
    shared.seen().open += 1;
    let _open = Open(shared.clone());
    let tls = shared.tls().clone();
    let stream = match tls {
        None => Stream::Plain(stream),
        Some(config) => match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => Stream::Tls(Box::new(stream)),
            Err(_) => {
                shared.seen().refused_handshakes += 1;
                return;
            }
        },
    };
    Client { stream, shared, orders, frames: Frames::default(), taken: 0, half_closed: false }.run().await;
}

struct Client {
    stream: Stream,
    shared: Arc<Shared>,
    orders: watch::Receiver<Orders>,
    frames: Frames,
    taken: usize,
    half_closed: bool,
}

/// What becomes of the connection.
enum Next {
    Goes,
    Ends,
}

impl Client {
    async fn run(mut self) {
        let begun = self.orders.borrow_and_update().generation;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let now = *self.orders.borrow_and_update();
            if now.generation != begun {
                return self.hang_up(&mut buffer, now.manner).await;
            }
            match now.manner {
                Manner::ClosesAfter(most) if self.taken >= most => {
                    let _ = self.stream.shutdown().await;
                    return self.ended();
                }
                Manner::Refuses => return self.reset(),
                // dropped with what has come unread, which the kernel answers by a reset
                Manner::Slams => return,
                Manner::BlackHole => {
                    if self.orders.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                Manner::HalfCloses if !self.half_closed => {
                    self.half_closed = true;
                    let _ = self.stream.shutdown().await;
                }
                _ => {}
            }
            let most = if now.manner == Manner::Sips { SIP.0 } else { buffer.len() };
            let read = tokio::select! {
                biased;
                changed = self.orders.changed() => if changed.is_err() { return } else { continue },
                read = self.stream.read(&mut buffer[..most]) => read,
            };
            let Ok(count @ 1..) = read else { return self.ended() };
            if now.manner == Manner::Resets {
                return self.reset();
            }
            let pause = match now.manner {
                Manner::Late => LATE,
                Manner::Sips => SIP.1,
                _ => Duration::ZERO,
            };
            if !pause.is_zero() {
                let _ = tokio::time::timeout(pause, std::future::pending::<()>()).await;
            }
            if let Next::Ends = self.take(&buffer[..count], now.manner) {
                return;
            }
        }
    }

    /// Keeps the whole messages of what was read.
    fn take(&mut self, bytes: &[u8], manner: Manner) -> Next {
        self.frames.feed(bytes);
        loop {
            let message = match self.frames.take() {
                Ok(Some(message)) => message,
                Ok(None) => return Next::Goes,
                Err(words) => {
                    self.shared.fault(words);
                    return Next::Ends;
                }
            };
            self.taken += 1;
            let mut record = match parse(&message) {
                Ok(record) => record,
                Err(words) => {
                    self.shared.fault(words);
                    continue;
                }
            };
            if manner == Manner::Swallows {
                continue;
            }
            let id = record.parameter("auditferry@", "id").and_then(|id| id.parse().ok());
            let body = std::mem::take(&mut record.message);
            self.shared.arrivals.push(id, &body);
            let mut seen = self.shared.seen();
            if seen.records.len() < KEPT {
                seen.records.push(record);
            }
        }
    }

    /// An orderly end: our side first, then everything that still comes is read.
    async fn hang_up(mut self, buffer: &mut [u8], manner: Manner) {
        let _ = self.stream.shutdown().await;
        while let Ok(count @ 1..) = self.stream.read(buffer).await {
            if let Next::Ends = self.take(&buffer[..count], manner) {
                return;
            }
        }
        self.ended();
    }

    fn ended(self) {
        if self.frames.torn() {
            self.shared.seen().torn += 1;
        }
    }

    fn reset(self) {
        let _ = self.stream.tcp().set_zero_linger();
    }
}
