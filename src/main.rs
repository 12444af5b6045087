//! The agent with the sinks of this build.

fn main() -> std::process::ExitCode {
    auditferry::cli::main(&auditferry::sinks::registry())
}
