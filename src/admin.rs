//! /metrics, /livez, /readyz and the status page.
//!
//! Nobody has to log in, and nothing that is shown is a secret; `agent.listen` is loopback unless somebody changes it. There a name other than
//! `localhost` in a request means a page of some other site that had its own name point here: it is refused.

use std::{collections::BTreeMap, future::Future, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::{
    activity::Activity,
    agent::millis,
    ledger::{Ledger, LedgerError},
    metrics, page,
    source::office365::Office365,
    status::{self, Snapshot},
    world::World,
};

/// A source as readiness sees it.
#[derive(Clone)]
pub struct WatchedSource {
    /// As configured.
    pub name: String,
    /// Its streams, as `tenant/content type`.
    pub streams: Vec<String>,
    /// Between two listings.
    pub poll: Duration,
    /// For its request counters.
    pub source: Office365,
}

/// What the answers are made from.
pub struct Admin {
    /// Time.
    pub world: World,
    /// The books.
    pub ledger: Ledger,
    /// The running agent.
    pub activity: Activity,
    /// The sources.
    pub sources: Vec<WatchedSource>,
}

/// Serves until `stop` resolves.
pub async fn serve(
    listener: TcpListener,
    admin: Admin,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let mut app = Router::new()
        .route("/", get(status_page))
        .route("/metrics", get(scrape))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback(unknown)
        .with_state(Arc::new(admin));
    if listener.local_addr()?.ip().is_loopback() {
        app = app.layer(from_fn(this_machine));
    }
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}

/// An answer: whether it is true, and words for a person.
pub type Answer = (StatusCode, String);

impl Admin {
    /// The page, and whether there was something to show. `refresh`: it loads itself again.
    pub async fn page(&self, refresh: bool) -> Answer {
        match self.snapshot().await {
            Ok(snapshot) => (StatusCode::OK, page::render(&snapshot, refresh)),
            Err(error) => {
                let html = page::unreadable(&error.to_string(), millis(&self.world));
                (StatusCode::INTERNAL_SERVER_ERROR, html)
            }
        }
    }

    /// What a scrape gets, or why not.
    pub async fn metrics(&self) -> Result<String, String> {
        let snapshot = self.snapshot().await.map_err(|error| error.to_string())?;
        metrics::render(&snapshot).map_err(|error| error.to_string())
    }

    async fn snapshot(&self) -> Result<Snapshot, LedgerError> {
        let requests: BTreeMap<_, _> =
            self.sources.iter().map(|watched| (watched.name.clone(), watched.source.counters())).collect();
        let mut snapshot = Snapshot::take(&self.ledger, Some(&self.activity), requests, millis(&self.world)).await?;
        snapshot.live.stale = self.stale().0;
        Ok(snapshot)
    }

    /// Streams that were not listed within 3 × poll + 5 min, with what is known of why; and the sources all of whose streams are such.
    fn stale(&self) -> (BTreeMap<String, String>, Vec<&str>) {
        let now = millis(&self.world);
        let known = self.activity.streams();
        let (mut streams, mut sources) = (BTreeMap::new(), Vec::new());
        for watched in &self.sources {
            let allowed = status::lately(watched.poll);
            let listed = |name: &String| known.get(name).and_then(|stream| stream.listed_at);
            let stale: Vec<&String> =
                watched.streams.iter().filter(|name| listed(name).is_none_or(|at| now - at > allowed)).collect();
            if stale.len() == watched.streams.len() {
                sources.push(watched.name.as_str());
            }
            for name in stale {
                let why = known.get(name).and_then(|stream| stream.error.clone());
                streams.insert(name.clone(), why.unwrap_or_else(|| "not listed yet".into()));
            }
        }
        (streams, sources)
    }

    /// Live: every loop has turned within 5 minutes, or sleeps until a time not yet past. No sink and no service matters.
    pub fn live(&self) -> Answer {
        let hung = self.activity.hung(millis(&self.world));
        if hung.is_empty() {
            (StatusCode::OK, "live\n".into())
        } else {
            let words = format!("these loops have not turned for 5 minutes: {}\n", hung.join(", "));
            (StatusCode::SERVICE_UNAVAILABLE, words)
        }
    }

    /// Ready: the ledger can be written, and some stream was listed lately. A source that can't be listed while others can is named, and is no
    /// reason to stop the others. No sink matters.
    pub fn ready(&self) -> Answer {
        let (stale, sources) = self.stale();
        let mut words = String::new();
        if let Some(error) = self.activity.ledger_state() {
            words.push_str(&format!("not ready: {error}\n"));
        }
        if sources.len() == self.sources.len() {
            match sources.as_slice() {
                [] => {}
                [source] => words.push_str(&format!("not ready: no stream of source {source} was listed lately\n")),
                all => words.push_str(&format!("not ready: of {} sources no stream was listed lately\n", all.len())),
            }
        }
        let ready = words.is_empty();
        if ready {
            words.push_str("ready\n");
        }
        for (stream, why) in stale {
            words.push_str(&format!("stale: {stream}: {why}\n"));
        }
        (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, words)
    }
}

async fn scrape(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    match admin.metrics().await {
        Ok(text) => (StatusCode::OK, [("content-type", metrics::MEDIA_TYPE)], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [("content-type", "text/plain")], format!("{error}\n")),
    }
}

async fn livez(State(admin): State<Arc<Admin>>) -> Answer {
    admin.live()
}

async fn readyz(State(admin): State<Arc<Admin>>) -> Answer {
    admin.ready()
}

async fn status_page(State(admin): State<Arc<Admin>>, uri: Uri) -> Response {
    let (status, html) = admin.page(uri.query() == Some("refresh")).await;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, page::POLICY.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, html).into_response()
}

