//! The options.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use auditferry_contract::{
    CheckedSink, ConfigErrors, Confirmation, Env, Format, Limits, Options, SecretRef, Sink, SinkError,
    options::{ByteSize, TimeSpan, duration, mistake, required_text, size, text},
    toml_span::Span,
};
use auditferry_tls::Tls;
use url::Url;

use crate::{endpoint::Endpoint, envelope::Envelope, sink::HecSink, wire::Wire};

/// Splunk refuses an event above `maxEventSize`, 5 MB by default.
const MAX_EVENT: std::ops::RangeInclusive<u64> = 10_000..=64_000_000;
/// Old versions refuse a body above 1,000,000 bytes.
const BATCH_BYTES: usize = 1_000_000;

/// Whether to wait until Splunk has indexed what it took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ack {
    /// Where the token acknowledges.
    Auto,
    /// Always: a token that does not is a fault of the configuration.
    Required,
    /// Never.
    Off,
}

const ACKS: [(&str, Ack); 3] = [("auto", Ack::Auto), ("required", Ack::Required), ("off", Ack::Off)];

pub fn check(mut options: Options<'_>, format: &Format) -> Result<Box<dyn CheckedSink>, ConfigErrors> {
    let endpoint = endpoint(&mut options);
    let token = options.required::<SecretRef>("token");
    let mut given = |name| text(&mut options, name).map(|t| t.value);
    let (index, host) = (given("index"), given("host"));
    let raw = format.codec == "raw";
    // raw: the names that Splunk's own content for Microsoft 365 searches
    let source = given("source").unwrap_or_else(|| if raw { "o365".into() } else { "auditferry".into() });
    let sourcetype = given("sourcetype").unwrap_or_else(|| {
        if raw { "o365:management:activity".into() } else { format!("auditferry:{}", format.codec) }
    });
    let ack = ack(&mut options);
    let ack_interval = duration(&mut options, "ack_interval", Duration::from_millis(100)..=Duration::from_secs(60));
    let gzip = options.optional::<bool>("gzip").unwrap_or(true);
    let max_event = size(&mut options, "max_event", MAX_EVENT).unwrap_or(BATCH_BYTES as u64);
    let proxy = proxy(&mut options);
    let tls = Tls::read(&mut options);
    if let Some((span, endpoint)) = &endpoint
        && tls.is_set()
        && !endpoint.is_tls()
    {
        let hint = "write https:// in `endpoint`, or take `ca`, `certificate`, `key` and `server_name` out";
        options.errors.push(mistake(*span, "options of TLS, and an endpoint without it", hint));
    }
    options.finalize(None)?;
    let (Some((_, endpoint)), Ok(token)) = (endpoint, token) else {
        // reported above, so `finalize` has returned; said again rather than assumed
        return Err(mistake(Default::default(), "`endpoint` or `token` is missing", "").into());
    };
    let json = format.media_type == "application/json";
    let envelope = Envelope { json, host, source, sourcetype, index, schema: format.schema.to_string(), gzip };
    let ack_interval = ack_interval.unwrap_or(Duration::from_secs(10));
    let max_event = usize::try_from(max_event).unwrap_or(BATCH_BYTES);
    Ok(Box::new(Checked { endpoint, token, envelope, ack, ack_interval, max_event, proxy, tls }))
}

fn endpoint(options: &mut Options<'_>) -> Option<(Span, Endpoint)> {
    let given = required_text(options, "endpoint")?;
    match Endpoint::parse(&given.value) {
        Ok(endpoint) => Some((given.span, endpoint)),
        Err((what, hint)) => {
            options.errors.push(mistake(given.span, what, hint));
            None
        }
    }
}

fn ack(options: &mut Options<'_>) -> Ack {
    let Some((_, mut given)) = options.take("ack") else { return Ack::Auto };
    // whatever else stands there is told the words at once
    let word = given.take_string(None).unwrap_or_default();
    let found = ACKS.iter().find(|(name, _)| *name == word);
    if found.is_none() {
        options.errors.push(mistake(given.span, "not a way to wait", "one of \"auto\", \"required\", \"off\""));
    }
    found.map_or(Ack::Auto, |(_, ack)| *ack)
}

fn proxy(options: &mut Options<'_>) -> Option<Url> {
    let given = text(options, "proxy")?;
    let url = Url::parse(&given.value).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let plain = url.filter(|url| url.username().is_empty() && url.password().is_none());
    if plain.is_none() {
        let hint = "write http://HOST:PORT, without a login";
        options.errors.push(mistake(given.span, "not an address of a proxy", hint));
    }
    plain
}

/// Options in order.
pub struct Checked {
    pub endpoint: Endpoint,
    pub token: SecretRef,
    pub envelope: Envelope,
    pub ack: Ack,
    pub ack_interval: Duration,
    pub max_event: usize,
    pub proxy: Option<Url>,
    pub tls: Tls,
}

#[async_trait]
impl CheckedSink for Checked {
    fn limits(&self) -> Limits {
        let waits = self.ack != Ack::Off;
        Limits {
            message_bytes: self.max_event,
            batch_bytes: BATCH_BYTES.max(self.max_event),
            batch_messages: 500,
            batch_age: Duration::from_secs(1),
            // who waits for an acknowledgement holds no bytes
            in_flight: if waits { 256 } else { 4 },
            in_hand: 4,
            // the answer within 50 s, then 5 min until it is indexed
            deadline: Duration::from_secs(if waits { 360 } else { 60 }),
            settle: Duration::ZERO,
        }
    }

    fn promise(&self) -> Option<Confirmation> {
        match self.ack {
            Ack::Auto => None,
            Ack::Required => Some(Confirmation::Stored),
            Ack::Off => Some(Confirmation::Accepted),
        }
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let or = |value: &Option<String>, otherwise: &str| value.clone().unwrap_or_else(|| otherwise.to_string());
        let ack = ACKS.iter().find(|(_, ack)| *ack == self.ack).map_or("", |(name, _)| name);
        let mut settings = vec![
            ("endpoint", self.endpoint.events.to_string()),
            ("token", "***".to_string()),
            ("index", or(&self.envelope.index, "the token's default")),
            ("source", self.envelope.source.clone()),
            ("sourcetype", self.envelope.sourcetype.clone()),
            ("host", or(&self.envelope.host, "each event's tenant")),
            ("ack", ack.to_string()),
            ("ack_interval", TimeSpan(self.ack_interval).to_string()),
            ("gzip", self.envelope.gzip.to_string()),
            ("max_event", ByteSize(self.max_event as u64).to_string()),
            ("proxy", self.proxy.as_ref().map_or("none".to_string(), Url::to_string)),
        ];
        if self.endpoint.is_tls() {
            settings.extend(self.tls.settings());
        }
        settings
    }

    fn files(&self) -> Vec<PathBuf> {
        self.tls.files()
    }

    fn references(&self) -> Vec<SecretRef> {
        vec![self.token.clone()]
    }

    async fn open(&self, env: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        let token = env.secret(&self.token).await.map_err(SinkError::blocked)?;
        let tls = match self.endpoint.is_tls() {
            true => Some(self.tls.client(&*env).await.map_err(SinkError::blocked)?),
            false => None,
        };
        let wire = Wire::new(&self.endpoint, &token, self.proxy.as_ref(), tls, self.envelope.gzip, &*env)?;
        Ok(Arc::new(HecSink::open(self, wire).await?))
    }
}

#[cfg(test)]
mod tests;
