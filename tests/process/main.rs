//! The real binary: killed over and over, stopped, run twice, starved.

#![allow(clippy::disallowed_methods, reason = "real processes run in real time")]

mod agent;
mod kill;
