//! Tests of the HTTP client against servers on loopback: one connection, one scripted answer each.

#![expect(clippy::disallowed_methods, reason = "test servers live on threads of their own")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::*;

const CA: &[u8] = include_bytes!("testdata/ca.pem");
const SOON: Duration = Duration::from_secs(20);

/// Answers each connection with the same bytes and reports the request's head.
fn serve(answer: &'static [u8], tls: bool) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, requests) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let head = if tls { over_tls(stream, answer) } else { answer_one(stream, answer) };
            if heads.send(head).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

fn answer_one(mut stream: impl Read + Write, answer: &[u8]) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    // a body that is left unread makes the kernel end the connection with a reset, which may overtake the answer
    let length =
        head.to_lowercase().split_once("\r\ncontent-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    let _ = stream.read_exact(&mut vec![0; length.unwrap_or(0)]);
    let _ = stream.write_all(answer);
    let _ = stream.flush();
    head
}

fn server_side() -> rustls::ServerConnection {
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("testdata/server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("testdata/server.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    rustls::ServerConnection::new(Arc::new(config)).unwrap()
}

fn over_tls(stream: TcpStream, answer: &[u8]) -> String {
    let mut tls = rustls::StreamOwned::new(server_side(), stream);
    let head = answer_one(&mut tls, answer);
    tls.conn.send_close_notify();
    let _ = tls.flush();
    head
}

fn transport(ca: Option<&[u8]>, proxy: Option<&str>) -> Transport {
    Transport { ca: ca.map(<[u8]>::to_vec), proxy: proxy.map(str::to_owned) }
}

async fn get(transport: &Transport, url: &str, timeout: Duration) -> Result<Response<Body>, HttpError> {
    let client = ReqwestFactory.client(transport).unwrap();
    client.send(Request::get(url).header("accept", "application/json").body(Bytes::new()).unwrap(), timeout).await
}

async fn text(mut body: Body) -> Result<String, HttpError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(String::from_utf8(bytes).unwrap())
}

/// What went wrong, in words. A success would be the wrong thing to happen.
async fn refused(transport: &Transport, url: &str) -> String {
    match get(transport, url, SOON).await {
        Ok(response) => panic!("{url} answered {}", response.status()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_the_address_arrives_as_it_was() {
    let (address, heads) = serve(b"HTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 2\r\n\r\nhi", false);
    let url = format!("http://{address}/audit/2015$a$b%20c?x=1$2");
    let response = get(&Transport::default(), &url, SOON).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["location"]), (302, &"/else".parse().unwrap()));
    assert_eq!(text(response.into_body()).await.unwrap(), "hi");
    let head = heads.recv().unwrap().to_lowercase();
    assert!(head.starts_with("get /audit/2015$a$b%20c?x=1$2 http/1.1\r\n"), "{head}");
    assert!(
        head.contains("\r\naccept: application/json\r\n") && head.contains("\r\naccept-encoding: gzip\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_gzip_body_is_opened() {
    // `[{"a":1}]` fifty times, by gzip(1)
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 34\r\n\r\n\
        \x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x8b\xae\x56\x4a\x54\xb2\x32\xac\x8d\x8d\x1e\x65\
        \x0c\x4d\x06\x00\x7c\x16\x6a\x47\xc2\x01\x00\x00";
    let (address, _heads) = serve(ANSWER, false);
    let response = get(&Transport::default(), &format!("http://{address}/"), SOON).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), r#"[{"a":1}]"#.repeat(50));
}

#[tokio::test]
async fn a_post_arrives_with_its_body() {
    let (address, heads) = serve(b"HTTP/1.1 204 No Content\r\n\r\n", false);
    let client = ReqwestFactory.client(&Transport::default()).unwrap();
    let request = Request::post(format!("http://{address}/token")).body(Bytes::from_static(b"a=b")).unwrap();
    assert_eq!(client.send(request, SOON).await.unwrap().status(), 204);
    assert!(heads.recv().unwrap().to_lowercase().contains("\r\ncontent-length: 3\r\n"));
    // an empty one says so, as our client does
    let request = Request::post(format!("http://{address}/start")).header("content-length", "0").body(Bytes::new());
    assert_eq!(client.send(request.unwrap(), SOON).await.unwrap().status(), 204);
    assert_eq!(heads.recv().unwrap().to_lowercase().matches("content-length: 0\r\n").count(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_after_what_came() {
    let (address, _heads) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{\"a\"", false);
    let mut body = get(&Transport::default(), &format!("http://{address}/"), SOON).await.unwrap().into_body();
    assert_eq!(body.next().await.unwrap().unwrap(), "[{\"a\"");
    assert!(matches!(body.next().await, Some(Err(HttpError::Body(_)))));
}

#[tokio::test]
async fn who_does_not_answer_is_left_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let timeout = Duration::from_millis(100);
    assert_eq!(get(&Transport::default(), &url, timeout).await.err(), Some(HttpError::Timeout(timeout)));
}

#[tokio::test]
async fn no_connection_has_plain_words() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let words = refused(&Transport::default(), &format!("http://{gone}/?secret=1")).await;
    assert_eq!(words, "connection refused: nothing listens there");
    // a label longer than 63 characters can't be asked for, so no network is needed to fail; a proxy of the machine
    // that runs the test must not help
    let direct = build(|| base().no_proxy(), &[]).unwrap();
    let client = ReqwestHttp { proxied: direct.clone(), direct };
    let url = format!("http://{}.example/?secret=1", "a".repeat(64));
    let failed = client.send(Request::get(url).body(Bytes::new()).unwrap(), SOON).await.err().unwrap();
    let words = failed.to_string();
    assert!(words.starts_with("the host's name can't be resolved ("), "{words}");
    assert!(!words.contains("secret"), "{words}");
}

#[tokio::test]
async fn a_certificate_counts_with_its_ca_and_for_its_host_only() {
    let (address, _heads) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true);
    let url = format!("https://localhost:{}/", address.port());
    let words = refused(&Transport::default(), &url).await;
    assert_eq!(
        words,
        "the server's certificate has an unknown issuer (a proxy that opens tls, or a private ca: name it in `ca`)"
    );
    let trusted = transport(Some(CA), None);
    let response = get(&trusted, &url, SOON).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), "hi");
    let words = refused(&trusted, &format!("https://{address}/")).await;
    assert_eq!(words, "the server's certificate is for another host");
}

#[tokio::test]
async fn a_proxy_serves_what_is_not_this_machine() {
    let (proxy, heads) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nvia proxy", false);
    let (own, _heads) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ndirect", false);
    let through = transport(None, Some(&format!("http://{proxy}")));
    let response = get(&through, "http://service.invalid/x", SOON).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), "via proxy");
    assert!(heads.recv().unwrap().starts_with("GET http://service.invalid/x HTTP/1.1\r\n"));
    let response = get(&through, &format!("http://{own}/"), SOON).await.unwrap();
    assert_eq!(text(response.into_body()).await.unwrap(), "direct");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named() {
    let (proxy, _heads) = serve(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false);
    let words = refused(&transport(None, Some(&format!("http://{proxy}"))), "https://service.invalid/x").await;
    assert!(words.starts_with("the proxy refused the connection ("), "{words}");
}

