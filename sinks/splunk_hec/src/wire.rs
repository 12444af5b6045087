//! The HTTP client: one connection pool per open sink, one attempt per request.
//!
//! reqwest retries nothing here (`retry::never`) and follows nothing. One thing of hyper-util stays, which reqwest 0.13
//! does not let switch off: a request that met a pooled connection that had just been closed, and of which **no byte was
//! written**, goes over a new one. The collector never saw the first, so it is no second attempt.

use std::{collections::BTreeMap, error::Error as _, io, sync::Arc, time::Duration};

use auditferry_contract::{Cause, Env, ExposeSecret, SecretString, SinkError};
use auditferry_tls::Client;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use reqwest::{Proxy, Url};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{ack::Indexed, answer::Answer, answer::Class, cookies::Cookies, endpoint::Endpoint, pause};

/// How much of an answer is read; Splunk's are under 200 bytes, its HTML pages under 1 kB.
pub const LONGEST_ANSWER: usize = 64 << 10;
/// How long a connection may take: name, TCP, TLS.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the answer to events may take, connecting included: less than the deadline of a call, so that the words are ours.
const EVENTS: Duration = Duration::from_secs(50);
/// The same for a question, which is small.
const QUESTION: Duration = Duration::from_secs(30);

/// A client of one collector, on one channel.
pub struct Wire {
    client: reqwest::Client,
    endpoint: Endpoint,
    gzip: bool,
    cookies: Cookies,
    /// Whom the client trusts; `None` without TLS.
    tls: Option<Client>,
}

impl Wire {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// `Blocked`: the token can't stand in a header, or no client can be made.
    pub fn new(
        endpoint: &Endpoint,
        token: &SecretString,
        proxy: Option<&Url>,
        tls: Option<Client>,
        gzip: bool,
        env: &dyn Env,
    ) -> Result<Self, SinkError> {
        let mut authorization = HeaderValue::from_str(&format!("Splunk {}", token.expose_secret())).map_err(|_| {
            SinkError::blocked(Cause::coded(
                "HecToken",
                "the token holds characters that no HTTP header can carry: look at `token`",
            ))
        })?;
        authorization.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // always: a token with acknowledgement demands it, any other ignores it
        let channel = HeaderValue::from_str(&guid(env.random()));
        let channel = channel.map_err(|_| SinkError::blocked("no channel id can be made"))?;
        headers.insert("x-splunk-request-channel", channel);
        let config = match &tls {
            Some(tls) => (*tls.config()).clone(),
            None => trusting_nobody()?,
        };
        let builder = client().user_agent(env.agent()).default_headers(headers).tls_backend_preconfigured(config);
        let builder = match proxy {
            Some(proxy) if !endpoint.is_loopback() => builder.proxy(
                Proxy::all(proxy.clone())
                    .map_err(|_| SinkError::blocked("`proxy` is no address; write http://host:port"))?,
            ),
            _ => builder.no_proxy(),
        };
        let client = builder
            .build()
            .map_err(|error| SinkError::blocked(format!("no HTTP client can be made: {}", deepest(&error))))?;
        Ok(Wire { client, endpoint: endpoint.clone(), gzip, cookies: Cookies::default(), tls })
    }

    /// Host and port, for messages.
    pub fn place(&self) -> String {
        self.endpoint.place()
    }

    /// One request with envelopes.
    ///
    /// # Errors
    /// No answer: nobody knows whether anything was taken. `Blocked` where TLS needs a person.
    pub async fn events(&self, body: Bytes) -> Result<Answer, SinkError> {
        self.post(&self.endpoint.events, body, self.gzip, EVENTS).await
    }

    /// Asks which of these numbers are indexed, and gives the answer as it came.
    ///
    /// # Errors
    /// As [`events`](Self::events).
    pub async fn question(&self, numbers: &[u64]) -> Result<Answer, SinkError> {
        let list: Vec<_> = numbers.iter().map(u64::to_string).collect();
        self.post(&self.endpoint.acks, format!("{{\"acks\":[{}]}}", list.join(",")).into(), false, QUESTION).await
    }

    /// Asks which of these numbers are indexed. Only an explicit `true` counts.
    ///
    /// # Errors
    /// Nobody knows what the answer said: lost, unreadable, or a refusal to tell. An overloaded server has only not told yet.
    pub async fn indexed(&self, numbers: &[u64]) -> Indexed {
        let place = self.place();
        let answer = self.question(numbers).await?;
        match (answer.status, answer.class()) {
            (200, _) => answer.indexed().ok_or_else(|| {
                SinkError::retry(format!(
                    "{place} answered a question for acknowledgements with something that can't be read"
                ))
            }),
            // acknowledgement was switched off meanwhile: opened anew, the sink finds out what holds now
            (400, _) if answer.said().is_some_and(|said| said.code == Some(14)) => {
                Err(SinkError::retry(format!("{place} no longer acknowledges for this token")))
            }
            (408 | 425 | 429 | 500.., _) => Ok(Vec::new()),
            (_, Class::Blocked) => Err(SinkError::Blocked { cause: answer.words(&place) }),
            _ => Err(SinkError::Retry { untaken: Vec::new(), after: answer.after, cause: answer.words(&place) }),
        }
    }

