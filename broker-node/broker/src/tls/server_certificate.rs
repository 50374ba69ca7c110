//! The certificates that TLS listeners show, replaced at run time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use revoq_credentials::{Millis, x509};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::provider;
use crate::Error;

/// Shows the latest certificate that is for the name that the client asks for; without any, handshakes fail.
#[derive(Debug, Default)]
pub(crate) struct ServerCertificate {
    current: ArcSwapOption<Shown>,
}

#[derive(Debug)]
struct Shown {
    /// For clients that ask for another name or for none.
    first: Arc<CertifiedKey>,
    /// DNS names, in lower case, of all; wildcards with their star.
    names: HashMap<String, Arc<CertifiedKey>>,
}

impl ServerCertificate {
    /// Replaces all. Of two for one name the former is shown.
    pub(crate) fn set(&self, first: CertifiedKey, others: Vec<CertifiedKey>) {
        let first = Arc::new(first);
        let mut names = HashMap::new();
        for certificate in std::iter::once(first.clone()).chain(others.into_iter().map(Arc::new)) {
            for name in dns_names(&certificate) {
                names.entry(name).or_insert_with(|| certificate.clone());
            }
        }
        self.current.store(Some(Arc::new(Shown { first, names })));
    }

    pub(crate) fn is_set(&self) -> bool {
        self.current.load().is_some()
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.current.load();
        let shown = shown.as_ref()?;
        let named = hello.server_name().and_then(|name| shown.find(name));
        Some(named.unwrap_or(&shown.first).clone())
    }
}

impl Shown {
    /// By a name in lower case, as rustls gives it. A star stands for the first label, RFC 6125 section 6.4.3.
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let wildcard = || self.names.get(&format!("*.{}", name.split_once('.')?.1));
        self.names.get(name).or_else(wildcard)
    }
}

/// The names that a client may ask for to be shown this one; none where it cannot be read, such as X.509 v1.
fn dns_names(certificate: &CertifiedKey) -> Vec<String> {
    let leaf = certificate.cert.first().and_then(|leaf| EndEntityCert::try_from(leaf).ok());
    leaf.map(|leaf| leaf.valid_dns_names().map(str::to_ascii_lowercase).collect()).unwrap_or_default()
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
