//! The agent with one more sink: `cargo run -p custom-sink -- check --config …`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut kinds = auditferry::sinks::registry();
    kinds.push(custom_sink::KIND);
    auditferry::cli::main(&kinds)
}
