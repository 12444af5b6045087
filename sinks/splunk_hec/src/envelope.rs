//! The body of one request: concatenated JSON envelopes, compressed as they are written.

use std::io::{self, Write};

use auditferry_contract::{Cause, Message, Refusal, SinkError};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde_json::value::RawValue;

/// What every envelope of a sink has in common.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The body is JSON and stands in the envelope as it is; otherwise it becomes a JSON string.
    pub json: bool,
    /// `None`: each event's tenant.
    pub host: Option<String>,
    /// Metadata of Splunk.
    pub source: String,
    /// Metadata of Splunk.
    pub sourcetype: String,
    /// `None`: the token's default index.
    pub index: Option<String>,
    /// Name and version of the event's schema.
    pub schema: String,
    /// Compress.
    pub gzip: bool,
}

impl Envelope {
    /// The whole body.
    ///
    /// # Errors
    /// [`Refused`](SinkError::Refused) names the messages that would break the envelope around them or forge one (a
    /// fault of the codec); nothing was sent then.
    pub fn body(&self, messages: &[Message]) -> Result<Bytes, SinkError> {
        let fits = |m: &Message| {
            if self.json {
                serde_json::from_slice::<&RawValue>(&m.body).is_ok()
            } else {
                std::str::from_utf8(&m.body).is_ok()
            }
        };
        let (untaken, refused): (Vec<_>, Vec<_>) = (0..messages.len()).partition(|i| fits(&messages[*i]));
        if !refused.is_empty() {
            let what = if self.json { "is not one JSON value" } else { "is not UTF-8" };
            let cause = Cause(format!("the message {what}: please report it, the codec is at fault"));
            let refused = refused.into_iter().map(|position| Refusal { position, cause: cause.clone() }).collect();
            return Err(SinkError::Refused { refused, untaken, cause });
        }
        // writing to memory fails only where memory does
        self.encode(messages).map_err(|error| SinkError::retry(format!("the body can't be made: {error}")))
    }

    fn encode(&self, messages: &[Message]) -> io::Result<Bytes> {
        let common = self.common()?;
        if self.gzip {
            // level 1: audit JSON repeats itself so much that higher levels only cost time
            let mut out = GzEncoder::new(Vec::new(), Compression::new(1));
            messages.iter().try_for_each(|m| self.one(m, &common, &mut out))?;
            out.finish().map(Bytes::from)
        } else {
            let mut out = Vec::with_capacity(messages.iter().map(|m| m.body.len() + common.len() + 200).sum());
            messages.iter().try_for_each(|m| self.one(m, &common, &mut out))?;
            Ok(out.into())
        }
    }

    /// The members that are the same for every message.
    fn common(&self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        for (name, value) in
            [("source", Some(&self.source)), ("sourcetype", Some(&self.sourcetype)), ("index", self.index.as_ref())]
        {
            if let Some(value) = value {
                write!(out, ",\"{name}\":")?;
                serde_json::to_writer(&mut out, value)?;
            }
        }
        Ok(out)
    }

    fn one(&self, message: &Message, common: &[u8], out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"{\"time\":")?;
        out.write_all(time(message.time.as_millisecond()).as_bytes())?;
        out.write_all(b",\"host\":")?;
        serde_json::to_writer(&mut *out, self.host.as_deref().unwrap_or(&message.tenant))?;
        out.write_all(common)?;
        out.write_all(b",\"event\":")?;
        if self.json {
            out.write_all(&message.body)?;
        } else {
            let text = std::str::from_utf8(&message.body).map_err(io::Error::other)?;
            serde_json::to_writer(&mut *out, text)?;
        }
        // indexed fields: searched without looking into the event, and no name that Splunk's add-ons use
        write!(out, ",\"fields\":{{\"event_id\":\"{}\",\"schema\":", message.id)?;
        serde_json::to_writer(&mut *out, &self.schema)?;
        out.write_all(b"}}")
    }
}

/// Seconds since 1970 with milliseconds, from whole numbers: Splunk refuses the exponent that a float may be printed with.
fn time(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03}", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests;
