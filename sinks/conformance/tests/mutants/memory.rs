//! A sink that writes into memory, in as many good and bad manners as it has names for.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use auditferry_conformance::{Destination, MOST, POISON, SECRET, State};
use auditferry_contract::{
    Batch, Cause, CheckedSink, ConfigErrors, Confirmation, Env, Format, Limits, Lost, Options, Refusal, Sink,
    SinkError, SinkKind,
};
use tokio::sync::Notify;

#[derive(Default)]
struct Store {
    taken: Vec<Vec<u8>>,
    /// Sent, and not there until somebody has looked three times.
    under_way: Vec<Vec<u8>>,
    looks: usize,
    torn: bool,
    state: Option<State>,
    attempts: usize,
    hung_up: usize,
    bell: Arc<Notify>,
    led: bool,
}

/// A sink kind is checked by a plain function, so what it writes to is found by its number.
static STORES: Mutex<Vec<Store>> = Mutex::new(Vec::new());

fn stores() -> MutexGuard<'static, Vec<Store>> {
    STORES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check(mut options: Options<'_>, _: &Format) -> Result<Box<dyn CheckedSink>, ConfigErrors> {
    let slot = options.optional("slot").unwrap_or(0);
    let manner: String = options.optional("manner").unwrap_or_default();
    if manner == "lenient" {
        options.table.clear();
    }
    options.finalize(None)?;
    Ok(Box::new(Memory::new(slot, &manner)))
}

struct Memory {
    slot: usize,
    manner: String,
    hung_up: usize,
    late: Mutex<Vec<Vec<u8>>>,
    kept: Mutex<Vec<Batch>>,
}

impl Memory {
    fn new(slot: usize, manner: &str) -> Self {
        let hung_up = stores()[slot].hung_up;
        Memory { slot, manner: manner.to_string(), hung_up, late: Mutex::default(), kept: Mutex::default() }
    }

    fn is(&self, manner: &str) -> bool {
        self.manner == manner
    }

    fn take(&self, bodies: &[Vec<u8>]) {
        let store = &mut stores()[self.slot];
        store.looks = 0;
        let to = if self.manner == "silent" { &mut store.under_way } else { &mut store.taken };
        to.extend_from_slice(bodies);
    }

    /// What comes of a batch in the state in which its destination is.
    async fn answer(&self, state: State, bodies: &[Vec<u8>]) -> Result<(), SinkError> {
        let cause = |words: &str| Cause::from(words);
        let elsewhere = || cause("nobody answers at memory: wait for the test to end");
        match (state, self.manner.as_str()) {
            (State::Unwritable, "hopeful") => Ok(()),
            (State::Unwritable, "blaming") => {
                Err(SinkError::Refused { refused: vec![], untaken: vec![], cause: elsewhere() })
            }
            (State::Unwritable, "mute") => Err(SinkError::retry("")),
            (State::Unwritable, "leaking") => Err(SinkError::retry(format!("refused with token {SECRET}"))),
            (State::Unwritable, "rambling") => Err(SinkError::retry("nobody answers\nat memory")),
            (State::Unwritable, _) => Err(SinkError::retry(elsewhere())),

            (State::Unauthorised, "welcome") => Ok(()),
            (State::Unauthorised, "accusing") => {
                Err(SinkError::Refused { refused: vec![], untaken: vec![], cause: cause("the login is refused") })
            }
            (State::Unauthorised, "patient") => Err(SinkError::retry("the login is refused")),
            (State::Unauthorised, _) => Err(SinkError::blocked("the login is refused: give it another token")),

            (State::AnswerLost | State::AnswerUnreadable, manner) => {
                self.take(bodies);
                stores()[self.slot].state = None;
                let only = |name: &str| format!("{name} {state:?}") == manner;
                match () {
                    () if only("trusting") || manner == "knowing" => Ok(()),
                    () if only("resentful") => {
                        Err(SinkError::Refused { refused: vec![], untaken: vec![], cause: elsewhere() })
                    }
                    () if only("alarmed") => Err(SinkError::blocked(elsewhere())),
                    () if only("claiming") => {
                        Err(SinkError::Retry { untaken: vec![0], after: None, cause: elsewhere() })
                    }
                    () => {
                        if only("insistent") {
                            self.take(bodies);
                        }
                        Err(SinkError::retry(elsewhere()))
                    }
                }
            }

            (State::Slow, manner) => {
                self.take(bodies);
                let bell = stores()[self.slot].bell.clone();
                let first = !std::mem::replace(&mut stores()[self.slot].led, true);
                match manner {
                    "hasty" => {}
                    // only the first call waits for the answers; the others wait for it
                    "leading" if !first => bell.notified().await,
                    _ => pause().await,
                }
                stores()[self.slot].led = false;
                bell.notify_waiters();
                Ok(())
            }

            (State::BatchTooLarge, manner) if bodies.len() > MOST => match manner {
                "shrinking" => {
                    self.take(&bodies[..MOST]);
                    Ok(())
                }
                "stuck" => Err(SinkError::retry(cause("the batch is too large for memory"))),
                "condemning" => Err(refusal(0..bodies.len(), 0..0)),
                _ => Err(refusal(0..0, 0..0)),
            },

            // in buffers that nobody reads
            (State::Hangs, _) => Ok(()),
            (State::RefusesPoison, _) => self.poisoned(bodies),
            _ => {
                self.take(bodies);
                Ok(())
            }
        }
    }

