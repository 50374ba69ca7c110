//! The handshake signature, verified by the bare public key of the leaf.
//!
//! WebPKI refuses to read X.509 v1, and what is registered as it is need not please it. The proof of possession
//! needs nothing of a certificate but its key.

use revoq_credentials::x509;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};
use webpki::{EndEntityCert, RawPublicKeyEntity};

/// TLS 1.3, RFC 8446 section 4.4.3.
pub(super) fn verify_tls13(
    message: &[u8],
    leaf: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature_with_raw_key(message, &public_key(leaf)?, signed, algorithms)
}

/// TLS 1.2, RFC 5246 section 7.4.8. An ECDSA scheme there does not name the curve, so several algorithms may fit.
pub(super) fn verify_tls12(
    message: &[u8],
    leaf: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let key = public_key(leaf)?;
    let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
    let fitting = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
    let (_, fitting) = fitting.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    for algorithm in *fitting {
        if key.verify_signature(*algorithm, message, signed.signature()).is_ok() {
            return Ok(HandshakeSignatureValid::assertion());
        }
    }
    Err(CertificateError::BadSignature.into())
}

/// WebPKI looks at less than a whole parse does, where it reads the certificate at all.
fn public_key(leaf: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    if let Ok(leaf) = EndEntityCert::try_from(leaf) {
        return Ok(leaf.subject_public_key_info());
    }
    let parsed = x509::parse(leaf).map_err(|_| CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(parsed.spki))
}
