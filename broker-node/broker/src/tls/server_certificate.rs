//! The certificate that the TLS listener shows, replaced at run time.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use revoq_credentials::{Millis, x509};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::provider;
use crate::Error;

/// Shows the latest certificate; without one, handshakes fail.
#[derive(Debug, Default)]
pub(crate) struct ServerCertificate {
    current: ArcSwapOption<CertifiedKey>,
}

impl ServerCertificate {
    pub(crate) fn set(&self, certificate: CertifiedKey) {
        self.current.store(Some(Arc::new(certificate)));
    }

    pub(crate) fn is_set(&self) -> bool {
        self.current.load().is_some()
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}

/// Reads certificate and key from PEM files and checks that they belong together.
pub(crate) fn from_files(certificate: &Path, key: &Path) -> Result<CertifiedKey, Error> {
    let unreadable = |path: &Path, error: rustls::pki_types::pem::Error| Error::Certificate {
        what: path.display().to_string(),
        problem: error.to_string(),
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| unreadable(certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    certified(chain, key, &certificate.display().to_string())
}

/// A request for a certificate with these names, and the key to keep.
pub(crate) fn new_request(names: &[String]) -> Result<(Vec<u8>, KeyPair), Error> {
    let wrong =
        |error: rcgen::Error| Error::Certificate { what: "tls_names".to_owned(), problem: error.to_string() };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(wrong)?;
    let mut parameters = CertificateParams::default();
    for name in names {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into().map_err(wrong)?),
        };
        parameters.subject_alt_names.push(name);
    }
    let request = parameters.serialize_request(&key).map_err(wrong)?;
    Ok((request.der().to_vec(), key))
}

/// What the control plane issued for a request, and from when on it should be renewed: two thirds of its life.
pub(crate) fn from_issued(chain: Vec<Vec<u8>>, key: &KeyPair) -> Result<(CertifiedKey, Millis), Error> {
    let what = "the server certificate that the control plane issued";
    let wrong = |problem: String| Error::Certificate { what: what.to_owned(), problem };
    let leaf = chain.first().ok_or_else(|| wrong("it is empty".to_owned()))?;
    let parsed = x509::parse(leaf).map_err(|error| wrong(error.to_string()))?;
    let life = parsed.not_after.0.saturating_sub(parsed.not_before.0);
    let renew = Millis(parsed.not_before.0 + life / 3 * 2);
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((certified(chain, key, what)?, renew))
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    what: &str,
) -> Result<CertifiedKey, Error> {
    CertifiedKey::from_der(chain, key, &provider())
        .map_err(|error| Error::Certificate { what: what.to_owned(), problem: error.to_string() })
}
