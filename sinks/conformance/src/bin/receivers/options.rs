//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use auditferry_contract::options::TimeSpan;
use clap::Parser;

/// Fake receivers for the agent's sinks: they print what arrived, what is missing, and what came twice.
///
/// Standard output has the sinks for the agent's configuration, and at the end the table; standard error has counts every 5 s.
/// SIGUSR1 makes every receiver refuse connections, SIGUSR2 makes them take everything again; SIGSTOP makes them hang.
#[derive(Debug, Parser)]
#[command(name = "receivers", version)]
pub struct Options {
    /// A Splunk HTTP Event Collector listens here; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub hec: Option<SocketAddr>,
    /// The collector acknowledges what is indexed: not at the first question, but at the second
    #[arg(long, requires = "hec")]
    pub hec_acks: bool,
    /// Tokens that the collector takes
    #[arg(long, value_name = "TOKEN", value_delimiter = ',', default_value = "receivers")]
    pub tokens: Vec<String>,
    /// A syslog receiver listens here (RFC 5424, TCP, octet counting)
    #[arg(long, value_name = "ADDRESS")]
    pub syslog: Option<SocketAddr>,
    /// A syslog receiver listens here, over TLS
    #[arg(long, value_name = "ADDRESS")]
    pub syslog_tls: Option<SocketAddr>,
    /// A Kafka cluster in memory, with this topic, on free ports of loopback (a build with `--features kafka`)
    #[arg(long, value_name = "TOPIC")]
    pub kafka: Option<String>,
    /// Partitions of the topic
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(i32).range(1..=100))]
    pub partitions: i32,
    /// Lines of OCSF, written by the file sink for example: the events that everybody must have. Read while it grows. Without one: the events that anybody has
    #[arg(long, value_name = "FILE")]
    pub expect: Vec<PathBuf>,
    /// Ends after this time, as in `30s` or `2h`
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub end: Option<TimeSpan>,
    /// JSON on standard output: a line that says what listens where, and at the end one with the report
    #[arg(long)]
    pub json: bool,
    /// The report, as JSON, written anew every second while something changes; whole at any time
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

fn time(text: &str) -> Result<TimeSpan, &'static str> {
    text.parse()
}
