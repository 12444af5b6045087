//! What outlives the agent (ledger, service, destinations, time), and one life of an agent on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use auditferry::{
    activity::Activity,
    admin::{Admin, Answer, WatchedSource},
    agent::{self, AgentError, Setup, SinkSetup, SourceSetup},
    codec::{self, CodecOptions},
    config::{Filter, Select},
    ledger::{Ledger, Memory, Millis},
    simulator::{InProcess, Profile, Simulator, TenantProfile},
    source::{SecretReader, Settings, office365::Office365},
    world::{Gate, Transport, World},
};
use auditferry_contract::{Cause, CheckedSink, Env, EventId, Limits, SecretRef, SecretString};
use bytes::Bytes;
use futures_util::FutureExt;

use crate::{
    keeper::Keeper,
    seeds::moody::{Moody, Script},
    sinks::{Destination, Shaky},
    truth::Ids,
    world::{Origins, VirtualClock, world},
};

/// A sink of the scenario.
#[derive(Clone)]
pub struct SinkPlan {
    pub name: &'static str,
    pub start: Option<Duration>,
    /// A file in this folder, or the fake.
    pub file: Option<std::path::PathBuf>,
    pub faulty: bool,
    /// How long the fake's `Ok` may be disproved.
    pub settle: Duration,
    /// How long the fake lets a batch fill up.
    pub age: Duration,
    /// The fake logs in with the stage's token.
    pub token: bool,
    /// The fake follows this script, within these limits.
    pub script: Option<(Arc<Script>, Limits)>,
    /// Tenants whose streams it takes; `None`: all.
    pub tenants: Option<Vec<String>>,
    pub filter: Filter,
}

impl SinkPlan {
    pub fn fake(name: &'static str) -> SinkPlan {
        SinkPlan {
            name,
            start: None,
            file: None,
            faulty: false,
            settle: Duration::ZERO,
            age: Duration::ZERO,
            token: false,
            script: None,
            tenants: None,
            filter: Filter::default(),
        }
    }

    pub fn shaky(name: &'static str) -> SinkPlan {
        SinkPlan { faulty: true, ..SinkPlan::fake(name) }
    }

    pub fn file(name: &'static str, folder: &Path) -> SinkPlan {
        SinkPlan { file: Some(folder.join(name)), ..SinkPlan::fake(name) }
    }
}

/// The ledger could not be used at the start: the process ends, and whoever supervises it starts it again.
pub fn restarts(keeper: &Keeper, lived: &Result<(), AgentError>) -> bool {
    matches!(lived, Err(AgentError::Ledger(error)) if error.passes() && keeper.passed() <= 2)
}

/// Everything that outlives an agent.
pub struct Stage {
    pub memory: Memory,
    pub clock: Arc<VirtualClock>,
    pub profile: Profile,
    pub simulator: Arc<Mutex<Simulator>>,
    pub destinations: BTreeMap<&'static str, Destination>,
    /// Of every tenant, each a stream.
    pub content_types: Vec<String>,
    pub start: Duration,
    pub poll: Duration,
    /// How often `done` is asked.
    pub look: Duration,
    pub body_budget: u64,
    /// Messages of one sink that may be out, wait or be unsettled at once.
    pub positions: usize,
    /// Bytes that each quarantine may hold.
    pub quarantine: u64,
    /// Records that a story drops from a sink's quarantine.
    pub dropped: BTreeMap<&'static str, BTreeSet<EventId>>,
    /// Between two looks for requests: each is a gate.
    pub requests_every: Duration,
    pub activity: Activity,
    /// Every origin that got a bearer token.
    pub told: Origins,
    /// What sinks that have one log in with.
    pub token: Arc<Mutex<String>>,
    lives: u64,
    /// What answers over HTTP in this life.
    admin: Mutex<Option<Arc<Admin>>>,
    /// The ids of contents, worked out once.
    pub ids: Mutex<BTreeMap<String, Arc<Ids>>>,
    /// Until when (by the service's clock) no agent had seen the subscription of this stream enabled.
    pub unknown_until: Mutex<BTreeMap<i64, Millis>>,
}

struct TestEnv(Arc<Mutex<String>>);

