//! One event as an RFC 5424 message, in an octet-counted frame.

use std::io::{self, Write};

use auditferry_contract::{Message, Severity};
use syslog::{Facility, LogFormat};

/// RFC 5424 §6: the longest of each.
pub const HOSTNAME: usize = 255;
pub const APP_NAME: usize = 48;
const MSGID: usize = 32;
/// What of an operation's name goes into the structured data, bytes: three times the longest that Microsoft has. Hostile
/// records can put any text there, and the header must have an end.
const OPERATION: usize = 128;
/// The same for tenant (a GUID has 36) and product.
const SHORT: usize = 64;

/// What stands in every header of one sink.
#[derive(Clone, Debug)]
pub struct Formatter {
    pub facility: Facility,
    /// HOSTNAME; `None`: the event's tenant.
    pub hostname: Option<String>,
    /// APP-NAME.
    pub app_name: String,
    /// Private enterprise number in the SD-ID (RFC 5424 §7.2.2).
    pub enterprise_id: u64,
}

impl Formatter {
    /// Appends the frame: the message's length **in octets**, a space, the message (RFC 6587 §3.4.1, RFC 5425 §4.3).
    pub fn frame(&self, out: &mut Vec<u8>, message: &Message) -> io::Result<()> {
        let start = out.len();
        self.format(out, level(message.severity), message).map_err(|error| io::Error::other(error.to_string()))?;
        let length = format!("{} ", out.len() - start);
        out.splice(start..start, length.into_bytes());
        Ok(())
    }

    /// The most that stands in front of a body, in octets, without the frame's length.
    pub fn most_before_body(&self) -> usize {
        // every value of the structured data may double when it is escaped; a time has 27 octets at most
        let host = self.hostname.as_ref().map_or(SHORT, String::len);
        let fixed =
            "<191>1  2026-11-25T09:00:00.000000Z    -   [auditferry@ id=\"\" tenant=\"\" product=\"\" op=\"\"] ".len();
        fixed + 10 + host + self.app_name.len() + MSGID + 36 + 2 * (SHORT + SHORT + OPERATION)
    }
}

impl LogFormat<&Message> for Formatter {
    /// Header, structured data and body. The body is written as it is, without a byte order mark (MSG-ANY of RFC 5424 §6.4): rsyslog
    /// keeps the mark in its `msg`, and parsers of CEF look for `CEF:` at the start.
    fn format<W: Write>(&self, w: &mut W, severity: syslog::Severity, message: &Message) -> syslog::Result<()> {
        write!(w, "<{}>1 ", self.facility as u8 | severity as u8)?;
        time(w, message.time)?;
        w.write_all(b" ")?;
        match &self.hostname {
            Some(hostname) => token(w, hostname, HOSTNAME)?,
            None => token(w, &message.tenant, SHORT)?,
        }
        w.write_all(b" ")?;
        token(w, &self.app_name, APP_NAME)?;
        // no PROCID: it would tell one run of the agent from another, which says nothing about the event
        w.write_all(b" - ")?;
        token(w, &message.operation, MSGID)?;
        write!(w, " [auditferry@{} id=\"{}\" tenant=\"", self.enterprise_id, message.id)?;
        value(w, &message.tenant, SHORT)?;
        w.write_all(b"\" product=\"")?;
        value(w, message.product, SHORT)?;
        w.write_all(b"\" op=\"")?;
        value(w, &message.operation, OPERATION)?;
        w.write_all(b"\"] ")?;
        w.write_all(&message.body)?;
        Ok(())
    }
}

/// `Critical` is 2, not less: 0 and 1 mean that the receiver itself, or its host, is in danger (RFC 5424 §6.2.1).
fn level(severity: Severity) -> syslog::Severity {
    match severity {
        Severity::Informational => syslog::Severity::LOG_INFO,
        Severity::Low => syslog::Severity::LOG_NOTICE,
        Severity::Medium => syslog::Severity::LOG_WARNING,
        Severity::High => syslog::Severity::LOG_ERR,
        Severity::Critical => syslog::Severity::LOG_CRIT,
    }
}

/// The event's time: at most six digits of a second (RFC 5424 §6.2.3), none for a whole one. A year outside 0000 to 9999 has no form
/// there, so it is not said.
fn time(w: &mut impl Write, time: jiff::Timestamp) -> io::Result<()> {
    const YEAR_0: i64 = -62_167_219_200;
    if time.as_second() < YEAR_0 || (time.as_second() == YEAR_0 && time.subsec_nanosecond() < 0) {
        return w.write_all(b"-");
    }
    if time.subsec_nanosecond() == 0 { write!(w, "{time:.0}") } else { write!(w, "{time:.6}") }
}

/// A field of the header: printable ASCII without spaces (`%d33-126`), cut to `most`; anything else is a `_`, and nothing at all is `-`.
fn token(w: &mut impl Write, text: &str, most: usize) -> io::Result<()> {
    if text.is_empty() {
        return w.write_all(b"-");
    }
    let printable = |c: char| if c.is_ascii_graphic() { c as u8 } else { b'_' };
    let bytes: Vec<u8> = text.chars().take(most).map(printable).collect();
    w.write_all(&bytes)
}

/// A PARAM-VALUE: UTF-8 with `"`, `\` and `]` escaped (RFC 5424 §6.3.3), cut to `most` bytes between two characters. Control
/// characters become `?`: receivers are free to change them, and a line break would make two lines of a message in many.
fn value(w: &mut impl Write, text: &str, most: usize) -> io::Result<()> {
    let text = &text[..text.floor_char_boundary(most)];
    let mut one = [0; 4];
    for c in text.chars() {
        match c {
            '"' | '\\' | ']' => w.write_all(&[b'\\', c as u8])?,
            c if c.is_control() => w.write_all(b"?")?,
            c => w.write_all(c.encode_utf8(&mut one).as_bytes())?,
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
