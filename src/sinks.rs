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
