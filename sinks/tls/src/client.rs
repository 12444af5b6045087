//! A configuration for rustls that remembers whom it refused.

use std::{error::Error as StdError, fmt, sync::Arc};

use auditferry_contract::Cause;
use rustls::{
    ClientConfig, RootCertStore,
    client::{WantsClientCert, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, ring},
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};

use crate::{
    explain, roots,
    shown::{Keeper, Refused, Shown},
};

/// What a TLS client connects with. Cheap to clone; clones share what they remember.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    refused: Arc<Refused>,
}

impl Client {
    /// For rustls, and for whatever HTTP client takes one.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// As [`explain`](crate::explain()); where a connection of this client refused a certificate, the words also name its subject, its issuer, and what the
    /// last of the chain is.
    pub fn explain(&self, error: &(dyn StdError + 'static)) -> Option<String> {
        explain::words(error, |why| self.refused.shown(why))
    }

    pub(crate) fn new(config: ClientConfig, refused: Arc<Refused>) -> Client {
        Client { config: Arc::new(config), refused }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client(…)")
    }
}

/// For looking at the chain that one host presents: whoever connects with this [`config`](Self::config) never gets further than the handshake there.
#[derive(Clone, Debug)]
pub struct Inspection {
    client: Client,
    no_roots: Option<Cause>,
}

impl Inspection {
    /// Of `host` (a DNS name, or an IP address without brackets), by a client that trusts the system's CAs and those of `ca` (PEM; what can't be used as a CA is
    /// left out). `host` is refused **whoever vouches for it**, so nothing is ever sent to it but the handshake. A peer of another name on the way,
    /// a proxy reached by TLS, must be trusted as ever.
    ///
    /// Reads the system's CAs from the disk.
    ///
    /// # Errors
    /// `host` is no name for TLS; this build has neither TLS 1.2 nor 1.3.
    pub async fn of(host: &str, ca: Option<&[u8]>) -> Result<Inspection, Cause> {
        let target = ServerName::try_from(host.to_owned());
        let target = target.map_err(|error| Cause(format!("{host} is no name for TLS: {error}")))?;
        let (mut roots, no_roots) = match roots::system().await {
            Ok(roots) => (roots, None),
            Err(cause) => (RootCertStore::empty(), Some(cause)),
        };
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca.unwrap_or_default()).flatten());
        // with a CA of one's own none of the system's need be there
        let no_roots = no_roots.filter(|_| roots.is_empty());
        let inner = if roots.is_empty() { None } else { Some(verifier(roots)?) };
        let refused = Arc::new(Refused::default());
        let keeper = Keeper { inner, name: None, target: Some(target), refused: refused.clone() };
        let config = builder(keeper)?.with_no_client_auth();
        Ok(Inspection { client: Client::new(config, refused), no_roots })
    }

    /// To connect with: TLS 1.2 and 1.3, no ALPN; the server name is the connecting library's to give, and must be the host.
    pub fn config(&self) -> ClientConfig {
        (*self.client.config).clone()
    }

    /// What the host showed, once a connection has failed; `None`: it did not get that far.
    pub fn shown(&self) -> Option<Shown> {
        self.client.refused.last()
    }

    /// Why no CA of the system is trusted, where none is there; nobody's certificate is known then.
    pub fn no_roots(&self) -> Option<&Cause> {
        self.no_roots.as_ref()
    }
}

pub(crate) fn verifier(roots: RootCertStore) -> Result<Arc<dyn ServerCertVerifier>, Cause> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    verifier
        .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
        .map_err(|error| Cause(format!("the trusted CAs can't be used: {error}")))
}

type Builder = rustls::ConfigBuilder<ClientConfig, WantsClientCert>;

pub(crate) fn builder(keeper: Keeper) -> Result<Builder, Cause> {
    // given explicitly: the process's default may be another one, or none
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Cause(format!("TLS 1.2 and 1.3 can't be used: {error}")))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(keeper)))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
