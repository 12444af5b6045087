//! The outermost members of a record, and which of them the event has taken over word for word.

use std::borrow::Cow;

use super::{
    Unreadable,
    json::{Raw, Scanner},
};

/// One member of the record.
#[derive(Clone, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) value: Raw<'a>,
    /// Its text stands in the event word for word, so that it need not be repeated as unmapped.
    pub(crate) taken: bool,
}

/// The members, in the order of the record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields<'a>(pub(crate) Vec<Member<'a>>);

impl<'a> Fields<'a> {
    pub(crate) fn read(record: &'a [u8]) -> Result<Self, Unreadable> {
        let mut scanner = Scanner::new(record)?;
        if scanner.peek() != Some(b'{') {
            scanner.value(0)?;
            scanner.end()?;
            return Err(Unreadable::NotAnObject);
        }
        let mut members = Vec::with_capacity(32);
        scanner.object(0, |scanner, key| {
            members.push(Member { key: key.decode(), value: scanner.value(1)?, taken: false });
            Ok(())
        })?;
        scanner.end()?;
        Ok(Fields(members))
    }

    /// The raw value of the first member of this name.
    pub(crate) fn raw(&self, key: &str) -> Option<Raw<'a>> {
        self.0.iter().find(|member| member.key == key).map(|member| member.value)
    }

    /// The text of a scalar member; none when it is missing, null or empty.
    pub(crate) fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        self.raw(key).and_then(Raw::text).filter(|text| !text.is_empty())
    }

    /// Like [`Fields::text`], and notes that the event carries it word for word.
    pub(crate) fn take(&mut self, key: &str) -> Option<Cow<'a, str>> {
        let member = self.0.iter_mut().find(|member| member.key == key)?;
        let text = member.value.text().filter(|text| !text.is_empty())?;
        member.taken = true;
        Some(text)
    }

    /// Takes it back: the text will not stand in the event after all.
    pub(crate) fn untake(&mut self, key: &str) {
        if let Some(member) = self.0.iter_mut().find(|member| member.key == key) {
            member.taken = false;
        }
    }
}
