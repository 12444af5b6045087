//! The property bag of newer admin records (type 256), flattened.
//!
//! It comes in three forms: `PropertyCollection`, an array of `Name` and `Value`; `JsonPropertiesCollection`, a flat
//! object as text inside a string (exports); `Properties`, a flat object (Sentinel). Names need not be unique.

use std::borrow::Cow;

use super::{
    Fields,
    json::{Raw, Scanner},
};

/// Names and values in order of appearance.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bag<'a>(pub(crate) Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Bag<'a> {
    /// Reads whichever form the record has; the array first, it is the wire's.
    pub(crate) fn read(fields: &Fields<'a>) -> Self {
        let mut bag = Bag::default();
        if let Some(list) = fields.raw("PropertyCollection").filter(|raw| raw.is_array()) {
            list.elements(|element| {
                let (mut name, mut value) = (None, None);
                element.members(|key, raw| match &*key.decode() {
                    "Name" => name = name.take().or(raw.text()),
                    "Value" => value = value.take().or_else(|| scalar_or_raw(raw)),
                    _ => {}
                });
                if let Some(name) = name {
                    bag.0.push((name, value.unwrap_or(Cow::Borrowed(""))));
                }
            });
        } else if let Some(text) = fields.text("JsonPropertiesCollection") {
            bag.embedded(&text);
        } else if let Some(object) = fields.raw("Properties").filter(|raw| raw.is_object()) {
            object.members(|key, raw| {
                if let Some(value) = scalar_or_raw(raw) {
                    bag.0.push((key.decode(), value));
                }
            });
        }
        bag
    }

    fn embedded(&mut self, text: &str) {
        each_embedded(text, |key, value| self.0.push((Cow::Owned(key.into_owned()), Cow::Owned(value.into_owned()))));
    }

    /// The first value of this name that is not empty.
    pub(crate) fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone())
    }

    /// Like [`Bag::get`], for a name under `powerplatform.analytics.resource.`.
    pub(crate) fn resource(&self, tail: &str) -> Option<Cow<'a, str>> {
        let is = |key: &str| key.strip_prefix("powerplatform.analytics.resource.") == Some(tail);
        self.0.iter().find(|(key, value)| is(key) && !value.is_empty()).map(|(_, value)| value.clone())
    }
}

fn scalar_or_raw(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    if raw.is_null() { None } else { Some(raw.text().unwrap_or(Cow::Borrowed(raw.0))) }
}

/// Calls `each` for the members of a flat JSON object that a string holds; nothing when the string holds none.
pub(crate) fn each_embedded(text: &str, mut each: impl FnMut(Cow<'_, str>, Cow<'_, str>)) {
    let Ok(mut scanner) = Scanner::new(text.as_bytes()) else { return };
    if scanner.peek() == Some(b'{')
        && let Ok(object) = scanner.value(0)
        && scanner.end().is_ok()
    {
        object.members(|key, raw| {
            if let Some(value) = scalar_or_raw(raw) {
                each(key.decode(), value);
            }
        });
    }
}
