//! Addresses: what we build, and which of those in answers may be followed (invariant I11).

use auditferry_contract::is_loopback;
use url::Url;

/// Where a base URL leads: scheme, host and port, and the prefix to put before a path.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    base: String,
    url: Url,
}

impl Origin {
    /// From a base URL such as `https://manage.office.com`. Plain http only to loopback.
    pub fn new(base: &str) -> Result<Origin, String> {
        let url = Url::parse(base).map_err(|error| format!("{base} is no address: {error}"))?;
        if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
            return Err(format!("{base} is no https address"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err("a base address has scheme, host and port only".to_owned());
        }
        if url.scheme() == "http" && !url.host_str().is_some_and(is_loopback) {
            return Err(format!("{base} is not encrypted: use https (plain http is for loopback only)"));
        }
        Ok(Origin { base: base.trim_end_matches('/').to_owned(), url })
    }

    /// The base URL, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The URI to send for an address out of an answer, if it leads here: same scheme, host and port. The text is kept
    /// as it came (`$` included). Two parsers must agree on the host, since one checks and the other one connects.
    pub fn own(&self, address: &str) -> Option<http::Uri> {
        if address.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return None;
        }
        let url = Url::parse(address).ok()?;
        if !url.username().is_empty() || url.password().is_some() || url.origin() != self.url.origin() {
            return None;
        }
        let uri: http::Uri = without_fragment(address).parse().ok()?;
        let same_host = uri.host()?.eq_ignore_ascii_case(self.url.host_str()?);
        let same_scheme = uri.scheme_str()?.eq_ignore_ascii_case(self.url.scheme());
        let port = uri.port_u16().or(if self.url.scheme() == "https" { Some(443) } else { Some(80) });
        let same_port = port == self.url.port_or_known_default();
        (same_host && same_scheme && same_port && !uri.authority()?.as_str().contains('@')).then_some(uri)
    }
}

/// Adds `PublisherIdentifier` unless the query has one, whatever its case.
pub(super) fn with_publisher(address: &str, publisher: &str) -> String {
    let address = without_fragment(address);
    let query = address.split_once('?').map(|(_, query)| query);
    let named =
        |pair: &str| pair.split('=').next().is_some_and(|name| name.eq_ignore_ascii_case("PublisherIdentifier"));
    if query.is_some_and(|query| query.split('&').any(named)) {
        return address.to_owned();
    }
    let join = match query {
        None => "?",
        Some(query) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{address}{join}PublisherIdentifier={publisher}")
}

/// Scheme and host of an address, for words; never its path or query.
pub(super) fn shown(address: &str) -> String {
    match Url::parse(address) {
        Ok(url) => match url.host_str() {
            Some(host) => format!("{}://{host}", url.scheme()),
            None => format!("a {} address", url.scheme()),
        },
        Err(_) => "an unreadable address".to_owned(),
    }
}

fn without_fragment(address: &str) -> &str {
    address.split('#').next().unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_scheme_host_and_port_are_our_own() {
        let origin = Origin::new("https://manage.office.com/").unwrap();
        for own in [
            "https://manage.office.com/api/v1/x?nextPage=2015$a$b",
            "https://MANAGE.office.com:443/x",
            "HTTPS://manage.office.com",
        ] {
            assert!(origin.own(own).is_some(), "{own}");
        }
        for foreign in [
            "https://manage.office.com.evil.example/x",
            "https://evil.example/manage.office.com",
            "http://manage.office.com/x",
            "https://manage.office.com:8443/x",
            "https://manage.office.com@evil.example/x",
            "https://user:pw@manage.office.com/x",
            "https://evil.example\\@manage.office.com/x",
            "https://evil.example#@manage.office.com/x",
            "https://manage.office.com\\.evil.example/x",
            "https://evil.example\t.manage.office.com/",
            "//manage.office.com/x",
            "/api/v1.0/x",
            "",
        ] {
            assert!(origin.own(foreign).is_none(), "{foreign}");
        }
        let local = Origin::new("http://127.0.0.1:8080").unwrap();
        assert!(local.own("http://127.0.0.1:8080/x").is_some());
        assert!(local.own("http://127.0.0.1/x").is_none());
        assert!(local.own("http://localhost:8080/x").is_none());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_followed_leads_to_the_origin(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "https:", "http:", "//", "/", "\\", "manage.office.com", "evil.example", "@", ":", "443", "?", "#",
                    "%2f", "%40", ".", "..", "[::1]", "\t", " ", "\u{ad}", "\u{3002}", "$a", "MANAGE.OFFICE.COM",
                ]),
                0..9,
            ),
            begins in proptest::bool::ANY,
        ) {
            let origin = Origin::new("https://manage.office.com").unwrap();
            let address = format!("{}{}", if begins { "https://manage.office.com" } else { "" }, parts.concat());
            if let Some(uri) = origin.own(&address) {
                // as the HTTP client will read it
                let sent = Url::parse(&uri.to_string()).unwrap();
                proptest::prop_assert_eq!(sent.origin(), Url::parse("https://manage.office.com").unwrap().origin());
                proptest::prop_assert_eq!(uri.host().map(str::to_lowercase), Some("manage.office.com".to_owned()));
            }
        }
    }

    #[test]
    fn a_dollar_is_sent_as_it_came() {
        let origin = Origin::new("https://manage.office.com").unwrap();
        let uri = origin.own("https://manage.office.com/a/2015$x$y%20z?n=1$2").unwrap();
        assert_eq!(uri.path_and_query().unwrap().as_str(), "/a/2015$x$y%20z?n=1$2");
    }

    #[test]
    fn the_publisher_is_added_once() {
        let with = |address| with_publisher(address, "g");
        assert_eq!(with("https://h/a$b"), "https://h/a$b?PublisherIdentifier=g");
        assert_eq!(with("https://h/a?x=1"), "https://h/a?x=1&PublisherIdentifier=g");
        assert_eq!(with("https://h/a?"), "https://h/a?PublisherIdentifier=g");
        assert_eq!(with("https://h/a?x=1&"), "https://h/a?x=1&PublisherIdentifier=g");
        assert_eq!(with("https://h/a?x=1#f"), "https://h/a?x=1&PublisherIdentifier=g");
        assert_eq!(with("https://h/a?publisherIDENTIFIER=z&x=1"), "https://h/a?publisherIDENTIFIER=z&x=1");
    }

    #[test]
    fn plain_http_is_for_loopback() {
        assert!(Origin::new("http://localhost:1").is_ok() && Origin::new("http://[::1]:1").is_ok());
        assert_eq!(
            Origin::new("http://manage.office.com").unwrap_err(),
            "http://manage.office.com is not encrypted: use https (plain http is for loopback only)"
        );
        assert!(Origin::new("ftp://x").is_err() && Origin::new("manage.office.com").is_err());
    }
}
