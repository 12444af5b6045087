//! The command line: one file per subcommand, and what the exit codes mean.

mod asking;
pub mod backup;
pub mod check;
mod check_files;
mod completions;
pub mod connect;
pub mod demo;
mod heap;
mod ledger_args;
mod logging;
pub mod manual;
pub mod map;
pub mod quarantine;
pub mod remove_tenant;
pub mod retire_sink;
pub mod run;
pub mod simulate;
pub mod sinks;
mod split;
pub mod status;
pub mod subscriptions;
pub mod support_bundle;
mod version;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use auditferry_contract::SinkKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    config::{LogFormat, Report},
    show,
    world::{Gate, SystemClock, World, http_client::ReqwestFactory, random::SystemRandom},
};

/// How a command ended, as the shell sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// As asked: 0.
    Done,
    /// Anything that has no code of its own: 1.
    Failed,
    /// The configuration or the command line is wrong; nothing was started: 2.
    Configuration,
    /// The ledger can't be used: 3.
    Ledger,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Configuration => 2,
            Exit::Ledger => 3,
        })
    }
}

/// Carries Microsoft Power Platform audit events into a SIEM.
#[derive(Parser, Debug)]
#[command(
    name = "auditferry",
    after_help = "Exit codes: 0 as asked, 2 configuration, 3 ledger unusable, 1 anything else."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Shows the whole way: a simulated tenant, the real agent, events on stdout and in ./auditferry-demo/; needs nothing
    Demo(demo::DemoArgs),
    /// Carries events until SIGTERM; a second signal stops at once
    Run(run::RunArgs),
    /// Finds every mistake of a configuration, and shows what applies
    Check(check::Args),
    /// Maps raw records (JSON lines or arrays) to encoded lines, in order
    Map(map::Map),
    /// Plays a Microsoft 365 tenant, for trying rules, configurations and other clients
    Simulate(simulate::SimulateArgs),
    /// Shows the books, what is pending, gaps and sizes; exit code 1 when the books do not close
    Status(status::StatusArgs),
    /// Shows each sink: what it is, what its Ok is worth, what it is owed, why it fails
    Sinks(sinks::SinksArgs),
    /// Shows, starts or stops the subscriptions of the tenants
    #[command(subcommand)]
    Subscriptions(subscriptions::SubscriptionsCommand),
    /// Looks at records that sinks refused, offers them again or gives them up
    #[command(subcommand)]
    Quarantine(quarantine::QuarantineCommand),
    /// Ends a sink that is gone from the configuration; what it is owed becomes gaps
    RetireSink(retire_sink::RetireArgs),
    /// Removes what is held of a tenant that is gone from the configuration; its books and gaps stay
    RemoveTenant(remove_tenant::RemoveArgs),
    /// Copies the ledger into one file, beside a running agent too
    Backup(backup::BackupArgs),
    /// Puts a copy in the place of the ledger; the agent must be stopped
    Restore(backup::RestoreArgs),
    /// Packs what somebody needs who helps you: no secrets, no records; says what is in it
    SupportBundle(support_bundle::BundleArgs),
    /// Prints the manual page, or writes one for each command into a folder
    Man(manual::ManArgs),
    /// Prints the completions for a shell
    Completions(completions::CompletionsArgs),
}

fn dispatch(command: Command, registry: &[SinkKind]) -> ExitCode {
    match command {
        Command::Demo(args) => with_agent(LogFormat::Text, true, |world| demo::run(args, world)).into(),
        Command::Run(args) => run::start(&args, registry).into(),
        Command::Check(args) => check::run(&args, registry).into(),
        Command::Map(args) => map::run(&args),
        Command::Simulate(args) => match runtime() {
            Ok(runtime) => runtime.block_on(simulate::run(args, production())),
            Err(exit) => exit.into(),
        },
        Command::Status(args) => status::run(&args, registry).into(),
        Command::Sinks(args) => sinks::run(&args, registry).into(),
        Command::Subscriptions(command) => subscriptions::run(&command, registry).into(),
        Command::Quarantine(command) => quarantine::run(&command, registry).into(),
        Command::RetireSink(args) => retire_sink::run(&args, registry).into(),
        Command::RemoveTenant(args) => remove_tenant::run(&args, registry).into(),
        Command::Backup(args) => backup::backup(&args, registry).into(),
        Command::Restore(args) => backup::restore(&args, registry).into(),
        Command::SupportBundle(args) => support_bundle::run(&args, registry).into(),
        Command::Man(args) => manual::run(&args, registry).into(),
        Command::Completions(args) => completions::run(&args, registry).into(),
    }
}

