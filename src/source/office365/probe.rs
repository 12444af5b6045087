//! What can be learnt before anything is collected: whether hosts answer, what Entra ID says of the tenant, how subscriptions stand. For
//! `check --connect` and `subscriptions`; the loops use none of it.

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use jiff::SignedDuration;
use serde::Deserialize;

use super::{
    Inner, LISTING_BYTES, Office365,
    call::read_all,
    envelope,
    errors::{Class, Operation, Place, SourceError},
    listing,
};

/// More than any answer without a token.
const ANSWER_BYTES: usize = 256 << 10;

/// What Entra ID tells everybody of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenant {
    /// Host of the sign-in service of its cloud: `microsoftonline.com`, `microsoftonline.us`, `partner.microsoftonline.cn`.
    pub instance: String,
    /// `GCC`, `DODCON` (GCC High), `DOD`; empty elsewhere.
    pub sub_scope: String,
}

/// An answer to a question without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// How far the host's clock is ahead of this machine's; `None`: it did not say. A second of it is the wire's.
    pub ahead: Option<SignedDuration>,
}

impl Office365 {
    /// Whether the API's host answers. Whatever it says without a token is an answer.
    pub async fn reach_api(&self) -> Result<Heard, SourceError> {
        let inner = &*self.0;
        let place = inner.place(Operation::ListSubscriptions, "");
        let (_, head, _) = inner.plain(&place, inner.api.base()).await?;
        Ok(head)
    }

    /// What the sign-in host `authority` (the configured one: `None`) says of the tenant: the OpenID metadata that every client may read
    /// (OpenID Connect Discovery 1.0 §4; the members that name the cloud are Microsoft's and in no reference of theirs, other tools rely on them).
    pub async fn tenant(&self, authority: Option<&str>) -> Result<(Tenant, Heard), SourceError> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default)]
            cloud_instance_name: String,
            #[serde(default)]
            tenant_region_sub_scope: Option<String>,
        }
        let inner = &*self.0;
        let base = authority.unwrap_or(inner.authority.base()).trim_end_matches('/');
        let mut names = inner.names.clone();
        names.authority = base.to_owned();
        let place = Place { operation: Operation::Discover, names: &names, content: "" };
        let address = format!("{base}/{}/v2.0/.well-known/openid-configuration", inner.settings.tenant);
        let (status, heard, body) = inner.plain(&place, &address).await?;
        if !(200..300).contains(&status) {
            return Err(place.refused(status, &envelope::token(&body), None));
        }
        let wire: Wire = serde_json::from_slice(&body).map_err(|error| {
            let words = format!(
                "the answer can't be read ({error}); check `authority` of this source, and what stands in between"
            );
            place.own(Class::Retry, "UnreadableAnswer", words)
        })?;
        let sub_scope = wire.tenant_region_sub_scope.unwrap_or_default();
        let clean = |text: &str| envelope::clean(text, 60);
        Ok((Tenant { instance: clean(&wire.cloud_instance_name), sub_scope: clean(&sub_scope) }, heard))
    }

    /// Each configured content type with the status that the service shows, in lower case; `None`: there is no subscription.
    pub async fn subscription_states(&self) -> Result<Vec<(String, Option<String>)>, SourceError> {
        let found = self.0.subscriptions().await?.into_iter();
        Ok(found.map(|(content, status)| (content.clone(), status.map(Option::unwrap_or_default))).collect())
    }

    /// Starts the subscription to one content type. One that is enabled already is no error.
    pub async fn start_subscription(&self, content_type: &str) -> Result<(), SourceError> {
        self.change(Operation::StartSubscription, "subscriptions/start", content_type).await
    }

    /// Stops the subscription to one content type: what happens until it is started again can't be had afterwards
    /// (Management Activity API reference, "Stop a subscription").
    pub async fn stop_subscription(&self, content_type: &str) -> Result<(), SourceError> {
        self.change(Operation::StopSubscription, "subscriptions/stop", content_type).await
    }

    async fn change(&self, operation: Operation, path: &str, content_type: &str) -> Result<(), SourceError> {
        let inner = &*self.0;
        let ask = inner.ask(operation, Method::POST, path, &[("contentType", content_type)], content_type)?;
        match inner.call_whole(&ask, LISTING_BYTES).await {
            Err(error) if error.class != Class::Ok => Err(error),
            _ => Ok(()),
        }
    }
}

impl Inner {
    /// Asks without a token; status, clock and body.
    async fn plain(&self, place: &Place<'_>, address: &str) -> Result<(u16, Heard, Bytes), SourceError> {
        let request = http::Request::get(address)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, crate::AGENT)
            .body(Bytes::new())
            .map_err(|error| place.own(Class::FixConfig, "Address", format!("the address can't be built: {error}")))?;
        let sent = self.clock.now();
        let response =
            self.http.send(request, self.settings.timeout).await.map_err(|error| place.unanswered(&error))?;
        let heard = Heard { ahead: self.ahead(response.headers(), sent) };
        let status = response.status().as_u16();
        let body = read_all(response.into_body(), &*self.clock, self.settings.stall, ANSWER_BYTES).await;
        match body.error {
            Some(error) => Err(place.unanswered(&error)),
            None => Ok((status, heard, body.bytes)),
        }
    }

    /// A `Date` between sending and receiving says that the clocks agree.
    pub(super) fn ahead(&self, headers: &HeaderMap, sent: jiff::Timestamp) -> Option<SignedDuration> {
        let date = listing::date(headers)?;
        let now = self.clock.now();
        let agrees = date.duration_since(sent) >= -SignedDuration::from_secs(1) && date <= now;
        Some(if agrees { SignedDuration::ZERO } else { date.duration_since(now) })
    }
}
