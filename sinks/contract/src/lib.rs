//! What a sink and the agent promise each other.
//!
//! A sink is a crate with one `pub const KIND: SinkKind`. The agent reads the configuration and calls
//! [`SinkKind::check`] (pure), then [`CheckedSink::open`] (the only place that connects), then [`Sink::deliver`] for
//! every batch. A sink has no loop of its own: no retry, no reconnect, no batching, no counting. It says what happened
//! ([`SinkError`]), and the agent alone decides what comes next.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use async_trait::async_trait;
//! use auditferry_contract::*;
//!
//! pub const KIND: SinkKind = SinkKind { name: "memory", sample: "kind = \"memory\"", check };
//!
//! fn check(mut options: Options<'_>, _: &Format) -> Result<Box<dyn CheckedSink>, ConfigErrors> {
//!     let room = options::size(&mut options, "room", 1..=1 << 20).unwrap_or(4096);
//!     options.finalize(None)?; // reports every mistake of the table, unknown keys included
//!     Ok(Box::new(Checked { room: room as usize }))
//! }
//! struct Checked { room: usize }
//! #[async_trait]
//! impl CheckedSink for Checked {
//!     fn limits(&self) -> Limits { Limits { message_bytes: self.room, ..Limits::default() } }
//!     async fn open(&self, _: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> { Ok(Arc::new(Memory)) }
//! }
//! struct Memory;
//! #[async_trait]
//! impl Sink for Memory {
//!     fn confirmation(&self) -> Confirmation { Confirmation::Sent }
//!     async fn deliver(&self, batch: Batch) -> Result<(), SinkError> { drop(batch); Ok(()) }
//! }
//! # let format = Format { codec: "raw", schema: "raw".into(), media_type: "application/json" };
//! # let mut value = toml_span::parse("room = \"8 KiB\"").unwrap();
//! # let checked = (KIND.check)(Options::new(&mut value).unwrap(), &format).unwrap();
//! # assert_eq!(checked.limits().message_bytes, 8192);
//! ```

mod host;
mod message;
pub mod options;
mod secret;
mod sink;

pub use host::is_loopback;
pub use message::{Batch, EventId, Format, Message, NotAnEventId, Severity};
pub use secrecy::{ExposeSecret, SecretString};
pub use secret::SecretRef;
pub use sink::{
    Cause, Check, CheckedSink, Confirmation, Env, Limits, Lost, Refusal, Sink, SinkError, SinkKind, code_of,
};
/// The TOML reader whose types stand in this contract, so that a sink names the same version.
pub use toml_span;
/// Typed reads of a sink's own table; `finalize(None)` returns every mistake with its place, unknown keys included.
pub use toml_span::{Deserialize, de_helpers::TableHelper as Options};

/// Every mistake of one table, each with its place in the file.
pub type ConfigErrors = toml_span::DeserError;
