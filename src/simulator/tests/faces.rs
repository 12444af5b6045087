//! The two faces: over a socket, and behind `world::Http`.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    simulator::{InProcess, http::serve, profile::Encoding},
    world::{Clock, HttpError, HttpFactory, Transport},
};

/// A clock that stands still and remembers what was slept.
struct Still(Mutex<Vec<Duration>>);

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Timestamp {
        START
    }
    async fn sleep(&self, duration: Duration) {
        self.0.lock().unwrap().push(duration);
    }
}

fn still() -> Arc<Still> {
    Arc::new(Still(Mutex::new(Vec::new())))
}

/// One request over a fresh connection; everything that came until the server closed it.
async fn exchange(address: std::net::SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut all = Vec::new();
    // a cut connection may end in an error: what came before it counts
    let _ = stream.read_to_end(&mut all).await;
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn the_server_answers_and_a_cut_body_breaks_the_connection() {
    let Bench { simulator, token, .. } = Bench::with_answer(Operation::Blob, Wrong::Cut(100));
    let id = simulator.truth(START).next().unwrap().content.id;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let simulator = Arc::new(Mutex::new(simulator));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = serve(listener, Arc::clone(&simulator), still(), async {
        let _ = stopped.await;
    });
    let client = async {
        let head = format!(
            "GET /api/v1.0/{TENANT}/activity/feed/audit/{id}?PublisherIdentifier={PUBLISHER} HTTP/1.1\r\nauthorization: Bearer {token}"
        );
        let cut = exchange(address, &head).await;
        let (headers, body) = cut.split_once("\r\n\r\n").unwrap();
        let promised: usize = headers
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|it| it.parse().ok())
            .unwrap();
        assert_eq!((body.len(), promised > 1_000), (100, true), "{headers}");
        assert!(headers.contains("date: Sun, 01 Mar 2026 00:00:00 GMT"), "{headers}");
        let whole = exchange(address, &head).await;
        let (headers, body) = whole.split_once("\r\n\r\n").unwrap();
        assert!(headers.starts_with("HTTP/1.1 200"), "{headers}");
        assert_eq!(body.len(), promised);
        assert_eq!(serde_json::from_str::<Value>(body).unwrap().as_array().unwrap().len(), 10);
        assert!(exchange(address, "GET /nowhere HTTP/1.1").await.starts_with("HTTP/1.1 404"));
        stop.send(()).unwrap();
    };
    let (served, ()) = tokio::join!(served, client);
    served.unwrap();
    assert_eq!(simulator.lock().unwrap().fetch_counts(START).once, 1);
}

fn blob_request(id: &str, token: &str) -> Request<Bytes> {
    Request::get(format!(
        "https://manage.office.com/api/v1.0/{TENANT}/activity/feed/audit/{id}?PublisherIdentifier={PUBLISHER}"
    ))
    .header("authorization", format!("Bearer {token}"))
    .body(Bytes::new())
    .unwrap()
}

/// The whole body, or how it broke; and the number of pieces.
async fn read(response: http::Response<crate::world::Body>) -> (Result<Vec<u8>, HttpError>, usize) {
    let (mut body, mut all, mut pieces) = (response.into_body(), Vec::new(), 0);
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => all.extend_from_slice(&piece),
            Err(error) => return (Err(error), pieces),
        }
        pieces += 1;
    }
    (Ok(all), pieces)
}

#[tokio::test]
async fn in_process_bodies_arrive_in_pieces_pause_break_and_time_out() {
    let patience = Duration::from_secs(30);
    let once = |wrong| {
        let Bench { simulator, token, .. } = Bench::with_answer(Operation::Blob, wrong);
        let id = simulator.truth(START).next().unwrap().content.id;
        let clock = still();
        let face = InProcess::new(Arc::new(Mutex::new(simulator)), clock.clone());
        (face.client(&Transport::default()).unwrap(), blob_request(&id, &token), clock)
    };
    let (http, request, _) = once(Wrong::Cut(100));
    let (broken, pieces) = read(http.send(request.clone(), patience).await.unwrap()).await;
    assert!(matches!(broken, Err(HttpError::Body(_))));
    assert_eq!(pieces, 1);
    let (whole, pieces) = read(http.send(request, patience).await.unwrap()).await;
    let whole = whole.unwrap();
    assert!(pieces > 1 && serde_json::from_slice::<Value>(&whole).is_ok());

    let pause = Duration::from_secs(12);
    let (http, request, clock) = once(Wrong::Stalled { after: 50, pause });
    let (slow, _) = read(http.send(request, patience).await.unwrap()).await;
    assert_eq!(slow.unwrap(), whole);
    assert_eq!(*clock.0.lock().unwrap(), [pause]);

    let (http, request, clock) = once(Wrong::Late(Duration::from_secs(31)));
    assert_eq!(http.send(request, patience).await.err(), Some(HttpError::Timeout(patience)));
    assert_eq!(*clock.0.lock().unwrap(), [patience]);
}

#[test]
fn gzip_only_for_who_accepts_it() {
    let mut bench = Bench::new(|profile| profile.encoding = Encoding::Gzip);
    let id = bench.contents()[0].content.id.clone();
    let plain = bench.blob(&id);
    assert_eq!(plain.header("content-encoding"), None);
    let mut request = blob_request(&id, &bench.token);
    request.headers_mut().insert("accept-encoding", http::HeaderValue::from_static("gzip, deflate"));
    let packed = Reply::of(bench.simulator.handle(&request, bench.now));
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed.body[..]), &mut out).unwrap();
    assert_eq!(out, plain.body);
    assert!(packed.body.len() < plain.body.len());
}
