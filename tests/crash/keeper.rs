//! The gates: every call through the world, a sink and both sides of every ledger transaction.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use auditferry::{
    ledger::{Memory, Millis},
    world::{GateKeeper, LedgerFault},
};
use tokio::{sync::Notify, time::Instant};

use crate::{stage::Stage, strikes::Struck, touched::Touched, world::VirtualClock};

/// When the agent dies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kill {
    Never,
    /// At the gate of this number.
    At(u64),
    /// At the n-th gate (from 1) whose name begins like this: `ledger: forget`.
    On(&'static str, u64),
}

/// One way in which the ledger's disk fails for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub from: Millis,
    pub until: Millis,
    /// Calls whose name begins like this; empty: all.
    pub call: &'static str,
    /// Every n-th of them.
    pub every: u64,
    pub fault: LedgerFault,
}

/// What a keeper looks at besides.
pub struct Watch {
    pub clock: Arc<VirtualClock>,
    pub memory: Memory,
    /// Listed bodies may take so many bytes at any time.
    pub bound: i64,
    pub broken: Vec<Broken>,
    /// Looks at the rows that each transaction touched.
    pub touched: Option<Touched>,
    /// The log keeps so many gates.
    pub log: usize,
}

impl Watch {
    /// A disk that holds out, for as many bodies as there are.
    pub fn of(stage: &Stage) -> Watch {
        let (clock, memory) = (Arc::clone(&stage.clock), stage.memory.clone());
        Watch { clock, memory, bound: i64::MAX, broken: vec![], touched: None, log: 12 }
    }
}

/// No scenario has so much to do at one instant.
const SPIN: u64 = 50_000;

/// Counts gates, kills at one of them, and carries the mutant that the agent is.
pub struct Keeper {
    passed: AtomicU64,
    kill: Kill,
    dead: AtomicBool,
    died: Notify,
    mutant: Option<&'static str>,
    watch: Option<Watch>,
    seen: Mutex<Seen>,
    hung: Mutex<Option<String>>,
    panics: Mutex<Option<String>>,
}

#[derive(Default)]
struct Seen {
    by_seam: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// All gates, or the last ones.
    log: VecDeque<String>,
    /// FNV-1a over the names and times of all gates.
    hash: u64,
    calls: BTreeMap<usize, u64>,
    /// Calls of the ledger at one instant.
    instant: (Millis, u64),
    faults: u64,
    /// How often each kind of fault has shown itself.
    struck: Struck,
    slow: bool,
    /// The disk works on something until then.
    busy: Option<Instant>,
    violation: Option<String>,
}

impl Keeper {
    pub fn new(kill_at: Option<u64>, mutant: Option<&'static str>) -> Keeper {
        Keeper::with(kill_at.map_or(Kill::Never, Kill::At), mutant, None)
    }

    pub fn with(kill: Kill, mutant: Option<&'static str>, watch: Option<Watch>) -> Keeper {
        Keeper {
            passed: AtomicU64::new(0),
            kill,
            dead: AtomicBool::new(false),
            died: Notify::new(),
            mutant,
            watch,
            seen: Mutex::new(Seen { hash: 0xcbf2_9ce4_8422_2325, ..Seen::default() }),
            hung: Mutex::default(),
            panics: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// The loop of this name is not polled any more.
    pub fn hang(&self, name: &str) {
        *self.hung.lock().unwrap() = Some(name.to_owned());
    }

    /// Whoever passes the gate of this name panics.
    pub fn panics(&self, name: &str) {
        *self.panics.lock().unwrap() = Some(name.to_owned());
    }

    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Resolves when the agent has died.
    pub async fn death(&self) {
        while !self.is_dead() {
            self.died.notified().await;
        }
    }

    fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.died.notify_waiters();
    }

    pub fn by_seam(&self) -> BTreeMap<String, u64> {
        let seen = self.seen();
        let named = seen.by_seam.iter().flat_map(|(seam, details)| {
            details.iter().map(move |(detail, number)| (format!("{seam}: {detail}"), *number))
        });
        named.collect()
    }

    /// The last gates before the end, for a person who looks for the cause.
    pub fn last(&self, number: usize) -> Vec<String> {
        let seen = self.seen();
        seen.log.iter().skip(seen.log.len().saturating_sub(number)).cloned().collect()
    }

    /// Names and times of all gates in one number.
    pub fn hash(&self) -> u64 {
        self.seen().hash
    }

    /// How many calls of the ledger failed.
    pub fn faults(&self) -> u64 {
        self.seen().faults
    }

    /// Whether the ledger failed or was slow.
    pub fn troubled(&self) -> bool {
        let seen = self.seen();
        seen.faults > 0 || seen.slow
    }

    /// How often each kind of fault has shown itself, and where it died.
    pub fn struck(&self) -> Struck {
        let mut struck = self.seen().struck.clone();
        if self.is_dead() {
            let name = match &self.kill {
                Kill::On(name, _) => format!("killed at {name}"),
                _ => "killed at any gate".into(),
            };
            struck.insert(name, 1);
        }
        struck
    }

    /// What was wrong after a transaction.
    pub fn violation(&self) -> Option<String> {
        self.seen().violation.clone()
    }

    fn dies_at(&self, gate: u64, seen: &Seen, seam: &str, detail: &str) -> bool {
        match &self.kill {
            Kill::Never => false,
            Kill::At(at) => *at == gate,
            Kill::On(name, nth) => {
                let Some(rest) = name.strip_prefix(seam).and_then(|rest| rest.strip_prefix(": ")) else { return false };
                let counts = seen.by_seam.get(seam).into_iter().flatten();
                let like: u64 = counts.filter(|(known, _)| known.starts_with(rest)).map(|(_, number)| number).sum();
                detail.starts_with(rest) && like == *nth
            }
        }
    }

    fn look(&self, watch: &Watch) -> Option<String> {
        let listed = "SELECT ifnull(sum(c.bytes), 0) FROM content c JOIN stream s ON s.id = c.stream WHERE s.origin = 'listed' AND c.bytes > 0";
        let total = "SELECT value FROM meta WHERE key = 'stored_bytes'";
        let ask = |sql: &str| watch.memory.with(|it| it.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0)));
        // cheap first: everything that is stored
        if ask(total).ok()? <= watch.bound {
            return None;
        }
        let bytes = ask(listed).ok()?;
        (bytes > watch.bound).then(|| format!("I6: {bytes} bytes of bodies are stored, more than {}", watch.bound))
    }
}

