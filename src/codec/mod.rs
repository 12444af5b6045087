//! From an event to the bytes that a sink gets. Pure; every codec writes one line of valid UTF-8.

mod cef;
mod json;
mod ocsf;
mod raw;

use std::sync::Arc;

use crate::event::Event;

/// How an event is written.
pub trait Codec: Send + Sync {
    /// Its name in a configuration.
    fn name(&self) -> &'static str;
    /// Schema and version of what it writes, `ocsf/1.8.0`.
    fn schema(&self) -> Arc<str>;
    /// Media type of one message.
    fn media_type(&self) -> &'static str;
    /// Appends the event to `out`: exactly one line, without the line feed at its end.
    fn encode(&self, event: &Event<'_>, out: &mut Vec<u8>);
    /// Appends the event in at most `limit` bytes, leaving out first what repeats the record and then cutting texts,
    /// marked as truncated. False, with `out` as it was, when it can't be done.
    fn encode_within(&self, event: &Event<'_>, limit: usize, out: &mut Vec<u8>) -> bool;
}

/// What a configuration may say about a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecOptions {
    /// Whether the original record travels along inside the event (where the schema has a place for it).
    pub raw_data: bool,
}

impl Default for CodecOptions {
    fn default() -> Self {
        CodecOptions { raw_data: true }
    }
}

/// Every codec of this build.
pub const NAMES: &[&str] = &["ocsf", "cef", "raw"];

/// The codec of this name; none when there is none (`NAMES` lists them).
pub fn by_name(name: &str, options: CodecOptions) -> Option<Arc<dyn Codec>> {
    match name {
        "ocsf" => Some(Arc::new(ocsf::Ocsf::new(options))),
        "cef" => Some(Arc::new(cef::Cef)),
        "raw" => Some(Arc::new(raw::RawCodec)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
