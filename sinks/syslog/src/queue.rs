//! What our kernel still holds of what was written, since the peer's host has not acknowledged it.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::connect::Patience;

/// The longest pause between two looks; the first ones are shorter, since most acknowledgements are there after one round trip.
const PAUSE: Duration = Duration::from_millis(50);

/// Bytes that were written and not yet acknowledged, our end (FIN) included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queue {
    pub all: usize,
    /// Those that are on their way. The others wait: most often for the peer to read, and so to open its window.
    pub flying: usize,
}

impl Queue {
    /// As it is now. Always empty elsewhere than on Linux, and there on the processors that number their requests in another way.
    pub fn of(socket: impl AsFd) -> io::Result<Queue> {
        #[cfg(all(
            target_os = "linux",
            any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64"),
        ))]
        {
            // include/uapi/linux/sockios.h: SIOCOUTQ (which is TIOCOUTQ of asm-generic/ioctls.h) and SIOCOUTQNSD
            let all = number::<0x5411>(&socket)?;
            let waiting = number::<0x894b>(&socket)?;
            Ok(Queue { all, flying: all.saturating_sub(waiting) })
        }
        #[cfg(not(all(
            target_os = "linux",
            any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm", target_arch = "riscv64"),
        )))]
        {
            let _ = socket;
            Ok(Queue { all: 0, flying: 0 })
        }
    }
}

/// Asks the socket for a number of bytes. Neither rustix nor another library of this build has these questions ready.
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "see `Queue::of`")]
fn number<const QUESTION: rustix::ioctl::Opcode>(socket: impl AsFd) -> io::Result<usize> {
    use rustix::ioctl::{Getter, ioctl};
    #[expect(unsafe_code, reason = "the only two calls, with constants, both of which fill in one int (tcp(7))")]
    // SAFETY: both requests write exactly one `int`, for which the getter has room, and the socket lives meanwhile
    let count = unsafe { ioctl(socket, Getter::<QUESTION, std::ffi::c_int>::new()) }?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Looks whether what was written is acknowledged, bit by bit.
pub struct Watch<'a> {
    socket: &'a OwnedFd,
    patience: &'a Patience,
    left: usize,
    /// Since when nothing has been acknowledged or added.
    still: Instant,
    /// Since when what is on its way has been so.
    flying: Instant,
    looks: u32,
}

impl<'a> Watch<'a> {
    pub fn new(socket: &'a OwnedFd, patience: &'a Patience) -> Self {
        let now = Instant::now();
        Watch { socket, patience, left: 0, still: now, flying: now, looks: 0 }
    }

    /// Looks at once for the first time, later after a pause; true when everything written so far is acknowledged.
    ///
    /// # Errors
    /// `TimedOut`: nothing has moved for too long.
    pub async fn look(&mut self) -> io::Result<bool> {
        if self.looks > 0 {
            let pause = Duration::from_millis(1 << (self.looks - 1).min(6));
            sleep_until(Instant::now() + pause.min(PAUSE)).await;
        }
        self.looks += 1;
        self.judge(Queue::of(self.socket)?, Instant::now())
    }

    fn judge(&mut self, queue: Queue, now: Instant) -> io::Result<bool> {
        if queue.all != self.left {
            (self.left, self.still, self.flying) = (queue.all, now, now);
        }
        if queue.flying == 0 {
            self.flying = now;
        }
        let gone = now - self.flying >= self.patience.unacknowledged;
        let hangs = queue.all > 0 && now - self.still >= self.patience.unread;
        if gone || hangs { Err(io::ErrorKind::TimedOut.into()) } else { Ok(queue.all == 0) }
    }
}

#[cfg(test)]
#[path = "slow_tests.rs"]
mod tests;
