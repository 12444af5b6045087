//! auditferry carries Microsoft Power Platform audit events into a SIEM.
//!
//! Everything the agent knows is in the [`ledger`]. Four loops read and write the ledger and share nothing else:
//! [`collect`] lists what the service has, [`fetch`] downloads it, [`deliver`] hands it to the sinks, [`sweep`] forgets
//! and records what is lost. Read them in this order and you know the product.
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
pub mod fetch;
pub mod ledger;
pub mod metrics;
pub mod own_events;
pub mod retry;
pub mod simulator;
pub mod sinks;
pub mod source;
pub mod status;
pub mod sweep;
pub mod world;

/// Name and version as sinks, services and metrics see them.
pub const AGENT: &str = concat!("auditferry/", env!("CARGO_PKG_VERSION"));

/// The cargo features of this build: which sinks it carries, and whether it is a test build.
pub fn features() -> Vec<&'static str> {
    let all = [
        ("stdout", cfg!(feature = "stdout")),
        ("file", cfg!(feature = "file")),
        ("testing", cfg!(feature = "testing")),
    ];
    all.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect()
}
