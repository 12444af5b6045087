//! HTTP as in production: reqwest over rustls, no redirects, gzip accepted, certificates of the system and your own.

use std::{error::Error as _, io, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response, Uri};
use reqwest::{Certificate, Client, ClientBuilder, Proxy};

use super::{Body, Http, HttpError, HttpFactory, Presented, Transport};

/// Makes HTTP clients over the real network.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReqwestFactory;

/// How long a connection may take: name, TCP, TLS. Within the caller's own timeout.
const CONNECT: Duration = Duration::from_secs(15);

#[async_trait]
impl HttpFactory for ReqwestFactory {
    fn client(&self, transport: &Transport) -> Result<Arc<dyn Http>, HttpError> {
        // the first one wins; ours is the only cryptography of this build
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = match &transport.ca {
            None => Vec::new(),
            Some(pem) => certificates(pem)?,
        };
        let proxied = proxy(transport)?;
        let direct = build(|| base().no_proxy(), &ca)?;
        let proxied = build(
            || match &proxied {
                Some(proxy) => base().proxy(proxy.clone()),
                // the usual environment variables, which reqwest reads by itself
                None => base(),
            },
            &ca,
        )?;
        Ok(Arc::new(ReqwestHttp { direct, proxied }))
    }

    async fn presented(&self, transport: &Transport, address: &str, timeout: Duration) -> Option<Presented> {
        presented(transport, address, timeout).await
    }
}

#[cfg(feature = "tls")]
async fn presented(transport: &Transport, address: &str, timeout: Duration) -> Option<Presented> {
    let uri: Uri = address.parse().ok()?;
    // an IPv6 address stands in brackets in an address, and without them in a certificate
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let inspection = auditferry_tls::Inspection::of(host, transport.ca.as_deref()).await.ok()?;
    let mut config = inspection.config();
    // as for the agent's own requests: a proxy that opens tls may go by it
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut builder = base().timeout(timeout).tls_backend_preconfigured(config);
    if let Some(proxy) = proxy(transport).ok()? {
        builder = builder.proxy(proxy);
    }
    if never_proxied(&uri) {
        builder = builder.no_proxy();
    }
    // over plain http there would be no handshake to end it, and something would be sent
    builder.https_only(true).build().ok()?.head(address).send().await.err()?;
    let words = inspection.shown()?.to_string();
    Some(Presented { words, no_roots: inspection.no_roots().map(ToString::to_string) })
}

/// No sink of this build speaks TLS, so nothing here reads certificates.
#[cfg(not(feature = "tls"))]
async fn presented(_: &Transport, _: &str, _: Duration) -> Option<Presented> {
    None
}

fn proxy(transport: &Transport) -> Result<Option<Proxy>, HttpError> {
    let Some(url) = &transport.proxy else { return Ok(None) };
    // the address may hold a password: it is not shown
    let unusable = |_| connect("Address", "`proxy` is no address; write http://host:port");
    Proxy::all(url.as_str()).map(Some).map_err(unusable)
}

fn connect(code: &'static str, words: impl Into<String>) -> HttpError {
    HttpError::Connect { code, words: words.into() }
}

#[expect(clippy::disallowed_methods, reason = "the one place that makes real HTTP clients")]
fn base() -> ClientBuilder {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .gzip(true)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(Duration::from_secs(60))
        .http2_adaptive_window(true)
}

