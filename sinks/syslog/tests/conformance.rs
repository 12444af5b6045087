//! The suite of every sink against the fake receiver, over TCP and over TLS.

use std::{io::Write, net::TcpStream, sync::Arc};

use auditferry_conformance::{
    Destination, State, all,
    fakes::{
        Arrivals,
        certificates::Certificates,
        syslog::{Manner, Syslog},
    },
};
use auditferry_contract::SinkKind;

struct Receiver {
    receiver: Syslog,
    arrivals: Arc<Arrivals>,
    /// The certificates and a folder with the CA's, when over TLS.
    tls: Option<(Certificates, tempfile::TempDir)>,
}

impl Receiver {
    fn new(tls: bool) -> Self {
        let arrivals = Arc::new(Arrivals::with_bodies());
        let tls = tls.then(|| {
            let (certificates, folder) = (Certificates::new(), tempfile::tempdir().expect("a folder"));
            std::fs::write(folder.path().join("ca.pem"), &certificates.ca).expect("a file");
            (certificates, folder)
        });
        let config = tls.as_ref().map(|(certificates, _)| certificates.open());
        let receiver = Syslog::local(config, arrivals.clone()).expect("a port");
        Receiver { receiver, arrivals, tls }
    }
}

impl Destination for Receiver {
    fn kind(&self) -> SinkKind {
        auditferry_sink_syslog::KIND
    }

    fn options(&self) -> String {
        let ca = self.tls.as_ref().map(|(_, folder)| format!("ca = {:?}", folder.path().join("ca.pem")));
        // room for what the suite calls the largest message, without making it slow
        format!("address = \"{}\"\nmax_message = \"64 KiB\"\n{}", self.receiver.url(), ca.unwrap_or_default())
    }

    fn received(&self) -> Vec<Vec<u8>> {
        let faults = self.receiver.faults();
        assert!(faults.is_empty(), "the receiver complains: {faults:?}");
        assert_eq!(self.arrivals.nameless(), 0, "a message came without its event's id");
        self.arrivals.bodies()
    }

    fn arrange(&self, state: State) -> bool {
        match (state, &self.tls) {
            (State::Fine, tls) => {
                if let Some((certificates, _)) = tls {
                    self.receiver.show(certificates.open());
                }
                self.receiver.be(Manner::Reads);
            }
            (State::Unwritable, _) => self.receiver.be(Manner::Refuses),
            (State::Slow, _) => self.receiver.be(Manner::Late),
            (State::Hangs, _) => self.receiver.be(Manner::BlackHole),
            (State::Breaks, _) => self.receiver.be(Manner::Refuses),
            // the receiver asks for a client certificate, and the sink has none
            (State::Unauthorised, Some((certificates, _))) => self.receiver.show(certificates.mutual()),
            (State::Torn, None) => {
                let torn = TcpStream::connect(self.receiver.address()).and_then(|mut s| s.write_all(b"90 <134>1 2026"));
                torn.expect("the receiver is there");
            }
            // plain syslog answers nothing and refuses nothing
            _ => return false,
        }
        true
    }

    fn confirms(&self) -> bool {
        false
    }

    fn hang_up(&self) -> bool {
        self.receiver.hang_up();
        true
    }
}

const SKIPPED: [&str; 7] = [
    "line break",
    "poison",
    "batch too large",
    "answer lost",
    "answer unreadable",
    // the receiver counts connections, and opening is no attempt
    "one attempt per call",
    // one call at a time
    "abandoned beside others",
];

fn skipped(more: &str) -> Vec<&'static str> {
    let order = |name: &&str| auditferry_conformance::CASES.iter().position(|case| case.name == *name);
    let all = auditferry_conformance::CASES.iter().map(|case| case.name);
    let mut names: Vec<_> = all.filter(|name| SKIPPED.contains(name) || *name == more).collect();
    names.sort_by_key(order);
    names
}

#[tokio::test]
async fn tcp_on_one_thread() {
    assert_eq!(all(|| Box::new(Receiver::new(false))).await, skipped("unauthorised"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_on_several_threads() {
    assert_eq!(all(|| Box::new(Receiver::new(false))).await, skipped("unauthorised"));
}

#[tokio::test]
async fn tls_on_one_thread() {
    assert_eq!(all(|| Box::new(Receiver::new(true))).await, skipped("torn end"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_on_several_threads() {
    assert_eq!(all(|| Box::new(Receiver::new(true))).await, skipped("torn end"));
}
