//! The registry: every sink kind of this build, one line each.

use auditferry_contract::SinkKind;

/// The sink kinds that this build carries. A custom main passes its own list.
pub fn registry() -> Vec<SinkKind> {
    vec![
        #[cfg(feature = "stdout")]
        auditferry_sink_stdout::KIND,
        #[cfg(feature = "file")]
        auditferry_sink_file::KIND,
    ]
}
