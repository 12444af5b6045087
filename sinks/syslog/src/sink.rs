//! The open connection: frames go out, and whatever comes back is a sign that it ends.

use std::{
    future::{pending, poll_fn},
    io,
    os::fd::OwnedFd,
    pin::{Pin, pin},
    sync::{Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use auditferry_contract::{Batch, Cause, Confirmation, Lost, Sink, SinkError};
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf, split},
    time::Instant,
};

use crate::{
    address::Address,
    connect::{Connected, Patience, Stream},
    format::Formatter,
    queue::Watch,
    words::{closed, failed, half_a_message},
};

/// After the peer's end, how long its reset is waited for: bytes of ours that reach a peer which has closed are answered by one, a
/// round trip after they were sent.
const AFTERMATH: Duration = Duration::from_secs(1);
/// A buffer that one large batch made is not kept.
const KEPT: usize = 512 << 10;

/// Two halves under two locks: whoever waits for the peer's end never keeps a batch from going out, and the other way round.
pub struct SyslogSink {
    address: Address,
    formatter: Formatter,
    pub(crate) socket: OwnedFd,
    patience: Patience,
    writing: tokio::sync::Mutex<Writing>,
    // held within one poll only
    reading: Mutex<Reading>,
}

struct Writing {
    half: WriteHalf<Box<dyn Stream>>,
    buffer: Vec<u8>,
    /// A call was given up, or failed, while its frames were going out: the receiver may have half of one.
    torn: bool,
}

struct Reading {
    half: ReadHalf<Box<dyn Stream>>,
    /// Who is to be told when something comes: the socket remembers one only, so whoever just looks must not take its place.
    waiting: Option<Waker>,
    /// How it ended, once it has.
    end: Option<End>,
}

#[derive(Clone)]
struct End {
    error: SinkError,
    /// When the peer closed its side, as long as nothing has broken.
    closed: Option<Instant>,
}

impl SyslogSink {
    pub fn new(connected: Connected, address: Address, formatter: Formatter) -> Self {
        let Connected { stream, socket, patience } = connected;
        let (read, write) = split(stream);
        let writing = Writing { half: write, buffer: Vec::new(), torn: false };
        let reading = Reading { half: read, waiting: None, end: None };
        SyslogSink { address, formatter, socket, patience, writing: writing.into(), reading: Mutex::new(reading) }
    }

    fn reading(&self) -> std::sync::MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the connection's end.
    async fn ended(&self) -> End {
        poll_fn(|context| {
            let mut reading = self.reading();
            reading.waiting = Some(context.waker().clone());
            reading.poll(context, &self.address)
        })
        .await
    }

    /// Sends what is in the buffer; over only when the peer's host has acknowledged every byte, so that nothing settles in our own kernel. A
    /// peer that reads slowly has the whole deadline, one that reads nothing is given up sooner.
    async fn send(&self, writing: &mut Writing) -> Result<(), SinkError> {
        let Writing { half, buffer, torn } = writing;
        // until every byte is out: an await below may be the last that is polled
        *torn = true;
        let mut sending = pin!(async {
            half.write_all(buffer).await?;
            half.flush().await
        });
        let mut watch = Watch::new(&self.socket, &self.patience);
        loop {
            let acknowledged = tokio::select! {
                biased;
                sent = &mut sending, if *torn => {
                    sent.map_err(|error| self.broke(&error).error)?;
                    *torn = false;
                    continue;
                }
                looked = watch.look() => looked.map_err(|error| self.broke(&error).error)?,
            };
            if acknowledged && !*torn {
                return Ok(());
            }
            match self.look() {
                // it has ended its own side, and may read on
                Ok(()) | Err(End { closed: Some(_), .. }) => {}
                Err(end) => return Err(end.error),
            }
        }
    }

    /// A write failed, or nothing moves.
    fn broke(&self, error: &io::Error) -> End {
        // then the peer has gone, and its last words say more, if it has left some. What else there is, a socket tells once: here
        if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
            && let Err(said) = self.look()
        {
            return said;
        }
        self.reading().end(End { error: failed(&self.address, "sending to", error), closed: None })
    }

    /// True unless the peer's end had a reset behind it. A socket tells its error once, so it is remembered.
    fn unbroken(&self, end: End) -> bool {
        let unbroken = end.closed.is_some() && matches!(sockopt::socket_error(&self.socket), Ok(Ok(())));
        if !unbroken {
            self.reading().end = Some(End { closed: None, ..end });
        }
        unbroken
    }

