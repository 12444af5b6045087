//! One request to the API: token, quota, back-off, and what its answer means.

use std::{
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;

use super::{
    Inner, envelope,
    envelope::Told,
    errors::{Class, Operation, Place, SourceError, known},
    listing,
};
use crate::{
    retry,
    world::{Body, Clock, HttpError},
};

/// Of an error's body no more is read.
const ERROR_BYTES: usize = 64 << 10;

/// What is asked. The address leads to the API's origin: `Origin::own` or our own words made it.
pub(super) struct Ask<'a> {
    pub operation: Operation,
    pub method: Method,
    pub uri: Uri,
    /// Content type, for words.
    pub content: &'a str,
}

/// A head with a status of 2xx, and the body to come.
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Body,
    pub sent: Timestamp,
}

impl Inner {
    pub(super) fn place<'a>(&'a self, operation: Operation, content: &'a str) -> Place<'a> {
        Place { operation, names: &self.names, content }
    }

    /// Asks, with a second try when the token was refused without a reason.
    pub(super) async fn call(&self, ask: &Ask<'_>) -> Result<Answer, SourceError> {
        let place = self.place(ask.operation, ask.content);
        let mut renewed = false;
        loop {
            self.open(&place)?;
            let token = self.token().await?;
            let wait = lock(&self.quota.bucket).take(self.clock.now());
            if !wait.is_zero() {
                self.clock.sleep(wait).await;
            }
            // another request may have been refused meanwhile
            self.open(&place)?;
            let sent = self.clock.now();
            let request = self.request(ask, token.value.expose_secret()).map_err(|words| {
                place.own(Class::FixConfig, "Address", format!("the request can't be built: {words}"))
            })?;
            let response = match self.http.send(request, self.settings.timeout).await {
                Ok(response) => response,
                Err(error) => {
                    let error = place.unanswered(&error);
                    self.counters.request(ask.operation, &error.code);
                    return Err(error);
                }
            };
            let (head, body) = response.into_parts();
            let status = head.status.as_u16();
            if head.status.is_success() {
                self.learn(&head.headers, sent);
                lock(&self.quota.throttle).served(sent);
                self.counters.request(ask.operation, &status.to_string());
                return Ok(Answer { status, headers: head.headers, body, sent });
            }
            // an answer whose body breaks off still has its status
            let body = read_all(body, &*self.clock, self.settings.stall, ERROR_BYTES).await;
            if body.error == Some(HttpError::Dead) {
                return Err(place.unanswered(&HttpError::Dead));
            }
            let told = envelope::api(&scrub(&body.bytes, &[token.value.expose_secret()]));
            let ours = told.codes.iter().any(|code| known(code));
            if ours {
                // a refusal may come from a clock that is wrong: its answer says by how much
                self.learn(&head.headers, sent);
            }
            if status == 401 && !ours {
                self.drop_token(token.generation).await;
                if !renewed {
                    self.counters.request(ask.operation, "401");
                    renewed = true;
                    continue;
                }
            }
            let error = self.judge(&place, status, &told, &head.headers, sent);
            if matches!(error.code.as_str(), "AF10001" | "AF20010") {
                // consent that was given meanwhile shows in a new token only
                self.drop_token(token.generation).await;
            }
            let label = if known(&error.code) { error.code.clone() } else { status.to_string() };
            self.counters.request(ask.operation, &label);
            return Err(error);
        }
    }

    /// Asks and reads the whole answer. An error envelope with status 2xx is an error.
    pub(super) async fn call_whole(&self, ask: &Ask<'_>, most: usize) -> Result<(HeaderMap, Bytes), SourceError> {
        let place = self.place(ask.operation, ask.content);
        let answer = self.call(ask).await?;
        let body = read_all(answer.body, &*self.clock, self.settings.stall, most).await;
        if let Some(error) = &body.error {
            return Err(place.unanswered(error));
        }
        if body.cut {
            return Err(place.own(Class::Retry, "TooLarge", format!("the answer is larger than {most} bytes")));
        }
        if let Some(told) = envelope::inside_success(&body.bytes) {
            return Err(self.judge(&place, answer.status, &told, &answer.headers, answer.sent));
        }
        Ok((answer.headers, body.bytes))
    }

