//! Logs on standard error: text or JSON lines, filtered by a variable.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::LogFormat;

/// Filters the logs; the syntax is that of `tracing_subscriber::EnvFilter`, as `info` or `auditferry::fetch=debug`.
pub const VARIABLE: &str = "AUDITFERRY_LOG";

/// Starts logging. `quiet`: only warnings and errors, unless the variable says otherwise. An unreadable filter is an error with words.
pub fn start(format: LogFormat, quiet: bool) -> Result<(), String> {
    let default = if quiet { "warn" } else { "info" };
    let filter = match std::env::var(VARIABLE) {
        Ok(filter) if !filter.trim().is_empty() => EnvFilter::try_new(&filter)
            .map_err(|error| format!("{VARIABLE}={filter} is no filter: {error}; try {VARIABLE}=debug"))?,
        _ => EnvFilter::new(default),
    };
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    let started = match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| format!("logging can't be started: {error}"))
}
