//! Whom to trust.

use std::path::Path;

use auditferry_contract::Cause;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

/// The CAs of a file, and no other.
pub(crate) fn of(path: &Path, certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, Cause> {
    let mut roots = RootCertStore::empty();
    for (n, certificate) in certificates.into_iter().enumerate() {
        let added = roots.add(certificate);
        added.map_err(|error| {
            let which = n + 1;
            Cause(format!("certificate {which} in {} can't be used as a CA: {error}", path.display()))
        })?;
    }
    Ok(roots)
}

/// The system's CAs; those that can't be read are left out, as everywhere.
pub(crate) async fn system() -> Result<RootCertStore, Cause> {
    let read = tokio::task::spawn_blocking(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        (roots, found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default())
    });
    match read.await {
        Ok((roots, why)) if roots.is_empty() => Err(Cause(format!(
            "this system has no CA certificates{why}: install the package ca-certificates, or set `ca`"
        ))),
        Ok((roots, _)) => Ok(roots),
        Err(_) => Err(Cause::from("reading the system's CA certificates was cut off: the agent is stopping")),
    }
}