    /// What an error means, and for the tenant's back-off.
    pub(super) fn judge(
        &self,
        place: &Place<'_>,
        status: u16,
        told: &Told,
        headers: &HeaderMap,
        sent: Timestamp,
    ) -> SourceError {
        let now = self.clock.now();
        let mut error = place.refused(status, told, listing::retry_after(headers, now));
        if error.class == Class::Backoff {
            self.counters.throttled();
            let delay = |refusals| retry::THROTTLED.after(refusals, &*self.random);
            error.retry_after = Some(lock(&self.quota.throttle).refused(sent, now, error.retry_after, delay));
        }
        error
    }

    /// Refuses at once while the tenant is backed off: the caller can do something else until then.
    fn open(&self, place: &Place<'_>) -> Result<(), SourceError> {
        let Some(wait) = lock(&self.quota.throttle).shut(self.clock.now()) else { return Ok(()) };
        let words =
            format!("tenant {} is throttled; nothing is sent for another {} s", self.names.tenant, wait.as_secs() + 1);
        Err(SourceError { retry_after: Some(wait), ..place.own(Class::Backoff, "AF429", words) })
    }

    fn request(&self, ask: &Ask<'_>, token: &str) -> Result<http::Request<Bytes>, String> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "the token fits no header")?;
        bearer.set_sensitive(true);
        // the last line of defence of I11, whatever made the address
        let uri = self.api.own(&ask.uri.to_string()).ok_or("its address leads to another origin than the API's")?;
        let mut request = http::Request::builder()
            .method(ask.method.clone())
            .uri(uri)
            .header(header::AUTHORIZATION, bearer)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, crate::AGENT);
        if ask.method == Method::POST {
            // some front ends answer 411 to a POST without a length
            request = request.header(header::CONTENT_LENGTH, "0");
        }
        request.body(Bytes::new()).map_err(|error| error.to_string())
    }

    /// Learns how far the service's clock is from ours. A `Date` between sending and receiving says that they agree.
    fn learn(&self, headers: &HeaderMap, sent: Timestamp) {
        let Some(date) = listing::date(headers) else { return };
        *lock(&self.heard) = Some(date);
        let offset = self.ahead(headers, sent).unwrap_or_default();
        let old = std::mem::replace(&mut *lock(&self.offset), offset);
        if offset.abs() > SignedDuration::from_mins(5) && old.abs() <= SignedDuration::from_mins(5) {
            tracing::warn!(tenant = %self.names.tenant, "this machine's clock is {} s from the service's; check it", -offset.as_secs());
        }
    }
}

/// What came of a body.
pub(super) struct Whole {
    pub bytes: Bytes,
    /// It broke off.
    pub error: Option<HttpError>,
    /// It was longer than asked for.
    pub cut: bool,
}

/// Reads at most `most` bytes of a body.
pub(super) async fn read_all(mut body: Body, clock: &dyn Clock, stall: Duration, most: usize) -> Whole {
    let mut bytes = BytesMut::new();
    let (mut error, mut cut) = (None, false);
    loop {
        match next_chunk(&mut body, clock, stall).await {
            Ok(Some(chunk)) => {
                let room = most - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    cut = true;
                    break;
                }
            }
            Ok(None) => break,
            Err(failed) => {
                error = Some(failed);
                break;
            }
        }
    }
    Whole { bytes: bytes.freeze(), error, cut }
}

/// The next bytes of a body, unless nothing comes for `stall`.
pub(super) async fn next_chunk(
    body: &mut Body,
    clock: &dyn Clock,
    stall: Duration,
) -> Result<Option<Bytes>, HttpError> {
    tokio::select! {
        biased;
        chunk = body.next() => chunk.transpose(),
        () = clock.sleep(stall) => Err(HttpError::Timeout(stall)),
    }
}

/// A body without the given secrets, should a server echo them.
pub(super) fn scrub(body: &[u8], secrets: &[&str]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= 4) {
        text = text.replace(secret, "***");
    }
    text.into_bytes()
}

pub(super) fn lock<T>(mutex: &std::sync::Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