fn fnv(hash: &mut u64, bytes: &[u8]) {
    for byte in bytes {
        *hash = (*hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
}

impl GateKeeper for Keeper {
    fn busy(&self, fault: Option<LedgerFault>) -> Option<Instant> {
        let mut seen = self.seen();
        let now = Instant::now();
        let free = seen.busy.filter(|busy| *busy > now);
        seen.busy = match fault {
            // whoever waits for a locked file is told with the first
            Some(LedgerFault::Locked(wait)) => Some(free.unwrap_or(now + wait)),
            // those that wait go on one after the other
            Some(LedgerFault::Slow(slow)) => Some(free.unwrap_or(now) + slow),
            _ => Some(free? + Duration::from_millis(1)),
        };
        seen.busy
    }

    fn hangs(&self, name: &str) -> bool {
        self.hung.lock().unwrap().as_deref() == Some(name)
    }

    fn pass(&self, seam: &'static str, detail: &str) -> bool {
        if self.is_dead() {
            return false;
        }
        let panics = self.panics.lock().unwrap().as_ref().is_some_and(|name| *name == format!("{seam}: {detail}"));
        assert!(!panics, "asked for this panic");
        let gate = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        let mut seen = self.seen();
        let details = seen.by_seam.entry(seam).or_default();
        match details.get_mut(detail) {
            Some(number) => *number += 1,
            None => drop(details.insert(detail.to_owned(), 1)),
        }
        match &self.watch {
            None => seen.log.push_back(format!("{gate} {seam}: {detail}")),
            Some(watch) => {
                let now = watch.clock.millis();
                fnv(&mut seen.hash, seam.as_bytes());
                fnv(&mut seen.hash, detail.as_bytes());
                fnv(&mut seen.hash, &now.to_le_bytes());
                if seen.log.len() >= watch.log {
                    seen.log.pop_front();
                }
                seen.log.push_back(format!("{gate} {seam}: {detail}"));
                if seam == "ledger committed" && seen.violation.is_none() {
                    let wrong = watch.touched.as_ref().and_then(|touched| touched.look().err());
                    let wrong = wrong.or_else(|| self.look(watch));
                    seen.violation = wrong.map(|words| format!("{words}, after gate {gate}, {detail}"));
                }
            }
        }
        if self.dies_at(gate, &seen, seam, detail) {
            drop(seen);
            self.die();
            return false;
        }
        true
    }

    fn is_alive(&self) -> bool {
        !self.is_dead()
    }

    fn mutant(&self, name: &str) -> bool {
        self.mutant == Some(name)
    }

    fn fault(&self, call: &str) -> Option<LedgerFault> {
        let watch = self.watch.as_ref()?;
        let now = watch.clock.millis();
        let mut seen = self.seen();
        if seen.instant.0 != now {
            seen.instant = (now, 0);
        }
        seen.instant.1 += 1;
        if seen.instant.1 == SPIN && !self.is_dead() {
            seen.violation = Some(format!(
                "I5: {SPIN} calls of the ledger and no time has passed, the last one is {call}: a loop spins"
            ));
            drop(seen);
            self.die();
            return None;
        }
        for (rule, broken) in watch.broken.iter().enumerate() {
            if (broken.from..broken.until).contains(&now) && call.starts_with(broken.call) {
                let count = seen.calls.entry(rule).or_default();
                *count += 1;
                if count.is_multiple_of(broken.every) {
                    seen.faults += u64::from(!matches!(broken.fault, LedgerFault::Slow(_)));
                    let name = format!("{:?}", broken.fault);
                    let name = name.split('(').next().unwrap_or_default();
                    *seen.struck.entry(format!("ledger {name}")).or_default() += 1;
                    seen.slow |= matches!(broken.fault, LedgerFault::Slow(_));
                    return Some(broken.fault);
                }
            }
        }
        None
    }
}
