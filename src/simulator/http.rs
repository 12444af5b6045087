//! The simulator as an HTTP server.

use std::{
    convert::Infallible,
    future::Future,
    io,
    sync::{Arc, Mutex},
};

use axum::{body::Body, extract::State, http::header, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Request;
use tokio::net::TcpListener;

use super::{
    AnswerBody, Simulator,
    in_process::{Piece, lock, split},
};
use crate::world::Clock;

/// Requests to the service are tiny; a start with a webhook is the largest.
const REQUEST_BYTES: usize = 64 << 10;
const PIECE: usize = 64 << 10;

#[derive(Clone)]
struct Face {
    simulator: Arc<Mutex<Simulator>>,
    clock: Arc<dyn Clock>,
}

/// Serves `simulator` on `listener` until `shutdown` resolves; running answers are finished first. Fails when the listener
/// does. The profile's `base_url` must be what clients reach this listener by, since it is written into URLs.
pub async fn serve(
    listener: TcpListener,
    simulator: Arc<Mutex<Simulator>>,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = axum::Router::new().fallback(answer).with_state(Face { simulator, clock });
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn answer(State(face): State<Face>, request: Request<Body>) -> Result<Response, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, REQUEST_BYTES).await else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
        return Ok(response);
    };
    let answer = {
        let now = face.clock.now();
        lock(&face.simulator).handle(&Request::from_parts(parts, body), now)
    };
    if let Some(delay) = answer.delay {
        face.clock.sleep(delay).await;
    }
    let length = match answer.response.body() {
        AnswerBody::Bytes(bytes) => Some(bytes.len()),
        AnswerBody::Pieces(_) => None,
    };
    let (head, pieces) = split(answer, PIECE);
    let (mut parts, ()) = head.into_parts();
    if let Some(length) = length {
        // the promised length is that of the whole body, so that a cut one is seen as cut
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let clock = face.clock;
    let body = stream::iter(pieces).then(move |piece| {
        let clock = Arc::clone(&clock);
        async move {
            match piece {
                Piece::Bytes(bytes) => Some(Ok::<Bytes, io::Error>(bytes)),
                Piece::Pause(pause) => {
                    clock.sleep(pause).await;
                    None
                }
                // an error in the body makes the server drop the connection; what is buffered is only sent when the
                // body has nothing ready, so it gets a turn first
                Piece::Break => {
                    tokio::task::yield_now().await;
                    Some(Err(io::Error::other("cut by a fault switch")))
                }
            }
        }
    });
    Ok(Response::from_parts(parts, Body::from_stream(body.filter_map(std::future::ready))))
}
