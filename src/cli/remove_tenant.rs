//! `auditferry remove-tenant TENANT`: removes what the ledger holds of a tenant that is gone from the configuration.

use auditferry_contract::SinkKind;

use super::{
    ConfigArgs, Exit,
    asking::{self, Waiting},
    ledger_args::{books, fail},
    show::harmless,
};
use crate::{config, ledger::Wanted};

/// Which tenant.
#[derive(clap::Args, Clone, Debug)]
pub struct RemoveArgs {
    /// Its directory id (a GUID), as `status` shows it
    tenant: String,
    /// Also while something of it is owed to a sink, or in quarantine: that becomes gaps
    #[arg(long)]
    lose_owed: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    waiting: Waiting,
}

/// Asks the agent to remove the tenant's bodies, ids and quarantine. Its books and gaps stay.
pub fn run(args: &RemoveArgs, registry: &[SinkKind]) -> Exit {
    let config = match config::load(&args.config.paths, registry) {
        Ok(config) => config,
        Err(report) => return super::refuse(&report),
    };
    let tenant = args.tenant.trim().to_ascii_lowercase();
    let shown = harmless(&tenant);
    if let Some(source) = config.sources.iter().find(|source| source.tenant == tenant) {
        let words = format!(
            "tenant {shown} is source `{}` of the configuration: take it out there and start the agent again, then ask once more",
            source.name
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
        let known: Vec<&str> = books.streams.iter().filter_map(|stream| stream.tenant.as_deref()).collect();
        if !known.contains(&tenant.as_str()) {
            let words = format!("there is no tenant {shown} in the ledger; {}", config::hint(&tenant, &known));
            return fail(Exit::Failed, &words);
        }
        let wanted = Wanted::RemoveTenant { tenant: tenant.clone(), lose_owed: args.lose_owed };
        asking::ask(state_dir, wanted, args.waiting).await
    })
}