#[test]
fn this_machine_is_never_reached_through_a_proxy() {
    for own in
        ["http://127.0.0.1:1/", "http://127.9.9.9/", "http://[::1]:1/", "http://LOCALHOST/", "http://169.254.169.254/"]
    {
        assert!(never_proxied(&own.parse().unwrap()), "{own}");
    }
    for other in ["https://manage.office.com/", "http://localhost.example/", "http://10.0.0.1/"] {
        assert!(!never_proxied(&other.parse().unwrap()), "{other}");
    }
}

#[test]
fn unusable_settings_have_plain_words() {
    let words = |transport: &Transport| ReqwestFactory.client(transport).err().unwrap().to_string();
    let no_ca = "`ca` holds no certificate in pem form (-----BEGIN CERTIFICATE-----)";
    assert_eq!(words(&transport(Some(b"nonsense"), None)), no_ca);
    assert_eq!(words(&transport(None, Some("http://user:secret@:x"))), "`proxy` is no address; write http://host:port");
}

/// Takes one connection, answers a CONNECT if one is expected, and shakes hands until that fails: the head of the CONNECT, and what the client said last.
fn refused_by_the_client(connect: bool) -> (SocketAddr, thread::JoinHandle<(String, rustls::Error)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = if connect { answer_one(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n") } else { String::new() };
        let mut tls = server_side();
        let error = tls.complete_io(&mut stream).expect_err("the client shakes hands with a stranger");
        assert!(tls.is_handshaking(), "nothing can be said before the handshake is over");
        (head, error.downcast::<rustls::Error>().unwrap())
    });
    (address, server)
}

#[cfg(feature = "tls")]
const SHOWN: &str =
    "the certificate is for `CN=localhost` and was issued by `CN=auditferry test ca`, which was not shown with it";

#[cfg(feature = "tls")]
#[tokio::test]
async fn what_a_server_presents_is_told_and_it_gets_nothing_but_the_handshake() {
    use rustls::AlertDescription::{AccessDenied, UnknownCA};
    // a server that is trusted is refused as well, so that nothing is sent to it
    for (ca, alert) in [(None, UnknownCA), (Some(CA), AccessDenied)] {
        let (address, server) = refused_by_the_client(false);
        let url = format!("https://localhost:{}/", address.port());
        let presented = ReqwestFactory.presented(&transport(ca, None), &url, SOON).await.unwrap();
        assert_eq!(presented.words, SHOWN);
        assert_eq!(server.join().unwrap(), (String::new(), rustls::Error::AlertReceived(alert)));
    }
    // there is no handshake over plain http, so there is nothing to see, and nothing is sent
    let (address, heads) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false);
    assert_eq!(ReqwestFactory.presented(&transport(None, None), &format!("http://{address}/"), SOON).await, None);
    assert!(heads.try_recv().is_err());
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_proxy_that_opens_tls_is_seen_through_the_proxy_and_its_login_is_not_told() {
    let (proxy, server) = refused_by_the_client(true);
    let through = transport(None, Some(&format!("http://user:hunter2@{proxy}")));
    let presented = ReqwestFactory.presented(&through, "https://manage.invalid/", SOON).await.unwrap();
    assert_eq!(presented.words, SHOWN);
    let (head, error) = server.join().unwrap();
    assert!(head.starts_with("CONNECT manage.invalid:443 HTTP/1.1\r\n"), "{head}");
    assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA));
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn who_presents_nothing_is_left_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let timeout = Duration::from_millis(100);
    for through in [transport(None, None), transport(None, Some(&format!("http://{address}")))] {
        let url =
            if through.proxy.is_some() { "https://manage.invalid/".into() } else { format!("https://{address}/") };
        assert_eq!(ReqwestFactory.presented(&through, &url, timeout).await, None);
    }
}

#[tokio::test]
async fn a_proxy_that_wants_a_login_is_told_apart() {
    let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (proxy, _heads) = serve(answer, false);
    let through = transport(None, Some(&format!("http://{proxy}")));
    let error = get(&through, "https://service.invalid/x", SOON).await.err().unwrap();
    assert!(matches!(&error, HttpError::Connect { code: "ProxyLogin", .. }), "{error:?}");
}
