//! The bearer token: client credentials (v2), kept until five minutes before its end, asked for by one caller at a
//! time, and looked into for the mistakes that a token can tell.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Inner,
    call::{read_all, scrub},
    envelope,
    errors::{Class, Operation, Place, SourceError, known},
    listing,
};

/// A token is renewed so long before its end.
const EARLY: SignedDuration = SignedDuration::from_mins(5);
/// A failed token request is answered from memory so long, so that many callers don't make a loop (AADSTS50196).
const FAILED_FOR: Duration = Duration::from_secs(10);
/// The same where Entra ID says that it is asked too often.
const THROTTLED_FOR: Duration = Duration::from_secs(60);
/// More than any answer of the token endpoint.
const MOST_BYTES: usize = 1 << 20;
/// What Entra ID says when it does not say how long a token lasts.
const USUAL_SECONDS: i64 = 3_599;

#[derive(Default)]
pub(super) struct Cache {
    held: Option<Held>,
    generation: u64,
    failed: Option<(Timestamp, SourceError)>,
}

#[derive(Clone)]
pub(super) struct Held {
    pub value: SecretString,
    pub generation: u64,
    renew: Timestamp,
    expires: Timestamp,
    findings: Vec<Finding>,
}

/// Something in the token that will make the service refuse it, or does not fit the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// As in the runbook: `WrongTenant`, `WrongAudience`, `NoPermission`.
    pub code: &'static str,
    /// True: nothing can work like this. False: worth knowing.
    pub fatal: bool,
    /// What is wrong and what to do.
    pub words: String,
}

impl Inner {
    /// The token to send now.
    pub(super) async fn token(&self) -> Result<Held, SourceError> {
        let mut cache = self.token.lock().await;
        let now = self.clock.now();
        if let Some(held) = &cache.held
            && now < held.renew
        {
            return Ok(held.clone());
        }
        if let Some((until, error)) = &cache.failed
            && now < *until
            // a clock that was set back must not keep an old failure
            && until.duration_since(now) <= SignedDuration::from_hours(1)
        {
            let mut error = error.clone();
            // only what the service asked for, or throttling, is a wait for the caller; the rest follows its own delays
            if error.retry_after.is_some() {
                error.retry_after = Duration::try_from(until.duration_since(now)).ok();
            }
            return valid(&cache, now).ok_or(error);
        }
        match self.request_token().await {
            Ok((value, seconds)) => {
                let now = self.clock.now();
                let life = SignedDuration::from_secs(seconds);
                // a token that lives for less than ten minutes is renewed at half its life
                let renew = add(now, (life - EARLY).max(life / 2));
                cache.generation += 1;
                let findings = claims(value.expose_secret()).map(|c| self.findings(&c)).unwrap_or_default();
                for finding in &findings {
                    tracing::warn!(tenant = %self.names.tenant, "{}", finding.words);
                }
                let held = Held { value, generation: cache.generation, renew, expires: add(now, life), findings };
                cache.held = Some(held.clone());
                cache.failed = None;
                self.counters.token();
                Ok(held)
            }
            Err(mut error) => {
                if error.class != Class::Dead {
                    if error.class == Class::Backoff {
                        error.retry_after = Some(error.retry_after.unwrap_or(THROTTLED_FOR));
                    }
                    let wait = error.retry_after.unwrap_or(FAILED_FOR);
                    let now = self.clock.now();
                    cache.failed = Some((add(now, SignedDuration::try_from(wait).unwrap_or_default()), error.clone()));
                }
                // renewed early, so the old one may still do
                valid(&cache, self.clock.now()).ok_or(error)
            }
        }
    }

    /// The service refused the token of this generation: the next caller gets a new one.
    pub(super) async fn drop_token(&self, generation: u64) {
        let mut cache = self.token.lock().await;
        if cache.held.as_ref().is_some_and(|held| held.generation == generation) {
            cache.held = None;
        }
    }

    /// Gets a token if needed and says what is odd about it.
    pub(super) async fn token_findings(&self) -> Result<Vec<Finding>, SourceError> {
        Ok(self.token().await?.findings)
    }

