//! What librdkafka tells: a report for each message, and errors that belong to no message.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{DeliveryResult, ProducerContext},
};
use tokio::sync::{oneshot, watch};

use crate::{
    verdict::Report,
    words::{plain, why},
};

/// Why connections failed since a message was last stored: each reason once, in an order that chance does not change.
type Whys = Arc<Mutex<BTreeSet<String>>>;

/// So many are shown.
const SHOWN: usize = 3;

/// One call of `deliver`, while librdkafka has its messages.
#[derive(Debug)]
pub struct Flight {
    inner: Mutex<Reports>,
}

#[derive(Debug)]
struct Reports {
    list: Vec<Report>,
    waiting: usize,
    done: Option<oneshot::Sender<()>>,
}

impl Flight {
    /// A flight of so many messages, and what resolves when each has its report.
    pub fn new(messages: usize) -> (Arc<Flight>, oneshot::Receiver<()>) {
        let (done, all_reported) = oneshot::channel();
        let list = vec![Report::Waiting; messages];
        let inner = Mutex::new(Reports { list, waiting: messages, done: Some(done) });
        (Arc::new(Flight { inner }), all_reported)
    }

    fn lock(&self) -> MutexGuard<'_, Reports> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The report on one message; a second one on the same changes nothing.
    pub fn report(&self, position: usize, report: Report) {
        let mut inner = self.lock();
        let Some(place) = inner.list.get_mut(position) else { return };
        if *place != Report::Waiting {
            return;
        }
        *place = report;
        inner.waiting -= 1;
        if inner.waiting == 0
            && let Some(done) = inner.done.take()
        {
            // the call may have been abandoned: then nobody waits
            let _ = done.send(());
        }
    }

    /// What is known by now.
    pub fn reports(&self) -> Vec<Report> {
        self.lock().list.clone()
    }
}

/// Goes with a message through librdkafka and comes back with its report.
#[derive(Debug)]
pub struct Ticket {
    pub flight: Arc<Flight>,
    pub position: usize,
}

/// Something that no further message of this producer will survive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub kind: FaultKind,
    /// librdkafka's words, on one line.
    pub words: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// A broker refused the login.
    Login,
    /// TLS with a broker failed: its certificate, or ours.
    Tls,
    /// The brokers refuse this user or this library altogether.
    Denied,
    /// The idempotent producer can't go on without repeating or losing; a new one can.
    Fatal,
}

/// What one producer tells. Refused logins and certificates are told here only: the messages themselves just time out.
#[derive(Debug)]
pub struct Context {
    fault: watch::Sender<Option<Fault>>,
    last: Whys,
}

/// The other end of a [`Context`].
#[derive(Clone, Debug)]
pub struct Told {
    fault: watch::Receiver<Option<Fault>>,
    last: Whys,
}

impl Context {
    pub fn new() -> (Context, Told) {
        let (sender, fault) = watch::channel(None);
        let last = Whys::default();
        (Context { fault: sender, last: last.clone() }, Told { fault, last })
    }
}

impl Told {
    /// The first fault; resolves at once when there was one.
    pub async fn fault(&self) -> Fault {
        let mut fault = self.fault.clone();
        match fault.wait_for(Option::is_some).await.map(|fault| fault.clone()) {
            Ok(Some(fault)) => fault,
            // the producer is gone, so nothing can fail any more
            _ => std::future::pending().await,
        }
    }

    /// The first fault, if there was one.
    pub fn fault_by_now(&self) -> Option<Fault> {
        self.fault.borrow().clone()
    }

    /// Words about connections: why messages that timed out did not get through.
    pub fn last_words(&self) -> Option<String> {
        let whys = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let shown: Vec<&str> = whys.iter().take(SHOWN).map(String::as_str).collect();
        (!shown.is_empty()).then(|| shown.join("; "))
    }
}

impl ClientContext for Context {
    /// The agent shows causes; the library's own lines repeat them, so they are for looking closer.
    ///
    /// But for one sort: a connection that took too long until it could be used is told here only, as a warning.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log::debug!(target: "librdkafka", "{level:?} {facility} {message}");
        if facility == "FAIL" && matches!(level, RDKafkaLogLevel::Warning) {
            self.last.lock().unwrap_or_else(PoisonError::into_inner).extend(why(message));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode::*;
        let Some(code) = error.rdkafka_error_code() else { return };
        let kind = match code {
            // a connection that broke during the login is no refusal
            Authentication | SaslAuthenticationFailed | UnsupportedSASLMechanism | IllegalSASLState
                if !broke(reason) =>
            {
                FaultKind::Login
            }
            SSL if !broke(reason) => FaultKind::Tls,
            // with TLS 1.3 a refused client certificate shows only after the handshake, as a failed read
            BrokerTransportFailure if tls_alert(reason) => FaultKind::Tls,
            // it only counts: the words of each broker came before
            AllBrokersDown => return,
            // a fatal error comes under its own name (`rd_kafka_event_error` looks behind `_FATAL`): a broker's code, which no
            // connection fails with, or one of these. Were it none, a new producer would only cost time
            Fatal | Inconsistent | GaplessGuarantee | UnsupportedFeature | Fenced => FaultKind::Fatal,
            code if code as i32 > 0 => FaultKind::Fatal,
            _ => {
                self.last.lock().unwrap_or_else(PoisonError::into_inner).extend(why(reason));
                return;
            }
        };
        self.fault.send_if_modified(|fault| {
            let first = fault.is_none();
            if first {
                *fault = Some(Fault { kind, words: plain(reason) });
            }
            first
        });
    }
}

