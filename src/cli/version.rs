//! What `-V` and `--version` say: enough to know from a report which build it is about.

use auditferry_contract::SinkKind;

/// One line: version, the sinks of this build, and whether it has the switches of the tests (a release must not).
pub fn short(registry: &[SinkKind]) -> String {
    let sinks: Vec<_> = registry.iter().map(|kind| kind.name).collect();
    let testing = if cfg!(feature = "testing") { "; with test switches: not for production" } else { "" };
    format!("{} (sinks: {}{testing})", env!("CARGO_PKG_VERSION"), sinks.join(", "))
}

/// The line of [`short`], then commit, features and the libraries that a security notice may be about.
pub fn long(registry: &[SinkKind]) -> String {
    let libraries = crate::sinks::libraries().into_iter().map(|(name, version)| format!("{name} {version}"));
    let libraries: Vec<_> = libraries.collect();
    format!(
        "{}\ncommit: {}\nfeatures: {}\nlibraries: {}",
        short(registry),
        env!("AUDITFERRY_COMMIT"),
        crate::features().join(", "),
        libraries.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_the_sinks_and_the_test_switches() {
        let kinds = crate::sinks::registry();
        let version = short(&kinds);
        assert!(kinds.iter().all(|kind| version.contains(kind.name)), "{version}");
        assert_eq!(version.contains("test switches"), cfg!(feature = "testing"), "{version}");
        assert!(!version.contains('\n'), "one line: {version}");
    }

    #[test]
    fn the_long_version_names_commit_features_and_libraries() {
        let long = long(&crate::sinks::registry());
        let lines: Vec<_> = long.lines().collect();
        assert_eq!(lines[0], short(&crate::sinks::registry()));
        assert!(lines[1].strip_prefix("commit: ").is_some_and(|commit| !commit.is_empty()), "{long}");
        assert_eq!(lines[2], format!("features: {}", crate::features().join(", ")));
        let numbered = |name: &str| {
            let rest = long.split(&format!("{name} ")).nth(1).unwrap_or_default();
            rest.starts_with(|c: char| c.is_ascii_digit())
        };
        for library in ["SQLite", "rustls"] {
            assert!(numbered(library), "{library}: {long}");
        }
        let kafka = cfg!(any(feature = "kafka", feature = "kafka-system-openssl"));
        assert_eq!(numbered("librdkafka"), kafka, "{long}");
        assert_eq!(long.contains("OpenSSL"), kafka, "{long}");
    }
}
