//! Wires, spawns, supervises, stops. The only place that spawns.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use auditferry_contract::{CheckedSink, Env, Limits};
use jiff::SignedDuration;
use tokio::{sync::Notify, task::JoinSet};
use tracing::{info, warn};

use crate::{
    activity::Activity,
    codec::Codec,
    collect::Collect,
    config::{Filter, Select},
    deliver::Deliver,
    env::SinkEnv,
    expiry::Reminders,
    fetch::{Fetch, Origin},
    ledger::{Ledger, LedgerError, Millis, SinkSpec, StreamRow, StreamSpec},
    requests::Requests,
    source::office365::{Office365, window},
    status::Bounds,
    sweep::Sweep,
    world::World,
};

/// A tenant to carry events from.
pub struct SourceSetup {
    /// As configured.
    pub name: String,
    /// Tenant GUID, lower case.
    pub tenant: String,
    /// The client.
    pub source: Office365,
    /// As `Audit.General`.
    pub content_types: Vec<String>,
    /// What is kept.
    pub select: Select,
    /// How far back a new stream begins.
    pub start: Duration,
    /// Between two listings.
    pub poll: Duration,
}

/// A sink to carry events to.
pub struct SinkSetup {
    /// The name is the sink.
    pub name: String,
    /// Checked, not yet open.
    pub checked: Box<dyn CheckedSink>,
    /// What it can take, with the configuration's own limits.
    pub limits: Limits,
    /// How events are written.
    pub codec: Arc<dyn Codec>,
    /// What it wants.
    pub filter: Filter,
    /// How far back a new sink is owed; `None`: from its first start.
    pub start: Option<Duration>,
    /// Tenants; `None`: all.
    pub tenants: Option<Vec<String>>,
}

/// What the quarantine of one sink holds at most (bytes).
pub const QUARANTINE: u64 = 256 << 20;

/// Everything an agent needs.
pub struct Setup {
    /// Network, clock, randomness, gate.
    pub world: World,
    /// Opened; the caller holds the directory's lock.
    pub ledger: Ledger,
    /// Where events come from.
    pub sources: Vec<SourceSetup>,
    /// Where they go.
    pub sinks: Vec<SinkSetup>,
    /// What sinks may ask of the agent.
    pub env: Arc<dyn Env>,
    /// Compressed bytes of bodies kept for slow sinks.
    pub body_budget: u64,
    /// Messages of one sink that may be out, wait or be unsettled at once: [`POSITIONS`](crate::deliver::POSITIONS), but in a test that fills it.
    pub positions: usize,
    /// Bytes that the quarantine of each sink may hold: [`QUARANTINE`], but in a test that fills one.
    pub quarantine: u64,
    /// How often to look for what commands asked for: a second, but in a test whose time is cheap and whose every wake-up counts.
    pub requests_every: Duration,
    /// What renderings read.
    pub activity: Activity,
}

/// Why an agent ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// See the ledger's words.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A loop panicked: the ledger is whole, the process ends, its supervisor starts it again.
    #[error("a loop of the agent panicked: {0}; nothing is lost, start it again")]
    Panicked(String),
}

/// Told to every loop, in the order in which they began to wait: a `watch` wakes in an order of its own luck, and a run of
/// the crash test would not repeat.
#[derive(Clone, Default)]
pub struct Stop(Arc<Asked>);

#[derive(Default)]
struct Asked {
    asked: AtomicBool,
    tell: Notify,
}

impl Stop {
    /// Asks everyone who has a copy to stop.
    fn set(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        self.0.tell.notify_waiters();
    }

    /// True once the agent is asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Resolves when the agent is asked to stop.
    pub async fn wait(&mut self) {
        // made before the look: it hears what is told after it was made
        let told = self.0.tell.notified();
        if !self.is_set() {
            told.await;
        }
    }

    /// Sleeps, or returns early when asked to stop.
    pub async fn sleep(&mut self, world: &World, duration: Duration) {
        tokio::select! {
            biased;
            () = self.wait() => {}
            () = world.sleep(duration) => {}
        }
    }
}

/// Where a new stream begins: inside what the service still offers.
fn since(start: Duration, world: &World) -> Millis {
    let start = SignedDuration::try_from(start).unwrap_or(window::REACH);
    window::first_since(start, world.clock.now()).as_millisecond()
}

/// Now, as the ledger writes it.
pub fn millis(world: &World) -> Millis {
    world.clock.now().as_millisecond()
}

/// Runs the four loops until `stop` resolves, then lets them end; what takes longer than 10 s is abandoned, which is safe.
pub async fn run(setup: Setup, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
    let asked = Stop::default();
    let mut loops = spawn(setup, &asked).await?;
    let result = tokio::select! {
        biased;
        () = stop => Ok(()),
        ended = loops.join_next() => outcome(ended),
    };
    asked.set();
    result?;
    info!("stopping");
    let end = async {
        while let Some(ended) = loops.join_next().await {
            outcome(Some(ended))?;
        }
        Ok(())
    };
    #[expect(clippy::disallowed_methods, reason = "the end of the process is not part of the simulated world")]
    let deadline = tokio::time::sleep(Duration::from_secs(9));
    tokio::select! {
        biased;
        result = end => result,
        () = deadline => {
            warn!("some work was abandoned to stop in time; it is done again at the next start");
            Ok(())
        }
    }
}

