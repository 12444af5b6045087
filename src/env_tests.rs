//! The environment of one sink over an environment whose contents change.

use super::*;
#[cfg(feature = "tls")]
use crate::activity::SinkActivity;
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
    start_with(Activity::default())
}

fn start_with(activity: Activity) -> (Arc<Changing>, Arc<Fixed>, Arc<SinkEnv>) {
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
    let env = SinkEnv::new(inner.clone(), world, "siem".into(), activity, Arc::default());
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

/// A certificate that ends when this year begins.
#[cfg(feature = "tls")]
fn certificate(year: i32) -> String {
    let mut params = rcgen::CertificateParams::new(vec!["siem.example".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(1970, 1, 1), rcgen::date_time_ymd(year, 1, 1));
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

#[cfg(feature = "tls")]
fn ends(activity: &Activity) -> Vec<(String, i64)> {
    let SinkActivity { certificates, .. } = activity.sinks().remove("siem").unwrap_or_default();
    certificates.into_iter().map(|(file, end)| (file, end / 1000)).collect()
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn the_end_of_certificates_follows_their_files() {
    let activity = Activity::default();
    let (inner, _, env) = start_with(activity.clone());
    let put = |text: String| *inner.file.lock().unwrap() = Ok(text.into());
    let (in_2030, in_2040) = (1_893_456_000, 2_208_988_800);

    put(format!("{}{}", certificate(2040), certificate(2030)));
    env.begin();
    env.file(Path::new("ca.pem")).await.unwrap();
    assert_eq!(ends(&activity), [("ca.pem".to_owned(), in_2030)], "the earliest of the file");
    put(certificate(2040));
    env.file(Path::new("chain.pem")).await.unwrap();
    put("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".into());
    env.file(Path::new("key.pem")).await.unwrap();
    assert_eq!(ends(&activity), [("ca.pem".to_owned(), in_2030), ("chain.pem".to_owned(), in_2040)], "a key has none");

    // the new one counts as soon as it is noticed, whenever the sink is opened anew
    put(certificate(2040));
    assert_eq!(env.changed().await.as_deref(), Some("ca.pem"));
    assert_eq!(ends(&activity)[0], ("ca.pem".to_owned(), in_2040));
    // while it is being replaced the old one stands
    *inner.file.lock().unwrap() = Err(Cause("gone".into()));
    assert_eq!(env.changed().await, None);
    assert_eq!(ends(&activity)[0], ("ca.pem".to_owned(), in_2040));

    put(certificate(2030));
    env.begin();
    env.file(Path::new("chain.pem")).await.unwrap();
    assert_eq!(ends(&activity), [("chain.pem".to_owned(), in_2030)], "opened anew, it reads one file only");
}
