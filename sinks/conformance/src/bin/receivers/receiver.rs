//! The receivers, and the sinks that lead to them.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use auditferry_conformance::fakes::{
    Arrivals,
    certificates::Certificates,
    hec::{Behaviour, Hec, Indexing},
    syslog::{Manner, Syslog},
};
use tokio::net::TcpListener;

use crate::options::Options;

enum Server {
    Hec(Hec),
    Syslog(Syslog),
    #[cfg(feature = "kafka")]
    Kafka(auditferry_conformance::fakes::kafka::Kafka),
}

/// One receiver.
pub struct Receiver {
    /// Its name in reports, and of its sink.
    pub name: &'static str,
    /// Where it listens.
    pub place: String,
    /// What arrived.
    pub arrivals: Arc<Arrivals>,
    server: Server,
    /// The sink's own keys.
    keys: String,
}

/// All of them, until they are dropped.
pub struct Receivers {
    all: Vec<Receiver>,
    folder: Option<PathBuf>,
    token: String,
}

async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    if !address.ip().is_loopback() {
        return Err(format!(
            "{address} is no loopback address: what arrives here is audit data, and nothing guards it"
        ));
    }
    TcpListener::bind(address).await.map_err(|error| format!("can't listen at {address}: {error}"))
}

impl Receivers {
    /// Starts what the command line names.
    pub async fn start(options: &Options) -> Result<Self, String> {
        let token = options.tokens.first().cloned().unwrap_or_default();
        let mut started = Receivers { all: Vec::new(), folder: None, token };
        if let Some(address) = options.hec {
            started.hec(listen(address).await?, options);
        }
        if let Some(address) = options.syslog {
            started.syslog("syslog", listen(address).await?, None)?;
        }
        if let Some(address) = options.syslog_tls {
            let listener = listen(address).await?;
            started.syslog("syslog_tls", listener, Some(Certificates::new()))?;
        }
        if let Some(topic) = &options.kafka {
            started.kafka(topic, options.partitions)?;
        }
        if started.all.is_empty() {
            return Err("nothing to receive: give --hec, --syslog, --syslog-tls or --kafka; --help says more".into());
        }
        Ok(started)
    }

    fn hec(&mut self, listener: TcpListener, options: &Options) {
        let arrivals = Arc::new(Arrivals::counting());
        let indexing = if options.hec_acks { Indexing::After(1) } else { Indexing::Off };
        let behaviour = Behaviour { tokens: options.tokens.clone(), indexing, ..Behaviour::default() };
        let hec = Hec::start(listener, None, arrivals.clone(), behaviour);
        let place = format!("http://{}", hec.address());
        let keys =
            format!("kind     = \"splunk_hec\"\nendpoint = \"{place}\"\ntoken    = {{ env = \"RECEIVERS_TOKEN\" }}");
        self.all.push(Receiver { name: "hec", place, arrivals, server: Server::Hec(hec), keys });
    }

    fn syslog(
        &mut self,
        name: &'static str,
        listener: TcpListener,
        certificates: Option<Certificates>,
    ) -> Result<(), String> {
        let arrivals = Arc::new(Arrivals::counting());
        let ca = certificates.as_ref().map(|certificates| self.write_ca(&certificates.ca)).transpose()?;
        let tls = certificates.map(|certificates| certificates.open());
        let syslog = Syslog::start(listener, tls, arrivals.clone()).map_err(|e| format!("syslog can't start: {e}"))?;
        let place = syslog.url();
        let mut keys = format!("kind    = \"syslog\"\naddress = \"{place}\"");
        if let Some(ca) = ca {
            keys.push_str(&format!("\nca      = {:?}", ca.display().to_string()));
        }
        self.all.push(Receiver { name, place, arrivals, server: Server::Syslog(syslog), keys });
        Ok(())
    }

