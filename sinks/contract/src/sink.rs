//! The traits and what they say to each other.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Batch, ConfigErrors, Format, Options, SecretRef, SecretString};

/// What a sink can take; the agent cuts by it and never hands over more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest body of one message, bytes. What is larger the agent encodes again, shortened; a sink never truncates.
    pub message_bytes: usize,
    /// Largest sum of the bodies of one batch, bytes.
    pub batch_bytes: usize,
    /// Most messages in one batch.
    pub batch_messages: usize,
    /// How long the agent may wait for a batch to fill up. Zero: send what is there.
    pub batch_age: Duration,
    /// How many `deliver` calls may run at once, at least 1.
    pub in_flight: usize,
    /// How many of them may still hold their [`Batch`], at least 1.
    pub in_hand: usize,
    /// How long one `deliver` call may take; then the agent abandons it, drops the sink and opens a new one.
    pub deadline: Duration,
    /// How long after `Ok` a failure may still disprove it; zero: `Ok` is final at once.
    pub settle: Duration,
}

impl Default for Limits {
    /// For a line-oriented destination with one call at a time: 16 MiB a message; 5,000 messages, 4 MB, 200 ms a batch; 30 s a call.
    fn default() -> Self {
        Limits {
            message_bytes: 16 << 20,
            batch_bytes: 4_000_000,
            batch_messages: 5000,
            batch_age: Duration::from_millis(200),
            in_flight: 1,
            in_hand: 1,
            deadline: Duration::from_secs(30),
            settle: Duration::ZERO,
        }
    }
}

/// What `Ok` of a sink is worth, from least to most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Confirmation {
    /// Handed to the operating system (plain syslog, stdout): who reads may still lose it.
    Sent,
    /// The destination's process said that it has it (HEC 200, RELP).
    Accepted,
    /// It is on stable storage there (indexer acknowledgement, `acks=all`, fsynced file).
    Stored,
}

impl fmt::Display for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Confirmation::Sent => "sent",
            Confirmation::Accepted => "accepted",
            Confirmation::Stored => "stored",
        })
    }
}

/// An open connection to one destination.
///
/// What an implementer may assume: batches keep the [`Limits`]; no new call starts after one failed with `Retry` or
/// `Blocked`; a sink that failed so is dropped, never used again; options were checked. What it may **not** assume: that a call is polled to
/// its end (the agent may abandon it at any await, drop the sink, open a new one and send again), or that messages
/// are new (a restart repeats what was not confirmed).
#[async_trait]
pub trait Sink: Send + Sync {
    /// What `Ok` is worth, known once the sink is open.
    fn confirmation(&self) -> Confirmation;

    /// Hands the batch over. `Ok` only when the destination has taken **every** message, in the sense of
    /// [`confirmation`](Self::confirmation). Exactly one attempt: no retry, reconnect or drop of its own. Up to
    /// `in_flight` calls run at once and may answer in any order.
    async fn deliver(&self, batch: Batch) -> Result<(), SinkError>;

    /// Resolves when the connection is gone; polled whenever the sink is open, also beside running calls. The
    /// default never does, right for whatever notices at the next `deliver`.
    async fn lost(&self) -> Lost {
        std::future::pending().await
    }

    /// A clean stop: half-close, then wait for the peer's end. Never called beside a `deliver` that runs.
    ///
    /// `Ok` settles everything that went out, so say it only when the peer has shown that it read to the end: its own orderly end, after
    /// ours, with no error on the connection. A time that is over shows nothing: need no timer, the agent waits 5 s and takes longer for `Err`.
    ///
    /// # Errors
    /// What went out is in doubt: what had not settled is not confirmed, and goes out again. The default says this; a sink whose
    /// [`settle`](Limits::settle) is zero needs nothing else, since nothing of it is ever unsettled.
    async fn close(&self) -> Result<(), Cause> {
        Err("this sink does not tell whether what went out was read".into())
    }
}

/// How a connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    /// What happened.
    pub cause: Cause,
    /// The peer ended it in an orderly way, after it had read all that was sent (a half-close, no reset): messages that go out
    /// whole over three such connections count as taken, so that a peer that always closes early does not stop the stream.
    pub orderly: bool,
}