async fn unknown() -> Answer {
    let words = "there is nothing here; there are / (the status page), /metrics, /livez and /readyz\n";
    (StatusCode::NOT_FOUND, words.into())
}

/// Lets pass what was asked of this machine by its address or as `localhost`.
async fn this_machine(request: Request, next: Next) -> Response {
    match foreign(request.headers()) {
        None => next.run(request).await,
        Some(name) => {
            let words = format!(
                "asked for as {}, while agent.listen is an address of this machine alone; ask for it as localhost, and have a proxy send that as Host\n",
                crate::show::harmless(&name)
            );
            (StatusCode::MISDIRECTED_REQUEST, words).into_response()
        }
    }
}

/// The name that the request was made to, if somebody else could have had it point here: no address is looked up, and `localhost` is ours.
fn foreign(headers: &HeaderMap) -> Option<String> {
    // a browser always sends it; a check without one comes from no browser
    let host = String::from_utf8_lossy(headers.get(header::HOST)?.as_bytes()).into_owned();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => &host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let known = name.trim_end_matches('.').to_ascii_lowercase();
    let ours = known == "localhost" || known.ends_with(".localhost") || address.parse::<IpAddr>().is_ok();
    (!ours).then(|| name.chars().take(100).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_for(host: &str) -> Option<String> {
        foreign(&HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]))
    }

    #[test]
    fn a_name_that_others_could_have_point_here_is_foreign() {
        for ours in [
            "localhost",
            "LocalHost:9464",
            "localhost.:9464",
            "a.localhost",
            "127.0.0.1:9464",
            "127.0.0.1",
            "[::1]:9464",
            "[::1]",
        ] {
            assert_eq!(asked_for(ours), None, "{ours}");
        }
        for (host, name) in [
            ("evil.example:9464", "evil.example"),
            ("localhost.evil.example", "localhost.evil.example"),
            ("127.0.0.1.evil.example:1", "127.0.0.1.evil.example"),
        ] {
            assert_eq!(asked_for(host).as_deref(), Some(name));
        }
        assert_eq!(foreign(&HeaderMap::new()), None, "no browser");
    }
}
