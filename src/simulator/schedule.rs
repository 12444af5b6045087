//! Which contents exist: a function of seed, tenant, number and time, never of when somebody asks.
//!
//! The shape of ids and times was computed from a published listing of 170 blobs (MonitoringPowerPlatform, 2020):
//! contentCreated is the end of the aggregation, contentExpiration its start + 7 days.

use super::{
    faults::Odd,
    profile::{CONTENT_TYPES, Profile, TenantProfile, ms},
    random::Dice,
    stamp::{compact, from_compact, timestamp},
};

/// One tenant's contents of one type.
#[derive(Clone, Copy)]
pub struct Stream<'p> {
    /// The service.
    pub profile: &'p Profile,
    /// Position of the tenant in the profile.
    pub tenant: usize,
    /// Content type in the service's spelling.
    pub content_type: &'static str,
}

/// One content as scheduled. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its number in the stream, from 0.
    pub index: u64,
    /// `contentId`.
    pub id: String,
    /// Start of the aggregation.
    pub begun: i64,
    /// `contentCreated`.
    pub created: i64,
    /// When listings begin to show it: `created`, or later.
    pub visible: i64,
    /// `contentExpiration`.
    pub expires: i64,
    /// Records of its own, before repetitions.
    pub records: u32,
    /// What is odd about it.
    pub odds: Vec<Odd>,
}

/// What stands at one place of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Record `number` of content `index`, as first published.
    Own {
        /// Content number.
        index: u64,
        /// Record number.
        number: u32,
    },
    /// The same record with its keys in another order.
    Copy {
        /// Content number.
        index: u64,
        /// Record number.
        number: u32,
    },
}

/// A text that can't be a contentId of this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

impl Content {
    /// Whether the body is an array of records.
    pub fn readable(&self) -> bool {
        !self.odds.contains(&Odd::NotJson)
    }

    /// Whether listing says that it expired, or it was made so by a fault.
    pub fn expired(&self, now: i64) -> bool {
        now >= self.expires
    }
}

impl<'p> Stream<'p> {
    /// By content type, in whatever case.
    pub fn find(profile: &'p Profile, tenant: usize, content_type: &str) -> Option<Self> {
        let content_type = CONTENT_TYPES.into_iter().find(|it| it.eq_ignore_ascii_case(content_type))?;
        Some(Stream { profile, tenant, content_type })
    }

