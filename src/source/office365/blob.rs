//! The body of a content as it arrives.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    Inner,
    call::{Answer, next_chunk},
    envelope,
    errors::{Class, Operation, SourceError},
};
use crate::world::Body;

/// More than any blob, decompressed; a bomb ends here.
const BLOB_BYTES: u64 = 8 << 30;
/// So much of a blob that begins with `{` is looked at for an error envelope.
const ENVELOPE_BYTES: usize = 16 << 10;

/// The body of a content, chunk by chunk.
pub struct Blob {
    inner: Arc<Inner>,
    body: Body,
    ahead: VecDeque<Bytes>,
    bytes: u64,
    ended: bool,
}

impl Blob {
    /// The body of an answer, unless it is an error envelope that came with 2xx: a blob is an array, and what begins
    /// like an object is looked at.
    pub(super) async fn open(inner: Arc<Inner>, answer: Answer) -> Result<Blob, SourceError> {
        let mut blob = Blob { inner, body: answer.body, ahead: VecDeque::new(), bytes: 0, ended: false };
        let mut head = Vec::new();
        while head.len() < ENVELOPE_BYTES && !blob.ended {
            let Some(chunk) = blob.read().await? else { break };
            head.extend_from_slice(&chunk[..chunk.len().min(ENVELOPE_BYTES)]);
            blob.ahead.push_back(chunk);
            if head.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
                return Ok(blob);
            }
        }
        if blob.ended
            && let Some(told) = envelope::inside_success(&head)
        {
            let place = blob.inner.place(Operation::FetchContent, "");
            return Err(blob.inner.judge(&place, answer.status, &told, &answer.headers, answer.sent));
        }
        Ok(blob)
    }

    /// The next bytes; `None` at the end. Fails when nothing comes for too long, when it breaks off, and beyond 8 GiB.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        match self.ahead.pop_front() {
            Some(chunk) => Ok(Some(chunk)),
            None if self.ended => Ok(None),
            None => self.read().await,
        }
    }

    /// How many bytes came so far, decompressed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    async fn read(&mut self) -> Result<Option<Bytes>, SourceError> {
        let chunk = next_chunk(&mut self.body, &*self.inner.clock, self.inner.settings.stall).await;
        let place = self.inner.place(Operation::FetchContent, "");
        match chunk {
            Ok(Some(chunk)) => {
                self.bytes += chunk.len() as u64;
                if self.bytes > BLOB_BYTES {
                    return Err(place.own(
                        Class::Retry,
                        "TooLarge",
                        format!("the content is larger than {BLOB_BYTES} bytes"),
                    ));
                }
                Ok(Some(chunk))
            }
            Ok(None) => {
                self.ended = true;
                Ok(None)
            }
            Err(error) => Err(place.unanswered(&error)),
        }
    }
}
