//! Login and TLS, which the mock cluster does not have: a broker's front door that shows a certificate, hears the login, and refuses it.

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use auditferry_conformance::{SECRET, TestEnv, fakes::certificates::Certificates};
use auditferry_contract::SinkError;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::cluster::checked;

/// Kafka's numbers of the requests that come before anything else (protocol guide, "API Keys").
const API_VERSIONS: i16 = 18;
const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;

const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
const UNSUPPORTED_VERSION: i16 = 35;
const SASL_AUTHENTICATION_FAILED: i16 = 58;

struct Door {
    tls: Option<Arc<ServerConfig>>,
    mechanism: &'static str,
    logins: Mutex<Vec<Vec<u8>>>,
}

impl Door {
    fn new(tls: Option<Arc<ServerConfig>>) -> Door {
        Door { tls, mechanism: "PLAIN", logins: Mutex::default() }
    }

    /// One client after the other, until the test has what it wants.
    async fn serve(&self, listener: &TcpListener) -> io::Result<()> {
        for _ in 0..100 {
            let (stream, _) = listener.accept().await?;
            // whatever a client does wrong, the next one is served
            let _ = match &self.tls {
                Some(config) => match TlsAcceptor::from(config.clone()).accept(stream).await {
                    Ok(stream) => self.answer(stream).await,
                    Err(error) => Err(error),
                },
                None => self.answer(stream).await,
            };
        }
        Ok(())
    }

    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        for _ in 0..10 {
            let mut request = vec![0; stream.read_u32().await? as usize];
            stream.read_exact(&mut request).await?;
            let short = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
            let (key, version, correlation) = (short(0), short(2), &request[4..8]);
            // the header ends with the client's name
            let body = &request[10 + short(8) as usize..];
            let mut answer = correlation.to_vec();
            match key {
                API_VERSIONS => {
                    let error = if version == 0 { 0 } else { UNSUPPORTED_VERSION };
                    answer.extend(error.to_be_bytes());
                    let known =
                        [(API_VERSIONS, 0i16), (SASL_HANDSHAKE, 1), (SASL_AUTHENTICATE, 0), (3, 4), (0, 7), (22, 1)];
                    answer.extend((known.len() as i32).to_be_bytes());
                    for (key, newest) in known {
                        answer.extend([key.to_be_bytes(), 0i16.to_be_bytes(), newest.to_be_bytes()].concat());
                    }
                }
                SASL_HANDSHAKE => {
                    let wanted = &body[2..];
                    let error = if wanted == self.mechanism.as_bytes() { 0 } else { UNSUPPORTED_SASL_MECHANISM };
                    answer.extend(error.to_be_bytes());
                    answer.extend(1i32.to_be_bytes());
                    text(&mut answer, self.mechanism);
                }
                _ => {
                    self.logins.lock().expect("one thread").push(body[4..].to_vec());
                    answer.extend(SASL_AUTHENTICATION_FAILED.to_be_bytes());
                    text(&mut answer, "Authentication failed: Invalid username or password");
                    answer.extend(0i32.to_be_bytes());
                }
            }
            stream.write_u32(answer.len() as u32).await?;
            stream.write_all(&answer).await?;
            stream.flush().await?;
            if key == SASL_AUTHENTICATE {
                return stream.shutdown().await;
            }
        }
        Ok(())
    }

    /// Opens the sink against this door and says why it could not.
    async fn open(&self, options: &str, files: &[(&str, &str)]) -> SinkError {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let checked = checked(&format!("brokers = [{address:?}]\ntopic = 'audit'\n{options}"));
        let mut env = TestEnv::default();
        for (name, content) in files {
            env.files.insert(name.to_string(), content.as_bytes().to_vec().into());
        }
        let error = tokio::select! {
            opened = checked.open(Arc::new(env)) => opened.err().expect("it opens"),
            served = self.serve(&listener) => panic!("the door has ended: {served:?}"),
        };
        let cause = &error.cause().0;
        assert!(!cause.contains(SECRET) && !cause.contains('\n'), "{cause}");
        error
    }
}

fn text(answer: &mut Vec<u8>, text: &str) {
    answer.extend((text.len() as i16).to_be_bytes());
    answer.extend(text.as_bytes());
}

const LOGIN: &str = "sasl = { mechanism = 'PLAIN', username = 'alice', password = { env = 'X' } }";