impl Lost {
    /// The connection broke: what had not settled is in doubt.
    pub fn broken(cause: impl Into<Cause>) -> Self {
        Lost { cause: cause.into(), orderly: false }
    }

    /// The peer closed it in an orderly way.
    pub fn orderly(cause: impl Into<Cause>) -> Self {
        Lost { cause: cause.into(), orderly: true }
    }
}

/// Why a batch was not taken. Each variant is an instruction to the agent; positions index the batch, from 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SinkError {
    /// The fault is not in the messages: send `untaken` again (empty: all). Every other one was taken.
    Retry {
        /// Positions that were not taken; empty means none was.
        untaken: Vec<usize>,
        /// When the destination asked for a pause, how long.
        after: Option<Duration>,
        /// What happened.
        cause: Cause,
    },
    /// The fault is in the messages: `refused` will never be taken, `untaken` were not looked at, every other one was taken.
    /// The sink stays in use: it has looked at the messages, so it is in order.
    Refused {
        /// What will never be taken; empty: it is not known which, and the culprit is among `untaken`, or anywhere in the
        /// batch when that is empty too. The agent halves until it is found.
        refused: Vec<Refusal>,
        /// Positions that the destination did not take; they are sent again.
        untaken: Vec<usize>,
        /// What happened.
        cause: Cause,
    },
    /// A person must act (token, topic, index, permission, path): the agent tries slowly and says so loudly. A fault
    /// of the configuration is always this, never `Refused`.
    Blocked {
        /// What happened and what to do.
        cause: Cause,
    },
}

impl SinkError {
    /// Nothing of the batch was taken, for a reason that passes.
    pub fn retry(cause: impl Into<Cause>) -> Self {
        SinkError::Retry { untaken: Vec::new(), after: None, cause: cause.into() }
    }

    /// Nothing was taken, and a person must act.
    pub fn blocked(cause: impl Into<Cause>) -> Self {
        SinkError::Blocked { cause: cause.into() }
    }

    /// What happened, in words.
    pub fn cause(&self) -> &Cause {
        match self {
            SinkError::Retry { cause, .. } | SinkError::Refused { cause, .. } | SinkError::Blocked { cause } => cause,
        }
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SinkError::Retry { cause, .. } => write!(f, "not taken, will be tried again: {cause}"),
            SinkError::Refused { refused, cause, .. } if refused.is_empty() => write!(f, "refused: {cause}"),
            SinkError::Refused { refused, cause, .. } => write!(f, "{} refused: {cause}", refused.len()),
            SinkError::Blocked { cause } => write!(f, "blocked until someone acts: {cause}"),
        }
    }
}

impl std::error::Error for SinkError {}

/// One message that the destination will never take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Its position in the batch, from 0.
    pub position: usize,
    /// The destination's words; they go to the quarantine with the record.
    pub cause: Cause,
}

/// Words for a person: what happened, where, what to do; one line, lower case, never a secret, never event content.
///
/// Words that a person must act on end with a **code** in brackets: `… [HecToken]`. It stays the same while the words get better, and is looked up in
/// the runbook; wherever the words are shown, the code is, too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause(pub String);

impl Cause {
    /// Words with their code: letters and digits, `HecToken` for example.
    pub fn coded(code: &str, words: impl fmt::Display) -> Cause {
        Cause(format!("{words} [{code}]"))
    }

    /// The code at the end of the words, if they have one.
    pub fn code(&self) -> Option<&str> {
        code_of(&self.0)
    }
}

