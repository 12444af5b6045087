//! Which records are kept, and what is known of each before it is stored.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use auditferry_contract::EventId;

use super::chunk::Frame;
use crate::{
    config::Select,
    event::{self, catalogue, identity},
};

/// What became of a record.
pub enum Verdict<'a> {
    /// Kept.
    Kept(Frame<'a>),
    /// Not selected.
    Unselected,
}

/// What the records of one body have in common while they are looked at.
pub struct Judge<'b> {
    select: Select,
    tenant: &'b str,
    content_id: &'b str,
    /// How often each record without an `Id` came so far: the n-th copy has an identity of its own.
    copies: BTreeMap<EventId, u32>,
}

impl<'b> Judge<'b> {
    /// For one body.
    pub fn new(select: Select, tenant: &'b str, content_id: &'b str) -> Self {
        Judge { select, tenant, content_id, copies: BTreeMap::new() }
    }

    /// Looks at one record. Nothing in it can stop the agent: what panics, or is not JSON, is kept as unreadable.
    pub fn look<'a>(&mut self, record: &'a [u8]) -> Verdict<'a> {
        let looked = catch_unwind(AssertUnwindSafe(|| {
            let identity = identity::identify(record, self.tenant, self.content_id, 0).ok()?;
            let wanted = self.select == Select::All || is_power_platform(record);
            Some((identity, wanted))
        }));
        match looked {
            Ok(Some((_, false))) => Verdict::Unselected,
            Ok(Some((identity, true))) if identity.deduplicable => Verdict::Kept(Frame {
                id: identity.id,
                second: identity.second,
                unreadable: false,
                no_id: false,
                record,
            }),
            Ok(Some((first, true))) => {
                let nth = self.nth(first.id);
                let id = match nth {
                    0 => first.id,
                    // what could be identified once can be again; should it not, two equal ids are a nuisance, not a loss
                    nth => {
                        identity::identify(record, self.tenant, self.content_id, nth).map_or(first.id, |again| again.id)
                    }
                };
                Verdict::Kept(Frame { id, second: first.second, unreadable: false, no_id: true, record })
            }
            Ok(None) | Err(_) => Verdict::Kept(self.unreadable(record)),
        }
    }

    /// A record that can't be looked into.
    pub fn unreadable<'a>(&mut self, record: &'a [u8]) -> Frame<'a> {
        let first = identity::identify_unreadable(record, self.tenant, self.content_id, 0).id;
        let id = match self.nth(first) {
            0 => first,
            nth => identity::identify_unreadable(record, self.tenant, self.content_id, nth).id,
        };
        Frame { id, second: 0, unreadable: true, no_id: true, record }
    }

    fn nth(&mut self, first: EventId) -> u32 {
        let seen = self.copies.entry(first).or_default();
        *seen += 1;
        *seen - 1
    }
}

fn is_power_platform(record: &[u8]) -> bool {
    let peek = event::peek(record);
    catalogue::selected_by_default(peek.record_type, peek.workload.as_deref())
}