    async fn request_token(&self) -> Result<(SecretString, i64), SourceError> {
        let place = Place { operation: Operation::Token, names: &self.names, content: "" };
        let secret = self.secrets.secret().await.map_err(|words| {
            place.own(Class::FixConfig, "Secret", format!("the secret of this source can't be read: {words}"))
        })?;
        let secret = secret.expose_secret();
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &self.settings.client)
            .append_pair("client_secret", secret)
            .append_pair("scope", &format!("{}/.default", self.settings.audience.trim_end_matches('/')))
            .finish();
        let request =
            http::Request::post(format!("{}/{}/oauth2/v2.0/token", self.authority.base(), self.settings.tenant))
                .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(http::header::ACCEPT, "application/json")
                .header(http::header::USER_AGENT, crate::AGENT)
                .body(Bytes::from(form))
                .map_err(|error| {
                    place.own(Class::FixConfig, "Address", format!("the address can't be built: {error}"))
                })?;
        let failed = |error: &_| {
            let error = place.unanswered(error);
            self.counters.request(Operation::Token, &error.code);
            error
        };
        let response = self.http.send(request, self.settings.timeout).await.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let retry_after = listing::retry_after(response.headers(), self.clock.now());
        let body = read_all(response.into_body(), &*self.clock, self.settings.stall, MOST_BYTES).await;
        if !(200..300).contains(&status) {
            let told = envelope::token(&scrub(&body.bytes, &[secret]));
            let error = place.refused(status, &told, retry_after);
            let label = if known(&error.code) { error.code.clone() } else { status.to_string() };
            self.counters.request(Operation::Token, &label);
            return Err(error);
        }
        if let Some(error) = body.error {
            return Err(failed(&error));
        }
        self.counters.request(Operation::Token, &status.to_string());
        // of a body that may hold a token nothing is shown
        read(&body.bytes).ok_or_else(|| {
            place.own(
                Class::Retry,
                "UnreadableToken",
                "the answer holds no token; check `authority` and `proxy` of this source",
            )
        })
    }

    fn findings(&self, claims: &Claims) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |code, fatal, words: String| findings.push(Finding { code, fatal, words });
        let client = &self.settings.client;
        if let Some(tid) = &claims.tid
            && !tid.eq_ignore_ascii_case(&self.settings.tenant)
        {
            let tenant = &self.settings.tenant;
            add(
                "WrongTenant",
                true,
                format!("the token belongs to tenant {tid}, not to {tenant}; check `tenant` of this source"),
            );
        }
        let audience = self.settings.audience.trim_end_matches('/');
        if let Some(aud) = &claims.aud
            && !aud.trim_end_matches('/').eq_ignore_ascii_case(audience)
            && !aud.eq_ignore_ascii_case(API_APP)
        {
            add(
                "WrongAudience",
                true,
                format!(
                    "the token is for {}, not for {audience}; check `cloud` and `audience` of this source",
                    envelope::clean(aud, 100)
                ),
            );
        }
        let has = |role: &str| claims.roles.iter().any(|r| r.eq_ignore_ascii_case(role));
        let is_dlp = |content: &&String| content.eq_ignore_ascii_case("DLP.All");
        let (dlp, other): (Vec<_>, Vec<_>) = self.settings.content.iter().partition(is_dlp);
        const GRANT: &str = "in Entra ID > App registrations > API permissions add the application permission";
        if !other.is_empty() && !has("ActivityFeed.Read") {
            add(
                "NoPermission",
                true,
                format!(
                    "app {client} lacks the permission ActivityFeed.Read; {GRANT} ActivityFeed.Read of Office 365 Management APIs and grant admin consent"
                ),
            );
        }
        if !dlp.is_empty() && !has("ActivityFeed.ReadDlp") {
            add(
                "NoPermission",
                other.is_empty(),
                format!(
                    "app {client} lacks the permission ActivityFeed.ReadDlp, which DLP.All needs; {GRANT} ActivityFeed.ReadDlp of Office 365 Management APIs and grant admin consent"
                ),
            );
        }
        findings
    }
}

/// Application id of "Office 365 Management APIs", which a token may name instead of the host.
const API_APP: &str = "c5393580-f805-4401-95e8-94b7a6ef2fc2";

fn valid(cache: &Cache, now: Timestamp) -> Option<Held> {
    // half a minute, so that it does not end on the way
    cache.held.clone().filter(|held| add(now, SignedDuration::from_secs(30)) < held.expires)
}

/// The token and its life in seconds, out of a body of either generation (v1 writes numbers as strings).
fn read(body: &[u8]) -> Option<(SecretString, i64)> {
    #[derive(Deserialize)]
    struct Wire {
        access_token: String,
        #[serde(default)]
        expires_in: Value,
    }
    let wire: Wire = serde_json::from_slice(body).ok()?;
    let value = SecretString::from(wire.access_token);
    // it must fit into a header
    if value.expose_secret().is_empty() || !value.expose_secret().bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let seconds = match &wire.expires_in {
        Value::Number(number) => number.as_f64().map(|n| n as i64),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Some((value, seconds.unwrap_or(USUAL_SECONDS).clamp(1, 86_400)))
}

/// What a token says about itself. Not verified: that is the service's part.
#[derive(Debug, Default, PartialEq, Eq)]
struct Claims {
    aud: Option<String>,
    tid: Option<String>,
    roles: Vec<String>,
}

/// `None` if the token is not a JWT: it is opaque by contract, and nothing can be said.
fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?.trim_end_matches('=');
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let value: Value = serde_json::from_slice(&bytes).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut roles: Vec<String> = match value.get("roles") {
        Some(Value::Array(roles)) => roles.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    // a delegated token carries its permissions in one string
    roles.extend(text("scp").unwrap_or_default().split_whitespace().map(str::to_owned));
    Some(Claims { aud: text("aud"), tid: text("tid"), roles })
}

fn add(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}
