//! What is made of each thing that happened.

use std::sync::Arc;

use auditferry_contract::Lost;
use futures_util::future::BoxFuture;

use super::{
    Deliver,
    batch::{self, Choice, Made},
    course::{Course, Ending, Event},
    flight::{Flown, Landing},
    track::{Admitted, History, Key},
    turn::Read,
    verdict::{Fate, Verdict},
    voice::{Line, Voice},
};
use crate::{
    agent::millis,
    ledger::{LedgerError, Millis},
    retry,
};

/// A batch that came back so often, over this time, while others were taken, is taken apart.
const STUBBORN: (u32, Millis) = (10, 10 * 60_000);
/// So many connections that took a message whole, each ended by the peer in an orderly way, are as good as a settled one.
const UNPROVEN: u8 = 3;
/// What a person is told after a long row of refusals.
const SETTING: &str =
    "the fault may be a setting of the sink (token, index, topic, codec), compare it with what the destination says";
/// A message that was refused in a long row is offered again after this (milliseconds).
const PARDON: Millis = 10 * 60_000;

impl Deliver {
    /// Takes note of what happened.
    pub(super) fn happened(&self, course: &mut Course, event: Event) -> Result<(), LedgerError> {
        match event {
            Event::Landed(Landing::Answered(flown, Ok(())))
                if self.limits.settle.is_zero() || self.world.gate.mutant("settled at once") =>
            {
                self.taken(course, &flown)
            }
            Event::Landed(Landing::Answered(flown, Ok(()))) => {
                course.flight.settle(&self.world, flown, self.limits.settle);
            }
            Event::Landed(Landing::Settled(flown)) => self.taken(course, &flown),
            Event::Landed(Landing::Answered(flown, Err(verdict))) => {
                let verdict = Verdict { own: flown.own, ..verdict };
                self.not_taken(course, &flown, verdict);
            }
            Event::Lost(lost) => self.lost(course, lost),
            Event::Opened(Ok(sink)) => self.opened(course, sink),
            Event::Opened(Err(error)) => {
                let own = course.made.as_ref().is_some_and(Made::is_own);
                // no message was offered, so none can be at fault: without a pause it would be opened again at once
                course.ending = Some(Ending::Failed(Verdict { own, refused: false, ..Verdict::of(error, 0) }));
            }
            Event::Read(read) => self.was_read(course, read?)?,
            Event::Confirmed(confirmed) => {
                // with a full quarantine nothing was tried
                course.unwritten = confirmed.as_ref().map_or(true, |it| course.unwritten && it.full);
                self.confirmed(course, confirmed?);
            }
            Event::Told(told) => {
                if let Some(told) = told? {
                    self.told(course, told);
                }
            }
            Event::Permit(permit) => course.permit = Some(permit),
            Event::Watched(Some(what)) if course.ending.is_none() => course.ending = Some(Ending::Changed(what)),
            Event::Closed(clean) => {
                self.unsettle(course, clean);
                self.discard(course);
            }
            // something may have been taken out of the quarantine
            Event::Woken => course.room.look(),
            Event::Watched(_) | Event::Continue => {}
        }
        Ok(())
    }

