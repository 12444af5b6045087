//! `auditferry run`: the agent, until SIGTERM.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use auditferry_contract::{Env, SecretRef, SecretString, SinkKind};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{error, info, warn};

use crate::{
    activity::Activity,
    admin::{self, Admin, WatchedSource},
    agent::{self, AgentError, Setup, SinkSetup, SourceSetup},
    cli::{ConfigArgs, Exit},
    codec,
    config::{self, Config, LogFormat, SourceConfig, secret::Secrets},
    env::AgentEnv,
    ledger::{self, Ledger},
    service_manager::ServiceManager,
    source::{SecretReader, Settings, office365::Office365},
    status::Configured,
    world::{Transport, World},
};

/// How long an answer's head may take, and how long a body may stall.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How often the agent looks for what commands asked for.
const REQUESTS: Duration = Duration::from_secs(1);

/// How long the admin server may still answer once the agent has ended.
const ANSWER: Duration = Duration::from_millis(500);

/// Where the configuration is, and how to log.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How log lines look, in place of the configuration's `agent.log`
    #[arg(long, value_enum)]
    log: Option<Log>,
}

/// How log lines look.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Log {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Reads the configuration, then runs.
pub fn start(args: &RunArgs, registry: &[SinkKind]) -> Exit {
    let config = match config::load(&args.config.paths, registry) {
        Ok(config) => config,
        Err(report) => {
            let exit = super::refuse(&report);
            super::err("nothing was started\n");
            return exit;
        }
    };
    let log = match args.log {
        Some(Log::Text) => LogFormat::Text,
        Some(Log::Json) => LogFormat::Json,
        None => config.agent.log,
    };
    super::with_agent(log, false, |world| run(config, world))
}

/// Runs until SIGTERM or SIGINT; a second signal ends the process at once, which is always safe.
pub async fn run(config: Config, world: World) -> Exit {
    let stop = match signals() {
        Ok(stop) => stop,
        Err(error) => return fail(Exit::Failed, &format!("signals can't be received: {error}")),
    };
    until(config, world, Secrets::default(), stop).await
}

/// Runs until `stop` resolves; what `run` and `demo` have in common.
pub async fn until(config: Config, world: World, secrets: Secrets, stop: impl Future<Output = ()>) -> Exit {
    let state_dir = config.agent.state_dir.clone();
    // held until the end: a second agent on the same directory is refused
    let _lock = match ledger::lock(&state_dir) {
        Ok(lock) => lock,
        Err(error) => return fail(Exit::Ledger, &error.to_string()),
    };
    let ledger = match Ledger::open(&state_dir) {
        Ok(ledger) => ledger,
        Err(error) => return fail(Exit::Ledger, &error.to_string()),
    };
    let listener = match TcpListener::bind(config.agent.listen).await {
        Ok(listener) => listener,
        Err(error) => {
            let listen = config.agent.listen;
            return fail(
                Exit::Failed,
                &format!(
                    "agent.listen {listen} can't be used: {error}; is another program there? end it, or give agent.listen another port [ListenTaken]"
                ),
            );
        }
    };
    if let Ok(address) = listener.local_addr() {
        info!("/metrics, /livez, /readyz and the status page are at http://{address}");
    }
    let activity = Activity::default();
    let (setup, sources) = match setup(config, &world, secrets, ledger.clone(), activity.clone()) {
        Ok(setup) => setup,
        Err(words) => return fail(Exit::Configuration, &words),
    };
    let (tell, told) = watch::channel(false);
    let clock = Arc::clone(&world.clock);
    // an answer that is under way may end; a client that never ends its request must not keep the agent up, nor a deaf service manager
    let late = async |mut ended: watch::Receiver<bool>| {
        let _ = ended.wait_for(|stop| *stop).await;
        clock.sleep(ANSWER).await;
    };
    // dropped with the agent's work, should it end without being asked: that means the same
    let (ask, asked) = watch::channel(false);
    let stop = async move {
        stop.await;
        let _ = ask.send(true);
    };
    let manager = ServiceManager::of_this_process();
    let informed = async {
        tokio::select! {
            biased;
            () = wait(asked) => {}
            () = manager.keep_informed(&world, &activity) => {}
        }
        manager.stopping().await;
    };
    let admin = Admin { world: world.clone(), ledger, activity: activity.clone(), sources };
    let served = admin::serve(listener, admin, wait(told.clone()));
    let served = async {
        tokio::select! {
            served = served => served,
            () = late(told.clone()) => Ok(()),
        }
    };
    let informed = async {
        tokio::select! {
            () = informed => {}
            () = late(told.clone()) => {}
        }
    };
    let agent = async {
        let result = agent::run(setup, stop).await;
        let _ = tell.send(true);
        result
    };
    let (result, served, ()) = tokio::join!(agent, served, informed);
    if let Err(error) = served {
        warn!("the admin server ended: {error}");
    }
    match result {
        Ok(()) => Exit::Done,
        // its own words speak of an agent that goes on
        Err(AgentError::Ledger(error)) if error.passes() => {
            fail(Exit::Ledger, &ledger::OpenError::ended(&state_dir, error).to_string())
        }
        Err(AgentError::Ledger(error)) => fail(Exit::Ledger, &error.to_string()),
        Err(error) => fail(Exit::Failed, &error.to_string()),
    }
}

