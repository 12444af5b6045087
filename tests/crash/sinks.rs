//! The destinations of the scenario: a real file, and a fake that fails in every way that a sink can.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use auditferry_contract::{Batch, Cause, CheckedSink, Confirmation, Env, EventId, Limits, Sink, SinkError};

/// What a fake destination keeps of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub id: EventId,
    pub operation: Arc<str>,
    /// The encoded event.
    pub body: String,
}

/// What a fake destination holds; it outlives the agent.
#[derive(Clone, Default)]
pub struct Destination {
    taken: Arc<Mutex<Vec<Taken>>>,
    calls: Arc<AtomicU64>,
    blocked: Arc<AtomicBool>,
    pub failures: Arc<AtomicU64>,
}

impl Destination {
    pub fn taken(&self) -> Vec<EventId> {
        self.taken.lock().unwrap().iter().map(|message| message.id).collect()
    }

    /// Takes nothing while it is on: a person must act.
    pub fn block(&self, on: bool) {
        self.blocked.store(on, Ordering::Relaxed);
    }

    /// The messages of one operation, in the order in which they were taken.
    pub fn of_operation(&self, operation: &str) -> Vec<Taken> {
        self.taken.lock().unwrap().iter().filter(|message| *message.operation == *operation).cloned().collect()
    }
}

/// Fails every third call, each time in another way.
pub struct Shaky {
    pub destination: Destination,
    pub faulty: bool,
}

pub const BATCH: usize = 7;

#[async_trait]
impl CheckedSink for Shaky {
    fn limits(&self) -> Limits {
        Limits {
            message_bytes: 1 << 20,
            batch_bytes: 1 << 20,
            batch_messages: BATCH,
            batch_age: Duration::ZERO,
            in_flight: 1,
            in_hand: 1,
            deadline: Duration::from_secs(20),
            settle: Duration::ZERO,
        }
    }

    async fn open(&self, _: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        Ok(Arc::new(Open { destination: self.destination.clone(), faulty: self.faulty }))
    }
}

struct Open {
    destination: Destination,
    faulty: bool,
}

impl Open {
    fn take(&self, batch: &[auditferry_contract::Message]) {
        self.destination.taken.lock().unwrap().extend(batch.iter().map(|message| Taken {
            id: message.id,
            operation: Arc::clone(&message.operation),
            body: String::from_utf8_lossy(&message.body).into_owned(),
        }));
    }
}

#[async_trait]
impl Sink for Open {
    fn confirmation(&self) -> Confirmation {
        Confirmation::Stored
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        let call = self.destination.calls.fetch_add(1, Ordering::Relaxed);
        if self.destination.blocked.load(Ordering::Relaxed) {
            self.destination.failures.fetch_add(1, Ordering::Relaxed);
            return Err(SinkError::Blocked { cause: Cause("the index is gone".into()) });
        }
        let retry = |untaken, words: &str| SinkError::Retry { untaken, after: None, cause: Cause(words.into()) };
        if self.faulty && call % 3 == 2 {
            self.destination.failures.fetch_add(1, Ordering::Relaxed);
            let half = batch.len() / 2;
            return match call / 3 % 6 {
                0 => Err(retry(vec![], "refused the connection")),
                1 => {
                    self.take(&batch[..half]);
                    Err(retry((half..batch.len()).collect(), "took a prefix"))
                }
                2 => {
                    self.take(&batch[..half]);
                    Err(retry(vec![], "took a prefix, the answer was lost"))
                }
                3 => {
                    self.take(&batch);
                    Err(retry(vec![], "took all, the answer was lost"))
                }
                4 => {
                    self.take(&batch);
                    // never answers
                    std::future::pending().await
                }
                _ => Err(SinkError::Blocked { cause: Cause("a person must act".into()) }),
            };
        }
        self.take(&batch);
        Ok(())
    }
}

/// A sink whose blocking calls end before anything else goes on: a thread that answers when it likes would make the
/// order of the gates a matter of luck.
struct InPlace(Box<dyn CheckedSink>);

struct OpenInPlace(Arc<dyn Sink>);

async fn in_place<T: Send>(work: impl Future<Output = T> + Send) -> T {
    // other loops have their turn while it is under way, and may die then
    tokio::task::yield_now().await;
    std::thread::scope(|scope| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        scope.spawn(move || runtime.block_on(work)).join().unwrap()
    })
}

#[async_trait]
impl CheckedSink for InPlace {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    async fn open(&self, env: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        Ok(Arc::new(OpenInPlace(in_place(self.0.open(env)).await?)))
    }
}

#[async_trait]
impl Sink for OpenInPlace {
    fn confirmation(&self) -> Confirmation {
        self.0.confirmation()
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        in_place(self.0.deliver(batch)).await
    }
}

/// The real file sink.
pub fn file(path: &std::path::Path) -> Box<dyn CheckedSink> {
    let text = format!("path = {:?}", path.display().to_string());
    let mut value = toml_span::parse(&text).unwrap();
    let options = toml_span::de_helpers::TableHelper::new(&mut value).unwrap();
    let format =
        auditferry_contract::Format { codec: "ocsf", schema: "ocsf/1.8.0".into(), media_type: "application/json" };
    match (auditferry_sink_file::KIND.check)(options, &format) {
        Ok(checked) => Box::new(InPlace(checked)),
        Err(errors) => panic!("{errors}"),
    }
}

/// The ids of the whole lines of a file.
pub fn ids_of(path: &std::path::Path) -> Vec<EventId> {
    let text = std::fs::read(path).unwrap_or_default();
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    text[..whole]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let event: serde_json::Value = serde_json::from_slice(line).expect("a whole line of JSON");
            event["metadata"]["uid"].as_str().expect("an id").parse().expect("a UUID")
        })
        .collect()
}