    /// Makes the next batch of what was read.
    fn was_read(&self, course: &mut Course, read: Read) -> Result<(), LedgerError> {
        course.turn = read.turn();
        course.crowded = !read.fresh;
        let mut pieces = read.pieces;
        let before = pieces.len();
        let contents = pieces.iter().map(|piece| piece.content).collect();
        // until the batch that is made of them holds what is in it
        let (_held, dropped) = read.reading.hold(contents);
        // there may be more than was looked for: since it began, or since the memory has room again
        let more = std::mem::take(&mut course.missed) || !read.fresh && course.tracks.positions() < self.positions;
        let (mut again, mut later) = (!dropped.is_empty() || more, Vec::new());
        pieces.retain(|piece| {
            if dropped.contains(&piece.content) {
                return false;
            }
            let admitted = course.tracks.admit(piece.content, piece.generation, piece.progress, piece.from);
            again |= admitted == Admitted::Again;
            if admitted == Admitted::Later {
                later.push(piece.content);
            }
            admitted == Admitted::Yes
        });
        later.extend(read.reading.left_out());
        course.tracks.later(&later, read.now);
        if pieces.is_empty() {
            // what should have been there and is not will not come: waiting for its time would never end
            let (absent, now) = (before == 0, millis(&self.world));
            let gone = absent && course.confirming.is_none() && course.tracks.gone(&read.due, now);
            if absent && course.confirming.is_some() {
                // what is being confirmed may say why; until then the ledger is not asked over and over
                course.tracks.later(&read.due, now);
            }
            course.idle = !again && !gone;
            let all = read.reading.left_out().is_empty();
            if course.idle && absent && all && course.flight.is_empty() && course.confirming.is_none() {
                self.nothing_else(course);
            }
            return Ok(());
        }
        let choice =
            Choice { tracks: &course.tracks, now: read.now, eager: read.eager, most: read.most, fresh: read.fresh };
        let mut made = batch::make(&pieces, &self.codec, &self.filter, &self.limits, &choice)?;
        if made.messages.is_empty() {
            course.idle = made.is_empty() && !again;
            self.activity.sink(&self.name, |known| known.unreadable += made.unreadable);
            made.start(&mut course.tracks);
            return Ok(());
        }
        let fills_up = !made.full && !read.cut && read.most > 1 && !course.lingered && !self.limits.batch_age.is_zero();
        if fills_up && course.failures == 0 {
            // more may come in the time that the sink's limits give it; then it is read again
            course.linger = Some(self.sleep(self.limits.batch_age));
            return Ok(());
        }
        self.activity.sink(&self.name, |known| known.unreadable += made.unreadable);
        made.hold = Some(Arc::new(self.activity.underway.hold(made.contents())));
        course.made = Some(made);
        Ok(())
    }

    /// Nothing is left that could show whose fault the refusals are.
    fn nothing_else(&self, course: &mut Course) {
        if course.trust.holds() && course.trust.probes() {
            let words = format!(
                "20 messages in a row were refused and there is no other to try: {SETTING}: {}",
                course.trust.words()
            );
            self.pardon(course);
            course.ending = Some(Ending::Failed(Verdict::blocked(words)));
        } else {
            course.trust.give_in();
        }
    }

    fn pardon(&self, course: &mut Course) {
        course.tracks.pardon(millis(&self.world) + PARDON, course.taken + 1);
        course.trust.pardoned();
    }

    /// The sink has a whole batch.
    fn taken(&self, course: &mut Course, flown: &Flown) {
        let taken = flown.keys.iter().filter(|key| course.tracks.taken(**key)).count();
        course.held.extend(flown.hold.clone());
        self.note_taken(course, taken);
        let now = millis(&self.world);
        self.activity.sink(&self.name, |known| {
            *known.attempts.entry("taken").or_default() += 1;
            known.bytes += flown.bytes as u64;
            known.lag = flown.newest.map(|time| now - time);
        });
    }

    fn note_taken(&self, course: &mut Course, messages: usize) {
        if messages == 0 {
            return;
        }
        course.taken += 1;
        course.trust.taken();
        course.failures = 0;
        let now = millis(&self.world);
        self.activity.sink(&self.name, |known| {
            known.messages += messages as u64;
            known.taken_at = Some(now);
        });
        // what was out when its quarantine became full says nothing of that
        if !course.room.is_full() {
            self.works(course, Voice::takes);
        }
    }

    /// Nothing is wrong with the sink.
    pub(super) fn works(&self, course: &mut Course, say: impl FnOnce(&mut Voice, Millis) -> Option<Line>) {
        self.activity.sink(&self.name, |known| {
            known.failures = 0;
            known.error = None;
        });
        course.block.ends();
        self.say(say(&mut course.voice, millis(&self.world)));
    }