fn outcome(ended: Option<Result<Ended, tokio::task::JoinError>>) -> Result<(), AgentError> {
    match ended {
        None | Some(Ok(Ok(()))) => Ok(()),
        Some(Ok(Err(error))) => Err(error.into()),
        Some(Err(error)) => Err(AgentError::Panicked(error.to_string())),
    }
}

type Ended = Result<(), LedgerError>;

/// The loops under way.
struct Loops {
    set: JoinSet<Ended>,
    world: World,
    activity: Activity,
}

impl Loops {
    /// Starts one. Its first pulse is given here: one that hangs before it turns for the first time is noticed, too.
    fn spawn(&mut self, name: String, run: impl Future<Output = Ended> + Send + 'static) {
        let now = millis(&self.world);
        self.activity.pulse(&name, now, now);
        let gate = self.world.gate.clone();
        let mut run = Box::pin(run);
        self.set.spawn(std::future::poll_fn(move |context| match gate.hangs(&name) {
            true => Poll::Pending,
            false => run.as_mut().poll(context),
        }));
    }
}

async fn spawn(setup: Setup, stop: &Stop) -> Result<JoinSet<Ended>, AgentError> {
    let Setup { world, ledger, sources, sinks, env, body_budget, positions, quarantine, requests_every, activity } =
        setup;
    let now = millis(&world);
    let streams = sources.iter().flat_map(|source| {
        source.content_types.iter().map(|content_type| StreamSpec {
            tenant: source.tenant.clone(),
            content_type: content_type.clone(),
            since: since(source.start, &world),
        })
    });
    let specs = sinks.iter().map(|sink| SinkSpec {
        name: sink.name.clone(),
        since: sink.start.map(|start| now - start.as_millis() as Millis),
        tenants: sink.tenants.clone(),
    });
    let (streams, sink_rows) = ledger.register(streams.collect(), specs.collect(), now).await?;
    activity.bounded(Bounds { bodies: body_budget, quarantine });
    let mut loops = Loops { set: JoinSet::new(), world: world.clone(), activity: activity.clone() };
    let mut origins = BTreeMap::new();
    for source in sources {
        let streams = streams
            .iter()
            .filter(|row| row.tenant == source.tenant && source.content_types.contains(&row.content_type));
        let streams: Vec<StreamRow> = streams.cloned().collect();
        for content_type in &source.content_types {
            let row = streams.iter().find(|row| row.tenant == source.tenant && row.content_type == *content_type);
            let (tenant, client) = (source.tenant.clone(), source.source.clone());
            let origin = Origin { tenant, source: client, select: source.select };
            origins.extend(row.map(|row| (row.id, origin)));
        }
        let (world, ledger, activity) = (world.on("collect"), ledger.clone(), activity.clone());
        let name = format!("collect {}", source.name);
        let collect = Collect {
            world,
            ledger,
            source: source.source,
            streams,
            poll: source.poll,
            activity,
            name: name.clone(),
            said: Default::default(),
        };
        loops.spawn(name, collect.run(stop.clone()));
    }
    let clocks = streams.iter().filter_map(|row| {
        let origin: &Origin = origins.get(&row.id)?;
        Some((row.id, format!("{}/{}", row.tenant, row.content_type), origin.source.clone()))
    });
    let clocks = clocks.collect();
    let fetch = Fetch {
        world: world.on("fetch"),
        ledger: ledger.clone(),
        origins,
        body_budget,
        activity: activity.clone(),
        said: Default::default(),
    };
    loops.spawn("fetch".into(), fetch.run(stop.clone()));
    let reminders = Arc::new(Reminders::default());
    for sink in sinks {
        let Some(row) = sink_rows.iter().find(|row| row.name == sink.name) else { continue };
        let deliver = Deliver {
            positions,
            world: world.on("deliver"),
            ledger: ledger.clone(),
            sink: row.id,
            name: sink.name.clone(),
            checked: Arc::from(sink.checked),
            limits: sink.limits,
            env: SinkEnv::new(
                Arc::clone(&env),
                world.on("deliver"),
                sink.name,
                activity.clone(),
                Arc::clone(&reminders),
            ),
            codec: sink.codec,
            filter: sink.filter,
            quarantine,
            activity: activity.clone(),
        };
        loops.spawn(deliver.pulse_name(), deliver.run(stop.clone()));
    }
    let requests = Requests {
        world: world.on("requests"),
        ledger: ledger.clone(),
        activity: activity.clone(),
        every: requests_every,
    };
    loops.spawn("requests".into(), requests.run(stop.clone()));
    let sweep = Sweep { world: world.on("sweep"), ledger, body_budget, activity: activity.clone(), sources: clocks };
    loops.spawn("sweep".into(), sweep.run(stop.clone()));
    activity.started(now);
    Ok(loops.set)
}
