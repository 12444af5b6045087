//! The real binary: killed over and over, stopped, run twice, starved, poisoned, set wrongly.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

mod agent;
mod books;
mod certificates;
mod connect;
mod demo;
mod doors;
mod fakes;
mod full;
mod gone;
mod kill;
mod ledger;
mod life;
mod locked;
mod logs;
mod memory;
mod metrics;
mod notify;
mod page;
mod poison;
mod quarantine;
mod receivers;
mod refusals;
mod settings;
mod starved;
mod stop;

mod support;
mod tenants;
