//! The real binary: killed over and over, stopped, run twice, starved.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

mod agent;
mod books;
mod certificates;
mod demo;
mod doors;
mod gone;
mod kill;
mod ledger;
mod logs;
mod metrics;
mod quarantine;
mod receivers;
mod refusals;
mod starved;
mod stop;
mod support;
mod tenants;
