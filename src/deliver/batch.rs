//! From stored chunks to the messages of one batch: decompress, map, filter, encode, in one synchronous go.

use std::{
    collections::BTreeSet,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use auditferry_contract::{Limits, Message};
use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    codec::Codec,
    config::Filter,
    event::{self, Event},
    fetch::chunk::{self, Frame},
    ledger::{LedgerError, Millis, Piece},
    underway::Hold,
};

use super::track::{Key, Settled, Tracks, Want};

/// What became of one record of a stored body.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Message,
    Settled(Settled),
    /// Belongs to the next batch.
    Full,
    /// Can't be made small enough; the words for the quarantine.
    TooLarge(Arc<str>),
}

/// One record, in the order in which it stands in its body.
#[derive(Clone, Debug)]
struct Step {
    content: i64,
    position: i64,
    outcome: Outcome,
}

/// What is to be sent now, and what is settled without being sent.
pub(super) struct Made {
    pub messages: Vec<Message>,
    /// Bytes of all bodies.
    pub bytes: usize,
    /// Time of the newest event.
    pub newest: Option<Millis>,
    /// Records that mapping could not read, delivered as unreadable events.
    pub unreadable: u64,
    /// No more fits: waiting would not fill it.
    pub full: bool,
    /// Their bodies stay from now on.
    pub hold: Option<Arc<Hold>>,
    steps: Vec<Step>,
}

/// Which of the records that were read to take, and how many.
pub(super) struct Choice<'a> {
    /// What is out, waits or is settled.
    pub tracks: &'a Tracks,
    /// Now.
    pub now: Millis,
    /// Take what waits for its time too.
    pub eager: bool,
    /// At most so many messages.
    pub most: usize,
    /// Take what was never handed out.
    pub fresh: bool,
}

impl Made {
    /// True when all that is to be sent was said by the agent itself: only that has no tenant.
    pub fn is_own(&self) -> bool {
        self.messages.iter().all(|message| message.tenant.is_empty())
    }

    /// True when there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Keys of the contents that its records are of.
    pub fn contents(&self) -> BTreeSet<i64> {
        self.steps.iter().map(|step| step.content).collect()
    }

    /// Takes note of everything in it; returns the keys of the messages, in their order.
    pub fn start(&self, tracks: &mut Tracks) -> Vec<Key> {
        let mut keys = Vec::with_capacity(self.messages.len());
        for step in &self.steps {
            match &step.outcome {
                Outcome::Message => keys.push(tracks.start(step.content, step.position, None).unwrap_or(Key::NOBODY)),
                Outcome::Settled(settled) => {
                    let _ = tracks.start(step.content, step.position, Some(*settled));
                }
                Outcome::TooLarge(words) => tracks.too_large(step.content, step.position, Arc::clone(words)),
                Outcome::Full => {}
            }
        }
        keys
    }
}

/// What is known of a message before its bytes are cut out of the batch's buffer.
struct Head {
    message: Message,
    range: Range<usize>,
}

struct Maker<'a> {
    codec: &'a Arc<dyn Codec>,
    filter: &'a Filter,
    limits: &'a Limits,
    most: usize,
    buffer: Vec<u8>,
    heads: Vec<Head>,
    unreadable: u64,
}

/// Makes the next batch of a sink from the chunks that it is owed next.
pub(super) fn make(
    pieces: &[Piece],
    codec: &Arc<dyn Codec>,
    filter: &Filter,
    limits: &Limits,
    choice: &Choice<'_>,
) -> Result<Made, LedgerError> {
    let most = limits.batch_messages.min(choice.most).max(1);
    let mut maker = Maker { codec, filter, limits, most, buffer: Vec::new(), heads: Vec::new(), unreadable: 0 };
    let mut steps = Vec::new();
    let (mut full, mut of_group) = (false, 0);
    'pieces: for piece in pieces {
        let damaged = |damage: chunk::Damaged| LedgerError::Broken(format!("content {}: {damage}", piece.content));
        let opened = chunk::open(&piece.body).map_err(damaged)?;
        let tenant: Arc<str> = piece.tenant.as_deref().unwrap_or_default().into();
        for (offset, frame) in chunk::frames(&opened).enumerate().skip((piece.from - piece.first).max(0) as usize) {
            let frame = frame.map_err(damaged)?;
            let position = piece.first + offset as i64;
            let (cap, group) = match choice.tracks.want(piece.content, position, choice.now, choice.eager, choice.fresh)
            {
                Want::No => continue,
                Want::Yes { cap, group } => (cap as usize, group),
            };
            let outcome = if piece.skip.contains(&position) {
                Outcome::Settled(Settled::Skipped)
            } else if maker.is_full() || (!maker.heads.is_empty() && group != of_group) {
                Outcome::Full
            } else {
                of_group = group;
                if cap > 0 {
                    maker.most = maker.most.min(cap);
                }
                maker.add(piece, &tenant, &frame)
            };
            if outcome == Outcome::Full {
                full = true;
                break 'pieces;
            }
            steps.push(Step { content: piece.content, position, outcome });
        }
    }
    full |= maker.is_full();
    let buffer = Bytes::from(maker.buffer);
    let bytes = buffer.len();
    let messages: Vec<Message> =
        maker.heads.into_iter().map(|head| Message { body: buffer.slice(head.range), ..head.message }).collect();
    let newest = messages.iter().map(|message| message.time.as_millisecond()).max();
    Ok(Made { messages, bytes, newest, unreadable: maker.unreadable, full, hold: None, steps })
}