/// The world of a process that is not a test.
pub(crate) fn production() -> World {
    World {
        http: Arc::new(ReqwestFactory),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom::default()),
        gate: Gate::default(),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.map_err(|error| {
        err(&format!("auditferry: can't start: {error}\n"));
        Exit::Failed
    })
}

/// Starts logging and a runtime, and runs what needs both.
fn with_agent<F: Future<Output = Exit>>(log: LogFormat, quiet: bool, work: impl FnOnce(World) -> F) -> Exit {
    if let Err(words) = logging::start(log, quiet) {
        err(&format!("auditferry: {words}\n"));
        return Exit::Configuration;
    }
    match runtime() {
        Ok(runtime) => {
            let exit = runtime.block_on(work(production()));
            // a blocking read that hangs must not hold up the end
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            exit
        }
        Err(exit) => exit,
    }
}

/// Where the configuration is; for every command that reads one.
#[derive(clap::Args, Clone, Debug)]
pub struct ConfigArgs {
    /// A TOML file, or a folder of them that make one configuration; may be repeated. Without it: what AUDITFERRY_CONFIG names,
    /// with `:` between several
    #[arg(long = "config", value_name = "FILE")]
    pub paths: Vec<PathBuf>,
}

/// Parses the command line and runs the command. A custom main calls this with its own sink kinds.
pub fn main(registry: &[SinkKind]) -> ExitCode {
    heap::few_arenas();
    let matches = command(registry).try_get_matches();
    match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => dispatch(cli.command, registry),
        // help and version are no errors: clap knows, and prints where each belongs
        Err(error) => {
            let _ = error.print();
            if error.use_stderr() { Exit::Configuration.into() } else { Exit::Done.into() }
        }
    }
}

/// The command line's shape, for this parser, the documentation and its tests.
pub fn command(registry: &[SinkKind]) -> clap::Command {
    // clap wants them for ever; made once per process
    Cli::command().version(&*version::short(registry).leak()).long_version(&*version::long(registry).leak())
}

/// Prints to standard output; a reader that is gone is no reason to panic.
pub fn out(text: &str) {
    out_bytes(text.as_bytes());
}

/// Prints bytes as they are to standard output.
pub fn out_bytes(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// Prints to standard error.
pub fn err(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Shows the mistakes of a configuration, and says what the exit code is then.
pub fn refuse(report: &Report) -> Exit {
    err(&report.render(io::stderr().is_terminal()));
    Exit::Configuration
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command(&[]).debug_assert();
    }

    /// Each subcommand under a title of its own, those of a subcommand below it.
    fn describe(command: &mut clap::Command, level: &str, above: &str, page: &mut String) {
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            let name = format!("{above}{}", sub.get_name());
            let help = sub.render_long_help().to_string();
            let help: Vec<&str> = help.lines().map(str::trim_end).collect();
            *page += &format!("\n{level} {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end());
            describe(sub, &format!("{level}#"), &format!("{name} "), page);
        }
    }

    /// `UPDATE_DOCS=1 cargo test --lib the_page_of_commands` writes the page anew.
    #[test]
    fn the_page_of_commands_is_what_help_says() {
        let kinds = crate::sinks::registry();
        let mut page = String::from(
            "# Commands\n\nWhat `--help` says, written down. Exit codes: 0 as asked, 2 configuration, 3 ledger unusable, 1 anything else.\n",
        );
        let mut all = command(&kinds).term_width(100);
        all.build();
        describe(&mut all, "##", "", &mut page);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(written, page, "docs/commands.md is not what --help says; UPDATE_DOCS=1 writes it anew");
    }
}
