//! The record as Microsoft sent it, for rules that were written against Microsoft's own names.

use std::sync::Arc;

use super::{
    Codec,
    json::{WHOLE, Writer, minify},
};
use crate::event::Event;

/// Codec `raw`: untouched bytes; only line breaks between tokens are taken out.
pub(super) struct RawCodec;

impl Codec for RawCodec {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn schema(&self) -> Arc<str> {
        Arc::from("office365-management/1.0")
    }

    fn media_type(&self) -> &'static str {
        "application/json"
    }

    fn encode(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let record = event.record();
        if event.unreadable_because().is_some() {
            unreadable(record, out);
        } else if record.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            minify(record, out);
        } else {
            out.extend(record);
        }
    }

    /// A record can't be cut and stay a record: it fits or it does not.
    fn encode_within(&self, event: &Event<'_>, limit: usize, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        self.encode(event, out);
        let fits = out.len() - start <= limit;
        if !fits {
            out.truncate(start);
        }
        fits
    }
}

/// JSON that holds what is not JSON. Bytes that are not UTF-8 go along in base64, since text can't carry them.
pub(super) fn unreadable(record: &[u8], out: &mut Vec<u8>) {
    Writer::new(out, WHOLE).object(|w| original(w, record));
}

/// The members that carry the bytes of an unreadable record.
pub(super) fn original(w: &mut Writer<'_>, record: &[u8]) {
    match std::str::from_utf8(record) {
        Ok(text) => w.text("unreadable", text),
        Err(_) => {
            use base64::Engine as _;
            w.text("unreadable_base64", &base64::engine::general_purpose::STANDARD.encode(record));
        }
    }
}
