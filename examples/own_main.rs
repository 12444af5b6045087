//! An agent with sinks of your own: the registry is a list, a main is a call.
//!
//! `cargo run --example own_main -- --version` names the sinks that it carries. A sink of your own is one more
//! [`SinkKind`] in the list; `sinks/README.md` says how to write one.

use auditferry_contract::SinkKind;

fn main() -> std::process::ExitCode {
    let kinds: Vec<SinkKind> = auditferry::sinks::registry();
    // kinds.push(my_sink::KIND);
    auditferry::cli::main(&kinds)
}
