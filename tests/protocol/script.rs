//! A scripted service behind `world::Http`, a clock that is turned by hand, fixed randomness.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use auditferry::{
    source::{SecretReader, Settings},
    world::{Body, Clock, Gate, Http, HttpError, HttpFactory, Random, Transport, World},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

/// One file.
#[derive(Deserialize)]
pub struct Script {
    /// Where the knowledge comes from.
    #[allow(dead_code)]
    pub source: String,
    pub call: String,
    pub uri: Option<String>,
    pub content: Option<Vec<String>>,
    pub exchanges: Vec<Value>,
    pub expect: Value,
}

impl Script {
    pub fn read(name: &str) -> Script {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protocol/client").join(format!("{name}.json"));
        let script: Script = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(!script.source.is_empty(), "{name} names no source");
        script
    }
}

pub fn settings() -> Settings {
    Settings {
        tenant: "41463f53-8812-40f4-890f-865bf6e35190".into(),
        client: "6f9c2f0e-5b1e-4c0f-9a51-2f6d1f0f7c11".into(),
        api: "https://manage.office.com".into(),
        authority: "https://login.microsoftonline.com".into(),
        audience: "https://manage.office.com".into(),
        publisher: "41463f53-8812-40f4-890f-865bf6e35190".into(),
        content: vec!["Audit.General".into()],
        transport: Transport::default(),
        timeout: Duration::from_secs(30),
        stall: Duration::from_secs(30),
    }
}

/// The scripted service and what the client asked of it.
#[derive(Clone)]
pub struct Stage(Arc<Inner>);

struct Inner {
    left: Mutex<Vec<Value>>,
    token_forms: Mutex<Vec<String>>,
    secret: Mutex<String>,
    now_ms: AtomicU64,
}

impl Stage {
    /// Answers the exchanges in order. A token request that the next exchange does not script is served.
    pub fn new(exchanges: Vec<Value>) -> Stage {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        Stage(Arc::new(Inner {
            left: Mutex::new(exchanges),
            token_forms: Mutex::default(),
            secret: Mutex::new("the~secret".into()),
            now_ms: AtomicU64::new(now.as_millisecond() as u64),
        }))
    }

    /// Answers so many listings.
    pub fn listing(times: usize) -> Stage {
        let one = Script::read("list-empty").exchanges;
        Stage::new(std::iter::repeat_n(one, times).flatten().collect())
    }

    pub fn world(&self) -> World {
        World {
            http: Arc::new(self.clone()),
            clock: Arc::new(self.clone()),
            random: Arc::new(self.clone()),
            gate: Gate::default(),
        }
    }

    pub fn secrets(&self) -> Arc<dyn SecretReader> {
        Arc::new(self.clone())
    }

    pub fn rotate(&self, secret: &str) {
        *self.0.secret.lock().unwrap() = secret.to_owned();
    }

    pub fn advance(&self, by: Duration) {
        // up: a wait must be over afterwards
        self.0.now_ms.fetch_add(by.as_nanos().div_ceil(1_000_000) as u64, Ordering::Relaxed);
    }

    pub fn token_requests(&self) -> usize {
        self.0.token_forms.lock().unwrap().len()
    }

    pub fn last_token_form(&self) -> String {
        self.0.token_forms.lock().unwrap().last().unwrap().clone()
    }

    pub fn left(&self) -> usize {
        self.0.left.lock().unwrap().len()
    }

    pub fn finished(&self, name: &str) {
        assert_eq!(self.left(), 0, "{name}: exchanges that the client did not ask for");
    }
}

#[async_trait]
impl HttpFactory for Stage {
    fn client(&self, _: &Transport) -> Result<Arc<dyn Http>, HttpError> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Http for Stage {
    async fn send(&self, request: Request<Bytes>, timeout: Duration) -> Result<Response<Body>, HttpError> {
        assert_eq!(timeout, Duration::from_secs(30));
        let url = request.uri().to_string();
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        let is_token = url.starts_with("https://login.microsoftonline.com/");
        // I11, whatever a test looks at: the token goes to the API only, the secret to the sign-in host only
        let bearer = request.headers().contains_key("authorization");
        assert_eq!(bearer, url.starts_with("https://manage.office.com/"), "{url}");
        assert!(bearer || is_token, "{url}");
        assert!(request.headers()["user-agent"].to_str().unwrap().starts_with("auditferry/"));
        let scripted = {
            let mut left = self.0.left.lock().unwrap();
            let is_next = |next: &Value| next["request"]["url"].as_str().unwrap().contains("/oauth2/") == is_token;
            if left.first().is_some_and(is_next) { Some(left.remove(0)) } else { None }
        };
        if is_token {
            self.0.token_forms.lock().unwrap().push(body.clone());
        }
        let Some(exchange) = scripted else {
            assert!(is_token, "a request that no exchange is left for: {url}");
            let token = json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": "the-token" });
            return Ok(Response::new(once(token.to_string())));
        };
        let expected = &exchange["request"];
        assert_eq!(expected["method"], request.method().as_str());
        assert_eq!(expected["url"], url);
        for (name, value) in expected["headers"].as_object().into_iter().flatten() {
            assert_eq!(Some(value.as_str().unwrap().as_bytes()), request.headers().get(name).map(|v| v.as_bytes()));
        }
        if let Some(text) = expected["body"].as_str() {
            assert_eq!(text, body);
        }
        let answer = &exchange["response"];
        let mut response = Response::builder().status(answer["status"].as_u64().unwrap() as u16);
        for (name, value) in answer["headers"].as_object().into_iter().flatten() {
            response = response.header(name, value.as_str().unwrap());
        }
        let text = answer["body"].as_str().map_or_else(|| answer["body"].to_string(), str::to_owned);
        let body: Body = match answer["then"].as_str() {
            Some("stall") => Box::pin(once(text).chain(stream::pending())),
            Some("cut") => {
                let cut = Err(HttpError::Body("cut by the script".into()));
                Box::pin(once(text).chain(stream::iter([cut])))
            }
            _ => once(text),
        };
        Ok(response.body(body).unwrap())
    }
}

/// A body of one chunk, or of none.
fn once(text: String) -> Body {
    let chunks = if text.is_empty() { vec![] } else { vec![Ok(Bytes::from(text))] };
    Box::pin(stream::iter(chunks))
}

#[async_trait]
impl Clock for Stage {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.now_ms.load(Ordering::Relaxed) as i64).unwrap()
    }
    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

impl Random for Stage {
    fn next(&self) -> u64 {
        7
    }
}

#[async_trait]
impl SecretReader for Stage {
    async fn secret(&self) -> Result<SecretString, String> {
        Ok(SecretString::from(self.0.secret.lock().unwrap().clone()))
    }
}
