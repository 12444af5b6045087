//! The sink: hands a batch to librdkafka, and waits for the report on each message.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use auditferry_contract::{
    Batch, Cause, Confirmation, Env, ExposeSecret, Format, Lost, Message, Sink, SinkError, options::TimeSpan,
};
use rdkafka::{
    ClientConfig,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer, ThreadedProducer},
};
use tokio::{
    sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock},
    task::spawn_blocking,
};

use crate::{
    context::{Context, Fault, FaultKind, Flight, Ticket, Told},
    credentials,
    settings::{KEY, Settings},
    verdict::{Ended, Report, casts_doubt, code_words, fatal, fault_error, fault_words, one_line, verdict},
    words::SILENT,
};

/// Whether a broker has refused a producer batch as a whole since the agent started: librdkafka makes one of messages of several calls.
/// From then on a single message is sent while no other call runs, so that a refusal is about it and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Doubt(Arc<AtomicBool>);

/// An open producer.
///
/// Dropping it blocks, for up to 0.6 s with messages in flight: they are purged, and the thread that polls is joined. The agent drops
/// sinks on a blocking thread.
pub struct KafkaSink {
    producer: ThreadedProducer<Context>,
    told: Told,
    topic: String,
    /// As the options name them, for words.
    brokers: String,
    format: Format,
    doubt: Doubt,
    turn: Arc<RwLock<()>>,
}

/// Held while a call runs.
enum Turn {
    Shared(#[expect(dead_code, reason = "held, not read")] OwnedRwLockReadGuard<()>),
    Alone(#[expect(dead_code, reason = "held, not read")] OwnedRwLockWriteGuard<()>),
}

impl KafkaSink {
    /// Creates the producer and asks for the topic's metadata, so that a wrong name, password or certificate is known before the
    /// first batch.
    pub async fn open(
        settings: &Settings,
        format: &Format,
        doubt: Doubt,
        env: &dyn Env,
    ) -> Result<KafkaSink, SinkError> {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        for (key, value) in settings.properties(env.agent()) {
            config.set(key, value);
        }
        let secrets = credentials::read(settings, env).await.map_err(SinkError::blocked)?;
        for (key, value) in &secrets {
            config.set(*key, value.expose_secret());
        }
        let (context, told) = Context::new();
        let (topic, patience, protocol) = (settings.topic.clone(), settings.patience(), settings.protocol());
        let brokers = one_line(&settings.brokers.join(", "));
        let connecting = {
            let (topic, told, brokers) = (topic.clone(), told.clone(), brokers.clone());
            // an abandoned `open` ends here by itself, and drops the producer on this thread
            spawn_blocking(move || {
                let producer: ThreadedProducer<Context> =
                    config.create_with_context(context).map_err(|error| creation(&error))?;
                let metadata = producer.client().fetch_metadata(Some(&topic), patience);
                let answer = match metadata {
                    Ok(metadata) => metadata.topics().iter().find(|t| t.name() == topic).and_then(|t| t.error()),
                    Err(error) => return Err(unreachable(&error, &told, &brokers, protocol, patience)),
                };
                match answer.map(RDKafkaErrorCode::from) {
                    // the others pass: a leader being elected, for example
                    Some(code) if is_final(code) => {
                        let words = code_words(code, &topic).unwrap_or_else(|| one_line(&code.to_string()));
                        Err(SinkError::blocked(words))
                    }
                    _ => Ok(producer),
                }
            })
        };
        let producer = tokio::select! {
            biased;
            connected = connecting => connected.map_err(|_| SinkError::retry("connecting to kafka was cut off: the agent is stopping"))?,
            fault = told.fault() => Err(fault_error(&fault)),
        }?;
        let format = format.clone();
        Ok(KafkaSink { producer, told, topic, brokers, format, doubt, turn: Arc::default() })
    }

    /// Hands one message over; librdkafka copies it.
    fn hand_over(&self, message: &Message, flight: &Arc<Flight>, position: usize) -> Result<(), Report> {
        let ticket = Box::new(Ticket { flight: flight.clone(), position });
        let (id, time) = (message.id.to_string(), message.time.to_string());
        let headers = headers(&id, &time, &self.format);
        // no timestamp: it is the time of sending then. Retention by time would delete a late event at once otherwise
        let record = BaseRecord::with_opaque_to(&self.topic, ticket)
            .key(key(&message.partition_key))
            .payload(&message.body[..])
            .headers(headers);
        self.producer.send(record).map_err(|(error, _)| match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => Report::TooLarge,
            other => Report::of(&other),
        })
    }

    /// What ended the producer. librdkafka says of a fatal error only that it is one; the reason has to be asked for.
    fn fault(&self) -> Option<Fault> {
        let fault = self.told.fault_by_now();
        if fault.as_ref().is_some_and(|fault| fault.kind != FaultKind::Fatal) {
            return fault;
        }
        let Some((code, words)) = self.producer.client().fatal_error() else { return fault };
        Some(fatal(code, &words, &self.topic))
    }
}

#[async_trait]
impl Sink for KafkaSink {
    fn confirmation(&self) -> Confirmation {
        Confirmation::Stored
    }

