//! From stored chunks to the messages of one batch: decompress, map, filter, encode, in one synchronous go.

use std::{
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
    ledger::{LedgerError, Millis, Piece, Progress},
};

/// What became of one record of a stored body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Message,
    Filtered,
    Skipped,
    /// Belongs to the next batch.
    Full,
    /// Can't be made small enough.
    TooLarge,
}

/// One record, in the order in which its sink settles it.
#[derive(Clone, Copy, Debug)]
struct Step {
    content: i64,
    position: i64,
    outcome: Outcome,
}

/// Messages, and what their being taken settles.
pub(super) struct Made {
    pub messages: Vec<Message>,
    /// Bytes of all bodies.
    pub bytes: usize,
    /// Records that mapping could not read, delivered as unreadable events.
    pub unreadable: u64,
    /// Why the record after the last step can't be sent, when that is so.
    pub too_large: Option<String>,
    steps: Vec<Step>,
}

impl Made {
    /// What is settled when every message was taken.
    pub fn progress(&self) -> Vec<Progress> {
        fold(&self.steps)
    }

    /// What is settled when the first `taken` messages were.
    pub fn progress_up_to(&self, taken: usize) -> Vec<Progress> {
        let mut messages = 0;
        let settled = self.steps.iter().take_while(|step| {
            messages += usize::from(step.outcome == Outcome::Message);
            messages <= taken
        });
        fold(&settled.copied().collect::<Vec<_>>())
    }
}

fn fold(steps: &[Step]) -> Vec<Progress> {
    let mut progress: Vec<Progress> = Vec::new();
    for step in steps {
        match progress.last_mut() {
            Some(last) if last.content == step.content && last.to == step.position => last.to += 1,
            _ => progress.push(Progress {
                content: step.content,
                from: step.position,
                to: step.position + 1,
                ..Progress::default()
            }),
        }
        if let Some(last) = progress.last_mut() {
            match step.outcome {
                Outcome::Message => last.delivered += 1,
                Outcome::Filtered => last.filtered += 1,
                Outcome::Skipped => last.skipped += 1,
                Outcome::Full | Outcome::TooLarge => {}
            }
        }
    }
    progress
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
    buffer: Vec<u8>,
    heads: Vec<Head>,
    unreadable: u64,
}

/// Makes the next batch of a sink from the chunks that it is owed next.
pub(super) fn make(
    pieces: Vec<Piece>,
    codec: &Arc<dyn Codec>,
    filter: &Filter,
    limits: &Limits,
) -> Result<Made, LedgerError> {
    let mut maker = Maker { codec, filter, limits, buffer: Vec::new(), heads: Vec::new(), unreadable: 0 };
    let mut steps = Vec::new();
    let mut too_large = None;
    'pieces: for piece in pieces {
        let damaged = |damage: chunk::Damaged| LedgerError::Broken(format!("content {}: {damage}", piece.content));
        let opened = chunk::open(&piece.body).map_err(damaged)?;
        let tenant: Arc<str> = piece.tenant.as_deref().unwrap_or_default().into();
        for (offset, frame) in chunk::frames(&opened).enumerate().skip((piece.from - piece.first).max(0) as usize) {
            let frame = frame.map_err(damaged)?;
            let position = piece.first + offset as i64;
            let outcome = if piece.skip.contains(&position) {
                Outcome::Skipped
            } else if maker.is_full() {
                break 'pieces;
            } else {
                maker.add(&piece, &tenant, &frame)
            };
            match outcome {
                Outcome::Full => break 'pieces,
                Outcome::TooLarge => {
                    too_large = Some(format!(
                        "record {position} of content {} is larger than the {} bytes that the sink takes",
                        piece.content_id, limits.message_bytes
                    ));
                    break 'pieces;
                }
                _ => {}
            }
            steps.push(Step { content: piece.content, position, outcome });
        }
    }
    let buffer = Bytes::from(maker.buffer);
    let bytes = buffer.len();
    let messages =
        maker.heads.into_iter().map(|head| Message { body: buffer.slice(head.range), ..head.message }).collect();
    Ok(Made { messages, bytes, unreadable: maker.unreadable, too_large, steps })
}

impl Maker<'_> {
    fn is_full(&self) -> bool {
        self.heads.len() >= self.limits.batch_messages.max(1)
            || (!self.heads.is_empty() && self.buffer.len() >= self.limits.batch_bytes)
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
            return Outcome::Filtered;
        }
        self.codec.encode(event, &mut self.buffer);
        if self.buffer.len() - start > self.limits.message_bytes {
            self.buffer.truncate(start);
            if !self.codec.encode_within(event, self.limits.message_bytes, &mut self.buffer) {
                self.buffer.truncate(start);
                return Outcome::TooLarge;
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
