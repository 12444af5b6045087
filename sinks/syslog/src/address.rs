//! Where to: `tcp://host:port` or `tls://host:port`.

use std::{fmt, str::FromStr};

use rustls::pki_types::ServerName;

/// The port for syslog over TLS (RFC 5425 §4.1). Over plain TCP there is no agreed one: it must be given.
const TLS_PORT: u16 = 6514;

const HOW: &str = "write \"tls://HOST:PORT\" or \"tcp://HOST:PORT\", as in \"tls://10.0.0.5:6514\"";

/// A receiver's address; the transport is a word of its own, never guessed from the port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    pub tls: bool,
    /// A host name or an IP address, IPv6 without its brackets.
    pub host: String,
    pub port: u16,
}

impl FromStr for Address {
    type Err = &'static str;

    /// The error says how to write it.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or(HOW)?;
        let tls = match scheme {
            "tls" => true,
            "tcp" => false,
            "udp" => {
                return Err(
                    "UDP loses messages without a word, so it is not offered: write \"tls://…\" or \"tcp://…\"",
                );
            }
            _ => return Err(HOW),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) =
                    rest.split_once(']').ok_or("an IPv6 address stands in brackets, as in \"tls://[fd00::5]:6514\"")?;
                // what stands in brackets is no name
                host.parse::<std::net::Ipv6Addr>().map_err(|_| "what stands in brackets is not an IPv6 address")?;
                match port {
                    "" => (host, None),
                    port => (host, Some(port.strip_prefix(':').ok_or(HOW)?)),
                }
            }
            None if rest.matches(':').count() > 1 => {
                return Err("an IPv6 address stands in brackets, as in \"tls://[fd00::5]:6514\"");
            }
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        // host names and addresses have the same rules there as in a certificate
        ServerName::try_from(host).map_err(|_| HOW)?;
        let port = match port {
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().ok().filter(|port| *port != 0).ok_or("the port is a number from 1 to 65535")?
            }
            Some(_) => return Err("the port is a number from 1 to 65535, and nothing follows it"),
            None if tls => TLS_PORT,
            None => return Err("give the port: syslog over plain TCP has no agreed one; many receivers listen on 514"),
        };
        Ok(Address { tls, host: host.to_string(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "tcp" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_good_and_bad() {
        for (text, shown) in [
            ("tls://10.0.0.5:6514", "tls://10.0.0.5:6514"),
            ("tls://syslog.example", "tls://syslog.example:6514"),
            ("tcp://syslog.example:514", "tcp://syslog.example:514"),
            ("tls://[fd00::5]", "tls://[fd00::5]:6514"),
            ("tcp://[::1]:601", "tcp://[::1]:601"),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address));
        }
        for (text, words) in [
            ("syslog.example:514", "write \"tls://"),
            ("TLS://a:1", "write \"tls://"),
            ("udp://a:514", "UDP loses"),
            ("tcp://syslog.example", "give the port"),
            ("tcp://[::1]", "give the port"),
            ("tls://::1", "an IPv6 address stands in brackets"),
            ("tls://[::1", "an IPv6 address stands in brackets"),
            ("tls://[syslog.example]:6514", "what stands in brackets"),
            ("tls://[::1]6514", "write \"tls://"),
            ("tls://a:0", "the port is a number"),
            ("tls://a:65536", "the port is a number"),
            ("tls://a:+1", "the port is a number"),
            ("tls://a:", "the port is a number"),
            ("tls://a:6514/", "the port is a number"),
            ("tls://", "write \"tls://"),
            ("tls://user@a:1", "write \"tls://"),
            ("tls://a b:1", "write \"tls://"),
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.starts_with(words), "{text}: {error}");
        }
    }
}
