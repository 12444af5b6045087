//! The simulator behind [`crate::world::Http`]: no sockets, the agent's own clock. For the crash test and for unit tests.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};

use super::{Answer, AnswerBody, Simulator};
use crate::world::{Body, Clock, Http, HttpError, HttpFactory, Transport};

/// How large the pieces of a body are: small, so that a reader meets borders everywhere.
const PIECE: usize = 4 << 10;

/// One simulated service reached without a network. Clones share it.
#[derive(Clone)]
pub struct InProcess {
    simulator: Arc<Mutex<Simulator>>,
    clock: Arc<dyn Clock>,
}

impl InProcess {
    /// Behind it is `simulator`; `clock` gives the time of each request and waits where the service is slow.
    pub fn new(simulator: Arc<Mutex<Simulator>>, clock: Arc<dyn Clock>) -> Self {
        InProcess { simulator, clock }
    }

    /// The state machine, for faults and for the truth. Don't hold it across an await.
    pub fn simulator(&self) -> MutexGuard<'_, Simulator> {
        lock(&self.simulator)
    }
}

/// A panic elsewhere leaves the counters usable.
pub(super) fn lock(simulator: &Mutex<Simulator>) -> MutexGuard<'_, Simulator> {
    simulator.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl HttpFactory for InProcess {
    fn client(&self, _transport: &Transport) -> Result<Arc<dyn Http>, HttpError> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Http for InProcess {
    async fn send(&self, request: Request<Bytes>, timeout: Duration) -> Result<Response<Body>, HttpError> {
        let answer = {
            let now = self.clock.now();
            self.simulator().handle(&request, now)
        };
        if let Some(delay) = answer.delay {
            self.clock.sleep(delay.min(timeout)).await;
            if delay > timeout {
                return Err(HttpError::Timeout(timeout));
            }
        }
        let (head, body) = split(answer, PIECE);
        let (parts, ()) = head.into_parts();
        let clock = Arc::clone(&self.clock);
        let body = stream::iter(body).then(move |piece| {
            let clock = Arc::clone(&clock);
            async move {
                match piece {
                    Piece::Bytes(bytes) => Some(Ok(bytes)),
                    Piece::Pause(pause) => {
                        clock.sleep(pause).await;
                        None
                    }
                    Piece::Break => Some(Err(HttpError::Body("the simulated connection was cut".into()))),
                }
            }
        });
        Ok(Response::from_parts(parts, Box::pin(body.filter_map(std::future::ready)) as Body))
    }
}

/// What happens next while a body arrives.
pub(super) enum Piece {
    /// These bytes come.
    Bytes(Bytes),
    /// Nothing comes for this long.
    Pause(Duration),
    /// The connection breaks; nothing follows.
    Break,
}

/// Takes an answer apart into its head and what happens to its body, in pieces of at most `size` bytes.
pub(super) fn split(answer: Answer, size: usize) -> (Response<()>, impl Iterator<Item = Piece> + Send) {
    let Answer { response, cut_at, pause, .. } = answer;
    let (parts, body) = response.into_parts();
    let pieces: Box<dyn Iterator<Item = Bytes> + Send> = match body {
        AnswerBody::Bytes(bytes) => Box::new(std::iter::once(bytes)),
        AnswerBody::Pieces(pieces) => pieces,
    };
    let mut pieces = pieces.filter(|piece| !piece.is_empty());
    let (mut rest, mut sent, mut pause, mut ended) = (Bytes::new(), 0u64, pause, false);
    let body = std::iter::from_fn(move || {
        if ended {
            return None;
        }
        if cut_at.is_some_and(|cut| sent >= cut) {
            ended = true;
            return Some(Piece::Break);
        }
        if let Some((_, wait)) = pause.filter(|it| sent >= it.0) {
            pause = None;
            return Some(Piece::Pause(wait));
        }
        if rest.is_empty() {
            let Some(next) = pieces.next() else {
                ended = true;
                // a cut beyond the end still breaks the connection: after the body, which makes no difference
                return None;
            };
            rest = next;
        }
        let stop = [cut_at, pause.map(|it| it.0)].into_iter().flatten().filter(|at| *at > sent).min();
        let room = stop.map_or(size as u64, |at| at - sent).min(size as u64) as usize;
        let piece = rest.split_to(room.min(rest.len()));
        sent += piece.len() as u64;
        Some(Piece::Bytes(piece))
    });
    (Response::from_parts(parts, ()), body)
}
