pub(crate) mod certificates;
mod handshakes;
mod resumption;
mod server_names;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use revoq_credentials::View;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, ServerConnection,
    SignatureScheme, SupportedProtocolVersion,
};

use super::*;
use certificates::{Leaf, self_signed_ca};

/// A node's side of TLS, in memory.
pub(crate) struct Side {
    pub(crate) view: Arc<ArcSwap<View>>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) certificate: Arc<ServerCertificate>,
    pub(crate) config: Arc<ServerConfig>,
}

impl Side {
    pub(crate) fn new(view: View) -> Side {
        let algorithms = provider().signature_verification_algorithms;
        let trust = Arc::new(Trust::new(algorithms, 100));
        trust.update(&view);
        let view = Arc::new(ArcSwap::from_pointee(view));
        let verifier = Verifier::new(view.clone(), trust.clone(), algorithms);
        let (tickets, certificate) = (Arc::<Tickets>::default(), Arc::<ServerCertificate>::default());
        let leaf = self_signed_ca();
        let certified = CertifiedKey::from_der(leaf.chain(), leaf.key(), &provider()).expect("they fit");
        certificate.set(certified, Vec::new());
        let config = server_config(Arc::new(verifier), tickets.clone(), certificate.clone(), Carries::Mqtt)
            .expect("a configuration");
        Side { view, trust, tickets, certificate, config: Arc::new(config) }
    }

    pub(crate) fn publish(&self, view: View) {
        self.trust.update(&view);
        self.view.store(Arc::new(view));
    }
}

/// A client that trusts any server, as this is not about servers.
pub(crate) fn client(leaf: Option<&Leaf>, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    counting_client(leaf, version).0
}

/// With the number of full handshakes: a resumed one shows no server certificate.
pub(crate) fn counting_client(
    leaf: Option<&Leaf>,
    version: &'static SupportedProtocolVersion,
) -> (Arc<ClientConfig>, Arc<AtomicUsize>) {
    let full = Arc::<AtomicUsize>::default();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(full.clone())))
        .with_no_client_auth();
    if let Some(leaf) = leaf {
        config.client_auth_cert_resolver = resolver(leaf.chain(), leaf);
    }
    config.resumption = Resumption::in_memory_sessions(8);
    (Arc::new(config), full)
}

/// Shows a chain and signs with a key, without looking whether they fit, or whether the certificate is to rustls's taste.
pub(crate) fn resolver(chain: Vec<CertificateDer<'static>>, key: &Leaf) -> Arc<SingleCertAndKey> {
    let key = provider().key_provider.load_private_key(key.key()).expect("a key");
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)))
}

/// The errors of both sides.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) server: Error,
    pub(crate) client: Option<Error>,
}

/// A handshake in memory: the server's end.
pub(crate) fn connect(side: &Side, client: &Arc<ClientConfig>) -> Result<ServerConnection, Box<Failed>> {
    let name = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(client.clone(), name).expect("a client");
    shake(side, client).map(|(server, _)| server)
}

/// A handshake of this client: both ends.
pub(crate) fn shake(
    side: &Side,
    mut client: ClientConnection,
) -> Result<(ServerConnection, ClientConnection), Box<Failed>> {
    let mut server = ServerConnection::new(side.config.clone()).expect("a server");
    let mut failed = None;
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("memory takes it");
        }
        let mut wire = &wire[..];
        while !wire.is_empty() && failed.is_none() {
            server.read_tls(&mut wire).expect("memory gives it");
            failed = server.process_new_packets().err();
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("memory takes it");
        }
        let mut wire = &wire[..];
        while !wire.is_empty() {
            client.read_tls(&mut wire).expect("memory gives it");
            if let Err(error) = client.process_new_packets() {
                let server = failed.unwrap_or(Error::HandshakeNotComplete);
                return Err(Box::new(Failed { server, client: Some(error) }));
            }
        }
        if let Some(failed) = failed {
            return Err(Box::new(Failed { server: failed, client: None }));
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking(), "the handshake does not end");
    Ok((server, client))
}

#[derive(Debug)]
struct Anyone(Arc<AtomicUsize>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
