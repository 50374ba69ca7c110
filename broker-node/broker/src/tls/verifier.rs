//! What rustls asks about a client's certificate, answered from the view.

use std::sync::Arc;

use arc_swap::ArcSwap;
use revoq_credentials::{Cause, ClientCertificate, State, Verdict, View};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::signature;
use super::trust::{Identity, Trust};
use crate::clock::{self, Now};

/// Refuses inside the handshake what is known to be denied. A leaf that nobody vouches for passes once its
/// signature is proved: whether it is registered takes a look-up, and the handshake is no place to wait for one.
///
/// A resumed handshake asks none of this, so the verdict is repeated after every handshake.
#[derive(Debug)]
pub(crate) struct Verifier {
    view: Arc<ArcSwap<View>>,
    trust: Arc<Trust>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(crate) fn new(
        view: Arc<ArcSwap<View>>,
        trust: Arc<Trust>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Verifier {
        Verifier { view, trust, algorithms }
    }

    fn client_certificate(&self) -> ClientCertificate {
        self.view.load().settings().client_certificate
    }

    fn judge(&self, chain: &[CertificateDer<'_>], now: Now) -> Result<(), CertificateError> {
        let identity = self.trust.identify(chain, now.millis())?;
        let view = self.view.load();
        match identity {
            Identity::Vouched(principal) => match view.verdict(&principal, now.millis()) {
                Verdict::Allow => Ok(()),
                Verdict::Deny(cause) => Err(refusal(&cause)),
            },
            Identity::Unknown { fingerprint, .. } if view.denied(&fingerprint).is_some() => {
                Err(CertificateError::Revoked)
            }
            Identity::Unknown { not_after, .. } if not_after <= now.millis() => {
                Err(CertificateError::Expired)
            }
            Identity::Unknown { .. } => Ok(()),
        }
    }
}

/// The alert that says most of a cause, RFC 8446 section 6.2.
fn refusal(cause: &Cause) -> CertificateError {
    match cause {
        Cause::Expired => CertificateError::Expired,
        Cause::AuthorityUnknown => CertificateError::UnknownIssuer,
        Cause::Certificate(State::Suspended | State::Revoked | State::Deleted)
        | Cause::Authority(_)
        | Cause::Tenant(_) => CertificateError::Revoked,
        _ => CertificateError::ApplicationVerificationFailure,
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.client_certificate() != ClientCertificate::Off
    }

    fn client_auth_mandatory(&self) -> bool {
        self.client_certificate() == ClientCertificate::Required
    }

    /// None: the list may be long, changes at run time, and clients of one certificate do not need it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        self.judge(&chain, clock::now())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature::verify_tls12(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature::verify_tls13(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