fn blocked(error: &SinkError, words: &[&str]) {
    let SinkError::Blocked { cause } = error else { panic!("not blocked: {error}") };
    for words in words {
        assert!(cause.0.contains(words), "{cause}");
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "measures how long a person waits for the words")]
async fn a_refused_login_is_told_at_once_in_the_brokers_words() {
    let door = Door::new(None);
    let start = Instant::now();
    let error = door.open(LOGIN, &[]).await;
    blocked(&error, &["kafka refused the login", "Invalid username or password", "`sasl`"]);
    assert!(start.elapsed() < Duration::from_secs(4), "it waited for a time-out: {:?}", start.elapsed());
    let logins = door.logins.lock().expect("one thread");
    assert_eq!(logins[0], format!("\0alice\0{SECRET}").into_bytes());
}

#[tokio::test]
async fn a_mechanism_that_the_broker_does_not_have_is_blocked() {
    let door = Door { mechanism: "GSSAPI", ..Door::new(None) };
    blocked(&door.open(LOGIN, &[]).await, &["kafka refused the login", "GSSAPI"]);
}

#[tokio::test]
async fn certificates_are_checked() {
    let certificates = Certificates::new();
    let options = format!("ca = '/ca'\n{LOGIN}");
    let trusted = [("/ca", &*certificates.ca)];
    // a good one: the login is reached
    let error = Door::new(Some(certificates.open())).open(&options, &trusted).await;
    blocked(&error, &["kafka refused the login"]);
    for (config, files) in [
        (certificates.open(), [("/ca", &*certificates.other_ca)]),
        (certificates.elsewhere.config(None), trusted),
        (certificates.expired.config(None), trusted),
    ] {
        let door = Door::new(Some(config));
        let error = door.open(&options, &files).await;
        blocked(&error, &["no tls with kafka"]);
        assert!(door.logins.lock().expect("one thread").is_empty(), "the password went to a stranger");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown() {
    let certificates = Certificates::new();
    let options = format!("ca = '/ca'\ncertificate = '/crt'\nkey = '/key'\n{LOGIN}");
    let client = &certificates.client;
    let files = [("/ca", &*certificates.ca), ("/crt", &*client.certificate), ("/key", &*client.key)];
    let error = Door::new(Some(certificates.mutual())).open(&options, &files).await;
    blocked(&error, &["kafka refused the login"]);
    // without one, TLS 1.3 shows the refusal only after the handshake
    let door = Door::new(Some(certificates.mutual()));
    let error = door.open(&format!("ca = '/ca'\n{LOGIN}"), &[("/ca", &*certificates.ca)]).await;
    blocked(&error, &["no tls with kafka", "certificate required"]);
    assert!(door.logins.lock().expect("one thread").is_empty());
}

#[tokio::test]
async fn files_that_are_not_what_they_should_be_are_blocked() {
    let door = Door::new(None);
    blocked(&door.open("tls = true\nca = '/ca'", &[("/ca", "nonsense")]).await, &["/ca holds no certificate"]);
}

#[tokio::test]
async fn a_door_without_tls_is_no_fault_of_a_certificate() {
    let certificates = Certificates::new();
    // to the door, a ClientHello is a very long request
    let error = Door::new(None).open("ca = '/ca'\ntimeout = '1s'", &[("/ca", &*certificates.ca)]).await;
    assert!(matches!(error, SinkError::Retry { .. }), "{error}");
}

/// The brokers that a person sees in `auditferry sinks` are stuck, and the words must stay the same at every attempt.
#[tokio::test]
async fn a_port_that_accepts_and_is_silent_is_called_so_in_the_same_words_each_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let attempt = async || {
        let checked = checked(&format!("brokers = [{address:?}]\ntopic = 'audit'\ntimeout = '4s'"));
        let error = checked.open(Arc::new(TestEnv::default())).await.err().expect("it opens");
        assert!(matches!(error, SinkError::Retry { .. }), "{error}");
        error.cause().0.clone()
    };
    let silent = async || -> io::Result<()> {
        let mut held = Vec::new();
        for _ in 0..100 {
            held.push(listener.accept().await?);
        }
        Ok(())
    };
    let both = async || (attempt().await, attempt().await);
    let (first, second) = tokio::select! {
        both = both() => both,
        held = silent() => panic!("the port has ended: {held:?}"),
    };
    let begins = format!("no answer from kafka at {address}: they accept connections and do not answer; check");
    assert!(first.starts_with(&begins), "{first}");
    assert_eq!(first, second);
}
