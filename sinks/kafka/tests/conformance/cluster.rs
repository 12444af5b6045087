//! What a cluster does while a batch is on its way: brokers and leaders that are gone, refusals of every sort.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use auditferry_conformance::{
    TestEnv, batch,
    fakes::{
        Arrivals,
        kafka::{Code, Kafka},
    },
    message,
};
use auditferry_contract::{Batch, CheckedSink, EventId, Format, Message, Options, Sink, SinkError, toml_span};
use tokio::time::timeout;

const TOPIC: &str = "audit";
const LONG: Duration = Duration::from_secs(20);

struct Stage {
    kafka: Kafka,
    arrivals: Arc<Arrivals>,
    checked: Box<dyn CheckedSink>,
}

impl Stage {
    fn new(more: &str) -> Stage {
        Stage::with(1, more)
    }

    fn with(brokers: i32, more: &str) -> Stage {
        let arrivals = Arc::new(Arrivals::with_bodies());
        let kafka = Kafka::start(brokers, TOPIC, 3, arrivals.clone()).expect("a cluster in memory");
        let brokers: Vec<_> = kafka.bootstrap_servers().split(',').collect();
        let options = format!("brokers = {brokers:?}\ntopic = {TOPIC:?}\n{more}");
        Stage { kafka, arrivals, checked: checked(&options) }
    }

    async fn open(&self) -> Arc<dyn Sink> {
        self.checked.open(Arc::new(TestEnv::default())).await.expect("open")
    }

    async fn refused_at_opening(&self) -> SinkError {
        match self.checked.open(Arc::new(TestEnv::default())).await {
            Ok(_) => panic!("it opens"),
            Err(error) => error,
        }
    }

    /// Numbers of the messages that have arrived, each once or more.
    fn arrived(&self) -> BTreeSet<String> {
        assert!(self.kafka.catch_up() && self.kafka.missed() == 0);
        self.arrivals.bodies().into_iter().map(|body| String::from_utf8(body).expect("text")).collect()
    }
}

pub fn checked(options: &str) -> Box<dyn CheckedSink> {
    let mut value = toml_span::parse(options).expect("TOML");
    let format = Format { codec: "ocsf", schema: "ocsf/1.8.0".into(), media_type: "application/json" };
    let checked = (auditferry_sink_kafka::KIND.check)(Options::new(&mut value).expect("a table"), &format);
    checked.unwrap_or_else(|error| panic!("good options are refused: {error}"))
}

/// `count` messages, each with a key of its own, so that they spread over the partitions.
fn spread(count: usize) -> Vec<Message> {
    let one = |n: usize| Message { partition_key: format!("tenant/{n}").into(), ..message(n, n.to_string()) };
    (0..count).map(one).collect()
}

fn bodies(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| n.to_string().into_bytes()).collect()
}

fn blocked(error: SinkError, words: &str) {
    match error {
        SinkError::Blocked { cause } => assert!(cause.0.contains(words), "{cause}"),
        other => panic!("not blocked: {other}"),
    }
}

