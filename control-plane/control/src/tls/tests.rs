use std::time::{SystemTime, UNIX_EPOCH};

use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, ServerConnection};

use super::*;
use crate::seal::KeyEncryptionKey;
use crate::signer::{ClusterAuthority, FileSigner, GeneratedKey, NodeRequest, new_cluster_authority};

fn now() -> Millis {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Millis(u64::try_from(now.as_millis()).expect("this millennium"))
}

fn authority(at: Millis) -> Result<ClusterAuthority, Error> {
    let signer = FileSigner::new(Arc::new(KeyEncryptionKey::generate()?));
    let founded = new_cluster_authority(&signer, "test", at)?;
    ClusterAuthority::open(signer, &founded.cluster)
}

fn identity(
    authority: &ClusterAuthority,
    role: ClusterRole,
    at: Millis,
    ttl_ms: u64,
) -> Result<Identity, Error> {
    let key = GeneratedKey::new()?;
    let request =
        NodeRequest { role, name: "somebody", public_key: key.public(), now: at, ttl_ms: Some(ttl_ms) };
    Ok(Identity {
        certificates_pem: pem::encode_certificates(&authority.issue(request)?),
        key_pem: pem::encode(pem::PRIVATE_KEY, &key.private()),
        authority_pem: pem::encode(pem::CERTIFICATE, authority.root()),
    })
}

/// Sends its certificate whatever the server's hints are.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn client(
    trusted: &Identity,
    own: Option<&Identity>,
    version: &'static rustls::SupportedProtocolVersion,
) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in certificates("authority", &trusted.authority_pem).expect("PEM") {
        roots.add(root).expect("a root");
    }
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots);
    let Some(own) = own else { return builder.with_no_client_auth() };
    let chain = certificates("own", &own.certificates_pem).expect("PEM");
    let key = key(&own.key_pem).expect("PEM");
    let certified = CertifiedKey::from_der(chain, key, &provider).expect("a key");
    builder.with_client_cert_resolver(Arc::new(Always(Arc::new(certified))))
}

/// Whom the server sees after the handshake.
fn handshake(server: &Identity, client: ClientConfig) -> Result<Option<PeerCertificate>, rustls::Error> {
    let config = Arc::new(self::server(server).expect("a configuration"));
    let mut server = ServerConnection::new(config)?;
    let name = ServerName::try_from(revoq_proto::SERVER_NAME).expect("a name");
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    while server.is_handshaking() || client.is_handshaking() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory");
        }
        let mut read = bytes.as_slice();
        while !read.is_empty() {
            server.read_tls(&mut read).expect("memory");
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("memory");
        }
        let mut read = bytes.as_slice();
        while !read.is_empty() {
            client.read_tls(&mut read).expect("memory");
            client.process_new_packets()?;
        }
    }
    let leaf = server.peer_certificates().and_then(|chain| chain.first());
    Ok(leaf.and_then(|leaf| PeerCertificate::read(leaf)))
}

const DAY_MS: u64 = 86_400_000;

#[test]
fn expired_certificates_pass_the_handshake_and_strangers_do_not() -> Result<(), Box<dyn std::error::Error>> {
    let now = now();
    let past = now.minus(30 * DAY_MS);
    let authority = authority(past)?;
    let replica = identity(&authority, ClusterRole::Replica, past, 365 * DAY_MS)?;
    let role = ClusterRole::Administrator(revoq_credentials::Role::Auditor);
    let valid = identity(&authority, role, now, DAY_MS)?;
    let expired = identity(&authority, role, past, DAY_MS)?;
    let early = identity(&authority, role, now.plus(DAY_MS), DAY_MS)?;
    let stranger = identity(&self::authority(past)?, role, now, DAY_MS)?;
    for version in [&TLS13, &TLS12] {
        let connect = |own| handshake(&replica, client(&replica, own, version));
        assert_eq!(connect(None)?, None, "anonymous");
        let peer = connect(Some(&valid))?.expect("a certificate");
        assert_eq!((peer.role, peer.name.as_str()), (Some(role), "somebody"));
        assert!(peer.not_after > now);
        let peer = connect(Some(&expired))?.expect("an expired certificate, to be told so");
        assert!(peer.not_after < now);
        assert!(connect(Some(&early)).is_err(), "not valid yet");
        assert!(connect(Some(&stranger)).is_err(), "another cluster's");
    }
    Ok(())
}

#[test]
fn no_session_is_resumed() -> Result<(), Box<dyn std::error::Error>> {
    let authority = authority(now())?;
    let replica = identity(&authority, ClusterRole::Replica, now(), DAY_MS)?;
    let config = server(&replica)?;
    assert_eq!(config.send_tls13_tickets, 0);
    assert!(!config.session_storage.can_cache());
    assert!(!config.ticketer.enabled());
    Ok(())
}
