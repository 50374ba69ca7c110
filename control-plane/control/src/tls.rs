//! TLS of the gRPC listener, and who the peer says it is.

use std::sync::Arc;
use std::time::Duration;

use revoq_credentials::{Fingerprint, Millis, x509};
use revoq_proto::client::Identity;
use revoq_proto::pem;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::error::Error;
use crate::signer::ClusterRole;

/// The listener's configuration: TLS 1.3 and 1.2, client certificates optional, no resumption. A resumed
/// handshake asks no verifier, and the connections of this API are long-lived.
pub(crate) fn server(identity: &Identity) -> Result<ServerConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = PeerVerifier::new(&identity.authority_pem, &provider)?;
    let chain = certificates("certificate.pem", &identity.certificates_pem)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(tls)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, key(&identity.key_pem)?)
        .map_err(tls)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn tls(error: rustls::Error) -> Error {
    Error::Tls(error.to_string())
}

fn certificates(what: &str, text: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let list =
        pem::decode_all(what, pem::CERTIFICATE, text).map_err(|error| Error::Tls(error.to_string()))?;
    Ok(list.into_iter().map(CertificateDer::from).collect())
}

fn key(text: &str) -> Result<PrivateKeyDer<'static>, Error> {
    let mut list =
        pem::decode_all("key.pem", pem::PRIVATE_KEY, text).map_err(|error| Error::Tls(error.to_string()))?;
    Ok(PrivatePkcs8KeyDer::from(list.swap_remove(0)).into())
}

/// Takes certificates of the cluster authority, and expired ones too: whoever holds one shall be told so by an
/// answer, and not by a broken connection. Their calls are refused.
#[derive(Debug)]
struct PeerVerifier {
    inner: Arc<dyn ClientCertVerifier>,
}

impl PeerVerifier {
    fn new(authority_pem: &str, provider: &Arc<CryptoProvider>) -> Result<PeerVerifier, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("authority.pem", authority_pem)? {
            roots.add(certificate).map_err(tls)?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let inner = builder
            .allow_unauthenticated()
            .clear_root_hint_subjects()
            .build()
            .map_err(|error| Error::Tls(error.to_string()))?;
        Ok(PeerVerifier { inner })
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verdict = self.inner.verify_client_cert(leaf, chain, now);
        match verdict {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => {
                let parsed = x509::parse(leaf).map_err(|_| CertificateError::BadEncoding)?;
                let end = UnixTime::since_unix_epoch(Duration::from_millis(parsed.not_after.0));
                self.inner.verify_client_cert(leaf, chain, end)
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What a certificate of the cluster authority says; its chain was verified in the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerCertificate {
    pub(crate) fingerprint: Fingerprint,
    /// `None` for a subject organization that means nothing to us.
    pub(crate) role: Option<ClusterRole>,
    /// The subject common name.
    pub(crate) name: String,
    pub(crate) not_before: Millis,
    pub(crate) not_after: Millis,
}

impl PeerCertificate {
    pub(crate) fn read(der: &[u8]) -> Option<PeerCertificate> {
        let parsed = x509::parse(der).ok()?;
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let organization = subject.iter_organization().next().and_then(|name| name.as_str().ok());
        let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
        Some(PeerCertificate {
            fingerprint: Fingerprint::of(der),
            role: organization.and_then(ClusterRole::parse),
            name: name.unwrap_or_default().to_owned(),
            not_before: parsed.not_before,
            not_after: parsed.not_after,
        })
    }
}

#[cfg(test)]
mod tests;
