//! What the record says beyond the fields of the dictionary: one JSON object in `cs5`.
//!
//! CEF has no place for what a mapping does not know, and `cs5` is short. So the object holds whole members, what rules
//! look at first, and says how many it has no room for; it is valid JSON at every length.

use std::collections::BTreeSet;

use super::line::is_replaced;
use crate::{
    codec::json::{WHOLE, Writer},
    event::{Event, TimeSource, json::Raw},
};

/// Members that rules look at most (changed columns, nested names, details as text), before the property bag.
const FIRST: [&str; 4] = ["Message", "Fields", "ModifiedProperties", "AdditionalInfo"];
/// The forms of the property bag; its properties are members of the object, by name.
const BAGS: [&str; 3] = ["PropertyCollection", "JsonPropertiesCollection", "Properties"];
/// How many members did not get in, or not whole.
const LEFT_OUT: &str = "left_out";
/// Room for `,"left_out":` with a number, and the closing brace.
const RESERVED: usize = 24;
/// Shorter pieces of a text or list are not worth having.
const SHORTEST: usize = 64;
/// What stands where a list or text was cut.
const CUT: &str = "…";

/// The object, and whether all is in it. None when the record says nothing else, or at a budget too small for anything.
pub(super) struct Properties {
    pub(super) json: Option<String>,
    pub(super) all: bool,
}

pub(super) fn write(event: &Event<'_>, budget: usize) -> Properties {
    let mut object = Object { text: b"{".to_vec(), budget, left_out: 0, names: BTreeSet::from([LEFT_OUT.to_owned()]) };
    // a time that could not be read stands nowhere else
    let lost = |key: &str| key == "CreationTime" && event.time_source() != TimeSource::Record;
    let members = || {
        let members = event.fields.0.iter().filter(move |member| !member.taken || lost(&member.key));
        members.filter(|member| !carried(event, &member.key, member.value))
    };
    for name in FIRST {
        members().filter(|member| member.key == name).for_each(|member| object.member(name, Value::Raw(member.value)));
    }
    for (name, value) in event.bag.0.iter().filter(|(_, value)| !value.is_empty()) {
        object.member(name, Value::Text(value));
    }
    for member in members().filter(|member| !FIRST.contains(&&*member.key)) {
        if event.bag.0.is_empty() || !BAGS.contains(&&*member.key) {
            object.member(&member.key, Value::Raw(member.value));
        }
    }
    object.finish()
}

/// Whether the line carries this member under a key of its own, or it says nothing.
fn carried(event: &Event<'_>, key: &str, value: Raw<'_>) -> bool {
    if matches!(value.0, "null" | "\"\"" | "[]" | "{}") {
        return true;
    }
    let elsewhere = match key {
        "ClientIP" => return event.ip.is_some(),
        "UserAgent" => event.user_agent.as_deref(),
        "EnvironmentId" => event.environment(),
        "FlowDetailsUrl" => event.target.url.as_deref(),
        "EntityName" => event.target.name.as_deref(),
        "EntityId" => event.target.uid.as_deref(),
        "CorrelationId" => event.correlation.as_deref(),
        "RecipientUPN" => event.grantee.name.as_deref().or(event.grantee.uid.as_deref()),
        "FlowConnectorNames" => return true,
        _ => return false,
    };
    elsewhere.is_some() && value.text().as_deref() == elsewhere
}

/// A member's value.
#[derive(Clone, Copy)]
enum Value<'v> {
    Raw(Raw<'v>),
    Text(&'v str),
}

struct Object {
    text: Vec<u8>,
    budget: usize,
    left_out: u32,
    /// Names that are in; a second member of a name would hide the first.
    names: BTreeSet<String>,
}

impl Object {
    fn room(&self) -> usize {
        self.budget.saturating_sub(self.text.len() + RESERVED)
    }

    /// Appends what `write` writes, when it fits.
    fn append(&mut self, comma: bool, write: impl FnOnce(&mut Writer<'_>)) -> bool {
        let mut piece = Vec::new();
        write(&mut Writer::new(&mut piece, WHOLE));
        let piece = escaped(piece);
        let fits = piece.len() < self.room();
        if fits {
            if comma {
                self.text.push(b',');
            }
            self.text.extend(piece);
        }
        fits
    }

    fn member(&mut self, name: &str, value: Value<'_>) {
        if self.room() == 0 || self.names.contains(name) {
            self.left_out += 1;
            return;
        }
        let comma = self.text.len() > 1;
        let whole = self.append(comma, |w| {
            w.key(name);
            match value {
                Value::Raw(raw) => w.copy(raw.0),
                Value::Text(text) => w.value(text),
            }
        });
        self.left_out += u32::from(!whole);
        if whole || self.part(comma, name, value) {
            self.names.insert(name.to_owned());
        }
    }

    /// The beginning of a list or text that is too long, with a mark; false when not even that fits.
    fn part(&mut self, comma: bool, name: &str, value: Value<'_>) -> bool {
        if self.room() < name.len() + SHORTEST {
            return false;
        }
        let text = match value {
            Value::Raw(raw) if raw.is_array() => return self.elements(comma, name, raw),
            Value::Raw(raw) => raw.text(),
            Value::Text(text) => Some(text.into()),
        };
        let Some(text) = text else { return false };
        // escapes make a text longer, six times at the most
        let mut most = self.room().saturating_sub(name.len() + 16);
        while most >= SHORTEST / 4 {
            let end = text.floor_char_boundary(most);
            if self.append(comma, |w| w.text(name, &format!("{}{CUT}", &text[..end]))) {
                return true;
            }
            most /= 2;
        }
        false
    }

    fn elements(&mut self, comma: bool, name: &str, list: Raw<'_>) -> bool {
        if !self.append(comma, |w| w.key(name)) {
            return false;
        }
        self.text.push(b'[');
        let (mut first, mut full) = (true, false);
        // the mark and the bracket have to fit as well
        self.budget -= CUT.len() + 4;
        list.elements(|element| {
            full = full || !self.append(!first, |w| w.copy(element.0));
            first = false;
        });
        self.budget += CUT.len() + 4;
        let _ = self.append(self.text.last() != Some(&b'['), |w| w.value(CUT));
        self.text.push(b']');
        true
    }

    fn finish(mut self) -> Properties {
        let all = self.left_out == 0;
        if self.text.len() == 1 {
            return Properties { json: None, all };
        }
        if !all {
            self.text.extend(format!(",\"{LEFT_OUT}\":{}", self.left_out).as_bytes());
        }
        self.text.push(b'}');
        Properties { json: String::from_utf8(self.text).ok(), all }
    }
}

/// What a value of CEF can't carry (all of it stands inside strings), as JSON's own escapes: so nothing is replaced.
fn escaped(piece: Vec<u8>) -> Vec<u8> {
    match std::str::from_utf8(&piece) {
        Ok(text) if text.contains(is_replaced) => {
            let escape = |c: char| if is_replaced(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
            text.chars().map(escape).collect::<String>().into_bytes()
        }
        _ => piece,
    }
}
