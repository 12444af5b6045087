//! A Kafka cluster in memory: librdkafka's mock cluster, and a consumer that reads everything.
//!
//! It speaks the real protocol over loopback, and can lose brokers, leaders and answers. It has no TLS and no SASL, looks
//! into no message (an [`Inspector`] in front of it does), does not know a repeat when it sees one, and keeps 5 MiB a
//! partition: the consumer reads along.
//!
//! The mock cluster is not `Send`, so one thread owns it and runs what it is asked to.

mod inspector;

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Headers},
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use super::Arrivals;

pub use inspector::Inspector;
pub use rdkafka::types::RDKafkaRespErr as Code;

/// How many records are kept with key and headers.
const KEPT: usize = 10_000;
/// How long the consumer may take to read what lies in the cluster.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the consumer is asked where the partitions end, 50 ms or more apart.
const ASKED: u32 = 200;

type Cluster = MockCluster<'static, DefaultProducerContext>;
type Order = Box<dyn FnOnce(&mut Keeper) + Send>;

/// What came with one body.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Where it lies.
    pub partition: i32,
    /// Its key, as text.
    pub key: Option<String>,
    /// Its headers in order, as text.
    pub headers: Vec<(String, String)>,
}

/// What the consumer has read.
#[derive(Debug, Default)]
struct Read {
    /// By partition: the offset after the last record.
    next: Vec<i64>,
    records: VecDeque<Record>,
    missed: u64,
}

/// A running cluster. It ends when this is dropped.
#[derive(Debug)]
pub struct Kafka {
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    read: Arc<(Mutex<Read>, Condvar)>,
    bootstrap: String,
    topic: String,
}

struct Keeper {
    cluster: Cluster,
    consumer: BaseConsumer,
    topic: String,
    partitions: i32,
    arrivals: Arc<Arrivals>,
    read: Arc<(Mutex<Read>, Condvar)>,
    cut_at_next: bool,
    /// Nobody can be asked: every broker is down, or says that there is no such topic.
    silent: bool,
    /// Partitions that nobody leads.
    leaderless: BTreeSet<i32>,
}