fn fail(exit: Exit, words: &str) -> Exit {
    error!("{words}");
    exit
}

async fn wait(mut told: watch::Receiver<bool>) {
    // a sender that is gone means the same
    let _ = told.wait_for(|stop| *stop).await;
}

/// Resolves at the first SIGTERM or SIGINT; the second one ends the process.
fn signals() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("asked to stop; a second signal stops at once");
        #[expect(
            clippy::disallowed_methods,
            reason = "waits for the second signal while the agent ends; not a loop of the agent"
        )]
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // stopping at any instant is safe (I10)
            std::process::exit(1);
        });
    })
}

fn setup(
    config: Config,
    world: &World,
    secrets: Secrets,
    ledger: Ledger,
    activity: Activity,
) -> Result<(Setup, Vec<WatchedSource>), String> {
    let env = AgentEnv::new(world.clone(), secrets);
    let mut sources = Vec::new();
    let mut watched = Vec::new();
    let mut tenants = BTreeMap::new();
    for source in config.sources {
        tenants.insert(source.name.clone(), source.tenant.clone());
        let client = client(&source, world, &env, sources.iter().map(|other: &SourceSetup| &other.source))?;
        let content_types: Vec<String> = source.content.iter().map(|content| content.as_str().to_owned()).collect();
        watched.push(WatchedSource {
            name: source.name.clone(),
            streams: content_types.iter().map(|content_type| format!("{}/{content_type}", source.tenant)).collect(),
            poll: source.poll,
            source: client.clone(),
        });
        sources.push(SourceSetup {
            name: source.name,
            tenant: source.tenant,
            source: client,
            content_types,
            select: source.select,
            start: source.start,
            poll: source.poll,
        });
    }
    let mut sinks = Vec::new();
    for sink in config.sinks {
        let options = codec::CodecOptions { raw_data: sink.raw_data };
        let name = sink.codec.format().codec;
        let codec = codec::by_name(name, options).ok_or_else(|| format!("codec {name} is not in this build"))?;
        activity.configured(&sink.name, Configured { kind: sink.kind, codec: name, promise: sink.checked.promise() });
        sinks.push(SinkSetup {
            tenants: sink
                .sources
                .as_ref()
                .map(|names| names.iter().filter_map(|name| tenants.get(name).cloned()).collect()),
            limits: sink.limits(),
            name: sink.name,
            checked: sink.checked,
            codec,
            filter: sink.filter,
            start: sink.start,
        });
    }
    let setup = Setup {
        world: world.clone(),
        ledger,
        sources,
        sinks,
        env,
        body_budget: config.agent.body_budget,
        positions: crate::deliver::POSITIONS,
        quarantine: agent::QUARANTINE,
        requests_every: REQUESTS,
        activity,
    };
    Ok((setup, watched))
}

/// Reads a source's secret through the agent's [`Env`], anew for each token.
struct Secret {
    env: Arc<AgentEnv>,
    reference: SecretRef,
}

#[async_trait]
impl SecretReader for Secret {
    async fn secret(&self) -> Result<SecretString, String> {
        self.env.secret(&self.reference).await.map_err(|cause| cause.to_string())
    }
}

/// The client of one source.
pub(super) fn client<'a>(
    source: &SourceConfig,
    world: &World,
    env: &Arc<AgentEnv>,
    others: impl IntoIterator<Item = &'a Office365>,
) -> Result<Office365, String> {
    let ca = match &source.ca {
        Some(path) => Some(
            std::fs::read(path).map_err(|error| format!("source {}: ca {}: {error}", source.name, path.display()))?,
        ),
        None => None,
    };
    let settings = Settings {
        tenant: source.tenant.clone(),
        client: source.client.clone(),
        api: source.api.to_string(),
        authority: source.authority.to_string(),
        audience: source.audience.clone(),
        publisher: source.publisher.clone(),
        content: source.content.iter().map(|content| content.as_str().to_owned()).collect(),
        transport: Transport { ca, proxy: source.proxy.as_ref().map(ToString::to_string) },
        timeout: TIMEOUT,
        stall: TIMEOUT,
    };
    let secret = Arc::new(Secret { env: Arc::clone(env), reference: source.secret.clone() });
    Office365::beside(settings, world, secret, others).map_err(|error| format!("source {}: {error}", source.name))
}
