//! The options as librdkafka's properties: one pure function, so that what a configuration means can be read and tested.

use std::time::Duration;

use auditferry_contract::{Limits, SecretRef};
use auditferry_tls::Tls;

/// How long producing one message may take unless `timeout` says otherwise: longer than a leader election after a broker died
/// (KRaft notices after `broker.session.timeout.ms`, 9 s).
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Default of `max_message`, librdkafka's own: below Kafka's 1,048,588 and Event Hubs' 1,046,528 bytes.
pub const MAX_MESSAGE: usize = 1_000_000;

/// The longest key, bytes. It only chooses the partition, so a longer one (a hostile record's) is cut, never refused.
pub const KEY: usize = 256;

/// What of `max_message` is left to everything but the body: 36 bytes of framing (`RD_KAFKAP_MESSAGE_V2_MAX_OVERHEAD`), the
/// key, and headers of some 200 bytes; a test holds it against the largest of each.
pub const OVERHEAD: usize = 1024;

/// How many calls may run at once.
const IN_FLIGHT: usize = 4;

/// Options in order.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    pub topic: String,
    /// Whether connections are encrypted.
    pub encrypted: bool,
    pub tls: Tls,
    pub sasl: Option<Sasl>,
    /// As librdkafka calls it.
    pub compression: &'static str,
    /// `None`: the agent's name and version.
    pub client_id: Option<String>,
    /// Bytes, key, headers and framing included.
    pub max_message: usize,
    pub timeout: Duration,
}

/// How to log in.
#[derive(Clone, Debug)]
pub struct Sasl {
    /// As Kafka calls it.
    pub mechanism: &'static str,
    pub username: String,
    pub password: SecretRef,
}

impl Settings {
    /// What the sink can take.
    pub fn limits(&self) -> Limits {
        let message_bytes = self.max_message - OVERHEAD;
        Limits {
            message_bytes,
            batch_bytes: message_bytes.max(4_000_000),
            batch_messages: 5000,
            batch_age: Duration::from_millis(200),
            in_flight: IN_FLIGHT,
            in_hand: IN_FLIGHT,
            // librdkafka gives every message back by `timeout`; a call may have waited for others to end before (`sink::Turn`).
            // So this only ends a call that the library forgot
            deadline: self.timeout * 2 + Duration::from_secs(15),
            settle: Duration::ZERO,
        }
    }

    /// How long `open` waits for the topic's metadata.
    pub fn patience(&self) -> Duration {
        self.timeout.min(Duration::from_secs(5))
    }

    /// Every property that is set, in order; what is not here is librdkafka's default. No secret and no file's content: those are
    /// added when the sink is opened.
    pub fn properties(&self, agent: &str) -> Vec<(&'static str, String)> {
        let limits = self.limits();
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let mut list = vec![
            ("bootstrap.servers", self.brokers.join(",")),
            ("client.id", self.client_id.clone().unwrap_or_else(|| agent.to_string())),
            ("security.protocol", self.protocol().to_string()),
        ];
        if self.encrypted {
            // the default already; said so that no other build of the library decides it
            list.push(("enable.ssl.certificate.verification", "true".to_string()));
            list.push(("ssl.endpoint.identification.algorithm", "https".to_string()));
        }
        if let Some(sasl) = &self.sasl {
            list.push(("sasl.mechanism", sasl.mechanism.to_string()));
            list.push(("sasl.username", sasl.username.clone()));
        }
        list.extend([
            // with it librdkafka sends again, on its own, without repeating or reordering anything
            ("enable.idempotence", "true".to_string()),
            ("acks", "all".to_string()),
            // no message leaves librdkafka's memory before that without being reported to us; we report it untaken
            ("message.timeout.ms", milliseconds(self.timeout)),
            ("request.timeout.ms", milliseconds(self.timeout.min(Duration::from_secs(30)))),
            ("socket.timeout.ms", milliseconds(self.timeout)),
            ("compression.type", self.compression.to_string()),
            ("message.max.bytes", self.max_message.to_string()),
            ("linger.ms", "5".to_string()),
            // room for all calls that may run; only bodies count towards the second
            ("queue.buffering.max.messages", (limits.in_flight * limits.batch_messages).to_string()),
            ("queue.buffering.max.kbytes", (limits.in_flight * limits.batch_bytes).div_ceil(1024).to_string()),
            // the Java client's: the same key lies in the same partition, whoever wrote it
            ("partitioner", "murmur2_random".to_string()),
            ("allow.auto.create.topics", "false".to_string()),
            // `open` has seen the topic: one that is unknown later was deleted
            ("topic.metadata.propagation.max.ms", milliseconds(self.timeout / 2)),
            // Event Hubs cuts idle connections after 240 s, and firewalls cut them silently
            ("topic.metadata.refresh.interval.ms", "180000".to_string()),
            ("metadata.max.age.ms", "180000".to_string()),
            ("connections.max.idle.ms", "180000".to_string()),
            ("socket.keepalive.enable", "true".to_string()),
            ("socket.connection.setup.timeout.ms", "10000".to_string()),
            ("reconnect.backoff.max.ms", "5000".to_string()),
        ]);
        list
    }

    /// What librdkafka calls the way to the brokers.
    pub fn protocol(&self) -> &'static str {
        match (self.encrypted, self.sasl.is_some()) {
            (false, false) => "plaintext",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        }
    }
}