/// The operation that a stored record names, for the quarantine's list; empty when it can't be read.
pub(super) fn operation(piece: &Piece, frame: &Frame<'_>) -> String {
    if frame.unreadable {
        return String::new();
    }
    let tenant = piece.tenant.as_deref().unwrap_or_default();
    let read =
        || event::read(frame.record, &context(piece, tenant, frame)).ok().map(|event| event.operation().to_owned());
    catch_unwind(AssertUnwindSafe(read)).ok().flatten().unwrap_or_default()
}

impl Maker<'_> {
    fn is_full(&self) -> bool {
        self.heads.len() >= self.most || (!self.heads.is_empty() && self.buffer.len() >= self.limits.batch_bytes)
    }

    /// Maps and encodes one record. Nothing in it can stop the sink: what panics is delivered as unreadable.
    fn add(&mut self, piece: &Piece, tenant: &Arc<str>, frame: &Frame<'_>) -> Outcome {
        let start = self.buffer.len();
        if !frame.unreadable {
            let tried = catch_unwind(AssertUnwindSafe(|| {
                let context = context(piece, tenant, frame);
                let event = event::read(frame.record, &context).ok()?;
                Some(self.encode(&event, piece, tenant, frame, start))
            }));
            match tried {
                Ok(Some(outcome)) => return outcome,
                Ok(None) | Err(_) => self.buffer.truncate(start),
            }
            self.unreadable += 1;
        }
        let context = context(piece, tenant, frame);
        let event = event::unreadable(frame.record, &context, "it could not be read as an audit record");
        self.encode(&event, piece, tenant, frame, start)
    }

    fn encode(
        &mut self,
        event: &Event<'_>,
        piece: &Piece,
        tenant: &Arc<str>,
        frame: &Frame<'_>,
        start: usize,
    ) -> Outcome {
        // what the agent says itself goes past all filters, and so does what nobody could read
        let filtered = piece.tenant.is_some() && event.unreadable_because().is_none();
        if filtered && !self.filter.matches(event.product(), event.operation(), event.record_type()) {
            return Outcome::Settled(Settled::Filtered);
        }
        self.codec.encode(event, &mut self.buffer);
        if self.buffer.len() - start > self.limits.message_bytes {
            self.buffer.truncate(start);
            if !self.codec.encode_within(event, self.limits.message_bytes, &mut self.buffer) {
                self.buffer.truncate(start);
                let words = format!(
                    "no form of it fits into the {} bytes that the sink takes: raise its `max_message` or `max_event` and what the destination takes, or choose a codec that shortens (`raw` never does); then `auditferry quarantine retry`",
                    self.limits.message_bytes
                );
                return Outcome::TooLarge(words.into());
            }
        }
        if !self.heads.is_empty() && self.buffer.len() > self.limits.batch_bytes {
            self.buffer.truncate(start);
            return Outcome::Full;
        }
        let environment = event.environment().unwrap_or_default();
        let message = Message {
            id: frame.id,
            time: event.time(),
            severity: event.severity(),
            tenant: Arc::clone(tenant),
            product: event.product(),
            operation: event.operation().into(),
            partition_key: format!("{tenant}/{environment}").into(),
            body: Bytes::new(),
        };
        self.heads.push(Head { message, range: start..self.buffer.len() });
        Outcome::Message
    }
}

fn context<'a>(piece: &'a Piece, tenant: &'a str, frame: &Frame<'_>) -> event::Context<'a> {
    event::Context {
        tenant,
        content_type: &piece.content_type,
        content_id: &piece.content_id,
        content_created: time(piece.created),
        fetched: Some(time(piece.fetched)),
        id: frame.id,
    }
}

fn time(millis: Millis) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