    /// The CA that the agent must trust, in a folder that goes with this program.
    fn write_ca(&mut self, pem: &str) -> Result<PathBuf, String> {
        let folder = std::env::temp_dir().join(format!("auditferry-receivers-{}", std::process::id()));
        let path = folder.join("ca.pem");
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, pem));
        written.map_err(|error| format!("can't write {}: {error}", path.display()))?;
        self.folder = Some(folder);
        Ok(path)
    }

    #[cfg(feature = "kafka")]
    fn kafka(&mut self, topic: &str, partitions: i32) -> Result<(), String> {
        let arrivals = Arc::new(Arrivals::counting());
        let started = auditferry_conformance::fakes::kafka::Kafka::start(2, topic, partitions, arrivals.clone());
        let kafka = started.map_err(|error| error.to_string())?;
        let place = kafka.bootstrap_servers().to_string();
        let brokers: Vec<_> = place.split(',').map(|broker| format!("\"{broker}\"")).collect();
        let keys = format!("kind    = \"kafka\"\nbrokers = [{}]\ntopic   = {topic:?}", brokers.join(", "));
        self.all.push(Receiver { name: "kafka", place, arrivals, server: Server::Kafka(kafka), keys });
        Ok(())
    }

    #[cfg(not(feature = "kafka"))]
    fn kafka(&mut self, _: &str, _: i32) -> Result<(), String> {
        Err("this build has no kafka: start it with `cargo run -p auditferry-conformance --features kafka \
             --bin receivers -- …` (the first build takes minutes: librdkafka is compiled)"
            .into())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Receiver> {
        self.all.iter()
    }

    /// Refuses every connection from now on, open ones included; or takes everything again.
    pub fn refuse(&self, refuse: bool) {
        for receiver in &self.all {
            match &receiver.server {
                Server::Hec(hec) => hec.change(|behaviour| behaviour.down = refuse),
                Server::Syslog(syslog) => syslog.be(if refuse { Manner::Refuses } else { Manner::Reads }),
                #[cfg(feature = "kafka")]
                Server::Kafka(kafka) if refuse => kafka.down(-1),
                #[cfg(feature = "kafka")]
                Server::Kafka(kafka) => kafka.heal(),
            }
        }
        eprintln!("{}", if refuse { "every receiver refuses" } else { "every receiver takes everything" });
    }

    /// Waits for what has arrived and is not counted yet.
    pub fn settle(&self) {
        #[cfg(feature = "kafka")]
        for receiver in &self.all {
            if let Server::Kafka(kafka) = &receiver.server
                && !kafka.catch_up()
            {
                eprintln!("kafka: some of what lies in the topic could not be read within 20 s");
            }
        }
    }

    /// The sinks for the agent's configuration, as TOML.
    fn sinks(&self) -> String {
        let sink = |r: &Receiver| format!("[[sink]]\nname = \"{}\"\ncodec = \"ocsf\"\n{}\n", r.name, r.keys);
        self.all.iter().map(sink).collect::<Vec<_>>().join("\n")
    }

    /// What listens where, and the sinks: all of it fit to be a part of the configuration.
    pub fn words(&self) -> String {
        let mut words = String::new();
        for receiver in &self.all {
            words.push_str(&format!("# {} listens at {}\n", receiver.name, receiver.place));
        }
        words.push_str("#\n# For the agent's configuration");
        if self.all.iter().any(|receiver| receiver.name == "hec") {
            words.push_str(&format!(" (with RECEIVERS_TOKEN={:?} in its environment)", self.token));
        }
        words.push_str(":\n\n");
        words + &self.sinks()
    }

    /// The same for scripts, one line.
    pub fn listening(&self) -> String {
        let places = self.all.iter().map(|r| (r.name.to_string(), r.place.as_str().into())).collect();
        serde_json::json!({ "listening": serde_json::Value::Object(places), "sinks": self.sinks() }).to_string()
    }

    /// One line of counts.
    pub fn line(&self) -> String {
        let count =
            |r: &Receiver| format!("{}: {} messages, {} events", r.name, r.arrivals.messages(), r.arrivals.events());
        self.all.iter().map(count).collect::<Vec<_>>().join("; ")
    }
}

impl Receiver {
    /// What clients did against the protocol, where the receiver looks at that.
    pub fn faults(&self) -> Vec<String> {
        match &self.server {
            Server::Hec(hec) => hec.errors(),
            Server::Syslog(syslog) => syslog.faults(),
            #[cfg(feature = "kafka")]
            Server::Kafka(kafka) => {
                let missed = kafka.missed();
                (missed > 0)
                    .then(|| format!("{missed} records were dropped before they were read"))
                    .into_iter()
                    .collect()
            }
        }
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
