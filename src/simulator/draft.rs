//! A record while it is written: ordered fields, and the ways in which the service writes the same record differently.

use super::{profile::TenantProfile, random::Dice, stamp::zoneless};

/// A value in a record.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// True or false.
    Bool(bool),
    /// `null`.
    Null,
    /// An array of `{Name, Value}`.
    Pairs(Vec<(String, String)>),
    /// An object.
    Object(Vec<(&'static str, Value)>),
    /// An array of anything.
    Array(Vec<Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}
impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

/// How a record is written this time. The meaning is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// As first published: usual order, slashes escaped.
    First,
    /// Keys and pairs in reverse order, slashes plain.
    Repeated,
}

/// A person of the simulated tenant.
#[derive(Clone, Debug)]
pub struct Person {
    /// User principal name.
    pub upn: String,
    /// Entra object id.
    pub object: String,
}

/// A record being written.
pub struct Draft<'t> {
    /// Where everything random in it comes from.
    pub dice: Dice,
    /// Whose record.
    pub tenant: &'t TenantProfile,
    /// When the event happened, milliseconds since 1970.
    pub at: i64,
    /// Unique text of this record; its `Id`, unless that is missing or shared.
    pub mark: String,
    /// Who did it.
    pub actor: Person,
    seed: u64,
    fields: Vec<(&'static str, Value)>,
}

const NAMES: [&str; 12] = [
    "mara.holm",
    "ilja.brandt",
    "noor.aziz",
    "tomas.vega",
    "jun.sato",
    "ada.okafor",
    "piotr.zawada",
    "lena.fuchs",
    "samir.haddad",
    "ines.costa",
    "kofi.mensah",
    "svc-deploy",
];

impl<'t> Draft<'t> {
    /// An empty record by someone of `tenant`.
    pub fn new(seed: u64, mut dice: Dice, tenant: &'t TenantProfile, at: i64) -> Self {
        let mark = dice.guid();
        let mut draft = Draft {
            dice,
            tenant,
            at,
            mark,
            actor: Person { upn: String::new(), object: String::new() },
            seed,
            fields: Vec::new(),
        };
        draft.actor = draft.person();
        draft
    }

    /// One of the tenant's people.
    pub fn person(&mut self) -> Person {
        let number = self.dice.below(NAMES.len() as u64);
        Person { upn: format!("{}@{}", NAMES[number as usize], self.tenant.domain), object: self.thing(0xA11, number) }
    }

    /// The GUID of the tenant's thing `number` of a kind: the same things come up again and again.
    pub fn thing(&self, kind: u64, number: u64) -> String {
        let mut key = 0u64;
        for byte in self.tenant.id.bytes() {
            key = key.wrapping_mul(31).wrapping_add(u64::from(byte));
        }
        Dice::new(&[self.seed, key, kind, number]).guid()
    }

    /// An environment of the tenant; one of four is the default one.
    pub fn environment(&mut self) -> String {
        match self.dice.below(4) {
            0 => format!("Default-{}", self.tenant.id),
            number => self.thing(0xE27, number),
        }
    }

    /// Adds a field.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.fields.push((key, value.into()));
    }

    /// Replaces a field, or adds it.
    pub fn replace(&mut self, key: &'static str, value: impl Into<Value>) {
        match self.fields.iter_mut().find(|field| field.0 == key) {
            Some(field) => field.1 = value.into(),
            None => self.set(key, value),
        }
    }

    /// Takes a field out.
    pub fn remove(&mut self, key: &str) {
        self.fields.retain(|field| field.0 != key);
    }

    /// A field's text.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.fields.iter().find(|field| field.0 == key) {
            Some((_, Value::Text(text))) => Some(text),
            _ => None,
        }
    }

    /// A field's number.
    pub fn number(&self, key: &str) -> Option<i64> {
        match self.fields.iter().find(|field| field.0 == key) {
            Some((_, Value::Int(number))) => Some(*number),
            _ => None,
        }
    }

    /// The fields that every record has, in the order of real ones. The user is the actor.
    pub fn envelope(&mut self, operation: &str, record_type: i64, workload: &str, result: &str) {
        self.set("CreationTime", zoneless(self.at));
        self.set("Id", self.mark.clone());
        self.set("Operation", operation);
        self.set("OrganizationId", self.tenant.id.as_str());
        self.set("RecordType", record_type);
        if !result.is_empty() {
            self.set("ResultStatus", result);
        }
        self.set("UserKey", self.actor.upn.clone());
        self.set("UserType", 0i64);
        self.set("Version", 1i64);
        self.set("Workload", workload);
    }

    /// An address in one of the forms that were seen: plain, with port, IPv6 with port, mapped, empty.
    pub fn address(&mut self) -> String {
        let (host, port) = (1 + self.dice.below(254), 1024 + self.dice.below(60_000));
        match self.dice.below(8) {
            0 => format!("203.0.113.{host}:{port}"),
            1 => format!("[2001:db8::{host:x}]:{port}"),
            2 => format!("::ffff:198.51.100.{host}"),
            3 => format!("2001:db8:7::{host:x}"),
            4 => String::new(),
            _ => format!("203.0.113.{host}"),
        }
    }

    /// The record as JSON text.
    pub fn write(&self, hand: Hand, out: &mut Vec<u8>) {
        object(&self.fields, hand, out);
    }
}

fn object(fields: &[(&'static str, Value)], hand: Hand, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut put = |position: usize, field: &(&'static str, Value)| {
        if position > 0 {
            out.push(b',');
        }
        text(field.0, Hand::Repeated, out);
        out.push(b':');
        value(&field.1, hand, out);
    };
    match hand {
        Hand::First => fields.iter().enumerate().for_each(|(position, field)| put(position, field)),
        Hand::Repeated => fields.iter().rev().enumerate().for_each(|(position, field)| put(position, field)),
    }
    out.push(b'}');
}

fn value(value_: &Value, hand: Hand, out: &mut Vec<u8>) {
    match value_ {
        Value::Text(it) => text(it, hand, out),
        Value::Int(it) => out.extend_from_slice(it.to_string().as_bytes()),
        Value::Bool(it) => out.extend_from_slice(if *it { b"true" } else { b"false" }),
        Value::Null => out.extend_from_slice(b"null"),
        Value::Object(fields) => object(fields, hand, out),
        Value::Array(items) => list(items.len(), hand, out, |at, out| value(&items[at], hand, out)),
        Value::Pairs(pairs) => list(pairs.len(), hand, out, |at, out| {
            let (name, it) = &pairs[at];
            let fields = [("Name", Value::Text(name.clone())), ("Value", Value::Text(it.clone()))];
            object(&fields, hand, out);
        }),
    }
}

fn list(length: usize, hand: Hand, out: &mut Vec<u8>, mut item: impl FnMut(usize, &mut Vec<u8>)) {
    out.push(b'[');
    for position in 0..length {
        if position > 0 {
            out.push(b',');
        }
        item(if hand == Hand::First { position } else { length - 1 - position }, out);
    }
    out.push(b']');
}

fn text(it: &str, hand: Hand, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in it.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'/' if hand == Hand::First => out.extend_from_slice(b"\\/"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
