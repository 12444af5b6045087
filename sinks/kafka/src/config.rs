//! The options.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use auditferry_contract::{
    CheckedSink, ConfigErrors, Confirmation, Env, Format, Limits, Options, SecretRef, Sink, SinkError, is_loopback,
    options::{ByteSize, TimeSpan, duration, missing, mistake, required_text, size, text},
    toml_span::{Deserialize, Spanned, Value},
};
use auditferry_tls::Tls;

use crate::{
    settings::{MAX_MESSAGE, Sasl, Settings, TIMEOUT},
    sink::{Doubt, KafkaSink},
};

const COMPRESSIONS: [&str; 4] = ["none", "lz4", "snappy", "zstd"];
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

pub fn check(mut options: Options<'_>, format: &Format) -> Result<Box<dyn CheckedSink>, ConfigErrors> {
    let brokers = brokers(&mut options);
    let topic = topic(&mut options);
    let encrypted = encrypted(&mut options);
    if let Some(given) = text(&mut options, "server_name") {
        let hint = "the name that each broker advertises is the one its certificate must be for";
        options.errors.push(mistake(given.span, "`server_name` can't be set for kafka", hint));
    }
    let tls = Tls::read(&mut options);
    let sasl = options.optional_s::<ReadSasl>("sasl");
    let compression = one_of(&mut options, "compression", &COMPRESSIONS, "gzip is not part of this build");
    let client_id = text(&mut options, "client_id");
    let max_message = size(&mut options, "max_message", 4096..=64 << 20);
    let timeout = duration(&mut options, "timeout", Duration::from_secs(1)..=Duration::from_secs(300));

    if let Some(given) = encrypted.as_ref().filter(|given| !given.value && tls.is_set()) {
        let hint = "leave `tls` out or set it to true; or remove `ca`, `certificate` and `key`";
        options.errors.push(mistake(given.span, "`tls` is off, and files for it are given", hint));
    }
    let encrypted = encrypted.map_or(tls.is_set(), |given| given.value);
    if let Some(given) = sasl.as_ref().filter(|given| given.value.0.mechanism == "PLAIN" && !encrypted)
        && !brokers.as_ref().is_some_and(|all| all.iter().all(|broker| is_loopback(host(broker))))
    {
        let hint = "set `tls = true` (and mind the port: brokers listen on another one for TLS), or use SCRAM";
        options.errors.push(mistake(given.span, "PLAIN without TLS shows the password to the network", hint));
    }
    options.finalize(None)?;
    // `brokers` and `topic` are there, or `finalize` has returned; said again rather than assumed
    let (Some(brokers), Some(topic)) = (brokers, topic) else {
        return Err(mistake(Default::default(), "`brokers` or `topic` is missing", "").into());
    };
    let settings = Settings {
        brokers,
        topic,
        encrypted,
        tls,
        sasl: sasl.map(|given| given.value.0),
        compression: compression.unwrap_or("zstd"),
        client_id: client_id.map(|given| given.value),
        max_message: max_message.map_or(MAX_MESSAGE, |bytes| bytes as usize),
        timeout: timeout.unwrap_or(TIMEOUT),
    };
    Ok(Box::new(Checked { settings, format: format.clone(), doubt: Doubt::default() }))
}

/// `tls`. A table there is how other programs write it.
fn encrypted(options: &mut Options<'_>) -> Option<Spanned<bool>> {
    if let Some(given) = options.table.get("tls").filter(|given| given.as_table().is_some()) {
        let hint = "write `tls = true`, and `ca`, `certificate` and `key` beside it, in the sink's own table";
        let wrong = mistake(given.span, "`tls` is true or false, not a table", hint);
        options.errors.push(wrong);
        let _ = options.take("tls");
        return None;
    }
    options.optional_s::<bool>("tls")
}

/// One of a few words.
fn one_of(options: &mut Options<'_>, name: &'static str, known: &[&'static str], more: &str) -> Option<&'static str> {
    let given = text(options, name)?;
    let found = known.iter().find(|word| **word == given.value);
    if found.is_none() {
        let hint = format!("one of: {}; {more}", known.join(", "));
        options.errors.push(mistake(given.span, &format!("not a usable `{name}`"), hint.trim_end_matches("; ")));
    }
    found.copied()
}

/// An element of a list, with its place.
struct Item(Spanned<String>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, ConfigErrors> {
        Spanned::deserialize(value).map(Item)
    }
}

fn brokers(options: &mut Options<'_>) -> Option<Vec<String>> {
    const FORM: &str = "a list of host:port, as in [\"kafka-1.example:9093\", \"10.0.0.5:9093\", \"[::1]:9092\"]";
    let given = options.contains("brokers");
    let items = options.optional_s::<Vec<Item>>("brokers");
    missing(options, "brokers", given);
    let items = items?;
    if items.value.is_empty() {
        options.errors.push(mistake(items.span, "`brokers` is empty", FORM));
    }
    let mut brokers = Vec::new();
    for Item(item) in items.value {
        if is_broker(&item.value) {
            brokers.push(item.value);
        } else {
            options.errors.push(mistake(item.span, "not the address of a broker", FORM));
        }
    }
    Some(brokers)
}

/// `host:port`, without a scheme; an IPv6 address in brackets. A comma would make two of one in librdkafka's list.
fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0);
    let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    };
    host && port
}

