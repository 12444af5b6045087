//! Events to the Splunk HTTP Event Collector (HEC). See the crate's `README.md` for its promise, options and pitfalls.
//!
//! Read `sink` first: what one call does. `envelope` writes the body, `wire` sends it, `answer` says what Splunk's answer
//! means, `pause` how long to wait, `ack` waits until Splunk has indexed what it took.

mod ack;
mod answer;
mod config;
mod cookies;
mod endpoint;
mod envelope;
mod pause;
mod sink;
mod wire;

use auditferry_contract::SinkKind;

/// Kind `splunk_hec`.
pub const KIND: SinkKind =
    SinkKind { name: "splunk_hec", sample: include_str!("../sample.toml"), check: config::check };
