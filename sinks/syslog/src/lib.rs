//! RFC 5424 syslog over TCP and TLS, with octet counting. See the crate's `README.md` for its promise, options and pitfalls.

mod address;
mod config;
mod connect;
mod format;
mod queue;
mod sink;
mod words;

use auditferry_contract::SinkKind;

/// Kind `syslog`.
pub const KIND: SinkKind = SinkKind { name: "syslog", sample: include_str!("../sample.toml"), check: config::check };