fn host(broker: &str) -> &str {
    broker.rsplit_once(':').map_or(broker, |(host, _)| host)
}

/// A name that Kafka allows (`org.apache.kafka.common.internals.Topic`): 249 characters at most, `.` and `..` are none.
fn topic(options: &mut Options<'_>) -> Option<String> {
    let given = required_text(options, "topic")?;
    let name = &given.value;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.len() <= 249 && name.bytes().all(fits) && name != "." && name != ".." {
        return Some(given.value);
    }
    let hint = "at most 249 of: letters, digits, `.`, `_`, `-`";
    options.errors.push(mistake(given.span, "not a name that a topic can have", hint));
    None
}

struct ReadSasl(Sasl);

impl<'de> Deserialize<'de> for ReadSasl {
    fn deserialize(value: &mut Value<'de>) -> Result<Self, ConfigErrors> {
        let span = value.span;
        let mut table = Options::new(value)?;
        let given = table.contains("mechanism");
        let mechanism = one_of(&mut table, "mechanism", &MECHANISMS, "for Event Hubs PLAIN");
        missing(&mut table, "mechanism", given);
        let username = required_text(&mut table, "username");
        let password = table.required::<SecretRef>("password").ok();
        table.finalize(None)?;
        match (mechanism, username, password) {
            (Some(mechanism), Some(username), Some(password)) => {
                Ok(ReadSasl(Sasl { mechanism, username: username.value, password }))
            }
            _ => Err(mistake(span, "`sasl` needs `mechanism`, `username` and `password`", "").into()),
        }
    }
}

struct Checked {
    settings: Settings,
    format: Format,
    doubt: Doubt,
}

#[async_trait]
impl CheckedSink for Checked {
    fn limits(&self) -> Limits {
        self.settings.limits()
    }

    fn promise(&self) -> Option<Confirmation> {
        Some(Confirmation::Stored)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let settings = &self.settings;
        let mut list = vec![
            ("brokers", settings.brokers.join(", ")),
            ("topic", settings.topic.clone()),
            ("tls", settings.encrypted.to_string()),
        ];
        if settings.encrypted {
            list.extend(settings.tls.settings());
        }
        if let Some(sasl) = &settings.sasl {
            list.push(("sasl", format!("{} as {}, password ***", sasl.mechanism, sasl.username)));
        }
        list.push(("compression", settings.compression.to_string()));
        list.extend(settings.client_id.clone().map(|id| ("client_id", id)));
        list.push(("max_message", ByteSize(settings.max_message as u64).to_string()));
        list.push(("timeout", TimeSpan(settings.timeout).to_string()));
        list
    }

    fn files(&self) -> Vec<PathBuf> {
        self.settings.tls.files()
    }

    fn references(&self) -> Vec<SecretRef> {
        self.settings.sasl.iter().map(|sasl| sasl.password.clone()).collect()
    }