    fn poisoned(&self, bodies: &[Vec<u8>]) -> Result<(), SinkError> {
        let bad = |body: &Vec<u8>| String::from_utf8_lossy(body).contains(POISON);
        let Some(at) = bodies.iter().position(bad) else {
            self.take(bodies);
            return Ok(());
        };
        let end = bodies.len();
        match self.manner.as_str() {
            "halving" => return Err(refusal(0..0, 0..0)),
            "unsure" => {
                self.take(&bodies[..at]);
                return Err(refusal(0..0, at..end));
            }
            "pardoning" => {
                self.take(&bodies[..at]);
                self.take(&bodies[at + 1..]);
                return Ok(());
            }
            "hopeless" => return Err(SinkError::retry("memory does not want this batch")),
            "panicking" => return Err(SinkError::blocked("memory does not want this batch")),
            "sweeping" => return Err(refusal(0..end, 0..0)),
            _ => {}
        }
        self.take(&bodies[..at]);
        Err(match self.manner.as_str() {
            "quoting" => SinkError::Refused {
                refused: vec![Refusal { position: at, cause: Cause(format!("memory does not want {POISON}")) }],
                untaken: (at + 1..end).collect(),
                cause: Cause::from("memory refused a message"),
            },
            "squinting" => refusal((at + 1) % end..(at + 1) % end + 1, (at + 1).min(end)..(at + 1).min(end)),
            "careless with the rest" => refusal(at..at + 1, 0..0),
            "repeating" => {
                let cause = Cause::from("memory refused a message");
                let untaken = (0..end).filter(|i| *i != at).collect();
                SinkError::Refused { refused: vec![Refusal { position: at, cause: cause.clone() }], untaken, cause }
            }
            "out of range" => refusal(at..at + 1, at + 1..end + 1),
            "stuttering" => refusal(at..at + 1, at..end),
            _ => refusal(at..at + 1, at + 1..end),
        })
    }
}

fn refusal(refused: std::ops::Range<usize>, untaken: std::ops::Range<usize>) -> SinkError {
    let cause = Cause::from("memory does not want this: write something else");
    let refused = refused.map(|position| Refusal { position, cause: cause.clone() }).collect();
    SinkError::Refused { refused, untaken: untaken.collect(), cause }
}

/// Longer than [`State::Slow`] asks for; the clock of these tests is turned, so nobody waits.
#[expect(clippy::disallowed_methods, reason = "the answer that comes late")]
async fn pause() {
    tokio::time::sleep(Duration::from_millis(600)).await;
}

#[async_trait]
impl CheckedSink for Memory {
    fn limits(&self) -> Limits {
        let in_flight = match self.manner.as_str() {
            "no calls" => 0,
            "single" => 1,
            _ => 6,
        };
        let settles = ["settling", "parting", "sanguine", "glib", "mistrustful"];
        let settle = Duration::from_secs(u64::from(settles.contains(&self.manner.as_str())));
        Limits { message_bytes: 4096, in_flight, in_hand: in_flight.min(3), settle, ..Limits::default() }
    }

    async fn open(&self, _: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        {
            let store = &mut stores()[self.slot];
            if store.torn && self.is("greedy") {
                store.taken.pop();
            }
            if !self.is("careless") {
                store.torn = false;
            }
            store.led = false;
        }
        Ok(Arc::new(Memory::new(self.slot, &self.manner)))
    }
}

