//! The environment of one sink over an environment whose contents change.

use super::*;
use crate::world::{Clock, Gate};

struct Fixed(Mutex<Millis>);

#[async_trait]
impl Clock for Fixed {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(*self.0.lock().unwrap()).unwrap()
    }
    async fn sleep(&self, _: Duration) {}
}

struct Changing {
    secret: Mutex<Result<String, Cause>>,
    file: Mutex<Result<Bytes, Cause>>,
    reads: Mutex<u32>,
}

#[async_trait]
impl Env for Changing {
    fn agent(&self) -> &str {
        "auditferry/test"
    }
    async fn secret(&self, _: &SecretRef) -> Result<SecretString, Cause> {
        *self.reads.lock().unwrap() += 1;
        self.secret.lock().unwrap().clone().map(SecretString::from)
    }
    async fn file(&self, _: &Path) -> Result<Bytes, Cause> {
        self.file.lock().unwrap().clone()
    }
    fn random(&self) -> u128 {
        4
    }
}

fn start() -> (Arc<Changing>, Arc<Fixed>, Arc<SinkEnv>) {
    let clock = Arc::new(Fixed(Mutex::new(1_000_000)));
    let inner = Arc::new(Changing {
        secret: Mutex::new(Ok("one".into())),
        file: Mutex::new(Ok(Bytes::from_static(b"pem"))),
        reads: Mutex::new(0),
    });
    let world = World {
        http: Arc::new(crate::world::http_client::ReqwestFactory),
        clock: clock.clone(),
        random: Arc::new(crate::world::random::SystemRandom::new()),
        gate: Gate::default(),
    };
    let env = SinkEnv::new(inner.clone(), world);
    (inner, clock, env)
}

fn token() -> SecretRef {
    SecretRef::Env("TOKEN".into())
}

#[tokio::test]
async fn a_secret_is_kept_for_60_seconds_and_dropped_when_the_sink_is_blocked() {
    let (inner, clock, env) = start();
    for _ in 0..3 {
        assert_eq!(env.secret(&token()).await.unwrap().expose_secret(), "one");
    }
    assert_eq!(*inner.reads.lock().unwrap(), 1);
    *inner.secret.lock().unwrap() = Ok("two".into());
    assert_eq!(env.secret(&token()).await.unwrap().expose_secret(), "one");
    env.forget();
    assert_eq!(env.secret(&token()).await.unwrap().expose_secret(), "two");
    *inner.secret.lock().unwrap() = Ok("three".into());
    *clock.0.lock().unwrap() += 60_000;
    assert_eq!(env.secret(&token()).await.unwrap().expose_secret(), "three");
}

#[tokio::test]
async fn a_changed_secret_or_file_is_named_and_one_that_is_gone_is_not() {
    let (inner, _, env) = start();
    assert!(!env.watches());
    env.secret(&token()).await.unwrap();
    env.file(Path::new("ca.pem")).await.unwrap();
    assert!(env.watches());
    assert_eq!(env.changed().await, None);
    *inner.file.lock().unwrap() = Err(Cause("gone".into()));
    assert_eq!(env.changed().await, None);
    *inner.file.lock().unwrap() = Ok(Bytes::from_static(b"other"));
    assert_eq!(env.changed().await.as_deref(), Some("ca.pem"));
    env.begin();
    env.file(Path::new("ca.pem")).await.unwrap();
    env.secret(&token()).await.unwrap();
    *inner.secret.lock().unwrap() = Ok("two".into());
    let named = env.changed().await.expect("the secret is another");
    assert!(named.contains("TOKEN") && !named.contains("two"), "{named}");
    assert_eq!(env.secret(&token()).await.unwrap().expose_secret(), "two", "the cached one is not used any more");
}
