//! PEM files: what is in them, and what to say when it is something else.

use std::path::Path;

use auditferry_contract::{Cause, SecretString};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// The text of the files, each checked to hold what it should; `None` where the key is not set.
#[derive(Clone, Debug, Default)]
pub struct Pem {
    /// The only CAs to trust; `None`: the system's.
    pub ca: Option<String>,
    /// The client certificate and its intermediate CAs.
    pub certificate: Option<String>,
    /// Its private key, without a passphrase.
    pub key: Option<SecretString>,
}

/// When the first of the certificates in a PEM file ends to be valid (`notAfter`, RFC 5280 §4.1.2.5); `None` when none can be read, a key
/// for example. For a metric of the agent: it sees each file that a sink reads through its `Env`.
pub fn earliest_end(bytes: &[u8]) -> Option<jiff::Timestamp> {
    let ends = |der: CertificateDer<'_>| {
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
        jiff::Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
    };
    CertificateDer::pem_slice_iter(bytes).filter_map(|der| ends(der.ok()?)).min()
}

/// All certificates of a PEM file, at least one.
pub(crate) fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Cause> {
    let place = path.display();
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    // the library's own words may quote a line of the file, so they are not passed on
    let broken =
        || Cause(format!("{place} is damaged: a block between BEGIN and END can't be read; copy the file again"));
    let certificates = read.map_err(|_| broken())?;
    if certificates.is_empty() {
        // DER begins with the tag of a SEQUENCE
        let hint = if bytes.starts_with(&[0x30]) {
            "it seems to be DER; turn it into PEM with `openssl x509 -inform der`"
        } else {
            "expected PEM, with a line -----BEGIN CERTIFICATE-----"
        };
        return Err(Cause(format!("{place} holds no certificate: {hint}")));
    }
    Ok(certificates)
}

/// The first private key of a PEM file.
pub(crate) fn key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Cause> {
    let place = path.display();
    let has = |words: &[u8]| bytes.windows(words.len()).any(|w| w == words);
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        let what = "is protected by a passphrase, which can't be asked for here";
        return Err(Cause(format!("the key in {place} {what}: write it without one with `openssl pkey -in … -out …`")));
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => {
            Cause(format!("{place} holds no private key: expected PEM, with a line -----BEGIN PRIVATE KEY-----"))
        }
        // neither quoted nor described further: it is a key
        _ => Cause(format!("the key in {place} is damaged: copy the file again")),
    })
}

/// Why a certificate and a key can't be used together.
pub(crate) fn unusable(certificate: &Path, key: &Path, error: &rustls::Error) -> Cause {
    let (certificate, key) = (certificate.display(), key.display());
    match error {
        rustls::Error::InconsistentKeys(_) => Cause(format!(
            "the key in {key} is not the one of the certificate in {certificate}: give the two that belong together"
        )),
        rustls::Error::InvalidCertificate(_) => {
            Cause(format!("the certificate in {certificate} can't be read: {error}"))
        }
        _ => Cause(format!(
            "the key in {key} can't be used: {error}; RSA of 2048 bits and more, P-256, P-384 and Ed25519 can"
        )),
    }
}

/// The file as text.
pub(crate) fn utf8(path: &Path, bytes: &[u8]) -> Result<String, Cause> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_string()),
        Err(_) => {
            Err(Cause(format!("{} is not all text: remove what does not belong to the PEM blocks", path.display())))
        }
    }
}
