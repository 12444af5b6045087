//! auditferry carries Microsoft Power Platform audit events into a SIEM.
//!
//! Everything the agent knows is in the [`ledger`]. Four loops read and write the ledger and share nothing else:
//! [`collect`] lists what the service has, [`fetch`] downloads it, [`deliver`] hands it to the sinks, [`sweep`] forgets
//! and records what is lost. Read them in this order and you know the product. Commands that change something only write down what
//! they want; [`requests`] does it.
//!
//! # Invariants
//!
//! - **I1** The cursor of a stream never passes a content that the service had listed and that is not in the ledger.
//! - **I2** Nothing is confirmed that the sink has not taken, unless it is filtered, skipped as a copy, or in quarantine.
//! - **I3** Every owed record reaches its sink or its quarantine, or its loss is a row in `gap`. There is no third ending.
//! - **I4** Per sink, duplicates are bounded by crashes and failed deliveries times what was under way.
//! - **I5** No sink's state delays another sink; no stream's backlog delays another stream's live events.
//! - **I6** No event is in memory only; memory is bounded by what is in hand, disk by what `status` prints.
//! - **I7** A sink has no loop of its own; only [`deliver`] decides what happens next.
//! - **I8** Checking a sink's options, [`event`], [`codec`], [`budget`] and window arithmetic are pure.
//! - **I9** Time, randomness and network come through [`world`]; only [`agent`] spawns.
//! - **I10** Stopping at any instant is safe; a panic in a sink restarts it, inside a record makes it unreadable, anywhere else ends the process.
//! - **I11** The bearer token goes to the configured API origin and nowhere else; no secret reaches a log, an error or a metric.
//!
//! A build with sinks of its own is a main of five lines: a list of [`auditferry_contract::SinkKind`] given to [`cli::main`].

pub mod activity;
pub mod admin;
pub mod agent;
pub mod budget;
pub mod cli;
pub mod codec;
pub mod collect;
pub mod config;
pub mod deliver;
pub mod env;
pub mod event;
pub mod expiry;
pub mod fetch;
pub mod fold;
pub mod ledger;
pub mod metrics;
pub mod own_events;
pub mod page;
pub mod refrain;
pub mod requests;
pub mod retry;
pub mod service_manager;
mod show;
pub mod simulator;
pub mod sinks;
pub mod source;
pub mod status;
pub mod sweep;
pub mod underway;
pub mod world;

/// Name and version as sinks, services and metrics see them.
pub const AGENT: &str = concat!("auditferry/", env!("CARGO_PKG_VERSION"));

/// The cargo features of this build: which sinks it carries, and whether it is a test build.
pub fn features() -> Vec<&'static str> {
    let all = [
        ("stdout", cfg!(feature = "stdout")),
        ("file", cfg!(feature = "file")),
        ("splunk_hec", cfg!(feature = "splunk_hec")),
        ("syslog", cfg!(feature = "syslog")),
        ("kafka", cfg!(any(feature = "kafka", feature = "kafka-system-openssl"))),
        ("testing", cfg!(feature = "testing")),
    ];
    all.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect()
}
