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
        self.timeout.min(Duration::from_secs(12))
    }

    /// How long a connection may take until requests can be sent, handshakes included. Shorter than `patience`, so that `open` hears how far
    /// it came: that is what tells a firewall from a broker that accepts and is silent. librdkafka wants a second at least.
    fn setup(&self) -> Duration {
        // it looks once a second; brokers that take half a second for each answer still get through
        (self.patience() * 5 / 6).max(Duration::from_secs(1))
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
            ("socket.connection.setup.timeout.ms", milliseconds(self.setup())),
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

#[cfg(test)]
mod tests {
    use rdkafka::{ClientConfig, producer::BaseProducer};

    use super::*;

    fn settings(encrypted: bool, sasl: Option<&'static str>) -> Settings {
        let login = |mechanism| Sasl { mechanism, username: "alice".into(), password: SecretRef::Env("X".into()) };
        Settings {
            brokers: vec!["a:9092".into(), "[::1]:9093".into()],
            topic: "audit".into(),
            encrypted,
            tls: Tls::default(),
            sasl: sasl.map(login),
            compression: "zstd",
            client_id: None,
            max_message: MAX_MESSAGE,
            timeout: TIMEOUT,
        }
    }

    fn lines(settings: &Settings) -> Vec<String> {
        settings.properties("auditferry/1").iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn the_whole_list() {
        assert_eq!(
            lines(&settings(true, Some("SCRAM-SHA-512"))),
            [
                "bootstrap.servers=a:9092,[::1]:9093",
                "client.id=auditferry/1",
                "security.protocol=sasl_ssl",
                "enable.ssl.certificate.verification=true",
                "ssl.endpoint.identification.algorithm=https",
                "sasl.mechanism=SCRAM-SHA-512",
                "sasl.username=alice",
                "enable.idempotence=true",
                "acks=all",
                "message.timeout.ms=30000",
                "request.timeout.ms=30000",
                "socket.timeout.ms=30000",
                "compression.type=zstd",
                "message.max.bytes=1000000",
                "linger.ms=5",
                "queue.buffering.max.messages=20000",
                "queue.buffering.max.kbytes=15625",
                "partitioner=murmur2_random",
                "allow.auto.create.topics=false",
                "topic.metadata.propagation.max.ms=15000",
                "topic.metadata.refresh.interval.ms=180000",
                "metadata.max.age.ms=180000",
                "connections.max.idle.ms=180000",
                "socket.keepalive.enable=true",
                "socket.connection.setup.timeout.ms=10000",
                "reconnect.backoff.max.ms=5000",
            ]
        );
    }

    #[test]
    fn what_differs_without_tls_or_login_and_with_other_options() {
        let plain = lines(&settings(false, None));
        assert!(plain.contains(&"security.protocol=plaintext".into()));
        assert!(!plain.iter().any(|line| line.contains("ssl.") || line.contains("sasl.")), "{plain:?}");
        assert_eq!(settings(true, None).protocol(), "ssl");
        assert_eq!(settings(false, Some("PLAIN")).protocol(), "sasl_plaintext");
        let other = Settings {
            client_id: Some("soc".into()),
            max_message: 16 << 20,
            timeout: Duration::from_secs(2),
            ..settings(false, None)
        };
        let lines = lines(&other);
        for line in [
            "client.id=soc",
            "message.max.bytes=16777216",
            "message.timeout.ms=2000",
            "request.timeout.ms=2000",
            "queue.buffering.max.kbytes=65532",
        ] {
            assert!(lines.contains(&line.into()), "{line}: {lines:?}");
        }
        assert_eq!(other.limits().deadline, Duration::from_secs(19));
        assert_eq!(other.patience(), Duration::from_secs(2));
    }

    /// Everything that librdkafka would find fault with at run time: unknown properties, contradictions (idempotence undone), codecs and
    /// mechanisms that it was built without.
    #[test]
    fn librdkafka_takes_them_all() {
        for encrypted in [false, true] {
            for sasl in [None, Some("PLAIN"), Some("SCRAM-SHA-256"), Some("SCRAM-SHA-512")] {
                for compression in ["none", "lz4", "snappy", "zstd"] {
                    for seconds in [1, 300] {
                        let timeout = Duration::from_secs(seconds);
                        let settings = Settings { compression, timeout, ..settings(encrypted, sasl) };
                        let mut config = ClientConfig::new();
                        for (key, value) in settings.properties("auditferry/1") {
                            config.set(key, value);
                        }
                        config.set("bootstrap.servers", "").set("sasl.password", "x");
                        config.create_native_config().unwrap_or_else(|error| panic!("{error}"));
                    }
                }
            }
            let mut config = ClientConfig::new();
            for (key, value) in settings(encrypted, Some("SCRAM-SHA-256")).properties("auditferry/1") {
                config.set(key, value);
            }
            config.set("bootstrap.servers", "").set("sasl.password", "x");
            let created: Result<BaseProducer, _> = config.create();
            assert!(created.is_ok(), "{:?}", created.err());
        }
    }

    #[test]
    fn this_build_of_librdkafka_can_do_what_the_options_offer() {
        let native = ClientConfig::new().create_native_config().expect("defaults");
        let features = native.get("builtin.features").expect("it says what it can");
        for feature in ["ssl", "sasl_plain", "sasl_scram", "zstd", "lz4", "snappy"] {
            assert!(features.split(',').any(|f| f == feature), "{feature} is missing: {features}");
        }
        assert!(!features.split(',').any(|f| f == "gzip"), "gzip is here: offer it");
    }

    #[test]
    fn a_message_of_the_largest_size_has_room_for_key_and_headers() {
        // varints of the framing (`rdkafka_proto.h`), then per header two lengths of at most five bytes each
        let framing = 36;
        let headers = [("event_id", 36), ("event_time", 35), ("schema", 64), ("content-type", 64)];
        let headers: usize = headers.iter().map(|(name, value)| name.len() + value + 10).sum();
        assert!(framing + KEY + headers <= OVERHEAD);
    }
}