    /// The sink did not take a batch whole: each message goes its own way, and the sink is not used again.
    fn not_taken(&self, course: &mut Course, flown: &Flown, verdict: Verdict) {
        let settles = !self.limits.settle.is_zero();
        let again: Vec<Key> = with(flown, &verdict, |fate| *fate == Fate::Again);
        let suspects: Vec<Key> = with(flown, &verdict, |fate| *fate == Fate::Suspect);
        let mut taken = 0;
        for (key, fate) in flown.keys.iter().zip(&verdict.fates) {
            match fate {
                // what may still be disproved is not proved by a failure
                Fate::Taken if settles => course.tracks.back(*key, |_| {}),
                Fate::Taken => taken += usize::from(course.tracks.taken(*key)),
                Fate::Again if self.world.gate.mutant("untaken is taken") => {
                    taken += usize::from(course.tracks.taken(*key))
                }
                Fate::Again if self.world.gate.mutant("untaken is refused") => {
                    course.tracks.refuse(*key, &"not taken".into());
                }
                Fate::Refused(_) if self.world.gate.mutant("refused is delivered") => {
                    taken += usize::from(course.tracks.taken(*key));
                }
                Fate::Back => course.tracks.back(*key, |_| {}),
                Fate::Again | Fate::Suspect | Fate::Refused(_) => {}
            }
        }
        course.held.extend(flown.hold.clone());
        self.note_taken(course, taken);
        if verdict.refused {
            self.say(course.voice.refused(&verdict.cause, millis(&self.world)));
        }
        let probing = course.trust.probes();
        for (key, fate) in flown.keys.iter().zip(&verdict.fates) {
            let Fate::Refused(words) = fate else { continue };
            let doubted = course.tracks.history(*key).map_or(0, |history| history.doubted);
            // the sink has taken others since it refused this one before: now the fault is the message's
            let proved = doubted > 0 && course.taken >= doubted;
            if course.tracks.refuse(*key, words) && !proved {
                course.trust.refused(key.content, words);
            }
        }
        let half = u32::try_from(suspects.len().div_ceil(2)).unwrap_or(u32::MAX);
        course.groups += 1;
        for key in suspects {
            course.tracks.back(key, |history| *history = History { cap: half, group: course.groups, ..*history });
        }
        self.again(course, &again, &verdict);
        if probing && verdict.refused && course.trust.probes() {
            let words = format!("one message after the other is refused: {SETTING}: {}", verdict.cause);
            self.pardon(course);
            course.ending = Some(Ending::Failed(Verdict::blocked(words)));
            return;
        }
        if verdict.refused {
            // it looked at the messages, so it is in order: the others go on
            let _ = self.pause_after(course, &verdict);
            course.look();
            return;
        }
        // what settles is in doubt from now on, and no timer may prove it while the other calls end
        self.unsettle(course, false);
        course.fail(verdict);
    }

    /// Messages that the sink tried to take. A batch that comes back again and again while others are taken holds the fault itself: it is
    /// halved, and the single message left over goes to quarantine.
    fn again(&self, course: &mut Course, keys: &[Key], verdict: &Verdict) {
        let now = millis(&self.world);
        let histories: Vec<History> = keys.iter().filter_map(|key| course.tracks.history(*key)).collect();
        let Some(least) = histories.iter().min_by_key(|history| history.retries).copied() else { return };
        let retries = least.retries + 1;
        let (since, taken) = if least.retries == 0 { (now, course.taken) } else { (least.since, least.taken) };
        let stubborn = retries >= STUBBORN.0 && now - since >= STUBBORN.1 && course.taken > taken;
        if let (true, [only]) = (stubborn, keys) {
            let words = format!("it came back {retries} times over {} min: {}", (now - since) / 60_000, verdict.cause);
            course.tracks.refuse(*only, &words.into());
            return;
        }
        let retry_at = now + retry::SINK.after(retries, &*self.world.random).as_millis() as Millis;
        course.groups += 1;
        let mut next = History { retries, since, taken, retry_at, group: course.groups, ..least };
        if stubborn {
            next.cap = u32::try_from(keys.len().div_ceil(2)).unwrap_or(u32::MAX);
            // a half needs one more failure beside a success; the last one alone the whole proof
            next.retries = if next.cap == 1 { 0 } else { STUBBORN.0 - 1 };
            next.taken = course.taken;
        }
        for key in keys {
            course.tracks.back(*key, |history| {
                *history = History { unproven: history.unproven, cap: smaller(history.cap, next.cap), ..next };
            });
        }
    }

