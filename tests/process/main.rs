//! The real binary: killed over and over, stopped, run twice, starved.

mod agent;
mod kill;
