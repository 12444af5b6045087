//! Which hosts are this machine.

use std::net::{IpAddr, Ipv6Addr};

/// True when this host is surely this machine, so that a secret may go there without TLS, and no proxy has business there. The one place
/// that says so, for the agent and every sink.
///
/// `host` is what stands between scheme and port: `localhost`, an IPv4 address, an IPv6 address with or without brackets. No name is
/// resolved: a name counts only if it is `localhost`. What merely ends or begins so does not, nor does `localhost.` with the dot of
/// an absolute name: where the system knows no such name by itself it asks the network for them, and whoever answers says where the secret goes.
pub fn is_loopback(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok()).map(IpAddr::V6),
        None => host.parse().ok(),
    };
    // not ::ffff:127.0.0.1: it is up to the system what becomes of it, and nobody needs to write it so
    address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.255.255.254", "::1", "[::1]", "[0:0:0:0:0:0:0:1]"] {
            assert!(is_loopback(host), "{host}");
        }
    }

    #[test]
    fn another_machine_or_who_knows() {
        for host in [
            "",
            "localhost.",
            "localhost.example",
            "localhosts",
            "my.localhost",
            "localhost:8088",
            " localhost",
            "splunk.example",
            "127.0.0.1.",
            "127.0.0.1.example",
            "127.1",
            "0177.0.0.1",
            "2130706433",
            "126.255.255.255",
            "128.0.0.1",
            "10.0.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "::",
            "[::]",
            "[::2]",
            "[::ffff:127.0.0.1]",
            "::ffff:7f00:1",
            "[::ffff:10.0.0.1]",
            // an address that once meant the same (RFC 4291 §2.5.5.1) and is routed like any other
            "[::127.0.0.1]",
            "[fe80::1]",
            "[127.0.0.1]",
            "[localhost]",
            "[::1",
            "::1]",
            "[::1%lo]",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
