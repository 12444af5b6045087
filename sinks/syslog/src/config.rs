//! The options: where to, what the header says, how large a message may be.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use auditferry_contract::{
    CheckedSink, ConfigErrors, Confirmation, Env, Format, Limits, Options, Sink, SinkError,
    options::{ByteSize, mistake, number, required_text, size, text},
};
use auditferry_tls::Tls;
use syslog::Facility;

use crate::{
    address::Address,
    connect::{Patience, connect},
    format::{APP_NAME, Formatter, HOSTNAME},
    sink::SyslogSink,
};

/// What every receiver takes that keeps to its documents: RFC 5425 §4.3.1 wants 8,192 octets, a stock rsyslog cuts after 8,096 without a
/// word to the sender. The agent's own shortening is marked in the event; a receiver's cut is not.
const MAX_MESSAGE: u64 = 8000;
/// An IANA private enterprise number is 32 bits; 32473 is reserved for documentation (RFC 5612), and anybody's own may stand here.
const ENTERPRISE_ID: u64 = 32473;
/// So that a receiver that reads 3 kB/s still gets past one within the deadline.
const BATCH_BYTES: usize = 64 << 10;
/// For one call, and for opening.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub fn check(mut options: Options<'_>, _: &Format) -> Result<Box<dyn CheckedSink>, ConfigErrors> {
    let address = address(&mut options);
    let tls = Tls::read(&mut options);
    if let Some((span, Address { tls: false, .. })) = &address
        && tls.is_set()
    {
        let hint = "write \"tls://…\", or leave out `ca`, `certificate`, `key` and `server_name`";
        options.errors.push(mistake(*span, "the address is plain TCP, and options for TLS are given", hint));
    }
    let facility = facility(&mut options);
    let hostname = field(&mut options, "hostname", HOSTNAME);
    let app_name = field(&mut options, "app_name", APP_NAME).unwrap_or_else(|| "auditferry".to_string());
    let enterprise_id = number(&mut options, "enterprise_id", 1..=u64::from(u32::MAX)).unwrap_or(ENTERPRISE_ID);
    let max_message = size(&mut options, "max_message", 2048..=16 << 20).unwrap_or(MAX_MESSAGE);
    options.finalize(None)?;
    let Some((_, address)) = address else {
        // `finalize` has reported it and returned; said again rather than assumed
        return Err(mistake(Default::default(), "`address` is missing", "").into());
    };
    let formatter = Formatter { facility, hostname, app_name, enterprise_id };
    Ok(Box::new(Checked { address, tls, formatter, max_message: max_message as usize, patience: Patience::default() }))
}

fn address(options: &mut Options<'_>) -> Option<(auditferry_contract::toml_span::Span, Address)> {
    let given = required_text(options, "address")?;
    match given.value.parse() {
        Ok(address) => Some((given.span, address)),
        Err(hint) => {
            options.errors.push(mistake(given.span, "not an address of a syslog receiver", hint));
            None
        }
    }
}

fn facility(options: &mut Options<'_>) -> Facility {
    let Some(given) = text(options, "facility") else { return Facility::LOG_LOCAL0 };
    given.value.parse().unwrap_or_else(|()| {
        let hint = "one of kern, user, mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp, ntp, audit, alert, clock_daemon, local0 to local7";
        options.errors.push(mistake(given.span, "not a facility of syslog", hint));
        Facility::LOG_LOCAL0
    })
}

/// A field of the header (RFC 5424 §6: printable ASCII without spaces).
fn field(options: &mut Options<'_>, name: &'static str, most: usize) -> Option<String> {
    let given = text(options, name)?;
    if given.value.len() <= most && given.value.chars().all(|c| c.is_ascii_graphic()) {
        return Some(given.value);
    }
    let hint = format!("printable ASCII without spaces, at most {most} characters");
    options.errors.push(mistake(given.span, &format!("`{name}` can't stand in a syslog header"), &hint));
    None
}

pub struct Checked {
    pub address: Address,
    pub tls: Tls,
    pub formatter: Formatter,
    /// Octets of a whole message, without the frame's length in front.
    pub max_message: usize,
    pub patience: Patience,
}

#[async_trait]
impl CheckedSink for Checked {
    fn limits(&self) -> Limits {
        // the least `max_message` and the longest header leave 1,100 octets
        let message_bytes = self.max_message.saturating_sub(self.formatter.most_before_body());
        Limits {
            message_bytes,
            batch_bytes: BATCH_BYTES.max(message_bytes),
            batch_messages: 500,
            batch_age: Duration::from_millis(200),
            in_flight: 1,
            in_hand: 1,
            deadline: DEADLINE,
            settle: Duration::from_secs(10),
        }
    }

    fn promise(&self) -> Option<Confirmation> {
        Some(Confirmation::Sent)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![("address", self.address.to_string())];
        if self.address.tls {
            settings.extend(self.tls.settings());
        }
        let facility = format!("{:?}", self.formatter.facility).trim_start_matches("LOG_").to_lowercase();
        settings.extend([
            ("facility", facility),
            ("hostname", self.formatter.hostname.clone().unwrap_or_else(|| "the event's tenant".into())),
            ("app_name", self.formatter.app_name.clone()),
            ("enterprise_id", self.formatter.enterprise_id.to_string()),
            ("max_message", ByteSize(self.max_message as u64).to_string()),
        ]);
        settings
    }

    fn files(&self) -> Vec<PathBuf> {
        self.tls.files()
    }

    async fn open(&self, env: Arc<dyn Env>) -> Result<Arc<dyn Sink>, SinkError> {
        let connected = connect(&self.address, &self.tls, env.as_ref(), &self.patience).await?;
        Ok(Arc::new(SyslogSink::new(connected, self.address.clone(), self.formatter.clone())))
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
