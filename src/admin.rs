//! /metrics, /livez, /readyz.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;

use crate::{
    activity::Activity,
    agent::millis,
    ledger::{Ledger, LedgerError, Millis},
    metrics,
    source::office365::Office365,
    status::Snapshot,
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
    let app = Router::new()
        .route("/metrics", get(scrape))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(admin));
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}

type Answer = (StatusCode, String);

impl Admin {
    async fn snapshot(&self) -> Result<Snapshot, LedgerError> {
        let requests: BTreeMap<_, _> =
            self.sources.iter().map(|watched| (watched.name.clone(), watched.source.counters())).collect();
        Snapshot::take(&self.ledger, Some(&self.activity), requests, millis(&self.world)).await
    }

    /// Streams that were not listed within 3 × poll + 5 min, by source; a source all of whose streams are stale is not ready.
    fn stale(&self) -> (Vec<String>, Vec<String>) {
        let now = millis(&self.world);
        let known = self.activity.streams();
        let (mut streams, mut sources) = (Vec::new(), Vec::new());
        for watched in &self.sources {
            let allowed = 3 * watched.poll.as_millis() as Millis + 5 * 60_000;
            let listed = |name: &String| known.get(name).and_then(|stream| stream.listed_at);
            let stale: Vec<&String> =
                watched.streams.iter().filter(|name| listed(name).is_none_or(|at| now - at > allowed)).collect();
            if stale.len() == watched.streams.len() {
                sources.push(watched.name.clone());
            }
            streams.extend(stale.into_iter().map(|name| {
                let why = known.get(name).and_then(|stream| stream.error.clone());
                format!("{name}: {}", why.unwrap_or_else(|| "not listed yet".into()))
            }));
        }
        (streams, sources)
    }
}

async fn scrape(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let rendered = match admin.snapshot().await {
        Ok(snapshot) => metrics::render(&snapshot).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match rendered {
        Ok(text) => (StatusCode::OK, [("content-type", metrics::MEDIA_TYPE)], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [("content-type", "text/plain")], format!("{error}\n")),
    }
}

/// Live: every loop has turned within 5 minutes, or sleeps until a time not yet past. No sink and no service matters.
async fn livez(State(admin): State<Arc<Admin>>) -> Answer {
    let hung = admin.activity.hung(millis(&admin.world));
    if hung.is_empty() {
        (StatusCode::OK, "live\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("these loops have not turned for 5 minutes: {}\n", hung.join(", ")))
    }
}

/// Ready: the ledger can be written, and of each source at least one stream was listed lately. No sink matters.
async fn readyz(State(admin): State<Arc<Admin>>) -> Answer {
    let (stale, sources) = admin.stale();
    let mut words = String::new();
    if let Some(error) = admin.activity.ledger_state() {
        words.push_str(&format!("not ready: {error}\n"));
    }
    for source in &sources {
        words.push_str(&format!("not ready: no stream of source {source} was listed lately\n"));
    }
    let ready = words.is_empty();
    if ready {
        words.push_str("ready\n");
    }
    for stream in stale {
        words.push_str(&format!("stale: {stream}\n"));
    }
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, words)
}