    /// The connection is gone: nothing that is out will be answered, and what had not settled is in doubt.
    fn lost(&self, course: &mut Course, lost: Lost) {
        let (out, unsettled) = course.flight.clear();
        let nothing = out.is_empty() && unsettled.is_empty();
        let mut unproven = 0;
        for key in unsettled.iter().flat_map(|flown| &flown.keys) {
            let before = course.tracks.history(*key).map_or(0, |history| history.unproven);
            if lost.orderly && before + 1 >= UNPROVEN {
                unproven += usize::from(course.tracks.taken(*key));
            } else {
                course.tracks.back(*key, |history| history.unproven += u8::from(lost.orderly));
            }
        }
        course.held.extend(unsettled.iter().filter_map(|flown| flown.hold.clone()));
        self.note_taken(course, unproven);
        self.activity.sink(&self.name, |known| known.settled_unproven += unproven as u64);
        let cause = format!("the connection was lost: {}", lost.cause);
        for flown in &out {
            self.again(course, &flown.keys, &Verdict::unanswered(cause.clone(), flown.keys.len()));
        }
        if nothing && course.ending.is_none() {
            self.say(course.voice.gone(&lost.cause.to_string(), millis(&self.world)));
            self.discard(course);
        } else {
            // the future that told it is used up
            course.open =
                course.open.take().map(|open| super::course::Open { lost: Box::pin(std::future::pending()), ..open });
            course.ending.get_or_insert(Ending::Failed(Verdict::unanswered(cause, 0)));
        }
    }

    /// What settles was proved by a clean close, or goes out again.
    pub(super) fn unsettle(&self, course: &mut Course, clean: bool) {
        for flown in course.flight.settle_all() {
            if clean {
                self.taken(course, &flown);
            } else {
                flown.keys.iter().for_each(|key| course.tracks.back(*key, |_| {}));
            }
        }
    }

    /// How long nothing is tried after a failure.
    pub(super) fn pause_after(&self, course: &mut Course, verdict: &Verdict) -> Option<BoxFuture<'static, ()>> {
        self.activity.sink(&self.name, |known| *known.attempts.entry(verdict.outcome).or_default() += 1);
        if verdict.refused {
            // it looked at the messages, so it is there; the others need not wait
            return None;
        }
        if verdict.blocked {
            self.env.forget();
            if !verdict.own {
                course.block.begins(&verdict.cause, millis(&self.world));
            }
        }
        course.failures += 1;
        let policy = if verdict.blocked { retry::BLOCKED } else { retry::SINK };
        let own = policy.after(course.failures, &*self.world.random);
        let delay = retry::Policy::asked(own, verdict.after);
        self.activity.sink(&self.name, |known| {
            known.failures = course.failures;
            known.error = Some(verdict.cause.clone());
        });
        self.say(course.voice.failed(verdict.blocked, &verdict.cause, delay, millis(&self.world)));
        Some(self.sleep(delay))
    }
}

fn with(flown: &Flown, verdict: &Verdict, wanted: impl Fn(&Fate) -> bool) -> Vec<Key> {
    flown.keys.iter().zip(&verdict.fates).filter(|(_, fate)| wanted(fate)).map(|(key, _)| *key).collect()
}

/// The smaller of two caps, of which 0 means none.
fn smaller(one: u32, other: u32) -> u32 {
    match (one, other) {
        (0, cap) | (cap, 0) => cap,
        (one, other) => one.min(other),
    }
}
