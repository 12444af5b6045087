//! Room in the quarantine. While there is none the sink is blocked (design §3): nothing more is sent, what was refused is kept in mind, and
//! the quarantine is looked at again and again, since only a person makes room in it.
//!
//! The open sink is left as it is: nothing is wrong with it, and what is out may still be answered.

use futures_util::future::BoxFuture;

use super::{Deliver, course::Course, voice::Voice};
use crate::{agent::millis, retry};

/// Refused records that one transaction takes: they are read again for it.
const REFUSALS: usize = 16;

/// How the quarantine stands, as far as this loop knows.
#[derive(Default)]
pub(super) struct Room {
    fits: Fits,
    /// It is full since so many looks that waited for their time; 0: it is not.
    looks: u32,
    /// Until the next look.
    pub pause: Option<BoxFuture<'static, ()>>,
}

/// What is tried next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fits {
    /// Several refused records at once.
    #[default]
    Several,
    /// One, since several did not fit, or to see whether there is room again.
    One,
    /// None: there is no room for the next one.
    None,
}

impl Room {
    /// How many refused records the next confirmation takes.
    pub fn at_once(&self) -> usize {
        match self.fits {
            Fits::Several => REFUSALS,
            Fits::One => 1,
            Fits::None => 0,
        }
    }

    /// The sink is blocked by it.
    pub fn is_full(&self) -> bool {
        self.looks > 0
    }

    /// Refused records went in.
    pub fn took(&mut self) {
        if !self.is_full() {
            self.fits = Fits::Several;
        }
    }

    /// Something may have changed: it is looked at again.
    pub fn look(&mut self) {
        if self.fits == Fits::None {
            self.fits = Fits::One;
        }
    }
}

impl Course {
    /// What the sink refused waits, until it is known whose fault it is. Once the quarantine is full that was decided for the row that filled it,
    /// and what was out then must not keep the rest waiting for a message that is not sent.
    pub fn holds_refusals(&self) -> bool {
        self.trust.holds() && (!self.room.is_full() || self.trust.probes())
    }
}

impl Deliver {
    /// What was refused does not fit.
    pub(super) fn no_room(&self, course: &mut Course) {
        if course.room.fits == Fits::Several {
            course.room.fits = Fits::One;
            return;
        }
        course.room.fits = Fits::None;
        if course.room.pause.is_some() {
            // looked at before its time, and as full as before
            return;
        }
        course.room.looks += 1;
        let looks = course.room.looks;
        let delay = retry::BLOCKED.after(looks, &*self.world.random);
        course.room.pause = Some(self.sleep(delay));
        let words = full(&self.name, self.quarantine);
        course.block.begins(&words, millis(&self.world));
        self.say(course.voice.failed(true, &words, delay, millis(&self.world)));
        self.activity.sink(&self.name, |known| {
            known.failures = looks;
            known.error = Some(words);
        });
    }

    /// Looks again when it is time, and goes on once all that waited for room has it.
    pub(super) fn free(&self, course: &mut Course) {
        if !course.room.is_full() {
            return;
        }
        if course.room.pause.is_none() {
            course.room.look();
        }
        let waits = !course.tracks.ready(course.holds_refusals(), 1).1.is_empty();
        if waits || course.confirming.is_some() {
            return;
        }
        course.room = Room::default();
        course.look();
        if course.failures == 0 && course.ending.is_none() {
            self.works(course, Voice::has_room);
        }
    }
}

/// What a person has to do.
fn full(sink: &str, most: u64) -> String {
    let size = if most >= 1 << 20 { format!("{} MiB", most >> 20) } else { format!("{most} bytes") };
    format!(
        "its quarantine is full ({size}): look at what it refused with `auditferry quarantine list --sink {sink}`, then make room with \
         `auditferry quarantine retry` or `auditferry quarantine drop`"
    )
}