#[async_trait]
impl Env for TestEnv {
    fn agent(&self) -> &str {
        "auditferry/crash-test"
    }
    async fn secret(&self, _: &SecretRef) -> Result<SecretString, Cause> {
        Ok(SecretString::from(self.0.lock().unwrap().clone()))
    }
    async fn file(&self, _: &Path) -> Result<Bytes, Cause> {
        Err(Cause("the scenario has no files".into()))
    }
    fn random(&self) -> u128 {
        4
    }
}

struct Secret(String);

#[async_trait]
impl SecretReader for Secret {
    async fn secret(&self) -> Result<SecretString, String> {
        Ok(SecretString::from(self.0.clone()))
    }
}

impl Stage {
    pub fn new(profile: Profile) -> Stage {
        Stage {
            memory: Memory::new().unwrap(),
            clock: VirtualClock::new(profile.start),
            simulator: Arc::new(Mutex::new(Simulator::new(profile.clone()))),
            profile,
            destinations: BTreeMap::new(),
            content_types: vec!["Audit.General".into()],
            start: Duration::from_secs(3 * 3600),
            poll: Duration::from_secs(300),
            look: Duration::from_secs(60),
            body_budget: 1 << 30,
            positions: auditferry::deliver::POSITIONS,
            quarantine: agent::QUARANTINE,
            dropped: BTreeMap::new(),
            requests_every: Duration::from_secs(3600),
            activity: Activity::default(),
            told: Origins::default(),
            token: Arc::new(Mutex::new("first".into())),
            lives: 0,
            admin: Mutex::default(),
            ids: Mutex::default(),
            unknown_until: Mutex::default(),
        }
    }

    /// The true time, whatever the machine takes for it.
    pub fn now(&self) -> Millis {
        self.clock.millis()
    }

    /// What the service takes for the time.
    pub fn service_now(&self) -> Millis {
        self.now() + self.simulator.lock().unwrap().profile().skew_ms
    }

    /// The ledger as a person would read it, past all gates.
    pub fn ledger(&self) -> Ledger {
        Ledger::in_memory(&self.memory, Gate::default())
    }

    /// The destination of a fake sink, before it was ever used too.
    pub fn destination(&mut self, sink: &'static str) -> Destination {
        self.destinations.entry(sink).or_default().clone()
    }

    /// What /livez, /readyz and the page answer now.
    pub fn admin(&self) -> Arc<Admin> {
        self.admin.lock().unwrap().clone().expect("an agent that lives")
    }

    pub fn page(&self) -> Answer {
        self.admin().page(false).now_or_never().expect("the ledger answers at once")
    }