fn build(builder: impl Fn() -> ClientBuilder, ca: &[Certificate]) -> Result<Client, HttpError> {
    // a machine without any certificates can still talk to loopback, or to what `ca` vouches for
    builder()
        .tls_certs_merge(ca.iter().cloned())
        .build()
        .or_else(|_| builder().tls_certs_only(ca.iter().cloned()).build())
        .map_err(|error| connect("Connect", format!("no http client can be made: {}", deepest(&error))))
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, HttpError> {
    let unreadable = || connect("Address", "`ca` holds no certificate in pem form (-----BEGIN CERTIFICATE-----)");
    let certificates = Certificate::from_pem_bundle(pem).map_err(|_| unreadable())?;
    if certificates.is_empty() { Err(unreadable()) } else { Ok(certificates) }
}

struct ReqwestHttp {
    direct: Client,
    proxied: Client,
}

#[async_trait]
impl Http for ReqwestHttp {
    async fn send(&self, request: Request<Bytes>, timeout: Duration) -> Result<Response<Body>, HttpError> {
        let client = if never_proxied(request.uri()) { &self.direct } else { &self.proxied };
        let request = reqwest::Request::try_from(request)
            .map_err(|error| connect("Address", format!("the address can't be used: {}", deepest(&error))))?;
        let response = match tokio::time::timeout(timeout, client.execute(request)).await {
            Err(_) => return Err(HttpError::Timeout(timeout)),
            Ok(response) => response.map_err(|error| explain(&error, timeout))?,
        };
        let mut head = Response::new(());
        *head.status_mut() = response.status();
        *head.headers_mut() = response.headers().clone();
        let body: Body = Box::pin(
            response.bytes_stream().map(|chunk| chunk.map_err(|error| HttpError::Body(deepest(&error.without_url())))),
        );
        Ok(head.map(|()| body))
    }
}

/// Loopback and the metadata addresses of clouds are this machine: no proxy has business there.
fn never_proxied(uri: &Uri) -> bool {
    uri.host().is_some_and(|host| auditferry_contract::is_loopback(host) || host == "169.254.169.254")
}

/// Plain words for why nothing came.
fn explain(error: &reqwest::Error, timeout: Duration) -> HttpError {
    let chain = chain(error);
    let words = chain.join(": ").to_lowercase();
    if let Some(tls) = tls_error(error) {
        return tls;
    }
    if words.contains("dns error") || words.contains("failed to lookup") {
        let why = chain.last().map(String::as_str).unwrap_or_default();
        return connect("Dns", format!("the host's name can't be resolved ({why})"));
    }
    if words.contains("proxy authorization") || words.contains("proxy authentication") {
        return connect("ProxyLogin", "the proxy asks for a name and password");
    }
    if words.contains("tunnel") || words.contains("proxy") {
        return connect("ProxyRefused", format!("the proxy refused the connection ({})", deepest(error)));
    }
    if let Some(kind) = io_kind(error) {
        match kind {
            io::ErrorKind::ConnectionRefused => {
                return connect("ConnectionRefused", "connection refused: nothing listens there");
            }
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                return connect("NoRoute", "no route to the host");
            }
            io::ErrorKind::TimedOut if error.is_connect() => return HttpError::Timeout(CONNECT.min(timeout)),
            _ => {}
        }
    }
    if error.is_timeout() {
        return HttpError::Timeout(CONNECT.min(timeout));
    }
    if error.is_connect() {
        return connect("Connect", format!("no connection ({})", deepest(error)));
    }
    HttpError::Body(format!("no answer came ({})", deepest(error)))
}

fn tls_error(error: &reqwest::Error) -> Option<HttpError> {
    use rustls::{CertificateError as Certificate, Error as Tls};
    let tls = find(error, |e| e.downcast_ref::<Tls>())?;
    Some(match tls {
        Tls::InvalidCertificate(Certificate::UnknownIssuer) => connect(
            "TlsIssuer",
            "the server's certificate has an unknown issuer (a proxy that opens tls, or a private ca: name it in `ca`)",
        ),
        Tls::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            connect("TlsTime", "the server's certificate has expired (or this machine's clock is wrong)")
        }
        Tls::InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. }) => {
            connect("TlsTime", "the server's certificate is not valid yet (is this machine's clock right?)")
        }
        Tls::InvalidCertificate(Certificate::NotValidForName | Certificate::NotValidForNameContext { .. }) => {
            connect("TlsName", "the server's certificate is for another host")
        }
        // webpki's name for a certificate that was signed with its own key
        Tls::InvalidCertificate(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            connect("TlsIssuer", "the server shows a ca certificate as its own, which is no certificate for a server")
        }
        other => connect("Tls", format!("tls failed: {}", other.to_string().to_lowercase())),
    })
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    find(error, |e| e.downcast_ref::<io::Error>()).map(io::Error::kind)
}

/// The first error of the chain that `pick` wants; also looks into what an `io::Error` wraps, which its `source` skips.
fn find<'a, T>(
    error: &'a reqwest::Error,
    pick: impl Fn(&'a (dyn std::error::Error + 'static)) -> Option<&'a T>,
) -> Option<&'a T> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = next {
        if let Some(found) = pick(error) {
            return Some(found);
        }
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(|e| e.get_ref())
            .map(|e| e as &(dyn std::error::Error + 'static));
        if let Some(found) = wrapped.and_then(&pick) {
            return Some(found);
        }
        next = wrapped.or_else(|| error.source());
    }
    None
}

fn chain(error: &reqwest::Error) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts
}

/// The innermost words. The outer ones hold the address, whose query is nobody's business.
fn deepest(error: &reqwest::Error) -> String {
    chain(error).pop().unwrap_or_else(|| "no reason given".to_owned())
}

#[cfg(test)]
#[path = "http_client_tests.rs"]
mod tests;
