//! `auditferry subscriptions`: how each content type's subscription stands at the service; starting and stopping them by hand.

use std::fmt::Write as _;

use auditferry_contract::SinkKind;
use serde::Serialize;

use super::{
    ConfigArgs, Exit,
    ledger_args::fail,
    run,
    show::{harmless, harmless_json},
};
use crate::{
    config::{self, Config, SourceConfig, secret::Secrets},
    env::AgentEnv,
    ledger::{self, Ground},
    source::office365::{Office365, SourceError},
    world::World,
};

/// What to do with subscriptions.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum SubscriptionsCommand {
    /// Shows how each content type's subscription stands; changes nothing
    List {
        /// Which
        #[command(flatten)]
        which: Which,
        /// JSON for programs
        #[arg(long)]
        json: bool,
    },
    /// Starts what is not enabled. `run` does so by itself
    Start {
        /// Which
        #[command(flatten)]
        which: Which,
    },
    /// Stops subscriptions, for leaving. What happens until they are started again can't be had afterwards
    Stop {
        /// Which
        #[command(flatten)]
        which: Which,
        /// Yes, lose what happens from now on
        #[arg(long)]
        yes: bool,
    },
}

/// Which subscriptions.
#[derive(clap::Args, Clone, Debug)]
pub struct Which {
    #[command(flatten)]
    config: ConfigArgs,
    /// Of this source only
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

/// One subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Row {
    source: String,
    tenant: String,
    content: String,
    /// In the service's words; `None`: there is none.
    status: Option<String>,
}

/// Runs the command.
pub fn run(command: &SubscriptionsCommand, registry: &[SinkKind]) -> Exit {
    let (SubscriptionsCommand::List { which, .. }
    | SubscriptionsCommand::Start { which }
    | SubscriptionsCommand::Stop { which, .. }) = command;
    let config = match config::load(&which.config.paths, registry) {
        Ok(config) => config,
        Err(report) => return super::refuse(&report),
    };
    let chosen = |source: &&SourceConfig| which.source.as_ref().is_none_or(|name| *name == source.name);
    let sources: Vec<&SourceConfig> = config.sources.iter().filter(chosen).collect();
    if let (Some(name), true) = (&which.source, sources.is_empty()) {
        let known: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        return fail(Exit::Failed, &format!("no source is named `{name}`; there are: {}", known.join(", ")));
    }
    if let SubscriptionsCommand::Stop { yes, .. } = command
        && let Err(words) = may_stop(&config, *yes)
    {
        return fail(Exit::Failed, &words);
    }
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    runtime.block_on(work(command, &sources, &super::production()))
}

/// A running agent would start them again within the hour, and nobody would know what happened.
fn may_stop(config: &Config, yes: bool) -> Result<(), String> {
    if let Ok(Ground { holder: Some(holder), .. }) = ledger::ground(&config.agent.state_dir) {
        return Err(format!(
            "an agent runs with this configuration ({holder}) and would start them again: stop it first, or take the source out of its file"
        ));
    }
    match yes {
        true => Ok(()),
        false => {
            Err("nothing was stopped: what happens from then on can't be had afterwards; say --yes if that is meant"
                .into())
        }
    }
}

async fn work(command: &SubscriptionsCommand, sources: &[&SourceConfig], world: &World) -> Exit {
    let env = AgentEnv::new(world.clone(), Secrets::default());
    let (mut rows, mut exit) = (Vec::new(), Exit::Done);
    for source in sources {
        let done = match run::client(source, world, &env, []) {
            Ok(client) => {
                of_source(command, source, &client).await.map_err(|error| format!("{error} [{}]", error.code))
            }
            Err(words) => Err(words),
        };
        match done {
            Ok(found) => rows.extend(found),
            Err(words) => exit = fail(Exit::Failed, &format!("source `{}`: {}", source.name, harmless(&words))),
        }
    }
    match command {
        // plain data: it always serialises
        SubscriptionsCommand::List { json: true, .. } => {
            super::out(&(harmless_json(&serde_json::to_string_pretty(&rows).unwrap_or_default()) + "\n"));
        }
        _ => super::out(&text(&rows)),
    }
    exit
}

/// Does it, and tells how they stand afterwards.
async fn of_source(
    command: &SubscriptionsCommand,
    source: &SourceConfig,
    client: &Office365,
) -> Result<Vec<Row>, SourceError> {
    let states = client.subscription_states().await?;
    let is_enabled = |status: &Option<String>| status.as_deref() == Some("enabled");
    let mut changed = false;
    for (content, status) in &states {
        match command {
            SubscriptionsCommand::Start { .. } if !is_enabled(status) => client.start_subscription(content).await?,
            SubscriptionsCommand::Stop { .. } if is_enabled(status) => client.stop_subscription(content).await?,
            _ => continue,
        }
        changed = true;
    }
    let states = if changed { client.subscription_states().await? } else { states };
    let row = |(content, status)| Row { source: source.name.clone(), tenant: source.tenant.clone(), content, status };
    Ok(states.into_iter().map(row).collect())
}

fn text(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let status = row.status.as_deref().map_or("none".to_owned(), harmless);
        let _ = writeln!(text, "{:<20} {}  {:<28} {status}", row.source, row.tenant, row.content);
    }
    text
}