    async fn open(&self, env: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        let sink = KafkaSink::open(&self.settings, &self.format, self.doubt.clone(), env.as_ref()).await?;
        Ok(Arc::new(sink))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(options: &str) -> Result<Box<dyn CheckedSink>, Vec<String>> {
        let mut value = auditferry_contract::toml_span::parse(options).expect("valid TOML");
        let format = Format { codec: "raw", schema: "raw".into(), media_type: "application/json" };
        let checked = check(Options::new(&mut value).expect("a table"), &format);
        checked.map_err(|e| e.errors.iter().map(|e| e.to_string()).collect())
    }

    fn words(more: &str) -> Vec<String> {
        checked(&format!("brokers = ['k:9092']\ntopic = 'audit'\n{more}")).err().unwrap_or_default()
    }

    const PASSWORD: &str = "password = { file = '/run/p' }";

    #[test]
    fn good_options() {
        for more in [
            "",
            "tls = true",
            "ca = '/ca'",
            "tls = true\ncertificate = '/c'\nkey = '/k'",
            "tls = false",
            "compression = 'none'\nclient_id = 'x'\nmax_message = '4 MiB'\ntimeout = '1m'",
            &format!("tls = true\nsasl = {{ mechanism = 'PLAIN', username = '$ConnectionString', {PASSWORD} }}"),
            &format!("sasl = {{ mechanism = 'SCRAM-SHA-256', username = 'u', {PASSWORD} }}"),
        ] {
            assert_eq!(words(more), [""; 0], "{more}");
        }
        let plain = format!("topic = 'a'\nsasl = {{ mechanism = 'PLAIN', username = 'u', {PASSWORD} }}");
        for brokers in ["['localhost:9092']", "['127.0.0.1:1', '[::1]:65535']"] {
            assert!(checked(&format!("brokers = {brokers}\n{plain}")).is_ok(), "{brokers}");
        }
        for brokers in ["['localhost:9092', 'k:9092']", "['localhost.example:9092']", "[]"] {
            assert!(checked(&format!("brokers = {brokers}\n{plain}")).is_err(), "{brokers}");
        }
    }

    #[test]
    fn bad_options() {
        let login = |mechanism: &str| format!("sasl = {{ mechanism = '{mechanism}', username = 'u', {PASSWORD} }}");
        for (more, begins) in [
            ("server_name = 'x'", "`server_name` can't be set for kafka"),
            ("tls = { ca = '/ca' }", "`tls` is true or false, not a table"),
            ("tls = false\nca = '/ca'", "`tls` is off, and files for it are given"),
            ("certificate = '/c'", "`certificate` needs its `key`"),
            ("compression = 'gzip'", "not a usable `compression`\none of: none, lz4, snappy, zstd; gzip"),
            ("max_message = '1 KiB'", "`max_message` is out of range"),
            ("timeout = '10m'", "`timeout` is out of range"),
            (&login("PLAIN"), "PLAIN without TLS shows the password"),
            (&login("GSSAPI"), "not a usable `mechanism`"),
            ("sasl = { mechanism = 'PLAIN', username = 'u', password = 'hunter2' }", SecretRef::INLINE),
            ("sasl = {}", "missing field 'mechanism'"),
            ("security_protocol = 'ssl'", "unexpected keys"),
        ] {
            let words = words(more);
            assert!(
                words.first().is_some_and(|w| w.to_lowercase().starts_with(&begins.to_lowercase())),
                "{more}: {words:?}"
            );
            assert!(!words.concat().contains("hunter2"));
        }
    }

    #[test]
    fn brokers_and_topics() {
        for broker in
            ["k", "k:", "k:0", "k:70000", "kafka://k:9092", "a:1,b:2", "a b:1", "::1:9092", "[x]:1", ":1", "k:+1"]
        {
            let words = checked(&format!("brokers = ['{broker}']\ntopic = 'a'")).err().unwrap_or_default();
            assert!(words.len() == 1 && words[0].starts_with("not the address of a broker"), "{broker}: {words:?}");
        }
        for topic in ["a b", "a/b", ".", "..", &"x".repeat(250)] {
            let words = checked(&format!("brokers = ['k:1']\ntopic = '{topic}'")).err().unwrap_or_default();
            assert!(words.len() == 1 && words[0].starts_with("not a name that a topic can have"), "{topic}: {words:?}");
        }
        let words = checked("brokers = []").err().unwrap_or_default();
        assert_eq!(words.len(), 2, "{words:?}");
        assert!(
            words[0].starts_with("`brokers` is empty") && words[1].starts_with("missing field 'topic'"),
            "{words:?}"
        );
        assert_eq!(checked("").err().unwrap_or_default().len(), 2);
    }

    #[test]
    fn settings_show_no_secret_and_references_all_files() {
        let login = format!("sasl = {{ mechanism = 'PLAIN', username = 'alice', {PASSWORD} }}");
        let options = format!("brokers = ['k:9092']\ntopic = 'audit'\nca = '/ca'\n{login}");
        let checked = checked(&options).unwrap_or_else(|words| panic!("{words:?}"));
        let settings: Vec<_> = checked.settings().iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            settings,
            [
                "brokers=k:9092",
                "topic=audit",
                "tls=true",
                "ca=/ca",
                "sasl=PLAIN as alice, password ***",
                "compression=zstd",
                "max_message=1 MB",
                "timeout=30s",
            ]
        );
        assert_eq!(checked.references(), [SecretRef::File("/run/p".into())]);
        assert_eq!(checked.files(), [PathBuf::from("/ca")]);
        assert_eq!(checked.promise(), Some(Confirmation::Stored));
        let limits = checked.limits();
        assert_eq!((limits.message_bytes, limits.batch_bytes), (998_976, 4_000_000));
    }
}
