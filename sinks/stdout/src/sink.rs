//! Writing whole batches to file descriptor 1.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{Arc, Mutex, TryLockError},
};

use async_trait::async_trait;
use auditferry_contract::{Batch, Cause, Confirmation, Sink, SinkError};

/// There is one standard output in a process, whatever number of sinks: one writes at a time, and all know whether the
/// last write ended in the middle of a line. An abandoned call may still be writing when its successor comes.
static TORN: Mutex<bool> = Mutex::new(false);

pub struct Stdout {
    // a descriptor of its own, unbuffered: what `write` returned is with the operating system
    out: Arc<File>,
}

impl Stdout {
    pub fn open() -> Result<Self, SinkError> {
        let fd = io::stdout().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|error| {
            SinkError::blocked(format!(
                "standard output is closed ({error}): start the agent with one, or remove the sink"
            ))
        })?;
        Ok(Stdout { out: Arc::new(fd.into()) })
    }
}

#[async_trait]
impl Sink for Stdout {
    fn confirmation(&self) -> Confirmation {
        Confirmation::Sent
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let lines = batch.lines()?;
        // the copy takes its place in memory, and one call runs at a time
        drop(batch);
        let out = self.out.clone();
        // a pipe whose reader is slow blocks: never on the runtime's own threads
        let write = tokio::task::spawn_blocking(move || write_once(&mut &*out, &lines, &TORN));
        match write.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(SinkError::retry(words(&error))),
            Err(_) => Err(SinkError::retry("the write to standard output was cut off: the agent is stopping")),
        }
    }
}

/// One attempt. After one that stopped in the middle of a line, the next begins a new one.
fn write_once(out: &mut dyn Write, lines: &[u8], torn: &Mutex<bool>) -> io::Result<()> {
    // a reader that is stuck holds one thread, not one for every attempt
    let mut torn = match torn.try_lock() {
        Ok(torn) => torn,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(io::Error::other("an earlier write has not ended: nobody reads")),
    };
    if *torn {
        put(out, b"\n").1?;
        *torn = false;
    }
    let (written, result) = put(out, lines);
    *torn = written > 0 && lines.get(written - 1) != Some(&b'\n');
    result
}

/// As `write_all`, but says how much went out.
fn put(out: &mut dyn Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, out.flush())
}

fn words(error: &io::Error) -> Cause {
    Cause(match error.kind() {
        io::ErrorKind::BrokenPipe => {
            "nobody reads standard output any more: start the reading process and the agent together again".to_string()
        }
        io::ErrorKind::StorageFull => "the disk behind standard output is full: make room there".to_string(),
        io::ErrorKind::WouldBlock => {
            "standard output takes no more at the moment: whatever reads it is too slow".to_string()
        }
        _ => format!("standard output can't be written: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes, three at a time, then breaks.
    struct Pipe {
        room: usize,
        got: Vec<u8>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let n = bytes.len().min(3).min(self.room);
            self.room -= n;
            self.got.extend_from_slice(&bytes[..n]);
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn after_a_torn_line_the_next_batch_begins_a_new_one() {
        let torn = Mutex::new(false);
        let mut pipe = Pipe { room: 7, got: Vec::new() };
        let error = write_once(&mut pipe, b"one\ntwo\nthree\n", &torn).expect_err("the pipe breaks");
        assert!(words(&error).0.starts_with("nobody reads standard output"), "{error}");
        pipe.room = 100;
        write_once(&mut pipe, b"two\nthree\n", &torn).expect("there is room");
        assert_eq!(pipe.got, b"one\ntwo\ntwo\nthree\n");
    }

    #[test]
    fn after_whole_lines_no_empty_one_follows() {
        let torn = Mutex::new(false);
        let mut pipe = Pipe { room: 8, got: Vec::new() };
        write_once(&mut pipe, b"one\ntwo\nthree\n", &torn).expect_err("the pipe breaks");
        write_once(&mut pipe, b"x\n", &torn).expect_err("still broken");
        pipe.room = 100;
        write_once(&mut pipe, b"three\n", &torn).expect("there is room");
        assert_eq!(pipe.got, b"one\ntwo\nthree\n");
    }
}
