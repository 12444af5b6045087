//! What goes wrong on the way, in words, and whether it passes by itself.

use std::io;

use auditferry_contract::{Cause, SinkError};

use crate::address::Address;

/// A failure at `address` while `doing` something (`connecting`, …).
pub fn failed(address: &Address, doing: &str, error: &io::Error) -> SinkError {
    if let Some(words) = auditferry_tls::explain(error) {
        return blocked(address, &words);
    }
    use io::ErrorKind::*;
    let (code, why) = match error.kind() {
        ConnectionRefused => {
            ("ConnectionRefused", "nothing listens there: is the receiver running, and the port right?".to_string())
        }
        ConnectionReset | BrokenPipe | ConnectionAborted => ("Connect", "the receiver broke the connection off".into()),
        UnexpectedEof | NotConnected => ("Connect", "the receiver closed the connection".into()),
        TimedOut => (
            "Timeout",
            "no answer: the receiver's host is down, a firewall drops what is sent, or the receiver has stopped reading"
                .into(),
        ),
        HostUnreachable | NetworkUnreachable | NetworkDown => {
            ("NoRoute", format!("there is no way to it from here ({error})"))
        }
        PermissionDenied => ("NoRoute", format!("this machine does not allow it ({error}): look at its firewall")),
        _ => ("Connect", error.to_string()),
    };
    SinkError::retry(Cause::coded(code, format_args!("{doing} {address} failed: {why}")))
}

/// A person must act: these are the words of TLS.
pub fn blocked(address: &Address, words: &str) -> SinkError {
    SinkError::blocked(Cause(format!("{address}: {words}")))
}

/// The peer has ended the connection, in an orderly way.
pub fn closed(address: &Address) -> Cause {
    Cause(format!("the receiver at {address} closed the connection"))
}

/// A call was given up while its frames were going out.
pub fn half_a_message(address: &Address) -> Cause {
    Cause(format!("the connection to {address} has half a message in it: a call was given up"))
}