impl Kafka {
    /// Starts `brokers` brokers on free ports of 127.0.0.1, with one topic; what arrives there goes to `arrivals`. Broker 1 leads
    /// every partition.
    ///
    /// # Errors
    /// No thread, no port, or librdkafka's words.
    pub fn start(brokers: i32, topic: &str, partitions: i32, arrivals: Arc<Arrivals>) -> io::Result<Kafka> {
        let read =
            Arc::new((Mutex::new(Read { next: vec![0; partitions as usize], ..Read::default() }), Condvar::new()));
        let (orders, inbox) = sync_channel::<Order>(16);
        let (tell, told) = sync_channel(1);
        let (name, place) = (topic.to_string(), read.clone());
        let thread = Builder::new().name("fake kafka".into()).spawn(move || {
            match Keeper::new(brokers, name, partitions, arrivals, place) {
                Ok(keeper) => {
                    let _ = tell.send(Ok(keeper.cluster.bootstrap_servers()));
                    keeper.run(&inbox);
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        })?;
        let started = told.recv().map_err(|_| io::Error::other("the fake kafka ended at its start"))?;
        let bootstrap = started.map_err(|error| io::Error::other(format!("the fake kafka can't start: {error}")))?;
        Ok(Kafka { orders: Some(orders), thread: Some(thread), read, bootstrap, topic: topic.to_string() })
    }

    /// Where clients connect to: `host:port`, separated by commas.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.read.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the owning thread do something.
    fn ask<T: Send + 'static>(&self, what: impl FnOnce(&mut Keeper) -> T + Send + 'static) -> T {
        let (tell, told) = sync_channel(1);
        let order: Order = Box::new(move |keeper| drop(tell.send(what(keeper))));
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        assert!(sent, "the fake kafka has ended");
        told.recv().expect("the fake kafka has ended")
    }

    fn tell(&self, what: impl FnOnce(&Cluster, &str) -> Result<(), KafkaError> + Send + 'static) {
        let done = self.ask(move |keeper| what(&keeper.cluster, &keeper.topic));
        done.unwrap_or_else(|error| panic!("the fake kafka can't do that: {error}"));
    }

    /// Waits until the consumer has read what lies in the partitions that can be asked; false: it could not.
    pub fn catch_up(&self) -> bool {
        // right after an error was taken back the consumer still has it in its cache: that it can't tell where a partition ends does not
        // mean that nothing lies there
        let mut asked = 0;
        let ends = loop {
            match self.ask(|keeper| keeper.ends()) {
                Some(ends) => break ends,
                None if asked == ASKED => return false,
                None => asked += 1,
            }
            let _ = self.read.1.wait_timeout(self.lock(), Duration::from_millis(50));
        };
        let behind =
            |read: &mut Read| ends.iter().zip(&read.next).any(|(end, next)| end.is_some_and(|end| *next < end));
        let waited = self.read.1.wait_timeout_while(self.lock(), PATIENCE, behind);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The last records that were read, with key and headers; at most 10,000.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.iter().cloned().collect()
    }

    /// Records that the cluster forgot before the consumer had read them: a test with any proves nothing.
    pub fn missed(&self) -> u64 {
        self.lock().missed
    }

    /// One broker ends all connections and takes none; -1: all of them. Leaders stay where they are.
    pub fn down(&self, broker: i32) {
        self.ask(move |keeper| keeper.silent |= broker == -1);
        self.tell(move |cluster, _| cluster.broker_down(broker));
    }

    /// The broker is back; -1: all of them.
    pub fn up(&self, broker: i32) {
        self.ask(|keeper| keeper.silent = false);
        self.tell(move |cluster, _| cluster.broker_up(broker));
    }

    /// Every answer of the broker takes this long; -1: of all brokers.
    pub fn answer_after(&self, broker: i32, delay: Duration) {
        self.tell(move |cluster, _| cluster.broker_round_trip_time(broker, delay));
    }

    /// Who leads a partition; `None`: nobody.
    pub fn lead(&self, partition: i32, broker: Option<i32>) {
        self.ask(move |keeper| match broker {
            Some(_) => keeper.leaderless.remove(&partition),
            None => keeper.leaderless.insert(partition),
        });
        self.tell(move |cluster, topic| cluster.partition_leader(topic, partition, broker));
    }

    /// The next `times` requests to produce are answered with this error, and nothing of them is stored.
    pub fn refuse(&self, code: Code, times: usize) {
        self.tell(move |cluster, _| {
            cluster.request_errors(RDKafkaApiKey::Produce, &vec![code; times]);
            Ok(())
        });
    }

    /// The next requests for a producer's id are answered with this error: the first thing that an idempotent producer asks.
    pub fn refuse_producers(&self, code: Code, times: usize) {
        self.tell(move |cluster, _| {
            cluster.request_errors(RDKafkaApiKey::InitProducerId, &vec![code; times]);
            Ok(())
        });
    }

    /// What metadata say of the topic: unknown, or not allowed.
    pub fn topic_error(&self, code: Code) {
        self.ask(|keeper| keeper.silent = true);
        self.tell(move |cluster, topic| cluster.topic_error(topic, code));
    }

    /// Ends every connection to the leader once the next message lies in its partition, before the producer hears of it. Needs two
    /// brokers or more: the consumer reads from the second one meanwhile, which answers at once. The cluster then takes what the producer
    /// repeats for something new, unlike a real one: it looks at the sequence numbers of transactions only.
    pub fn lose_next_answer(&self) {
        self.ask(|keeper| {
            keeper.cut_at_next = true;
            keeper.cluster.broker_round_trip_time(1, Duration::from_secs(2))
        })
        .unwrap_or_else(|error| panic!("the fake kafka can't lose an answer: {error}"));
    }

    /// Everything is as at the start, but for what has arrived.
    pub fn heal(&self) {
        self.ask(|keeper| {
            (keeper.cut_at_next, keeper.silent) = (false, false);
            keeper.leaderless.clear();
            keeper.cluster.clear_request_errors(RDKafkaApiKey::Produce);
            keeper.cluster.clear_request_errors(RDKafkaApiKey::InitProducerId);
            keeper.cluster.topic_error(&keeper.topic, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR)?;
            for partition in 0..keeper.partitions {
                keeper.cluster.partition_leader(&keeper.topic, partition, Some(1))?;
            }
            keeper.cluster.broker_round_trip_time(-1, Duration::ZERO)?;
            keeper.cluster.broker_up(-1)
        })
        .unwrap_or_else(|error| panic!("the fake kafka can't be healed: {error}"));
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Keeper {
    fn new(
        brokers: i32,
        topic: String,
        partitions: i32,
        arrivals: Arc<Arrivals>,
        read: Arc<(Mutex<Read>, Condvar)>,
    ) -> Result<Keeper, KafkaError> {
        let cluster = MockCluster::new(brokers)?;
        // librdkafka 2.12.1's mock ends the process when it tells a client of these versions or later that nobody leads
        cluster.apiversion(RDKafkaApiKey::Produce, Some(0), Some(9))?;
        cluster.apiversion(RDKafkaApiKey::Fetch, Some(0), Some(11))?;
        cluster.create_topic(&topic, partitions, brokers.min(3))?;
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            cluster.partition_leader(&topic, partition, Some(1))?;
            if brokers > 1 {
                // the consumer reads there: it sees what arrived also when the leader's answers are late or lost
                cluster.partition_follower(&topic, partition, 2)?;
            }
            all.add_partition_offset(&topic, partition, Offset::Beginning)?;
        }
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            // never joined: partitions are assigned by hand, and nothing is committed
            .set("group.id", "auditferry-fake")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "20")
            .set("fetch.error.backoff.ms", "20")
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "100")
            .set("retry.backoff.ms", "20")
            .set("retry.backoff.max.ms", "100")
            .set("log_level", "0")
            .create()?;
        consumer.assign(&all)?;
        Ok(Keeper {
            cluster,
            consumer,
            topic,
            partitions,
            arrivals,
            read,
            cut_at_next: false,
            silent: false,
            leaderless: BTreeSet::new(),
        })
    }

    fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            match inbox.try_recv() {
                Ok(order) => order(&mut self),
                Err(TryRecvError::Empty) => self.read_some(),
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn read_some(&mut self) {
        let mut wait = Duration::from_millis(5);
        // orders get their turn also while messages keep coming
        for _ in 0..1000 {
            let consumer = &self.consumer;
            match consumer.poll(wait) {
                Some(Ok(message)) => {
                    let cut = std::mem::take(&mut self.cut_at_next);
                    if cut {
                        // the answer is on its way for two seconds; without its connection it never comes
                        let done = self.cluster.broker_down(1).and_then(|()| self.cluster.broker_up(1));
                        let done = done.and_then(|()| self.cluster.broker_round_trip_time(1, Duration::ZERO));
                        debug_assert!(done.is_ok(), "{done:?}");
                    }
                    self.keep(&message);
                    wait = Duration::ZERO;
                }
                // brokers that are down are part of the tests
                Some(Err(_)) => {}
                None => return,
            }
        }
    }

    fn keep(&self, message: &BorrowedMessage<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers: Vec<_> = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
            .map(|header| (header.key.to_string(), header.value.map(text).unwrap_or_default()))
            .collect();
        let id = headers.iter().find(|(key, _)| key == "event_id").and_then(|(_, id)| id.parse().ok());
        self.arrivals.push(id, message.payload().unwrap_or_default());
        let record = Record { partition: message.partition(), key: message.key().map(text), headers };
        let mut read = self.read.0.lock().unwrap_or_else(PoisonError::into_inner);
        if read.records.len() == KEPT {
            read.records.pop_front();
        }
        read.records.push_back(record);
        let missed = match read.next.get_mut(message.partition() as usize) {
            Some(next) => {
                let missed = message.offset() - *next;
                *next = message.offset() + 1;
                missed
            }
            None => 0,
        };
        read.missed += missed.unsigned_abs();
        self.read.1.notify_all();
    }

    /// Where each partition ends, `None` where there is nobody to say; `None` in all: somebody should have said it and did not.
    fn ends(&self) -> Option<Vec<Option<i64>>> {
        let end = |partition| {
            if self.silent || self.leaderless.contains(&partition) {
                return Some(None);
            }
            let marks = self.consumer.fetch_watermarks(&self.topic, partition, Duration::from_secs(10));
            marks.ok().map(|(_, high)| Some(high))
        };
        (0..self.partitions).map(end).collect()
    }
}