    /// Looks whether the connection has ended, without waiting.
    fn look(&self) -> Result<(), End> {
        let mut reading = self.reading();
        let waker = reading.waiting.clone().unwrap_or_else(|| Waker::noop().clone());
        match reading.poll(&mut Context::from_waker(&waker), &self.address) {
            Poll::Pending => Ok(()),
            Poll::Ready(end) => Err(reading.end(end)),
        }
    }
}

impl Reading {
    /// It ended, if it had not before; whoever waits is told.
    fn end(&mut self, end: End) -> End {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        self.end.get_or_insert(end).clone()
    }

    /// Reads and throws away what comes, which in syslog means nothing; resolves with the connection's end.
    fn poll(&mut self, context: &mut Context<'_>, address: &Address) -> Poll<End> {
        if let Some(end) = &self.end {
            return Poll::Ready(end.clone());
        }
        let end = match self.drain(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => End { error: SinkError::retry(closed(address)), closed: Some(Instant::now()) },
            // GnuTLS closes without a farewell; lost bytes are no danger here, there are none to come
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                End { error: SinkError::retry(closed(address)), closed: Some(Instant::now()) }
            }
            Poll::Ready(Err(error)) => End { error: failed(address, "the connection to", &error), closed: None },
        };
        self.end = Some(end.clone());
        Poll::Ready(end)
    }

    /// Reads until nothing is there, or the end; a peer that never stops talking is heard again later, and holds up nobody.
    fn drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ignored = [0; 4096];
        for _ in 0..16 {
            let mut buffer = ReadBuf::new(&mut ignored);
            match Pin::new(&mut self.half).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                other => return other,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[async_trait]
impl Sink for SyslogSink {
    fn confirmation(&self) -> Confirmation {
        Confirmation::Sent
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut writing = self.writing.lock().await;
        // a write into a connection that the peer has closed succeeds, and its bytes are nowhere
        self.look().map_err(|end| end.error)?;
        if writing.torn {
            return Err(SinkError::retry(half_a_message(&self.address)));
        }
        let buffer = &mut writing.buffer;
        buffer.clear();
        for message in batch.iter() {
            self.formatter
                .frame(buffer, message)
                .map_err(|error| failed(&self.address, "writing a message for", &error))?;
        }
        drop(batch);
        self.send(&mut writing).await?;
        writing.buffer.clear();
        writing.buffer.shrink_to(KEPT);
        match self.look() {
            // it has every byte; whether it has read them, `lost` says
            Ok(()) | Err(End { closed: Some(_), .. }) => Ok(()),
            Err(end) => Err(end.error),
        }
    }

    async fn lost(&self) -> Lost {
        let end = self.ended().await;
        let cause = end.error.cause().clone();
        let Some(closed) = end.closed else { return Lost::broken(cause) };
        // what is in the middle of going out has not been read by a peer that has ended; nor has what it answers by a reset, which a
        // reading socket does not show once it has seen the end
        let _ = tokio::time::timeout_at(closed + AFTERMATH, pending::<()>()).await;
        let whole = self.writing.try_lock().is_ok_and(|writing| !writing.torn);
        if whole && self.unbroken(end.clone()) {
            return Lost::orderly(cause);
        }
        self.reading().end = Some(End { closed: None, ..end });
        Lost::broken(cause)
    }

    async fn close(&self) -> Result<(), Cause> {
        let mut writing = self.writing.lock().await;
        // a peer that has ended before us may have stopped reading as well
        self.look().map_err(|end| end.error.cause().clone())?;
        if writing.torn {
            return Err(half_a_message(&self.address));
        }
        // TLS says farewell, then the sending side ends
        writing.half.shutdown().await.map_err(|error| self.broke(&error).error.cause().clone())?;
        let end = self.ended().await;
        let cause = end.error.cause().clone();
        // whoever has read to our end has acknowledged it; whoever has closed before answers by a reset
        let mut watch = Watch::new(&self.socket, &self.patience);
        while end.closed.is_some() && !watch.look().await? {}
        if self.unbroken(end) { Ok(()) } else { Err(cause) }
    }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
pub(crate) mod tests;