#[async_trait]
impl Sink for Memory {
    fn confirmation(&self) -> Confirmation {
        Confirmation::Accepted
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        let mut bodies: Vec<Vec<u8>> = batch.iter().map(|m| m.body.to_vec()).collect();
        if !self.is("splitting") {
            batch.lines()?;
        }
        match self.manner.as_str() {
            "forgetful" if bodies.len() == 8 => drop(bodies.pop()),
            "cutting" => bodies.iter_mut().for_each(|b| b.truncate(4095)),
            "short of breath" => bodies.truncate(4999),
            "ascii" => bodies.iter_mut().for_each(|b| b.iter_mut().for_each(|c| *c &= 0x7f)),
            "chatty" if bodies.is_empty() => bodies.push(b"hello".to_vec()),
            "late" => std::mem::swap(&mut bodies, &mut self.late.lock().expect("one thread")),
            _ => {}
        }
        if self.is("clinging") {
            self.kept.lock().expect("one thread").push(batch);
        } else if self.is("queueing") && bodies.first().is_some_and(|b| b.starts_with(b"{\"case\":\"at once")) {
            // holds its hands full until all calls are there, and they never are
            let (bell, _full) = (stores()[self.slot].bell.clone(), batch);
            bell.notified().await;
        } else {
            drop(batch);
        }
        // half a message is out until the call gets to its end
        let piece = bodies.first().filter(|_| self.is("tearing")).map(|b| b[..b.len() / 2].to_vec());
        stores()[self.slot].taken.extend(piece.clone());
        tokio::task::yield_now().await;
        if let Some(piece) = piece {
            let taken = &mut stores()[self.slot].taken;
            taken.iter().rposition(|body| *body == piece).map(|at| taken.remove(at));
        }
        if self.is_gone() && !self.is("ghostly") {
            return Err(SinkError::retry("memory has hung up: open it again"));
        }
        stores()[self.slot].attempts += match self.manner.as_str() {
            "stubborn" => 2,
            "uncounted" => 0,
            _ => 1,
        };
        let state = stores()[self.slot].state.unwrap_or(State::Fine);
        self.answer(state, &bodies).await
    }

    async fn lost(&self) -> Lost {
        let bell = stores()[self.slot].bell.clone();
        let mut rung = std::pin::pin!(bell.notified());
        rung.as_mut().enable();
        if !self.is_gone() && !self.is("fickle") {
            rung.await;
        }
        if self.is("deaf") {
            std::future::pending::<()>().await;
        }
        Lost { cause: Cause::from("memory has hung up"), orderly: !self.is("gruff") }
    }

    #[expect(clippy::disallowed_methods, reason = "a sink that can't part")]
    async fn close(&self) -> Result<(), Cause> {
        let state = stores()[self.slot].state;
        match (state, self.manner.as_str()) {
            (_, "lingering") => tokio::time::sleep(Duration::from_secs(7)).await,
            (_, "mistrustful") => return Err("memory does not believe that it was read".into()),
            (Some(State::Hangs), "sanguine") | (Some(State::Breaks), "glib") => {}
            (Some(State::Hangs), _) => std::future::pending().await,
            (Some(State::Breaks), _) => return Err("memory broke off".into()),
            _ => {}
        }
        Ok(())
    }
}

impl Memory {
    fn is_gone(&self) -> bool {
        stores()[self.slot].hung_up != self.hung_up
    }
}

/// The memory, seen from the other side.
pub struct InMemory {
    slot: usize,
    manner: &'static str,
}

impl InMemory {
    /// An empty one, to which a sink of this manner writes.
    pub fn new(manner: &'static str) -> Self {
        let mut stores = stores();
        stores.push(Store::default());
        InMemory { slot: stores.len() - 1, manner }
    }
}

impl Destination for InMemory {
    fn kind(&self) -> SinkKind {
        SinkKind { name: "memory", sample: "[[sink]]\nname = \"m\"\nkind = \"memory\"\nslot = 0", check }
    }

    fn options(&self) -> String {
        format!("slot = {}\nmanner = {:?}", self.slot, self.manner)
    }

    fn received(&self) -> Vec<Vec<u8>> {
        let store = &mut stores()[self.slot];
        store.looks += 1;
        if store.looks > 3 {
            store.taken.append(&mut store.under_way);
        }
        let mut taken = store.taken.clone();
        taken.extend(store.torn.then(|| b"torn".to_vec()));
        if self.manner == "shuffled" {
            taken.reverse();
        }
        taken
    }

    fn arrange(&self, state: State) -> bool {
        let store = &mut stores()[self.slot];
        store.state = Some(state);
        store.torn = state == State::Torn;
        true
    }

    fn confirms(&self) -> bool {
        self.manner != "silent"
    }

    fn in_order(&self) -> bool {
        self.manner != "shuffled"
    }

    fn knows_repeats(&self) -> bool {
        self.manner == "knowing"
    }

    fn hang_up(&self) -> bool {
        let store = &mut stores()[self.slot];
        store.hung_up += 1;
        store.bell.notify_waiters();
        self.manner != "settling"
    }

    fn attempts(&self) -> Option<usize> {
        Some(stores()[self.slot].attempts)
    }

    fn line_oriented(&self) -> bool {
        true
    }
}
