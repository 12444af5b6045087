//! `auditferry retire-sink NAME`: ends a sink that is gone from the configuration while something is owed to it.

use auditferry_contract::SinkKind;

use super::{
    ConfigArgs, Exit,
    asking::{self, Waiting},
    ledger_args::{books, fail},
    show::harmless,
};
use crate::{config, ledger::Wanted};

/// Which sink.
#[derive(clap::Args, Clone, Debug)]
pub struct RetireArgs {
    /// Its name, as it stood in the configuration
    name: String,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    waiting: Waiting,
}

/// Asks the agent to end the sink; what it is owed becomes gaps.
pub fn run(args: &RetireArgs, registry: &[SinkKind]) -> Exit {
    let config = match config::load(&args.config.paths, registry) {
        Ok(config) => config,
        Err(report) => return super::refuse(&report),
    };
    let name = harmless(&args.name);
    if config.sinks.iter().any(|sink| sink.name == args.name) {
        let words = format!(
            "sink `{name}` is in the configuration: take it out there and start the agent again, then ask once more"
        );
        return fail(Exit::Configuration, &words);
    }
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let state_dir = &config.agent.state_dir;
    runtime.block_on(async {
        let books = match books(state_dir).await {
            Ok(books) => books,
            Err(exit) => return exit,
        };
        let known = books.sinks.iter().filter(|sink| !sink.retired);
        let gone: Vec<&str> = known
            .map(|sink| sink.name.as_str())
            .filter(|name| config.sinks.iter().all(|it| it.name != *name))
            .collect();
        let Some(sink) = books.sinks.iter().find(|sink| !sink.retired && sink.name == args.name) else {
            let hint = match gone.as_slice() {
                [] => "no sink is gone from the configuration".to_owned(),
                names => config::hint(&args.name, names),
            };
            return fail(Exit::Failed, &format!("there is no sink `{name}` in the ledger; {hint}"));
        };
        super::err(&format!(
            "sink {name}: {} contents owed and {} records in quarantine become gaps\n",
            sink.contents,
            books.quarantined(&args.name)
        ));
        asking::ask(state_dir, Wanted::RetireSink { name: args.name.clone() }, args.waiting).await
    })
}
