//! What a peer shows of itself in the handshake: kept where it is refused, so that words can name it.
//!
//! Nothing is asked for a second time and nothing is sent for it: the chain is there when it is judged (RFC 8446 §4.4.2), and the handshake ends with
//! the refusal, before a byte of what the connection is for.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::x509::X509Name;

/// How many characters of a name out of a stranger's certificate are shown.
const LONGEST_NAME: usize = 120;

/// A chain of certificates in words that a terminal and a log can bear: each name is cut to 120 characters, and what is no printable text is replaced.
///
/// `Display` begins with `the certificate`. All of it is what the peer says of itself: nobody vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Of the server's own certificate, the first of the chain (RFC 8446 §4.4.2).
    subject: String,
    issuer: String,
    /// The chain's last certificate: its names, and the number of certificates up to it.
    last: Last,
    count: usize,
}

/// What the last certificate says of its issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Last {
    /// It names itself (self-issued in the words of RFC 5280 §3.2; its signature is not checked for words).
    SelfSigned(String),
    /// It names another.
    From(String),
}

impl Shown {
    /// The server's certificate, and the rest as it was sent. `None`: the first or the last is no X.509.
    pub(crate) fn of(end_entity: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Option<Shown> {
        let (_, first) = x509_parser::parse_x509_certificate(end_entity).ok()?;
        let (_, last) = x509_parser::parse_x509_certificate(others.last().unwrap_or(end_entity)).ok()?;
        let its_own = last.issuer().as_raw() == last.subject().as_raw();
        Some(Shown {
            subject: name(first.subject()),
            issuer: name(first.issuer()),
            last: if its_own { Last::SelfSigned(name(last.subject())) } else { Last::From(name(last.issuer())) },
            count: others.len() + 1,
        })
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown { subject, issuer, last, count } = self;
        write!(f, "the certificate is for {subject} and ")?;
        match (last, count) {
            (Last::SelfSigned(_), 1) => f.write_str("self-signed"),
            (Last::From(_), 1) => write!(f, "was issued by {issuer}, which was not shown with it"),
            (Last::SelfSigned(root), _) => {
                write!(f, "was issued by {issuer}; the last of {count} certificates shown, {root}, is self-signed")
            }
            (Last::From(root), _) => write!(
                f,
                "was issued by {issuer}; the last of {count} certificates shown was issued by {root}, which is not among them"
            ),
        }
    }
}

fn name(name: &X509Name<'_>) -> String {
    match printable(&name.to_string(), LONGEST_NAME) {
        empty if empty.is_empty() => "(no name)".into(),
        // a name can't end its own quotes
        name => format!("`{}`", name.replace('`', "?")),
    }
}

/// A stranger's text on one line: cut, and with a `?` for what a terminal or an editor acts on instead of showing it (controls, marks that turn the order
/// of the text around or take no room: Unicode TR 36, <https://trojansource.codes>).
pub(crate) fn printable(text: &str, most: usize) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut shown: String = text.chars().take(most).map(|c| if acts(c) { '?' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// The last chain that was refused, and why.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<Option<(Error, Option<Shown>)>>);

impl Refused {
    /// What was shown where the refusal was of this kind. Connections side by side lead to one peer, so the last one speaks for all.
    pub(crate) fn shown(&self, why: &CertificateError) -> Option<Shown> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref()? {
            (Error::InvalidCertificate(kept), shown) if mem::discriminant(kept) == mem::discriminant(why) => {
                shown.clone()
            }
            _ => None,
        }
    }

    /// What was shown, for whatever reason it was refused.
    pub(crate) fn last(&self) -> Option<Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.1.clone()
    }

    fn keep(&self, why: &Error, shown: Option<Shown>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((why.clone(), shown));
    }
}

/// `inner`, and it keeps what it refuses. The refusal, and the alert that the peer gets, are `inner`'s own.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// `None`: nobody is trusted.
    pub inner: Option<Arc<dyn ServerCertVerifier>>,
    /// The name that a certificate must be for; `None`: the one connected to.
    pub name: Option<ServerName<'static>>,
    /// The one peer to look at: refused even where it is trusted. A peer of another name (a proxy that is reached by TLS) is only let through, or not.
    pub target: Option<ServerName<'static>>,
    pub refused: Arc<Refused>,
}

impl Keeper {
    fn inner(&self) -> Result<&dyn ServerCertVerifier, Error> {
        self.inner.as_deref().ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }
}

impl ServerCertVerifier for Keeper {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(server_name);
        let judged = self
            .inner()
            .and_then(|inner| inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now));
        let is_target = self.target.as_ref().is_none_or(|target| target == server_name);
        let why = match judged {
            Ok(_) if is_target && self.target.is_some() => CertificateError::ApplicationVerificationFailure.into(),
            Ok(trusted) => return Ok(trusted),
            Err(why) => why,
        };
        if is_target {
            self.refused.keep(&why, Shown::of(end_entity, intermediates));
        }
        Err(why)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner()?.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner()?.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match &self.inner {
            Some(inner) => inner.supported_verify_schemes(),
            None => ring::default_provider().signature_verification_algorithms.supported_schemes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_is_cut_and_made_printable() {
        assert_eq!(printable("a\u{1b}[2J\r\n\u{202e}\u{200b}Ü漢", 99), "a?[2J????Ü漢");
        assert_eq!(printable("abcd", 4), "abcd");
        assert_eq!(printable("abcde", 4), "abcd…");
    }
}
