//! Office 365 Management Activity API: subscriptions, windowed listing, blobs.
//!
//! One [`Office365`] serves one tenant. It keeps a token, the tenant's quota and back-off; it retries nothing by itself
//! but a request whose token was refused. What a caller does about an error stands in [`SourceError::class`].

mod address;
mod blob;
mod call;
mod counters;
mod envelope;
mod errors;
mod listing;
mod probe;
mod quota;
mod token;
pub mod window;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Method;
use jiff::{SignedDuration, Timestamp};

use self::{
    address::{Origin, shown, with_publisher},
    call::{Ask, lock},
    counters::Counters,
    errors::Names,
    window::Window,
};
pub use self::{
    blob::Blob,
    counters::Counts,
    errors::{AUDIT_OFF, Class, Operation, SourceError},
    listing::{Listed, PageToken, Paging, PagingError},
    probe::{Heard, Tenant},
    token::Finding,
};
use super::{SecretReader, Settings};
use crate::world::{Clock, Http, HttpError, Random, World};

/// More than any page of a listing.
const LISTING_BYTES: usize = 64 << 20;
/// Microsoft asks for so long between two starts of one subscription.
const START_PAUSE: SignedDuration = SignedDuration::from_mins(15);

/// One tenant's audit content. Cheap to clone; clones share token, quota and back-off.
#[derive(Clone)]
pub struct Office365(Arc<Inner>);

struct Inner {
    settings: Settings,
    names: Names,
    api: Origin,
    authority: Origin,
    http: Arc<dyn Http>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    secrets: Arc<dyn SecretReader>,
    token: tokio::sync::Mutex<token::Cache>,
    quota: Arc<Quota>,
    counters: Counters,
    offset: Mutex<SignedDuration>,
    /// The last `Date` of the service.
    heard: Mutex<Option<Timestamp>>,
    /// When each subscription was started last.
    started: Mutex<BTreeMap<String, Timestamp>>,
}

/// What the service counts per tenant.
#[derive(Default)]
struct Quota {
    bucket: Mutex<quota::Bucket>,
    throttle: Mutex<quota::Throttle>,
}

/// How one content type's subscription stands after [`Office365::ensure_subscriptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionState {
    /// As configured.
    pub content_type: String,
    /// What was found and done; an error concerns this content type only.
    pub outcome: Result<Subscription, SourceError>,
}

/// How a subscription was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// It was enabled; nothing done.
    AlreadyEnabled,
    /// There was none: started. If it had been enabled before, what happened in between may be lost.
    Started,
    /// Somebody had disabled it: started again; what happened in between may be lost.
    Reenabled,
    /// It was started less than 15 min ago and is not shown yet; nothing done.
    Pending,
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// What it lists, in the service's order. Foreign addresses are among them: `fetch` refuses those, so that such a
    /// content is owed and ends as a known loss instead of vanishing.
    pub contents: Vec<Listed>,
    /// The next page; `Ok(None)`: this was the last one; `Err`: there is more, but it can't be followed (foreign
    /// origin), so the listing is not complete.
    pub next: Result<Option<PageToken>, SourceError>,
    /// The service's clock when it answered.
    pub service_time: Option<Timestamp>,
    /// What is odd about it: entries without a content, foreign addresses. To be logged.
    pub warnings: Vec<String>,
}

impl Office365 {
    /// A client for one tenant. Asks nothing yet. Fails on an unusable address, certificate or proxy.
    pub fn new(settings: Settings, world: &World, secrets: Arc<dyn SecretReader>) -> Result<Self, SourceError> {
        Office365::beside(settings, world, secrets, [])
    }

