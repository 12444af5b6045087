//! librdkafka's words about connections, without what differs from one attempt to the next (whose connection it was, how long it took, how
//! often the same was said): the agent tells a cause once, and since when it lasts, as long as its words stay the same.

use crate::verdict::one_line;

/// Brokers, or something else on their port, with which no talk begins.
pub const SILENT: &str = "they accept connections and do not answer";

/// Why a connection failed. `None`: the words say no more than that time has passed.
pub fn why(reason: &str) -> Option<String> {
    let words = plain(reason);
    if words.contains("request(s) timed out") {
        return None;
    }
    Some(match words.strip_prefix("Connection setup timed out in state ") {
        Some("CONNECT" | "TRY_CONNECT") => "no connection comes about: is there a firewall on the way?".to_string(),
        Some(_) => SILENT.to_string(),
        None if words.starts_with("ApiVersionRequest failed: Local: Timed out") => SILENT.to_string(),
        None => words,
    })
}

/// One line, without the broker's name in front (`ssl://host:9093/1`), the address that the name stood for, and the time behind it. A
/// library that tries one broker after the other begins with another one each time; its own log, at level debug, names them.
pub fn plain(reason: &str) -> String {
    let line = one_line(reason);
    let mut words = line.as_str();
    // so a line of the log begins
    if let Some((_, rest)) = words.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")) {
        words = rest;
    }
    // the name of a broker ends with its number, or with `bootstrap`
    if let Some((name, rest)) = words.split_once(": ")
        && name.contains('/')
        && !name.contains(' ')
    {
        words = rest;
    }
    if let Some((before, after)) = words.rsplit_once(" (after ")
        && after.contains("ms in state ")
    {
        words = before;
    }
    if let Some((_, rest)) = words.strip_prefix("Connect to ").and_then(|rest| rest.split_once(" failed: ")) {
        words = rest;
    }
    words.trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_cause_has_the_same_words() {
        for (reason, expected) in [
            (
                "k:9092/bootstrap: Connect to ipv4#127.0.0.1:40123 failed: Connection refused (after 0ms in state CONNECT)",
                Some("Connection refused"),
            ),
            (
                "l:9092/2: Connect to ipv6#[::1]:9 failed: Connection refused (after 7ms in state CONNECT, 1 identical error(s) suppressed)",
                Some("Connection refused"),
            ),
            (
                "ssl://k:9093/bootstrap: Connection setup timed out in state SSL_HANDSHAKE (after 9003ms in state SSL_HANDSHAKE)",
                Some(SILENT),
            ),
            (
                "k:1/1: ApiVersionRequest failed: Local: Timed out: probably (see x) (after 9ms in state UP)",
                Some(SILENT),
            ),
            (
                "k:1/1: Connection setup timed out in state CONNECT (after 9ms in state CONNECT)",
                Some("no connection comes about: is there a firewall on the way?"),
            ),
            ("k:1/1: 3 request(s) timed out: disconnect (average rtt 1.250ms) (after 9ms in state UP)", None),
            (
                "k:9/bootstrap: Failed to resolve 'k:9': Name or service not known (after 2ms in state CONNECT)",
                Some("Failed to resolve 'k:9': Name or service not known"),
            ),
            (
                "[thrd:k:1/bootstrap]: k:1/bootstrap: Connection setup timed out in state APIVERSION_QUERY (after 9ms in state APIVERSION_QUERY)",
                Some(SILENT),
            ),
            ("something new: (after all)", Some("something new: (after all)")),
        ] {
            assert_eq!(why(reason).as_deref(), expected, "{reason}");
        }
    }
}