    /// The sum of a metric over the series of which each of `labels` is a part (`sink="lake"`).
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.admin().metrics().now_or_never().expect("the ledger answers at once").unwrap();
        let of =
            |line: &&str| line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label));
        text.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Time goes by while no agent runs.
    pub fn pass(&self, time: Duration) {
        self.clock.pass(time);
    }

    /// Changes the running service.
    pub fn service(&self, change: impl FnOnce(&mut Profile)) {
        change(self.simulator.lock().unwrap().profile_mut());
    }

    /// What a fake sink has taken, in order.
    pub fn taken(&self, sink: &str) -> Vec<EventId> {
        self.destinations.get(sink).map(Destination::taken).unwrap_or_default()
    }

    /// Runs an agent until `done` says so (asked every `look`, a virtual minute if nobody changed it), for `limit` at most, or until it dies.
    pub fn live(
        &mut self,
        keeper: &Arc<Keeper>,
        sinks: &[SinkPlan],
        limit: Duration,
        done: impl Fn(&Stage) -> bool,
    ) -> Result<(), AgentError> {
        self.lives += 1;
        self.activity = Activity::default();
        for sink in sinks {
            self.destinations.entry(sink.name).or_default();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let result = runtime.block_on(async {
            self.clock.begin();
            let service = InProcess::new(Arc::clone(&self.simulator), Arc::clone(&self.clock) as _);
            let world = world(service, &self.clock, keeper, self.lives, &self.told);
            let setup = self.setup(&world, keeper, sinks);
            let stop = self.wait(limit, done);
            let result = tokio::select! {
                biased;
                () = keeper.death() => Ok(()),
                result = agent::run(setup, stop) => result,
            };
            // the paused time is known inside its runtime only
            self.clock.end(Duration::from_secs(60));
            result
        });
        // dropping the runtime is the death of the process: nothing of it runs on
        drop(runtime);
        match result {
            Err(_) if keeper.is_dead() => Ok(()),
            other => other,
        }
    }

    async fn wait(&self, limit: Duration, done: impl Fn(&Stage) -> bool) {
        let end = self.now() + limit.as_millis() as Millis;
        while self.now() < end && !done(self) {
            #[expect(clippy::disallowed_methods, reason = "the driver's own time")]
            tokio::time::sleep(self.look).await;
        }
    }

    fn setup(&self, world: &World, keeper: &Arc<Keeper>, sinks: &[SinkPlan]) -> Setup {
        let ledger = Ledger::in_memory(&self.memory, Gate::watched(Arc::clone(keeper) as _));
        let sources: Vec<_> = self.profile.tenants.iter().map(|tenant| self.source(tenant, world)).collect();
        let watched = sources.iter().map(|source| WatchedSource {
            name: source.name.clone(),
            streams: source.content_types.iter().map(|kind| format!("{}/{kind}", source.tenant)).collect(),
            poll: source.poll,
            source: source.source.clone(),
        });
        // the looker reads past all gates
        let (ledger_past, activity) = (self.ledger(), self.activity.clone());
        let admin = Admin { world: world.clone(), ledger: ledger_past, activity, sources: watched.collect() };
        *self.admin.lock().unwrap() = Some(Arc::new(admin));
        Setup {
            world: world.clone(),
            ledger,
            sources,
            sinks: sinks.iter().map(|plan| self.sink(plan)).collect(),
            env: Arc::new(TestEnv(Arc::clone(&self.token))),
            body_budget: self.body_budget,
            positions: self.positions,
            quarantine: self.quarantine,
            requests_every: self.requests_every,
            activity: self.activity.clone(),
        }
    }

    fn source(&self, tenant: &TenantProfile, world: &World) -> SourceSetup {
        let content_types = self.content_types.clone();
        let settings = Settings {
            tenant: tenant.id.clone(),
            client: tenant.client.clone(),
            api: self.profile.base_url.clone(),
            authority: self.profile.base_url.clone(),
            audience: self.profile.base_url.clone(),
            publisher: tenant.id.clone(),
            content: content_types.clone(),
            transport: Transport::default(),
            timeout: Duration::from_secs(30),
            stall: Duration::from_secs(30),
        };
        SourceSetup {
            name: tenant.domain.clone(),
            tenant: tenant.id.clone(),
            source: Office365::new(settings, world, Arc::new(Secret(tenant.secrets[0].clone()))).unwrap(),
            content_types,
            select: Select::PowerPlatform,
            start: self.start,
            poll: self.poll,
        }
    }

    fn sink(&self, plan: &SinkPlan) -> SinkSetup {
        let destination = self.destinations[plan.name].clone();
        let clock = Arc::clone(&self.clock);
        let checked: Box<dyn CheckedSink> = match (&plan.file, &plan.script) {
            (Some(path), _) => crate::in_place::file(path),
            (None, Some((script, limits))) => {
                Box::new(Moody { script: Arc::clone(script), destination, clock, limits: limits.clone() })
            }
            (None, None) => Box::new(Shaky {
                destination,
                faulty: plan.faulty,
                settle: plan.settle,
                age: plan.age,
                token: plan.token,
            }),
        };
        let limits = match &plan.script {
            Some((_, limits)) => limits.clone(),
            None => Limits { batch_messages: crate::sinks::BATCH, batch_age: plan.age, ..checked.limits() },
        };
        SinkSetup {
            name: plan.name.into(),
            limits,
            checked,
            codec: codec::by_name("ocsf", CodecOptions { raw_data: false }).unwrap(),
            filter: plan.filter.clone(),
            start: plan.start,
            tenants: plan.tenants.clone(),
        }
    }
}
