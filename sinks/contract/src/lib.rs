//! What a sink and the agent promise each other.
use async_trait::async_trait;
use bytes::Bytes;
pub use secrecy::SecretString;
use std::{
    any::Any,
    fmt,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
pub use toml_span::{Deserialize, de_helpers::TableHelper as Options};
/// Every mistake of one table, each with its place in the file.
pub type ConfigErrors = toml_span::DeserError;

/// 128 bits that name one event for ever; written as a UUID (version 8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct EventId(pub [u8; 16]);
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

/// One event, encoded, on its way to one sink.
pub struct Message {
    pub id: EventId,
    pub time: jiff::Timestamp,
    pub severity: Severity,
    pub tenant: Arc<str>,
    pub product: &'static str,
    pub operation: Arc<str>,
    pub partition_key: Arc<str>,
    pub body: Bytes,
}
/// What a sink gets in one call. While it lives it counts against `Limits::in_hand`: drop it once its bytes are written.
pub struct Batch {
    messages: Vec<Message>,
    _held: Option<Box<dyn Any + Send + Sync>>,
}
impl Batch {
    pub fn new(messages: Vec<Message>, held: Option<Box<dyn Any + Send + Sync>>) -> Self {
        Batch { messages, _held: held }
    }
}
impl Deref for Batch {
    type Target = [Message];
    fn deref(&self) -> &[Message] {
        &self.messages
    }
}

pub struct Format {
    pub codec: &'static str,
    pub schema: Arc<str>,
    pub media_type: &'static str,
}
#[derive(Clone, Debug)]
pub struct Limits {
    pub message_bytes: usize,
    pub batch_bytes: usize,
    pub batch_messages: usize,
    pub batch_age: Duration,
    pub in_flight: usize,
    pub in_hand: usize,
    pub deadline: Duration,
    pub settle: Duration,
}
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Confirmation {
    Sent,
    Accepted,
    Stored,
}

#[async_trait]
pub trait Sink: Send + Sync {
    fn confirmation(&self) -> Confirmation;
    async fn deliver(&self, batch: Batch) -> Result<(), SinkError>;
    async fn lost(&self) -> Cause {
        std::future::pending().await
    }
    async fn close(&self) {}
}
pub enum SinkError {
    Retry { untaken: Vec<usize>, after: Option<Duration>, cause: Cause },
    Refused { refused: Vec<Refusal>, untaken: Vec<usize>, cause: Cause },
    Blocked { cause: Cause },
}
pub struct Refusal {
    pub position: usize,
    pub cause: Cause,
}
/// Words for a person: what happened, where, what to do; never a secret.
#[derive(Clone, Debug)]
pub struct Cause(pub String);
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl From<std::io::Error> for Cause {
    fn from(e: std::io::Error) -> Self {
        Cause(e.to_string())
    }
}

pub enum SecretRef {
    File(PathBuf),
    Env(String),
    KeyVault(String),
}
#[async_trait]
pub trait Env: Send + Sync {
    fn agent(&self) -> &str;
    async fn secret(&self, reference: &SecretRef) -> Result<SecretString, Cause>;
    async fn file(&self, path: &Path) -> Result<Bytes, Cause>;
    fn random(&self) -> u128;
}
pub struct SinkKind {
    pub name: &'static str,
    pub sample: &'static str,
    pub check: fn(Options<'_>, &Format) -> Result<Box<dyn CheckedSink>, ConfigErrors>,
}
#[async_trait]
pub trait CheckedSink: Send + Sync {
    fn limits(&self) -> Limits;
    async fn open(&self, env: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError>;
}
