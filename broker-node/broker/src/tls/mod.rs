//! TLS towards devices: who they are, tickets, and the server's own certificate.

mod keeper;
mod server_certificate;
mod signature;
mod socket;
#[cfg(test)]
pub(crate) mod tests;
mod tickets;
mod trust;
mod verifier;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};

pub(crate) use keeper::Source;
pub(crate) use server_certificate::ServerCertificate;
use server_certificate::{from_files, from_issued, new_request};
pub(crate) use socket::TlsSocket;
pub(crate) use tickets::Tickets;
pub(crate) use trust::{Identity, Trust};
pub(crate) use verifier::Verifier;

/// Plaintext that TLS may hold for a client that does not read, bytes.
pub(crate) const WRITE_BUFFER_MAX: usize = 32 * 1024;

/// The provider that every TLS configuration of this crate names: no process-wide default is relied on.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What a TLS listener carries, as ALPN names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    Mqtt,
    /// The start of a WebSocket; browsers offer it.
    Http,
}

impl Carries {
    /// A client that offers none of these but others is refused in the handshake, RFC 7301 section 3.2; one that offers
    /// nothing is let in.
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            // The second is what devices of AWS IoT Core ask for.
            Carries::Mqtt => vec![b"mqtt".to_vec(), b"x-amzn-mqtt-ca".to_vec()],
            Carries::Http => vec![b"http/1.1".to_vec()],
        }
    }
}

/// AES-128 with SHA-256 before AES-256 with SHA-384, whatever the client puts first: processors have instructions for
/// SHA-256, and the key schedule of a handshake (RFC 8446 section 7.1) is some hundred hashes. It is the cipher suite that
/// every implementation has (section 9.1); a client that offers others alone gets one of those.
fn device_provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let is_first = |suite: &SupportedCipherSuite| {
        matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    };
    provider.cipher_suites.sort_by_key(|suite| !is_first(suite));
    Arc::new(provider)
}

/// The configuration of a TLS listener. Verifier, tickets and certificate change underneath it at run time.
pub(crate) fn server_config(
    verifier: Arc<Verifier>,
    tickets: Arc<Tickets>,
    certificate: Arc<ServerCertificate>,
    carries: Carries,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(device_provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.ignore_client_order = true;
    config.alpn_protocols = carries.protocols();
    config.ticketer = tickets;
    config.send_tls13_tickets = 1;
    // Only tickets, whose keys all nodes share: a cache of this node would resume at this node only.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}
