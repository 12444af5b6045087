//! auditferry carries Microsoft Power Platform audit events into a SIEM.
//!
//! Everything the agent knows is in the [`ledger`]. Four loops read and write the ledger and share nothing else:
//! [`collect`] lists what the service has, [`fetch`] downloads it, [`deliver`] hands it to the sinks, [`sweep`] forgets
//! and records what is lost. Read them in this order and you know the product; `docs/promises.md` has the invariants.

pub mod cli;
pub mod codec;
pub mod config;
pub mod event;
pub mod fetch;
pub mod retry;
pub mod simulator;
pub mod sinks;
pub mod source;
pub mod world;

/// Name and version as sinks, services and metrics see them.
pub const AGENT: &str = concat!("auditferry/", env!("CARGO_PKG_VERSION"));
