//! Connections that can be cut: the answer that is lost on its way.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::State;

/// Accepts connections, with TLS or without.
pub(super) struct Door {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    state: Arc<State>,
}

impl Door {
    pub fn new(listener: TcpListener, tls: Option<Arc<ServerConfig>>, state: Arc<State>) -> Self {
        Door { listener, tls, state }
    }
}

/// The handle by which a request cuts the connection that it came on.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Nothing more is written; the peer sees the connection end.
    pub fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Connected<IncomingStream<'_, Door>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

impl Listener for Door {
    type Io = Cuttable;
    type Addr = Cut;

    async fn accept(&mut self) -> (Cuttable, Cut) {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                // out of descriptors, or the peer gave up: the next one may be fine
                tokio::task::yield_now().await;
                continue;
            };
            if self.state.behaviour().down {
                continue;
            }
            let _ = stream.set_nodelay(true);
            let cut = Cut::default();
            let stream = match &self.tls {
                None => Stream::Plain(stream),
                Some(config) => Stream::Shaking(Box::pin(TlsAcceptor::from(config.clone()).accept(stream))),
            };
            return (Cuttable { stream, cut: cut.clone() }, cut);
        }
    }

    fn local_addr(&self) -> io::Result<Cut> {
        Ok(Cut::default())
    }
}

/// One connection.
pub(super) struct Cuttable {
    stream: Stream,
    cut: Cut,
}

enum Stream {
    Plain(TcpStream),
    /// The handshake runs with the first read, so that a slow client holds up nobody else.
    Shaking(Pin<Box<tokio_rustls::Accept<TcpStream>>>),
    Tls(Box<TlsStream<TcpStream>>),
}

trait Duplex: AsyncRead + AsyncWrite {}
impl<T: AsyncRead + AsyncWrite> Duplex for T {}

impl Cuttable {
    fn ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut (dyn Duplex + Unpin)>>> {
        if self.cut.0.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if let Stream::Shaking(handshake) = &mut self.stream {
            match handshake.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(stream)) => self.stream = Stream::Tls(Box::new(stream)),
            }
        }
        match &mut self.stream {
            Stream::Plain(stream) => Poll::Ready(Ok(Pin::new(stream))),
            Stream::Tls(stream) => Poll::Ready(Ok(Pin::new(stream.as_mut()))),
            Stream::Shaking(_) => Poll::Pending,
        }
    }
}

macro_rules! ready {
    ($self:ident, $context:ident) => {
        match $self.get_mut().ready($context) {
            Poll::Ready(Ok(stream)) => stream,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    };
}

impl AsyncRead for Cuttable {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self, context).poll_read(context, into)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self, context).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self, context).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self, context).poll_shutdown(context)
    }
}