/// The code at the end of words that came from a [`Cause`], if they have one.
pub fn code_of(words: &str) -> Option<&str> {
    let code = words.strip_suffix(']')?.rsplit_once(" [")?.1;
    (!code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(code)
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

impl From<String> for Cause {
    fn from(words: String) -> Self {
        Cause(words)
    }
}

impl From<&str> for Cause {
    fn from(words: &str) -> Self {
        Cause(words.to_string())
    }
}

impl From<std::io::Error> for Cause {
    fn from(error: std::io::Error) -> Self {
        Cause(error.to_string())
    }
}

/// All that a sink may ask of the agent. The agent remembers what was read and opens the sink anew when it changed, so that
/// rotating a certificate, key or token costs a sink no line.
#[async_trait]
pub trait Env: Send + Sync {
    /// Name and version of the agent, `auditferry/0.1.0` for example: for user agents and client ids.
    fn agent(&self) -> &str;

    /// A secret's value, never empty. Cached for 60 s and read anew after [`SinkError::Blocked`].
    ///
    /// # Errors
    /// The reference leads nowhere: the words say where and what to do. Answer with [`SinkError::Blocked`].
    async fn secret(&self, reference: &SecretRef) -> Result<SecretString, Cause>;

    /// A file's bytes: certificates, keys.
    ///
    /// # Errors
    /// It can't be read: the words say where and why. Answer with [`SinkError::Blocked`].
    async fn file(&self, path: &Path) -> Result<Bytes, Cause>;

    /// 128 random bits: channel ids, jitter of client libraries.
    fn random(&self) -> u128;
}

/// The shape of [`SinkKind::check`].
pub type Check = fn(Options<'_>, &Format) -> Result<Box<dyn CheckedSink>, ConfigErrors>;

/// One kind of sink: one `pub const KIND` per crate. The registry is a list of them.
#[derive(Clone, Copy)]
pub struct SinkKind {
    /// What the configuration's `kind` says.
    pub name: &'static str,
    /// A complete table for the configuration, as the crate's `sample.toml` has it.
    pub sample: &'static str,
    /// Checks the sink's own options. **Pure**: it reads no file, no variable, no clock, and connects to nothing. `name`,
    /// `kind`, `codec`, `raw_data`, `start`, `filter`, `sources`, `batch` were taken out before. Ends with `options.finalize(None)?`.
    ///
    /// # Errors
    /// Every mistake of the table, with its place.
    pub check: Check,
}

impl fmt::Debug for SinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SinkKind({})", self.name)
    }
}

/// A sink whose options are in order.
#[async_trait]
pub trait CheckedSink: Send + Sync {
    /// What it can take; the same as long as it lives.
    fn limits(&self) -> Limits;

    /// What `Ok` will be worth, as far as the options tell; for `check`. `None`: only the destination can tell.
    fn promise(&self) -> Option<Confirmation> {
        None
    }

    /// Effective options for `check`, in order: name and value as printed. A secret stands there as `***`.
    fn settings(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Files that it reads when it is opened (certificates, keys), for `check` to look at.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Secrets that the options refer to, for `check` to look at.
    fn references(&self) -> Vec<SecretRef> {
        Vec::new()
    }

    /// What no other sink of its kind can have at the same time, a file's path for example, in words that fit behind "two sinks write".
    /// The configuration refuses two sinks that name the same. `None`: sinks of this kind can share their destination.
    fn exclusive(&self) -> Option<String> {
        None
    }

    /// Connects: the only place that does. Called again after every failure.
    ///
    /// # Errors
    /// As for [`Sink::deliver`]; `Refused` makes no sense here.
    async fn open(&self, env: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError>;

    /// Tries the destination for `check --connect`, delivers nothing and changes nothing there; tells what `Ok` is worth. By itself it opens the sink
    /// and closes it: a sink whose `open` leaves something behind (a new file, say) looks without opening.
    ///
    /// # Errors
    /// As for [`CheckedSink::open`].
    async fn probe(&self, env: Arc<dyn Env>) -> Result<Confirmation, SinkError> {
        let sink = self.open(env).await?;
        let worth = sink.confirmation();
        let _settled = sink.close().await;
        Ok(worth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_stands_at_the_end_of_the_words() {
        let cause = Cause::coded("HecToken", "splunk:8088 answered 403; look at option `token`");
        assert_eq!(cause.0, "splunk:8088 answered 403; look at option `token` [HecToken]");
        assert_eq!(cause.code(), Some("HecToken"));
        for none in ["", "no code", "[Whole]", "a list [a, b]", "empty []", "inside [Code] of words"] {
            assert_eq!(code_of(none), None, "{none}");
        }
    }
}
