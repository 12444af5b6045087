//! One line per event in a file, on stable storage before it is confirmed. See the crate's `README.md` for its promise and pitfalls.

mod append;
mod config;
mod look;
mod sink;

use auditferry_contract::SinkKind;

/// Kind `file`.
pub const KIND: SinkKind = SinkKind { name: "file", sample: include_str!("../sample.toml"), check: config::check };
