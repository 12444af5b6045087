//! The registry: every sink kind of this build, one line each.

use auditferry_contract::SinkKind;

/// The sink kinds that this build carries. A custom main passes its own list.
pub fn registry() -> Vec<SinkKind> {
    vec![
        #[cfg(feature = "stdout")]
        auditferry_sink_stdout::KIND,
        #[cfg(feature = "file")]
        auditferry_sink_file::KIND,
        #[cfg(feature = "splunk_hec")]
        auditferry_sink_splunk_hec::KIND,
        #[cfg(feature = "syslog")]
        auditferry_sink_syslog::KIND,
        #[cfg(any(feature = "kafka", feature = "kafka-system-openssl"))]
        auditferry_sink_kafka::KIND,
    ]
}

/// Libraries of this build that security notices are written about, with their versions.
pub fn libraries() -> Vec<(&'static str, String)> {
    let rustls = env!("AUDITFERRY_RUSTLS");
    [
        ("SQLite", rusqlite::version().to_owned()),
        ("rustls", if rustls.is_empty() { "of an unknown version" } else { rustls }.to_owned()),
        #[cfg(any(feature = "kafka", feature = "kafka-system-openssl"))]
        ("librdkafka", auditferry_sink_kafka::library_version()),
        #[cfg(any(feature = "kafka", feature = "kafka-system-openssl"))]
        ("OpenSSL", openssl().to_owned()),
    ]
    .into()
}

/// librdkafka's.
#[cfg(any(feature = "kafka", feature = "kafka-system-openssl"))]
fn openssl() -> &'static str {
    // the package's version is `300.6.1+3.6.3`: its own, then that of what it builds
    match env!("AUDITFERRY_OPENSSL").split_once('+') {
        _ if cfg!(not(feature = "kafka")) => "of the system",
        Some((_, version)) => version,
        None => "of an unknown version",
    }
}