#[tokio::test]
async fn with_the_broker_down_nothing_is_confirmed_until_it_is_back() {
    let stage = Stage::new("");
    let sink = stage.open().await;
    stage.kafka.down(-1);
    let mut call = sink.deliver(batch(&bodies(3)));
    assert!(timeout(Duration::from_secs(1), &mut call).await.is_err(), "an answer while the broker is down");
    stage.kafka.up(-1);
    assert_eq!(timeout(LONG, call).await.expect("an answer"), Ok(()));
    assert_eq!(stage.arrived().len(), 3);
    let records = stage.kafka.records();
    assert_eq!(records.len(), 3, "librdkafka sent something twice");
    let header = |key: &str, value: &str| (key.to_string(), value.to_string());
    assert_eq!(records[1].key.as_deref(), Some("conformance"));
    assert_eq!(
        records[1].headers,
        [
            header("event_id", &EventId::to_string(&message(1, "").id)),
            header("event_time", "1970-01-01T00:00:00Z"),
            header("schema", "ocsf/1.8.0"),
            header("content-type", "application/json"),
        ]
    );
    assert_eq!(stage.arrivals.nameless(), 0);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again() {
    let stage = Stage::with(2, "");
    let sink = stage.open().await;
    assert_eq!(sink.deliver(batch(&bodies(3))).await, Ok(()));
    assert_eq!(stage.arrived().len(), 3);
    stage.kafka.lose_next_answer();
    assert_eq!(timeout(LONG, sink.deliver(batch(&bodies(20)))).await.expect("an answer"), Ok(()));
    assert_eq!(stage.arrived().len(), 20);
    // the request came twice. A broker knows the second by its sequence number; the mock cluster looks at those of
    // transactions only, and keeps both
    assert_eq!(stage.arrivals.messages(), 3 + 2 * 20);
}

#[tokio::test]
async fn a_broker_that_stays_down_gives_everything_back_in_time() {
    let stage = Stage::new("timeout = '1s'");
    let sink = stage.open().await;
    stage.kafka.down(-1);
    let answer = timeout(LONG, sink.deliver(batch(&bodies(5)))).await.expect("an answer");
    match answer {
        Err(SinkError::Retry { untaken, cause, .. }) => {
            assert_eq!(untaken, [0; 0]);
            assert!(cause.0.contains("may be stored or not") && cause.0.contains("127.0.0.1"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
    drop(sink);
    match stage.refused_at_opening().await {
        SinkError::Retry { cause, .. } => assert!(cause.0.contains("Connection refused"), "{cause}"),
        other => panic!("{other}"),
    }
    stage.kafka.up(-1);
    assert_eq!(stage.open().await.deliver(batch(&bodies(5))).await, Ok(()));
    assert_eq!(stage.arrived().len(), 5);
}

#[tokio::test]
async fn a_broker_that_never_answers_gives_everything_back_in_time() {
    // the first delivery needs a producer id, which librdkafka asks for every half second: `timeout` leaves room for that
    let stage = Stage::new("timeout = '5s'");
    let sink = stage.open().await;
    assert_eq!(sink.deliver(batch(&bodies(1))).await, Ok(()));
    stage.kafka.answer_after(-1, Duration::from_secs(3600));
    let answer = timeout(LONG, sink.deliver(batch(&bodies(5)))).await.expect("an answer");
    assert!(matches!(&answer, Err(SinkError::Retry { untaken, .. }) if untaken.is_empty()), "{answer:?}");
}

#[tokio::test]
async fn without_a_leader_only_the_messages_of_that_partition_are_untaken() {
    let stage = Stage::new("timeout = '5s'");
    let sink = stage.open().await;
    assert_eq!(sink.deliver(Batch::new(spread(40), None)).await, Ok(()));
    assert_eq!(stage.arrived().len(), 40);
    // which partition each key belongs to is what the records say
    let records = stage.kafka.records();
    let without: Vec<usize> = (0..40)
        .filter(|n| records.iter().any(|r| r.partition == 1 && r.key.as_deref() == Some(&format!("tenant/{n}"))))
        .collect();
    assert!(!without.is_empty() && without.len() < 40);
    stage.kafka.lead(1, None);
    match timeout(LONG, sink.deliver(Batch::new(spread(40), None))).await.expect("an answer") {
        Err(SinkError::Retry { untaken, .. }) => assert_eq!(untaken, without),
        other => panic!("{other:?}"),
    }
    stage.kafka.heal();
    stage.arrived();
    assert_eq!(stage.arrivals.messages(), 80 - without.len() as u64, "something else was taken than was said");
}

#[tokio::test]
async fn unknown_topic_and_refused_permission_are_blocked_at_opening() {
    let stage = Stage::new("");
    stage.kafka.topic_error(Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    blocked(stage.refused_at_opening().await, "kafka knows no topic audit");
    stage.kafka.topic_error(Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    blocked(stage.refused_at_opening().await, "may not write to topic audit");
    stage.kafka.heal();
    assert_eq!(stage.open().await.deliver(batch(&bodies(1))).await, Ok(()));
}

#[tokio::test]
async fn a_refused_permission_is_blocked_also_where_the_library_answers_itself() {
    let stage = Stage::new("");
    let sink = stage.open().await;
    stage.kafka.refuse(Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1);
    blocked(sink.deliver(batch(&bodies(3))).await.expect_err("refused"), "may not write to topic audit");
    // without asking the broker
    blocked(sink.deliver(batch(&bodies(3))).await.expect_err("refused"), "may not write to topic audit");
    assert!(stage.arrived().is_empty());
}

#[tokio::test]
async fn what_was_stored_before_a_refusal_is_not_sent_again() {
    let stage = Stage::new("");
    let sink = stage.open().await;
    // one request for each partition: the first is refused
    stage.kafka.refuse(Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1);
    match sink.deliver(Batch::new(spread(40), None)).await {
        Err(SinkError::Retry { untaken, cause, .. }) => {
            assert!(cause.0.contains("may not write to topic audit"), "{cause}");
            let arrived = stage.arrived();
            assert!(!untaken.is_empty() && untaken.len() < 40, "{untaken:?}");
            assert_eq!(arrived, (0..40).filter(|n| !untaken.contains(n)).map(|n| n.to_string()).collect());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_producer_that_may_not_be_is_blocked_and_lost() {
    let stage = Stage::new("");
    let sink = stage.open().await;
    // the id is asked for as soon as a connection is up: a connection anew
    stage.kafka.refuse_producers(Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, 50);
    drop(sink);
    let sink = stage.open().await;
    blocked(sink.deliver(batch(&bodies(3))).await.expect_err("refused"), "IDEMPOTENT_WRITE");
    // nothing more is handed to a producer that has ended
    blocked(sink.deliver(batch(&bodies(3))).await.expect_err("refused"), "IDEMPOTENT_WRITE");
    let lost = timeout(LONG, sink.lost()).await.expect("it is lost");
    assert!(!lost.orderly && lost.cause.0.contains("IDEMPOTENT_WRITE"), "{lost:?}");
}

#[tokio::test]
async fn a_fatal_error_is_tried_again_with_a_new_producer() {
    let stage = Stage::new("");
    let sink = stage.open().await;
    assert!(timeout(Duration::from_millis(50), sink.lost()).await.is_err(), "lost while all is well");
    stage.kafka.refuse(Code::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 1);
    let answer = timeout(LONG, sink.deliver(batch(&bodies(3)))).await.expect("an answer");
    assert!(matches!(&answer, Err(SinkError::Retry { untaken, .. }) if untaken.is_empty()), "{answer:?}");
    let lost = timeout(LONG, sink.lost()).await.expect("it is lost");
    assert!(lost.cause.0.contains("is replaced"), "{lost:?}");
    assert_eq!(stage.open().await.deliver(batch(&bodies(3))).await, Ok(()));
    assert_eq!(stage.arrived().len(), 3);
}

#[tokio::test]
async fn too_few_replicas_for_a_moment_are_waited_for() {
    let stage = Stage::new("");
    let sink = stage.open().await;
    stage.kafka.refuse(Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 3);
    assert_eq!(timeout(LONG, sink.deliver(batch(&bodies(3)))).await.expect("an answer"), Ok(()));
    stage.arrived();
    assert_eq!(stage.arrivals.messages(), 3);
}

#[tokio::test]
async fn too_large_for_the_broker_names_nobody_until_it_can_only_be_one() {
    const TOO_LARGE: Code = Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    let stage = Stage::new("");
    let sink = stage.open().await;
    // a single message, but librdkafka may have sent it with those of another call
    stage.kafka.refuse(TOO_LARGE, 1);
    let answer = sink.deliver(batch(&bodies(1))).await;
    assert!(matches!(&answer, Err(SinkError::Retry { untaken, .. }) if untaken.is_empty()), "{answer:?}");
    let sink = stage.open().await;
    // several in one partition
    stage.kafka.refuse(TOO_LARGE, 1);
    match sink.deliver(batch(&bodies(5))).await {
        Err(SinkError::Refused { refused, untaken, cause }) => {
            assert!(refused.is_empty() && untaken.is_empty(), "{refused:?} {untaken:?}");
            assert!(cause.0.contains("max.message.bytes"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
    let sink = stage.open().await;
    // several in three partitions, of which one is refused
    stage.kafka.refuse(TOO_LARGE, 1);
    match sink.deliver(Batch::new(spread(40), None)).await {
        Err(SinkError::Refused { refused, untaken, .. }) => {
            assert!(refused.is_empty() && !untaken.is_empty() && untaken.len() < 40, "{untaken:?}");
            assert_eq!(stage.arrived(), (0..40).filter(|n| !untaken.contains(n)).map(|n| n.to_string()).collect());
        }
        other => panic!("{other:?}"),
    }
    let sink = stage.open().await;
    // alone: now it is the one
    stage.kafka.refuse(TOO_LARGE, 1);
    match sink.deliver(batch(&bodies(1))).await {
        Err(SinkError::Refused { refused, untaken, .. }) => {
            assert_eq!(refused.iter().map(|r| r.position).collect::<Vec<_>>(), [0]);
            assert!(untaken.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_single_message_in_doubt_waits_for_the_others() {
    let stage = Stage::new("");
    let sink = stage.open().await;
    stage.kafka.refuse(Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 1);
    assert!(sink.deliver(batch(&bodies(2))).await.is_err());
    let sink = stage.open().await;
    stage.kafka.down(-1);
    let mut many = sink.deliver(batch(&bodies(2)));
    assert!(timeout(Duration::from_millis(200), &mut many).await.is_err());
    let (message, dropped) = auditferry_conformance::watched_batch(&bodies(1));
    let mut one = sink.deliver(message);
    assert!(timeout(Duration::from_millis(200), &mut one).await.is_err());
    assert!(!dropped.load(std::sync::atomic::Ordering::SeqCst), "it was handed over while another call ran");
    stage.kafka.up(-1);
    assert_eq!(timeout(LONG, many).await.expect("an answer"), Ok(()));
    assert_eq!(timeout(LONG, one).await.expect("an answer"), Ok(()));
}

#[tokio::test]
async fn too_large_for_the_option_names_the_message() {
    let stage = Stage::new("max_message = '4096 B'");
    let sink = stage.open().await;
    let largest = stage.checked.limits().message_bytes;
    let sizes = [10, largest, 5000, largest - 1];
    let bodies: Vec<_> = sizes.iter().map(|size| vec![b'x'; *size]).collect();
    match sink.deliver(batch(&bodies)).await {
        Err(SinkError::Refused { refused, untaken, .. }) => {
            assert_eq!(refused.iter().map(|r| r.position).collect::<Vec<_>>(), [2]);
            assert!(untaken.is_empty(), "{untaken:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(stage.kafka.catch_up());
    assert_eq!(stage.arrivals.messages(), 3);
}

#[tokio::test]
async fn the_longest_key_leaves_room_for_the_largest_body() {
    let stage = Stage::new("max_message = '4096 B'");
    let sink = stage.open().await;
    let body = vec![b'x'; stage.checked.limits().message_bytes];
    let long = Message { partition_key: "\u{6f22}".repeat(9000).into(), ..message(0, body) };
    assert_eq!(sink.deliver(Batch::new(vec![long], None)).await, Ok(()));
    assert!(stage.kafka.catch_up());
    assert_eq!(stage.kafka.records()[0].key.as_deref(), Some(&*"\u{6f22}".repeat(85)));
}

#[tokio::test]
async fn the_largest_batches_fit_into_the_queue_at_once() {
    let stage = Stage::new("");
    let sink = stage.open().await;
    let limits = stage.checked.limits();
    assert_eq!((limits.batch_messages, limits.in_flight), (5000, 4));
    let call = || sink.deliver(batch(&vec![vec![b'y'; 790]; 5000]));
    let answers = tokio::join!(call(), call(), call(), call());
    assert_eq!(answers, (Ok(()), Ok(()), Ok(()), Ok(())));
    assert!(stage.kafka.catch_up());
    assert_eq!((stage.arrivals.messages(), stage.kafka.missed()), (20_000, 0));
}
