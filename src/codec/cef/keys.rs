//! The extension keys that this codec writes, with what the CEF dictionary says of each.
//!
//! The whole dictionary, 122 producer keys of CEF 0.1, lies in `tests/data/cef/keys.tsv`; a test holds this list to it,
//! another one `docs/cef.md` to this list.

/// How the dictionary types a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text of at most so many bytes. The specification says "length" and not of what; bytes of UTF-8, counted before
    /// escaping, hold under every reading of it.
    Text(usize),
    /// A number.
    Integer,
    /// Milliseconds since 1970, UTC.
    Time,
    /// Dotted decimal.
    Ipv4,
    /// An address of version 6.
    Ipv6,
}

/// One key of the extension.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What a custom field is labelled with; the specification demands a label beside each.
    pub(super) label: Option<&'static str>,
    /// Says which event, who, where and what, and stays when an event is shortened to the utmost.
    pub(super) identity: bool,
}

impl Key {
    const fn text(name: &'static str, bytes: usize) -> Key {
        Key { name, kind: Kind::Text(bytes), label: None, identity: false }
    }

    const fn of(name: &'static str, kind: Kind) -> Key {
        Key { name, kind, label: None, identity: false }
    }

    /// Longest text of the key, in bytes.
    pub(super) fn most(&self) -> usize {
        match self.kind {
            Kind::Text(bytes) => bytes,
            _ => usize::MAX,
        }
    }

    const fn labelled(self, label: &'static str) -> Key {
        Key { label: Some(label), ..self }
    }

    const fn identity(self) -> Key {
        Key { identity: true, ..self }
    }
}

pub(super) const RT: Key = Key::of("rt", Kind::Time).identity();
pub(super) const START: Key = Key::of("start", Kind::Time).identity();
pub(super) const END: Key = Key::of("end", Kind::Time).identity();
pub(super) const ACT: Key = Key::text("act", 63).identity();
pub(super) const OUTCOME: Key = Key::text("outcome", 63).identity();
pub(super) const EXTERNAL_ID: Key = Key::text("externalId", 40).identity();
pub(super) const SUSER: Key = Key::text("suser", 1023).identity();
pub(super) const SUID: Key = Key::text("suid", 1023).identity();
pub(super) const SPRIV: Key = Key::text("spriv", 1023);
pub(super) const SRC: Key = Key::of("src", Kind::Ipv4).identity();
pub(super) const C6A2: Key = Key::of("c6a2", Kind::Ipv6).labelled("Source IPv6 Address").identity();
pub(super) const SPT: Key = Key::of("spt", Kind::Integer);
pub(super) const CAT: Key = Key::text("cat", 1023);
pub(super) const PRODUCT: Key = Key::text("destinationServiceName", 1023);
pub(super) const TENANT: Key = Key::text("deviceExternalId", 255).identity();
pub(super) const FACILITY: Key = Key::text("deviceFacility", 1023);
pub(super) const FNAME: Key = Key::text("fname", 1023);
pub(super) const FILE_ID: Key = Key::text("fileId", 1023).identity();
pub(super) const FILE_TYPE: Key = Key::text("fileType", 1023).identity();
pub(super) const DUSER: Key = Key::text("duser", 1023).identity();
pub(super) const DUID: Key = Key::text("duid", 1023).identity();
pub(super) const DPRIV: Key = Key::text("dpriv", 1023);
pub(super) const DHOST: Key = Key::text("dhost", 1023);
pub(super) const USER_AGENT: Key = Key::text("requestClientApplication", 1023);
pub(super) const REASON: Key = Key::text("reason", 1023);
pub(super) const REQUEST: Key = Key::text("request", 1023);
pub(super) const MSG: Key = Key::text("msg", 1023);
pub(super) const ENVIRONMENT: Key = Key::text("cs1", 4000).labelled("EnvironmentId").identity();
pub(super) const RECORD_TYPE: Key = Key::text("cs2", 4000).labelled("RecordType").identity();
pub(super) const ENVIRONMENT_NAME: Key = Key::text("cs3", 4000).labelled("EnvironmentName");
pub(super) const CONNECTORS: Key = Key::text("cs4", 4000).labelled("FlowConnectorNames");
pub(super) const PROPERTIES: Key = Key::text("cs5", 4000).labelled("Properties");
pub(super) const RECORD: Key = Key::text("cs5", 4000).labelled("Record");
pub(super) const RECORD_BASE64: Key = Key::text("cs5", 4000).labelled("RecordBase64");
pub(super) const ORIGINAL_ID: Key = Key::text("cs6", 4000).labelled("OriginalId").identity();
pub(super) const CORRELATION: Key = Key::text("flexString1", 1023).labelled("CorrelationId");
pub(super) const FETCHED: Key = Key::of("deviceCustomDate1", Kind::Time).labelled("Fetched");
pub(super) const SHORTENED: Key = Key::text("flexString2", 1023).labelled("Shortened").identity();
pub(super) const RECORD_BYTES: Key = Key::of("cn1", Kind::Integer).labelled("RecordBytes").identity();

/// Every key above.
#[cfg(test)]
pub(super) const ALL: [Key; 39] = [
    RT,
    START,
    END,
    ACT,
    OUTCOME,
    EXTERNAL_ID,
    SUSER,
    SUID,
    SPRIV,
    SRC,
    C6A2,
    SPT,
    CAT,
    PRODUCT,
    TENANT,
    FACILITY,
    FNAME,
    FILE_ID,
    FILE_TYPE,
    DUSER,
    DUID,
    DPRIV,
    DHOST,
    USER_AGENT,
    REASON,
    REQUEST,
    MSG,
    ENVIRONMENT,
    RECORD_TYPE,
    ENVIRONMENT_NAME,
    CONNECTORS,
    PROPERTIES,
    RECORD,
    RECORD_BASE64,
    ORIGINAL_ID,
    CORRELATION,
    FETCHED,
    SHORTENED,
    RECORD_BYTES,
];
