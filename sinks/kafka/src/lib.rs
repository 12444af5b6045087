//! Events to a Kafka topic, confirmed when every in-sync replica has them. See the crate's `README.md` for its promise and pitfalls.

mod config;
mod context;
mod credentials;
mod settings;
mod sink;
mod verdict;
mod words;

use auditferry_contract::SinkKind;

/// Kind `kafka`.
pub const KIND: SinkKind = SinkKind { name: "kafka", sample: include_str!("../sample.toml"), check: config::check };

/// The version of librdkafka in this build, as `2.12.1`.
pub fn library_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