    async fn deliver(&self, batch: Batch) -> Result<(), SinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let alone = batch.len() == 1 && self.doubt.0.load(Ordering::Relaxed);
        let _turn = match alone {
            true => Turn::Alone(self.turn.clone().write_owned().await),
            false => Turn::Shared(self.turn.clone().read_owned().await),
        };
        if let Some(fault) = self.fault() {
            return Err(fault_error(&fault));
        }
        let (flight, all_reported) = Flight::new(batch.len());
        let mut full = false;
        for (position, message) in batch.iter().enumerate() {
            let taken = match full {
                true => Err(Report::Failed(RDKafkaErrorCode::QueueFull)),
                false => self.hand_over(message, &flight, position),
            };
            if let Err(report) = taken {
                // whatever comes after a full queue would find it full too
                full |= report == Report::Failed(RDKafkaErrorCode::QueueFull);
                flight.report(position, report);
            }
        }
        // librdkafka has copies of what it took
        drop(batch);
        tokio::select! {
            biased;
            _ = all_reported => {}
            _ = self.told.fault() => {}
        }
        let reports = flight.reports();
        if reports.iter().any(casts_doubt) {
            self.doubt.0.store(true, Ordering::Relaxed);
        }
        let (fault, last_words) = (self.fault(), self.told.last_words());
        verdict(&Ended {
            reports: &reports,
            alone,
            fault: fault.as_ref(),
            last_words: last_words.as_deref(),
            brokers: &self.brokers,
            topic: &self.topic,
        })
    }

    /// Not at the loss of a broker, which librdkafka mends; at what it can't: a fatal error, a refused login or certificate.
    async fn lost(&self) -> Lost {
        let fault = self.told.fault().await;
        Lost::broken(fault_words(&self.fault().unwrap_or(fault)))
    }
}

/// What says where a message belongs and what it is, without a look into its body.
fn headers(id: &str, time: &str, format: &Format) -> OwnedHeaders {
    OwnedHeaders::new_with_capacity(4)
        .insert(Header { key: "event_id", value: Some(id) })
        .insert(Header { key: "event_time", value: Some(time) })
        .insert(Header { key: "schema", value: Some(&*format.schema) })
        .insert(Header { key: "content-type", value: Some(format.media_type) })
}

/// The key, cut where it is longer than any honest one.
fn key(partition_key: &str) -> &str {
    &partition_key[..partition_key.floor_char_boundary(KEY)]
}

/// True when waiting won't help.
fn is_final(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(
        code,
        UnknownTopicOrPartition | UnknownTopic | InvalidTopic | TopicAuthorizationFailed | ClusterAuthorizationFailed
    )
}

/// Why the producer could not be created. The library's words may quote a property's value, the password among them.
fn creation(error: &KafkaError) -> SinkError {
    let words = match error {
        KafkaError::ClientConfig(_, _, property, _) => format!("librdkafka does not take the value of {property}"),
        KafkaError::Nul(_) => "a value holds a zero byte".to_string(),
        KafkaError::ClientCreation(words) => one_line(words),
        other => one_line(&other.to_string()),
    };
    SinkError::blocked(format!("the kafka producer can't be set up: {words}"))
}

/// With so much time a connection that does not come about has been told.
const ENOUGH: Duration = Duration::from_secs(4);

/// Why no metadata came.
fn unreachable(error: &KafkaError, told: &Told, brokers: &str, protocol: &str, patience: Duration) -> SinkError {
    if let Some(fault) = told.fault_by_now() {
        return fault_error(&fault);
    }
    let words = told.last_words().unwrap_or_else(|| match error.rdkafka_error_code() {
        // what is left when no connection failed
        None | Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut) => {
            match patience >= ENOUGH {
                true => SILENT.to_string(),
                false => format!("no answer within {}", TimeSpan(patience)),
            }
        }
        Some(code) => one_line(&code.to_string()),
    });
    // a port for another protocol looks like a broker that hangs up: librdkafka has no error for it
    SinkError::retry(Cause::coded(
        "KafkaBrokers",
        format_args!(
            "no answer from kafka at {brokers}: {words}; check `brokers`, and that this port of theirs is for {protocol}"
        ),
    ))
}
