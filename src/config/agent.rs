//! `[agent]`: what concerns the whole process.

use std::{net::SocketAddr, path::PathBuf};

use auditferry_contract::{
    Options,
    options::{self, ByteSize, mistake},
};

use super::{read, source::or_default};

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[agent]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentConfig {
    /// Where the ledger lies: a local folder, one agent each.
    pub state_dir: PathBuf,
    /// Where `/metrics`, `/livez`, `/readyz` and the status page listen.
    pub listen: SocketAddr,
    /// Compressed bytes of bodies that the ledger keeps at most.
    pub body_budget: u64,
    /// How log lines look, unless `--log` says otherwise.
    pub log: LogFormat,
}

impl AgentConfig {
    /// The keys of the table, for the tests that hold the documentation to them.
    pub const KEYS: [&str; 4] = ["state_dir", "listen", "body_budget", "log"];

    /// Reads the table; mistakes stay in it.
    pub(super) fn read(table: &mut Options<'_>) -> Option<Self> {
        let state_dir = options::required_path(table, "state_dir");
        let listen = or_default(table, "listen", SocketAddr::from(([127, 0, 0, 1], 9464)), |t| {
            let text = options::text(t, "listen")?;
            let address = text.value.parse().ok();
            if address.is_none() {
                let hint = "write it as \"127.0.0.1:9464\" or \"[::1]:9464\"; port 0 takes a free one";
                t.errors.push(mistake(text.span, "`listen` is not an address and port", hint));
            }
            address
        });
        let body_budget =
            or_default(table, "body_budget", 2 << 30, |t| options::size(t, "body_budget", 1 << 20..=1 << 44));
        let log = or_default(table, "log", LogFormat::Text, |t| {
            read::choice(t, "log", &[("text", LogFormat::Text), ("json", LogFormat::Json)])
        });
        Some(AgentConfig { state_dir: state_dir?, listen: listen?, body_budget: body_budget?, log: log? })
    }

    /// Effective settings, as `check` prints them.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("state_dir", self.state_dir.display().to_string()),
            ("listen", self.listen.to_string()),
            ("body_budget", ByteSize(self.body_budget).to_string()),
            ("log", if self.log == LogFormat::Json { "json" } else { "text" }.to_string()),
        ]
    }
}