    /// As [`Office365::new`], where other sources may have the same tenant: they share one quota and back-off, which
    /// the service counts per tenant.
    pub fn beside<'a>(
        settings: Settings,
        world: &World,
        secrets: Arc<dyn SecretReader>,
        others: impl IntoIterator<Item = &'a Office365>,
    ) -> Result<Self, SourceError> {
        let same = |other: &&Office365| other.0.settings.tenant.eq_ignore_ascii_case(&settings.tenant);
        let quota = others.into_iter().find(same).map_or_else(Default::default, |other| other.0.quota.clone());
        let names = Names {
            tenant: settings.tenant.clone(),
            client: settings.client.clone(),
            api: settings.api.trim_end_matches('/').to_owned(),
            authority: settings.authority.trim_end_matches('/').to_owned(),
            audience: settings.audience.trim_end_matches('/').to_owned(),
        };
        let place = errors::Place { operation: Operation::ListContent, names: &names, content: "" };
        let fault = |words: String| place.own(Class::FixConfig, "Address", words);
        let api = Origin::new(&settings.api).map_err(|words| fault(format!("`api` of this source: {words}")))?;
        let authority =
            Origin::new(&settings.authority).map_err(|words| fault(format!("`authority` of this source: {words}")))?;
        let http = world.http.client(&settings.transport).map_err(|error| fault(error.to_string()))?;
        Ok(Office365(Arc::new(Inner {
            names,
            api,
            authority,
            http,
            clock: world.clock.clone(),
            random: world.random.clone(),
            secrets,
            token: Default::default(),
            quota,
            counters: Counters::default(),
            offset: Default::default(),
            heard: Default::default(),
            started: Default::default(),
            settings,
        })))
    }

    /// Gets a token, if none is held, and says what in it does not fit: missing permission, other tenant or audience.
    pub async fn check_token(&self) -> Result<Vec<Finding>, SourceError> {
        self.0.token_findings().await
    }

    /// Lists the subscriptions and starts what is missing or disabled. One content type's error stops no other; `Err`:
    /// the list itself could not be had.
    pub async fn ensure_subscriptions(&self) -> Result<Vec<SubscriptionState>, SourceError> {
        let inner = &*self.0;
        let mut states = Vec::new();
        for (content_type, status) in inner.subscriptions().await? {
            let outcome = match status.as_ref().map(Option::as_deref) {
                Some(Some("enabled")) => Ok(Subscription::AlreadyEnabled),
                // a row without a status says nothing: starting it tells
                None | Some(None) => inner.start(content_type, Subscription::Started).await,
                Some(Some(_)) => inner.start(content_type, Subscription::Reenabled).await,
            };
            if matches!(&outcome, Err(error) if error.class == Class::Dead) {
                return Err(inner.place(Operation::StartSubscription, content_type).unanswered(&HttpError::Dead));
            }
            states.push(SubscriptionState { content_type: content_type.clone(), outcome });
        }
        Ok(states)
    }

    /// Content types of which the service says that they are not enabled now, but for those started so lately that it may not show them yet.
    /// Starts nothing.
    pub async fn subscriptions_off(&self) -> Result<Vec<String>, SourceError> {
        let found = self.0.subscriptions().await?.into_iter();
        let off = found.filter(|(content_type, status)| match status {
            None => !self.0.started_lately(content_type),
            Some(status) => status.as_ref().is_some_and(|status| status != "enabled"),
        });
        Ok(off.map(|(content_type, _)| content_type.clone()).collect())
    }

    /// One page of the contents that became available in `window`.
    pub async fn list(
        &self,
        content_type: &str,
        window: Window,
        page: Option<&PageToken>,
    ) -> Result<Page, SourceError> {
        let inner = &*self.0;
        let ask = match page {
            None => {
                let (start, end) = (listing::wire_time(window.start()), listing::wire_time(window.end()));
                let query = [("contentType", content_type), ("startTime", &start), ("endTime", &end)];
                inner.ask(Operation::ListContent, Method::GET, "subscriptions/content", &query, content_type)?
            }
            Some(token) => inner.follow(Operation::ListContent, &token.0, content_type)?,
        };
        let (headers, body) = inner.call_whole(&ask, LISTING_BYTES).await?;
        let service_time = listing::date(&headers);
        let uri_of = |id: &str| inner.path(&format!("audit/{id}"));
        let entries = listing::contents(&body, service_time.unwrap_or(window.start()), uri_of)
            .map_err(|error| inner.unreadable(&ask, &error))?;
        let mut warnings = entries.unreadable;
        for content in &entries.contents {
            if inner.api.own(&content.uri).is_none() {
                inner.counters.foreign();
                let id = envelope::clean(&content.content_id, 100);
                warnings.push(format!("content {id} lies at {}; it will not be fetched", shown(&content.uri)));
            }
        }
        let next = match listing::next_page(&headers) {
            None => Ok(None),
            // checked here, so that the error comes with the page that caused it, and again before the token goes out
            Some(next) => inner.follow(Operation::ListContent, &next, content_type).map(|_| Some(PageToken(next))),
        };
        Ok(Page { contents: entries.contents, next, service_time, warnings })
    }

    /// The body of a content. Its status is checked and it is no error envelope; the rest is for the reader.
    pub async fn fetch(&self, uri: &str) -> Result<Blob, SourceError> {
        let ask = self.0.follow(Operation::FetchContent, uri, "")?;
        let answer = self.0.call(&ask).await?;
        Blob::open(self.0.clone(), answer).await
    }

    /// How far the service's clock is ahead of this machine's, by its last `Date`.
    pub fn service_offset(&self) -> SignedDuration {
        *lock(&self.0.offset)
    }

    /// The service's time now: what windows are reckoned from.
    pub fn service_now(&self) -> Timestamp {
        self.0.service_now()
    }

    /// What the service last said the time is: it is at least this late there, whatever this machine's clock does meanwhile.
    pub fn service_heard(&self) -> Option<Timestamp> {
        *lock(&self.0.heard)
    }

    /// Until when the tenant is backed off, as a wait from now; `None`: requests may go out.
    pub fn backed_off(&self) -> Option<Duration> {
        lock(&self.0.quota.throttle).shut(self.0.clock.now())
    }

    /// What the metrics show.
    pub fn counters(&self) -> Counts {
        self.0.counters.snapshot()
    }
}

