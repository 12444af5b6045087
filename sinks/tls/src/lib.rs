//! CA, client certificate and server name: one place for every sink that uses TLS.
//!
//! The keys stand flat in the sink's own table:
//!
//! | option | default | meaning |
//! | --- | --- | --- |
//! | `ca` | the system's | PEM file; **only** the CAs in it are trusted then |
//! | `certificate` | none | PEM file: the client certificate, followed by its intermediate CAs |
//! | `key` | none | PEM file: its private key, without a passphrase (PKCS#8, PKCS#1 or SEC1) |
//! | `server_name` | the host of the address | the name or IP address that the server's certificate must be for |
//!
//! TLS 1.2 and 1.3 (RFC 9325 §3.1.1: nothing older), by rustls with ring. The files are read through
//! [`Env::file`], at every opening of the sink, so that the agent notices a rotated one.

mod client;
mod explain;
mod pem;
mod roots;
mod shown;

use std::{path::PathBuf, sync::Arc};

use auditferry_contract::{
    Cause, Env, Options,
    options::{mistake, path, text},
};
use rustls::crypto::ring;
use rustls_pki_types::ServerName;

use crate::shown::{Keeper, Refused};

pub use client::{Client, Inspection};
pub use explain::explain;
pub use pem::{Pem, earliest_end};
pub use shown::Shown;

/// The TLS options of one sink.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tls {
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
}

impl Tls {
    /// Reads the four keys. Mistakes go into the table's errors; keys that are not there are fine. Pure: no file is opened.
    pub fn read(options: &mut Options<'_>) -> Tls {
        let (has_certificate, has_key) = (options.contains("certificate"), options.contains("key"));
        let ca = path(options, "ca");
        let certificate = text(options, "certificate");
        let key = text(options, "key");
        let lonely = match (&certificate, &key) {
            (Some(given), _) if !has_key => Some((given.span, "`certificate` needs its `key`")),
            (_, Some(given)) if !has_certificate => Some((given.span, "`key` needs its `certificate`")),
            _ => None,
        };
        if let Some((span, what)) = lonely {
            let hint = "a client certificate is two PEM files, `certificate` and `key`; give both, or none";
            options.errors.push(mistake(span, what, hint));
        }
        let mut server_name = text(options, "server_name");
        if let Some(name) = &server_name
            && ServerName::try_from(name.value.as_str()).is_err()
        {
            let hint = "the name alone, without scheme and port, as in \"splunk.example\" or \"10.0.0.5\"";
            options.errors.push(mistake(name.span, "`server_name` is neither a host name nor an IP address", hint));
            server_name = None;
        }
        Tls {
            ca,
            certificate: certificate.map(|t| t.value.into()),
            key: key.map(|t| t.value.into()),
            server_name: server_name.map(|t| t.value),
        }
    }

    /// True when any of the keys was given: a sink whose address is plain refuses them then.
    pub fn is_set(&self) -> bool {
        *self != Tls::default()
    }

    /// The files, for `CheckedSink::files`.
    pub fn files(&self) -> Vec<PathBuf> {
        [&self.ca, &self.certificate, &self.key].into_iter().flatten().cloned().collect()
    }

    /// The effective options, for `CheckedSink::settings`: paths only, never what is in them.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let shown = |p: &PathBuf| p.display().to_string();
        let mut settings = vec![("ca", self.ca.as_ref().map_or("the system's".to_string(), shown))];
        settings.extend(self.certificate.as_ref().map(|p| ("certificate", shown(p))));
        settings.extend(self.key.as_ref().map(|p| ("key", shown(p))));
        settings.extend(self.server_name.as_ref().map(|name| ("server_name", name.clone())));
        settings
    }

    /// The name that the server's certificate must be for, where it is not the address's host.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// What to connect with. With `server_name` set, the certificate is checked against that name, whatever name the client connects with; who can
    /// should connect with [`server_name`](Self::server_name) as well, so that SNI asks for the right certificate.
    ///
    /// Without `ca` the system's CAs are read from the disk: not through [`Env`], since which files those are is the system's business
    /// (the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured).
    ///
    /// # Errors
    /// A file can't be read, or holds something else than it should; answer with `Blocked`.
    pub async fn client(&self, env: &dyn Env) -> Result<Client, Cause> {
        let roots = match &self.ca {
            Some(path) => roots::of(path, pem::certificates(path, &env.file(path).await?)?)?,
            None => roots::system().await?,
        };
        let name = self.server_name.as_ref().map(|name| {
            // `read` has looked at it; said again rather than assumed
            ServerName::try_from(name.clone()).map_err(|error| Cause(format!("server_name can't be used: {error}")))
        });
        let refused = Arc::new(Refused::default());
        let inner = Some(client::verifier(roots)?);
        let config =
            client::builder(Keeper { inner, name: name.transpose()?, target: None, refused: refused.clone() })?;
        let config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let chain = pem::certificates(certificate, &env.file(certificate).await?)?;
                let private = pem::key(key, &env.file(key).await?)?;
                config.with_client_auth_cert(chain, private).map_err(|error| pem::unusable(certificate, key, &error))?
            }
            _ => config.with_no_client_auth(),
        };
        Ok(Client::new(config, refused))
    }

    /// The files' text, for a library that reads PEM itself (librdkafka). What can be checked here is: the words are better than OpenSSL's.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub async fn pem(&self, env: &dyn Env) -> Result<Pem, Cause> {
        let mut pem = Pem::default();
        if let Some(path) = &self.ca {
            let bytes = env.file(path).await?;
            roots::of(path, pem::certificates(path, &bytes)?)?;
            pem.ca = Some(pem::utf8(path, &bytes)?);
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            let (public, private) = (env.file(certificate).await?, env.file(key).await?);
            let (chain, der) = (pem::certificates(certificate, &public)?, pem::key(key, &private)?);
            rustls::sign::CertifiedKey::from_der(chain, der, &ring::default_provider())
                .map_err(|error| pem::unusable(certificate, key, &error))?;
            pem.certificate = Some(pem::utf8(certificate, &public)?);
            pem.key = Some(pem::utf8(key, &private)?.into());
        }
        Ok(pem)
    }
}
