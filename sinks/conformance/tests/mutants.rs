//! The suite must find what it claims to find: a sink in memory that passes, and faulty ones that each fail at their case.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use auditferry_conformance::{Destination, SECRET, State, all};
use auditferry_contract::{
    Batch, Cause, CheckedSink, ConfigErrors, Confirmation, Env, Format, Limits, Options, Sink, SinkError, SinkKind,
};

#[derive(Default)]
struct Store {
    taken: Vec<Vec<u8>>,
    torn: bool,
    broken: bool,
    attempts: usize,
}

/// A sink kind is checked by a plain function, so what it writes to is found by its number.
static STORES: Mutex<Vec<Store>> = Mutex::new(Vec::new());

fn stores() -> MutexGuard<'static, Vec<Store>> {
    STORES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check(mut options: Options<'_>, _: &Format) -> Result<Box<dyn CheckedSink>, ConfigErrors> {
    let slot = options.optional("slot").unwrap_or(0);
    let fault: String = options.optional("fault").unwrap_or_default();
    if fault == "lenient" {
        options.table.clear();
    }
    options.finalize(None)?;
    Ok(Box::new(Memory { slot, fault, late: Mutex::default(), kept: Mutex::default() }))
}

struct Memory {
    slot: usize,
    fault: String,
    late: Mutex<Vec<Vec<u8>>>,
    kept: Mutex<Vec<Batch>>,
}

#[async_trait]
impl CheckedSink for Memory {
    fn limits(&self) -> Limits {
        let in_flight = if self.fault == "no calls" { 0 } else { 4 };
        Limits { message_bytes: 4096, in_flight, in_hand: in_flight.min(3), ..Limits::default() }
    }

    async fn open(&self, _: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        let store = &mut stores()[self.slot];
        if store.torn && self.fault == "greedy" {
            store.taken.pop();
        }
        if self.fault != "careless" {
            store.torn = false;
        }
        Ok(Arc::new(Memory {
            slot: self.slot,
            fault: self.fault.clone(),
            late: Mutex::default(),
            kept: Mutex::default(),
        }))
    }
}

#[async_trait]
impl Sink for Memory {
    fn confirmation(&self) -> Confirmation {
        Confirmation::Accepted
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        let mut bodies: Vec<Vec<u8>> = batch.iter().map(|m| m.body.to_vec()).collect();
        if self.fault != "splitting" {
            batch.lines()?;
        }
        match self.fault.as_str() {
            "forgetful" if bodies.len() == 8 => drop(bodies.pop()),
            "cutting" => bodies.iter_mut().for_each(|b| b.truncate(4095)),
            "ascii" => bodies.iter_mut().for_each(|b| b.iter_mut().for_each(|c| *c &= 0x7f)),
            "chatty" if bodies.is_empty() => bodies.push(b"hello".to_vec()),
            "late" => std::mem::swap(&mut bodies, &mut self.late.lock().expect("one thread")),
            _ => {}
        }
        if self.fault == "clinging" {
            self.kept.lock().expect("one thread").push(batch);
        } else {
            drop(batch);
        }
        // half a message is out until the call gets to its end
        let piece = bodies.first().filter(|_| self.fault == "tearing").map(|b| b[..b.len() / 2].to_vec());
        stores()[self.slot].taken.extend(piece.clone());
        tokio::task::yield_now().await;
        if let Some(piece) = piece {
            let taken = &mut stores()[self.slot].taken;
            taken.iter().rposition(|body| *body == piece).map(|at| taken.remove(at));
        }
        let store = &mut stores()[self.slot];
        store.attempts += 1 + usize::from(self.fault == "stubborn");
        if store.broken {
            let cause = Cause::from("nobody answers at memory: wait for the test to end");
            return match self.fault.as_str() {
                "hopeful" => Ok(()),
                "blaming" => Err(SinkError::Refused { refused: vec![], untaken: vec![], cause }),
                "mute" => Err(SinkError::retry("")),
                "leaking" => Err(SinkError::retry(format!("refused with token {SECRET}"))),
                _ => Err(SinkError::retry(cause)),
            };
        }
        store.taken.extend(bodies);
        Ok(())
    }
}

struct InMemory {
    slot: usize,
    fault: &'static str,
}

impl InMemory {
    fn new(fault: &'static str) -> Self {
        let mut stores = stores();
        stores.push(Store::default());
        InMemory { slot: stores.len() - 1, fault }
    }
}

impl Destination for InMemory {
    fn kind(&self) -> SinkKind {
        SinkKind { name: "memory", sample: "[[sink]]\nname = \"m\"\nkind = \"memory\"\nslot = 0", check }
    }

    fn options(&self) -> String {
        format!("slot = {}\nfault = {:?}", self.slot, self.fault)
    }

    fn received(&self) -> Vec<Vec<u8>> {
        let store = &stores()[self.slot];
        let mut taken = store.taken.clone();
        taken.extend(store.torn.then(|| b"torn".to_vec()));
        taken
    }

    fn arrange(&self, state: State) -> bool {
        let store = &mut stores()[self.slot];
        store.broken = state == State::Unwritable;
        store.torn = state == State::Torn;
        true
    }

    fn attempts(&self) -> Option<usize> {
        Some(stores()[self.slot].attempts)
    }

    fn line_oriented(&self) -> bool {
        true
    }
}

fn run(fault: &'static str) -> Result<Vec<&'static str>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let run = || runtime.block_on(all(|| Box::new(InMemory::new(fault))));
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| match panic.downcast_ref::<&str>() {
        Some(words) => words.to_string(),
        None => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    })
}

#[test]
fn a_good_sink_passes_every_case() {
    assert_eq!(run(""), Ok(Vec::new()));
}

#[test]
fn every_faulty_sink_fails_at_its_case() {
    for (fault, case) in [
        ("lenient", "sample: an unknown option"),
        ("no calls", "limits: "),
        ("forgetful", "all taken: "),
        ("late", "all taken: `Ok` before"),
        ("clinging", "all taken: the batch is still held"),
        ("chatty", "empty batch: "),
        ("ascii", "all of unicode: "),
        ("cutting", "largest message: "),
        ("tearing", "cancelled: something arrived that was never sent"),
        ("hopeful", "unwritable: `Ok` though"),
        ("blaming", "unwritable: the messages are blamed"),
        ("mute", "unwritable: the cause says nothing"),
        ("leaking", "unwritable: the cause holds a secret"),
        ("stubborn", "one attempt per call: "),
        ("splitting", "line break: "),
        ("careless", "torn end: it is still there"),
        ("greedy", "torn end: it is still there after opening, or more is gone"),
    ] {
        match run(fault) {
            Ok(_) => panic!("a {fault} sink passes"),
            Err(words) => assert!(words.contains(case), "a {fault} sink fails elsewhere: {words}"),
        }
    }
}