impl Inner {
    fn service_now(&self) -> Timestamp {
        let now = self.clock.now();
        now.checked_add(*lock(&self.offset)).unwrap_or(now)
    }

    fn path(&self, path: &str) -> String {
        format!("{}/api/v1.0/{}/activity/feed/{path}", self.api.base(), self.settings.tenant)
    }

    /// A request of our own making.
    fn ask<'a>(
        &self,
        operation: Operation,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        content: &'a str,
    ) -> Result<Ask<'a>, SourceError> {
        // `:` of the times stays as documented; nothing else in these values needs escaping
        let escape = |value: &str| {
            url::form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>().replace("%3A", ":")
        };
        let pairs: Vec<_> = query.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        let address = with_publisher(&format!("{}?{}", self.path(path), pairs.join("&")), &self.settings.publisher);
        let place = self.place(operation, content);
        let uri = self
            .api
            .own(&address)
            .ok_or_else(|| place.own(Class::FixConfig, "Address", "its address can't be built"))?;
        Ok(Ask { operation, method, uri, content })
    }

    /// A request to an address that the service named, if it leads to the API's origin.
    fn follow<'a>(&self, operation: Operation, address: &str, content: &'a str) -> Result<Ask<'a>, SourceError> {
        match self.api.own(&with_publisher(address, &self.settings.publisher)) {
            Some(uri) => Ok(Ask { operation, method: Method::GET, uri, content }),
            None => {
                self.counters.foreign();
                let words = format!(
                    "the service leads to {}, and the token goes to the configured `api` only; if a proxy stands in \
                     between, set `api` of this source to its address",
                    shown(address)
                );
                Err(self.place(operation, content).own(Class::Retry, "ForeignAddress", words))
            }
        }
    }

    /// The configured content types, each with the status that the service shows: none without a row, none in a row without a status.
    async fn subscriptions(&self) -> Result<Vec<(&String, Option<Option<String>>)>, SourceError> {
        let ask = self.ask(Operation::ListSubscriptions, Method::GET, "subscriptions/list", &[], "")?;
        let (_, body) = self.call_whole(&ask, LISTING_BYTES).await?;
        let found = listing::subscriptions(&body).map_err(|error| self.unreadable(&ask, &error))?;
        let status = |content_type: &str| {
            let row =
                found.iter().find(|s| s.content_type.as_deref().is_some_and(|c| c.eq_ignore_ascii_case(content_type)));
            row.map(|s| s.status.as_deref().map(str::to_ascii_lowercase))
        };
        Ok(self.settings.content.iter().map(|content_type| (content_type, status(content_type))).collect())
    }

    fn started_lately(&self, content_type: &str) -> bool {
        let now = self.clock.now();
        let lately = |at: &Timestamp| now >= *at && now.duration_since(*at) < START_PAUSE;
        lock(&self.started).get(content_type).is_some_and(lately)
    }

    async fn start(&self, content_type: &str, done: Subscription) -> Result<Subscription, SourceError> {
        if self.started_lately(content_type) {
            return Ok(Subscription::Pending);
        }
        let query = [("contentType", content_type)];
        let ask = self.ask(Operation::StartSubscription, Method::POST, "subscriptions/start", &query, content_type)?;
        match self.call_whole(&ask, LISTING_BYTES).await {
            Ok(_) => {
                lock(&self.started).insert(content_type.to_owned(), self.clock.now());
                Ok(done)
            }
            // AF20024: 400, and yet what we wanted
            Err(error) if error.class == Class::Ok => Ok(Subscription::AlreadyEnabled),
            Err(error) => Err(error),
        }
    }

    fn unreadable(&self, ask: &Ask<'_>, error: &serde_json::Error) -> SourceError {
        let words = format!("the answer is no list ({error}); check that no proxy answers for the service");
        self.place(ask.operation, ask.content).own(Class::Retry, "UnreadableAnswer", words)
    }
}
