//! A TLS error in plain words.

use std::{error::Error as StdError, io};

use auditferry_contract::Cause;
use rustls::{AlertDescription, CertificateError, Error};

use crate::shown::{Shown, printable};

/// How deep in a chain of errors the TLS error is looked for; HTTP clients need five.
const DEPTH: usize = 16;

/// What went wrong in TLS, and what to do, where **a person must act**: certificates, names, versions. `None` for everything else (no TLS
/// error, a broken connection, a peer that closes in the middle): that passes by itself, or is told better by its own words.
///
/// One line, lower case, with its code at the end, fit for a [`Cause`]; names out of a certificate are cut and made printable.
pub fn explain(error: &(dyn StdError + 'static)) -> Option<String> {
    words(error, |_| None)
}

/// The same, with what was shown by whoever was refused for this reason.
pub(crate) fn words(
    error: &(dyn StdError + 'static),
    shown: impl FnOnce(&CertificateError) -> Option<Shown>,
) -> Option<String> {
    let error = find(error)?;
    let words = match error {
        Error::InvalidCertificate(why) => match shown(why) {
            Some(shown) => format!("{}; {shown}", certificate(why)),
            None => certificate(why),
        },
        Error::NoCertificatesPresented => "the server shows no certificate: is TLS set up there?".into(),
        Error::AlertReceived(alert) => refused(*alert)?,
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => {
            "the answer is not TLS: is the port the one for TLS, and does the server speak it?".into()
        }
        Error::PeerIncompatible(why) => format!(
            "no common TLS version or cipher ({why:?}): the server must offer TLS 1.2 with ECDHE and AES-GCM, or TLS 1.3"
        ),
        Error::InvalidCertRevocationList(_) | Error::UnsupportedNameType => {
            format!("the server's certificate can't be checked: {error}")
        }
        _ => return None,
    };
    Some(Cause::coded(code(error), words).0)
}

/// Under which code the runbook has it.
pub fn code(error: &Error) -> &'static str {
    use AlertDescription as A;
    use CertificateError as C;
    match error {
        Error::InvalidCertificate(C::UnknownIssuer) => "TlsIssuer",
        Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. })
        | Error::AlertReceived(A::UnrecognisedName) => "TlsName",
        Error::InvalidCertificate(
            C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. },
        ) => "TlsTime",
        Error::AlertReceived(
            A::CertificateRequired
            | A::NoCertificate
            | A::UnknownCA
            | A::CertificateExpired
            | A::CertificateRevoked
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateUnknown
            | A::AccessDenied,
        ) => "TlsClientCertificate",
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => "NotTls",
        _ => "Tls",
    }
}

/// The TLS error in a chain. An I/O error that wraps another one hides it from `source`, so it is asked for it directly.
fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    for _ in 0..DEPTH {
        let error = next?;
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "the server's certificate is from an unknown issuer: set `ca` to the file of the private CA that issued it; if there is none, a proxy on the way shows a certificate of its own".into()
        }
        CertificateError::NotValidForName => "the server's certificate is for another name: connect by the name in it, or set `server_name`".into(),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "the server's certificate is not for {} but for {}: connect by a name in it, set `server_name`, or have the name added to the certificate",
            expected.to_str(),
            names(presented)
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired: renew it there (or this machine's clock is ahead)".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: this machine's clock is behind, or the certificate is for later".into()
        }
        CertificateError::Revoked => "the server's certificate was revoked: renew it there".into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not one for servers: its extended key usage must hold serverAuth".into()
        }
        // webpki's name for a certificate of `openssl req -x509` used as it comes
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the server shows a CA certificate as its own: issue a server certificate from that CA (basicConstraints CA:FALSE)".into()
        }
        other => format!("the server's certificate can't be accepted: {}", printable(&other.to_string(), 200)),
    }
}

/// What the server says about us.
fn refused(alert: AlertDescription) -> Option<String> {
    use AlertDescription as A;
    Some(match alert {
        A::CertificateRequired | A::NoCertificate => {
            "the server wants a client certificate: set `certificate` and `key`".into()
        }
        A::UnknownCA => {
            "the server does not know the CA of the client certificate: give it that CA, or use another certificate"
                .into()
        }
        A::CertificateExpired => {
            "the server says that the client certificate has expired: renew `certificate` and `key`".into()
        }
        A::CertificateRevoked => {
            "the server says that the client certificate was revoked: renew `certificate` and `key`".into()
        }
        A::BadCertificate | A::UnsupportedCertificate | A::CertificateUnknown | A::AccessDenied => {
            format!(
                "the server refuses the client certificate, or the lack of one ({alert:?}): look at `certificate` there and here"
            )
        }
        A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity => {
            format!(
                "the server refuses the handshake ({alert:?}): it offers no TLS 1.2 or 1.3 with a cipher of ours, or it wants a client certificate"
            )
        }
        A::UnrecognisedName => "the server does not know the name it was asked for: set `server_name`".into(),
        A::NoApplicationProtocol => "the server speaks another protocol on this port: look at the address".into(),
        // its own trouble, or a broken connection: that passes
        _ => return None,
    })
}

/// At most three names of a certificate, without the library's wrapping; a stranger wrote them.
fn names(presented: &[String]) -> String {
    let plain = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        printable(inner.trim_matches('"'), 80)
    };
    let mut shown: Vec<String> = presented.iter().take(3).map(plain).collect();
    if presented.len() > 3 {
        shown.push(format!("{} more", presented.len() - 3));
    }
    if shown.is_empty() { "no name at all".into() } else { shown.join(", ") }
}
