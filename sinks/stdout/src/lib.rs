//! One line per event on standard output. See the crate's `README.md` for its promise and pitfalls.

mod config;
mod sink;

use auditferry_contract::SinkKind;

/// Kind `stdout`.
pub const KIND: SinkKind = SinkKind { name: "stdout", sample: include_str!("../sample.toml"), check: config::check };