/// Whether the words tell of a lost connection: librdkafka's own errors are called local.
fn broke(reason: &str) -> bool {
    ["Local: ", "Disconnected", "Connection reset"].iter().any(|part| reason.contains(part))
}

/// Whether the words quote an alert (RFC 8446 §6.2) that is about certificates or versions.
fn tls_alert(reason: &str) -> bool {
    let about = ["certificate", "unknown ca", "access denied", "handshake failure", "protocol version"];
    reason.split_once(" alert ").is_some_and(|(_, alert)| about.iter().any(|part| alert.contains(part)))
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let report = match result {
            Ok(_) => {
                // words about a connection explain nothing any more
                self.last.lock().unwrap_or_else(PoisonError::into_inner).clear();
                Report::Stored
            }
            Err((error, _)) => Report::of(error),
        };
        ticket.flight.report(ticket.position, report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: RDKafkaErrorCode, reason: &str) -> (Option<FaultKind>, Option<String>) {
        let (context, told) = Context::new();
        context.error(KafkaError::Global(code), reason);
        (told.fault_by_now().map(|fault| fault.kind), told.last_words())
    }

    #[test]
    fn what_ends_a_producer_and_what_does_not() {
        use RDKafkaErrorCode::*;
        let refused =
            "sasl_ssl://k:1/1: SASL authentication error: Authentication failed (after 3ms in state AUTH_REQ)";
        assert_eq!(told(Authentication, refused), (Some(FaultKind::Login), None));
        assert_eq!(told(SSL, "ssl://k:1/1: SSL handshake failed: verify").0, Some(FaultKind::Tls));
        assert_eq!(told(SSL, "ssl://k:1/1: SSL handshake failed: Disconnected").0, None);
        assert_eq!(told(OutOfOrderSequenceNumber, "desynchronized").0, Some(FaultKind::Fatal));
        assert_eq!(told(ClusterAuthorizationFailed, "no id").0, Some(FaultKind::Fatal));
        let broke = "SASL authentication error: SaslAuthenticateRequest failed: Local: Broker transport failure";
        assert_eq!(told(Authentication, &format!("k:1/1: {broke}")), (None, Some(broke.to_string())));
        let late = "Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required";
        assert_eq!(told(BrokerTransportFailure, late).0, Some(FaultKind::Tls));
        let bug = "Receive failed: error:0A000438:SSL routines::tlsv1 alert internal error";
        assert_eq!(told(BrokerTransportFailure, bug).0, None);
        assert_eq!(told(BrokerTransportFailure, "connect:\nrefused"), (None, Some("connect: refused".to_string())));
        assert_eq!(told(AllBrokersDown, "1/1 brokers are down"), (None, None));
    }

    #[test]
    fn words_about_connections_do_not_depend_on_who_failed_first() {
        let of = |brokers: [&str; 3]| {
            let (context, told) = Context::new();
            for broker in brokers {
                context.error(KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), broker);
            }
            told.last_words()
        };
        let (a, b) = ("a:1/bootstrap: Disconnected (after 3ms in state APIVERSION_QUERY)", "b:1/bootstrap: refused");
        assert_eq!(of([a, b, b]), Some("Disconnected; refused".into()));
        assert_eq!(of([b, a, a]), of([a, b, b]));
    }

    #[test]
    fn the_first_fault_stays() {
        let (context, told) = Context::new();
        context.error(KafkaError::Global(RDKafkaErrorCode::Authentication), "one");
        context.error(KafkaError::Global(RDKafkaErrorCode::Fatal), "two");
        assert_eq!(told.fault_by_now(), Some(Fault { kind: FaultKind::Login, words: "one".into() }));
    }

    #[test]
    fn a_flight_ends_with_its_last_report() {
        let (flight, mut done) = Flight::new(2);
        flight.report(1, Report::Stored);
        flight.report(1, Report::TooLarge);
        flight.report(7, Report::Stored);
        assert!(done.try_recv().is_err());
        flight.report(0, Report::Stored);
        assert!(done.try_recv().is_ok());
        assert_eq!(flight.reports(), [Report::Stored, Report::Stored]);
    }
}
