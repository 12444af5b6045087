//! Certificates for tests, made anew each time: a CA, servers good and bad, clients known and unknown.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// A certificate and its private key, in PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, signed by a CA of [`Certificates`].
    pub certificate: String,
    /// Its key, PKCS#8.
    pub key: String,
}

/// What a test of TLS needs. Valid from 2020 to 2100, but for [`expired`](Self::expired).
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The CA of everything but [`stranger`](Self::stranger), in PEM.
    pub ca: String,
    /// A CA that issued none of the servers: who trusts only this one finds an unknown issuer.
    pub other_ca: String,
    /// For `127.0.0.1`, `::1` and `localhost`.
    pub server: Identity,
    /// For `elsewhere.example` only.
    pub elsewhere: Identity,
    /// For `127.0.0.1` and `localhost`; it ended with 2020.
    pub expired: Identity,
    /// A client certificate.
    pub client: Identity,
    /// A client certificate from [`other_ca`](Self::other_ca): servers refuse it.
    pub stranger: Identity,
}

impl Certificates {
    /// New keys and certificates, P-256: some milliseconds.
    ///
    /// # Panics
    /// When the machine gives no random bytes.
    #[expect(clippy::new_without_default, reason = "it makes keys; that is not what `default` says")]
    pub fn new() -> Self {
        let (ca, issuer) = authority("auditferry test CA");
        let (other_ca, other) = authority("another test CA");
        let here = ["127.0.0.1", "::1", "localhost"];
        let server = ExtendedKeyUsagePurpose::ServerAuth;
        let client = ExtendedKeyUsagePurpose::ClientAuth;
        Certificates {
            ca,
            other_ca,
            server: identity(&issuer, "server", &here, server.clone(), 2100),
            elsewhere: identity(&issuer, "elsewhere", &["elsewhere.example"], server.clone(), 2100),
            expired: identity(&issuer, "expired", &here, server, 2021),
            client: identity(&issuer, "client", &[], client.clone(), 2100),
            stranger: identity(&other, "stranger", &[], client, 2100),
        }
    }

    /// [`server`](Self::server), asking for no client certificate.
    pub fn open(&self) -> Arc<ServerConfig> {
        self.server.config(None)
    }

    /// [`server`](Self::server), refusing who has no client certificate of [`ca`](Self::ca).
    pub fn mutual(&self) -> Arc<ServerConfig> {
        self.server.config(Some(&self.ca))
    }
}

impl Identity {
    /// A server that shows this certificate, TLS 1.2 and 1.3; with `client_ca` it refuses clients without a certificate of that CA.
    ///
    /// # Panics
    /// When the PEM was replaced by something else.
    pub fn config(&self, client_ca: Option<&str>) -> Arc<ServerConfig> {
        self.config_with(client_ca, rustls::ALL_VERSIONS)
    }

    /// As [`config`](Self::config), with these versions of TLS only.
    ///
    /// # Panics
    /// As [`config`](Self::config).
    pub fn config_with(
        &self,
        client_ca: Option<&str>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions);
        let builder = builder.expect("versions that ring knows");
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).expect("a CA in PEM")).expect("a CA");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("one CA and no revocation list"))
            }
        };
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate in PEM");
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key in PEM");
        Arc::new(builder.with_single_cert(vec![certificate], key).expect("they belong together"))
    }
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut params = parameters(name, &[], 2100);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("random bytes");
    let certificate = params.self_signed(&key).expect("a CA");
    (certificate.pem(), Issuer::new(params, key))
}

fn identity(
    issuer: &Issuer<'static, KeyPair>,
    name: &str,
    hosts: &[&str],
    usage: ExtendedKeyUsagePurpose,
    until: i32,
) -> Identity {
    let mut params = parameters(name, hosts, until);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().expect("random bytes");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    Identity { certificate: certificate.pem(), key: key.serialize_pem() }
}

/// What all have in common; it ends with the day before `until` begins.
fn parameters(name: &str, hosts: &[&str], until: i32) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| host.to_string()).collect();
    let mut params = CertificateParams::new(hosts).expect("names that a certificate can hold");
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
    params
}
