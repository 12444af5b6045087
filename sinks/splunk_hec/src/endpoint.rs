//! Where events and questions go.

use auditferry_contract::is_loopback;
use url::Url;

/// Where Splunk takes JSON envelopes (Splunk's page "HTTP Event Collector REST API endpoints").
const EVENTS: &str = "/services/collector/event";

/// The two addresses of one collector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Takes envelopes.
    pub events: Url,
    /// Tells which acknowledgement ids are indexed.
    pub acks: Url,
}

impl Endpoint {
    /// Reads `https://host:port` with an optional path; the error is what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, (&'static str, &'static str)> {
        const FORM: &str = "write https://HOST:8088";
        let mut events = Url::parse(text).map_err(|_| ("not an address", FORM))?;
        if !matches!(events.scheme(), "https" | "http") {
            return Err(("neither https nor http", FORM));
        }
        if !events.username().is_empty() || events.password().is_some() {
            return Err(("the address holds a login", "name the token in `token`, and take the login out"));
        }
        if events.query().is_some() || events.fragment().is_some() {
            return Err((
                "the address holds a query or a fragment",
                "options of the event go into options of the sink",
            ));
        }
        if events.scheme() == "http" && !events.host_str().is_some_and(is_loopback) {
            return Err((
                "plain http would show the token to the network",
                "write https://; http is for loopback only",
            ));
        }
        let path = events.path().trim_end_matches('/').to_string();
        let base = if path.is_empty() {
            "/services/collector".to_string()
        } else if path.ends_with("/raw") || path.ends_with("/raw/1.0") {
            return Err(("the raw endpoint takes lines, not events", "name no path, or one that ends with /event"));
        } else {
            let base = path.strip_suffix("/1.0").unwrap_or(&path);
            base.strip_suffix("/event").unwrap_or(base).to_string()
        };
        events.set_path(if path.is_empty() { EVENTS } else { &path });
        let mut acks = events.clone();
        acks.set_path(&format!("{base}/ack"));
        Ok(Endpoint { events, acks })
    }

    /// True when the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.events.scheme() == "https"
    }

    /// Host and port, for messages.
    pub fn place(&self) -> String {
        let host = self.events.host_str().unwrap_or_default();
        format!("{host}:{}", self.events.port_or_known_default().unwrap_or_default())
    }

    /// True when it is this machine, where a proxy has no business.
    pub fn is_loopback(&self) -> bool {
        self.events.host_str().is_some_and(is_loopback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_events_and_questions() {
        for (given, events, acks) in [
            ("https://h:8088", "/services/collector/event", "/services/collector/ack"),
            ("https://h:8088/", "/services/collector/event", "/services/collector/ack"),
            ("https://h/services/collector", "/services/collector", "/services/collector/ack"),
            ("https://h/services/collector/event", "/services/collector/event", "/services/collector/ack"),
            ("https://h/services/collector/event/1.0", "/services/collector/event/1.0", "/services/collector/ack"),
            (
                "https://h/behind/services/collector/event/",
                "/behind/services/collector/event",
                "/behind/services/collector/ack",
            ),
        ] {
            let endpoint = Endpoint::parse(given).expect(given);
            assert_eq!((endpoint.events.path(), endpoint.acks.path()), (events, acks), "{given}");
        }
        assert_eq!(Endpoint::parse("https://h").expect("good").place(), "h:443");
        assert_eq!(Endpoint::parse("https://[::1]:8088").expect("good").place(), "[::1]:8088");
    }

    #[test]
    fn what_leads_nowhere_or_tells_secrets_is_refused() {
        for bad in [
            "splunk:8088",
            "splunk.example",
            "ftp://h",
            "https://user@h",
            "https://:hunter2@h",
            "https://h?token=x",
            "https://h#x",
            "http://splunk.example:8088",
            "http://10.0.0.1:8088",
            "http://localhost.example:8088",
            "https://h/services/collector/raw",
        ] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
        for good in [
            "http://127.0.0.1:8088",
            "http://127.3.2.1:1",
            "http://[::1]:8088",
            "http://LOCALHOST:8088",
            "http://127.1",
        ] {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
    }
}