    /// The tenant.
    pub fn tenant(&self) -> &'p TenantProfile {
        &self.profile.tenants[self.tenant]
    }

    fn interval(&self) -> i64 {
        ms(self.tenant().interval).max(1)
    }

    fn origin(&self) -> i64 {
        self.profile.start.as_millisecond() - ms(self.tenant().backfill)
    }

    /// A number that tells this stream's randomness from any other's.
    pub fn key(&self) -> u64 {
        let mut key = self.tenant as u64;
        for byte in self.content_type.to_ascii_lowercase().bytes() {
            key = key.wrapping_mul(0x100_0000_01B3) ^ u64::from(byte);
        }
        key
    }

    fn dice(&self, index: u64) -> Dice {
        Dice::new(&[self.profile.seed, self.key(), index])
    }

    fn times(&self, index: u64) -> (i64, i64) {
        let interval = self.interval();
        let begun = self.origin().saturating_add(i64::try_from(index).unwrap_or(i64::MAX).saturating_mul(interval));
        // aggregations don't overlap and end at uneven times
        let early = self.dice(index).below((interval / 4 + 1) as u64) as i64;
        (begun, begun.saturating_add(interval - 1 - early).max(begun))
    }

    /// Content number `index`, if it ever exists.
    pub fn content(&self, index: u64) -> Option<Content> {
        let tenant = self.tenant();
        if !tenant.content_types.iter().any(|known| known.eq_ignore_ascii_case(self.content_type)) {
            return None;
        }
        let (begun, created) = self.times(index);
        if tenant.end.is_some_and(|end| created >= end.as_millisecond()) {
            return None;
        }
        let mut records = tenant.records_per_content;
        if let Some(file) = &tenant.records {
            let before = index.saturating_mul(u64::from(records));
            let left = (file.len() as u64).saturating_sub(before);
            if left == 0 {
                return None;
            }
            records = records.min(u32::try_from(left).unwrap_or(u32::MAX));
        } else if records == 0 {
            return None;
        }
        let odds: Vec<Odd> = tenant.faults.odds(index, timestamp(created)).collect();
        let (mut visible, mut expires) = (created, begun.saturating_add(ms(tenant.keep)));
        for odd in &odds {
            match odd {
                Odd::Late(by) => visible = visible.max(created.saturating_add(ms(*by))),
                // expired before anybody can have listed it
                Odd::Expired => expires = begun,
                Odd::Empty => records = 0,
                Odd::Records(number) => records = *number,
                _ => {}
            }
        }
        let id = self.id(index, begun, created);
        Some(Content { index, id, begun, created, visible, expires, records, odds })
    }

    fn id(&self, index: u64, begun: i64, created: i64) -> String {
        let mut dice = Dice::new(&[self.profile.seed, self.key(), index, 0x1D]);
        let (a, b) = (dice.below(1_000_000), dice.below(1_000_000));
        let table = self.content_type.replace('.', "_");
        format!(
            "{}{a:06}${}{b:06}${}${table}$na{:04}",
            compact(begun),
            compact(created),
            table.to_ascii_lowercase(),
            40 + self.tenant
        )
    }

    /// The first content created at or after `from`.
    pub fn first_from(&self, from: i64) -> u64 {
        let steps = from.saturating_sub(self.origin()).div_euclid(self.interval()).saturating_sub(1);
        let mut index = u64::try_from(steps).unwrap_or(0);
        while self.times(index).1 < from {
            index += 1;
        }
        index
    }

    /// Finds a content by its id. `Err` when it can't be an id at all.
    pub fn by_id(&self, id: &str) -> Result<Option<Content>, NotAnId> {
        let parts: Vec<&str> = id.split('$').collect();
        let [begun, created, _, _, _] = parts[..] else { return Err(NotAnId) };
        let stamp = |text: &str| if text.len() == 23 && text.is_ascii() { from_compact(&text[..17]) } else { None };
        let (Some(begun), Some(_)) = (stamp(begun), stamp(created)) else { return Err(NotAnId) };
        let Ok(index) = u64::try_from(begun.saturating_sub(self.origin()).div_euclid(self.interval())) else {
            return Ok(None);
        };
        Ok(self.content(index).filter(|content| content.id == id))
    }

    /// What stands in the body of `content`, in order. `again`: not the first time that it is fetched.
    pub fn slots(&self, content: &Content, again: bool) -> impl Iterator<Item = Slot> + use<'p> {
        let (index, own) = (content.index, content.records);
        let differs = again && content.odds.contains(&Odd::Differs) && own > 0;
        // a body that differs has lost its last record and gained another
        let numbers = (0..own).map(move |number| if differs && number + 1 == own { own } else { number });
        let mut copies = Vec::new();
        for odd in &content.odds {
            match *odd {
                Odd::Repeats { every, back } if index >= back && back > 0 => {
                    if let Some(earlier) = self.content(index - back).filter(Content::readable) {
                        let broken = earlier.odds.contains(&Odd::BrokenRecord);
                        copies.extend(
                            (0..earlier.records)
                                .step_by(every.max(1) as usize)
                                .filter(|number| !(broken && *number == 1))
                                .map(|number| Slot::Copy { index: index - back, number }),
                        );
                    }
                }
                Odd::Twice if own > 0 => copies.push(Slot::Copy { index, number: 0 }),
                _ => {}
            }
        }
        let mut slots: Vec<Slot> = numbers.map(|number| Slot::Own { index, number }).chain(copies).collect();
        if again && content.odds.contains(&Odd::Reordered) {
            slots.reverse();
        }
        slots.into_iter()
    }
}