    async fn post(&self, url: &Url, body: Bytes, gzip: bool, within: Duration) -> Result<Answer, SinkError> {
        let gzip = gzip && !body.is_empty();
        let mut request = self.client.post(url.clone()).timeout(within).body(body);
        if gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        if let Some(cookies) = self.cookies.header() {
            request = request.header(COOKIE, cookies);
        }
        let mut response =
            request.send().await.map_err(|error| explain(&error, self.tls.as_ref(), &self.place(), within))?;
        self.cookies.keep(response.headers().get_all(SET_COOKIE).iter());
        let status = response.status().as_u16();
        let after = pause::asked(response.headers());
        // the status counts even when its body does not come whole
        let mut body = Some(Vec::new());
        while let Some(read) = &mut body {
            match response.chunk().await {
                Ok(Some(chunk)) if read.len() + chunk.len() <= LONGEST_ANSWER => read.extend_from_slice(&chunk),
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => body = None,
            }
        }
        Ok(Answer { status, after, body })
    }
}

impl Answer {
    /// The numbers that are `true` in the answer to a question; `None`: it is none.
    pub fn indexed(&self) -> Option<Vec<u64>> {
        #[derive(Deserialize)]
        struct Told {
            acks: BTreeMap<String, Box<RawValue>>,
        }
        let told: Told = serde_json::from_slice(self.body.as_deref()?).ok()?;
        let indexed = told.acks.iter().filter(|(_, state)| state.get() == "true");
        Some(indexed.filter_map(|(number, _)| number.parse().ok()).collect())
    }
}

#[expect(clippy::disallowed_methods, reason = "the sink's own transport, as I9 allows it")]
fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        // an answer is read to 64 KiB as it is: nothing to inflate
        .no_gzip()
        // Splunk's collector speaks 1.1 only
        .http1_only()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(Duration::from_secs(30))
}

/// For plain HTTP, where reqwest wants a configuration all the same: the system's CAs need not be there.
fn trusting_nobody() -> Result<ClientConfig, SinkError> {
    let builder =
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| SinkError::blocked(format!("no HTTP client can be made: {error}")))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// 128 random bits as a UUID of version 4 (RFC 9562 §5.4).
fn guid(random: u128) -> String {
    let bits = random & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Plain words for why no answer came. What the request held was perhaps taken, perhaps not.
fn explain(error: &reqwest::Error, tls: Option<&Client>, place: &str, within: Duration) -> SinkError {
    // `None`: plain to the collector, and a proxy may still be reached by TLS
    if let Some(tls) = tls.map_or_else(|| auditferry_tls::explain(error), |tls| tls.explain(error)) {
        return SinkError::blocked(format!("no TLS with {place}: {tls}"));
    }
    let (code, words) = match io_kind(error) {
        Some(io::ErrorKind::ConnectionRefused) => {
            ("ConnectionRefused", "connection refused: nothing listens there".to_string())
        }
        Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
            ("NoRoute", "no route to the host".to_string())
        }
        _ if error.is_timeout() && error.is_connect() => {
            ("Timeout", format!("no connection within {} s", CONNECT.as_secs()))
        }
        _ if error.is_timeout() => ("Timeout", format!("no answer within {} s", within.as_secs())),
        _ if error.is_dns() => ("Dns", format!("the name can't be resolved ({})", deepest(error))),
        _ if error.is_connect() => ("Connect", format!("no connection ({})", deepest(error))),
        _ => ("Connect", format!("the connection ended before an answer came ({})", deepest(error))),
    };
    SinkError::retry(Cause::coded(code, format_args!("{place}: {words}")))
}

/// The kind of the I/O error at the bottom.
fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut next = error.source();
    let mut found = None;
    while let Some(error) = next {
        found = error.downcast_ref::<io::Error>().map(io::Error::kind).or(found);
        next = error.source();
    }
    found
}

/// The innermost words, on one line: the outer ones repeat the address.
fn deepest(error: &reqwest::Error) -> String {
    let mut next = error.source();
    let mut words = "no reason given".to_string();
    while let Some(error) = next {
        words = error.to_string();
        next = error.source();
    }
    words.replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_a_uuid_of_version_4() {
        assert_eq!(guid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(guid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(guid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), "01234567-89ab-4def-8123-456789abcdef");
    }

    #[test]
    fn only_an_explicit_true_counts() {
        let answer = |body: &str| Answer { status: 200, after: None, body: Some(body.into()) };
        assert_eq!(answer(r#"{"acks":{"0":true,"1":false,"12":true}}"#).indexed(), Some(vec![0, 12]));
        assert_eq!(answer(r#"{"acks":{"0":"true","1":1,"2":null,"x":true,"3":[true]}}"#).indexed(), Some(vec![]));
        for unreadable in ["", "true", "{}", r#"{"acks":[0]}"#, r#"{"acks":{"0":true}"#, "<html>"] {
            assert_eq!(answer(unreadable).indexed(), None, "{unreadable}");
        }
    }
}
