//! What the TLS library alone needs for the same handshakes, in memory. It verifies the client's chain in each full one; a broker
//! node remembers what it has verified.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustix::time::{ClockId, clock_gettime};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection};

use crate::load::tls;
use crate::servers::Authority;

/// Before the first that counts.
const WARM: usize = 32;
/// A handshake is done long before.
const FLIGHTS_MAX: usize = 8;

/// Microseconds of the server's side of `count` handshakes, for each: full, or resumed by tickets.
pub(super) fn measure(count: usize, resume: bool) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(folder.path())?;
    let (server, client) = (server(&authority)?, tls(&authority.credentials, resume)?);
    let mut used = 0;
    for n in 0..WARM + count {
        let (nanoseconds, kind) = handshake(&server, &client)?;
        let expected = if resume && n > 0 { HandshakeKind::Resumed } else { HandshakeKind::Full };
        ensure!(kind == expected, "a handshake was {kind:?}");
        used += if n < WARM { 0 } else { nanoseconds };
    }
    Ok(used as f64 / 1e3 / count as f64)
}

/// As a broker node has it.
fn server(authority: &Authority) -> Result<Arc<ServerConfig>> {
    let cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let provider = Arc::new(CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() });
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&authority.root)?)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build()?;
    let chain = vec![CertificateDer::from_pem_file(&authority.certificate)?];
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(&authority.key)?)?;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// Nanoseconds of the server's side, and how it was agreed.
fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Result<(u64, HandshakeKind)> {
    let mut client = ClientConnection::new(client.clone(), ServerName::try_from("localhost")?)?;
    let mut used = 0;
    let mut begun = now();
    let mut server = ServerConnection::new(server.clone())?;
    used += now() - begun;
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for _ in 0..FLIGHTS_MAX {
        while client.wants_write() {
            client.write_tls(&mut there)?;
        }
        begun = now();
        let mut records = &there[..];
        while !records.is_empty() {
            server.read_tls(&mut records)?;
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut back)?;
        }
        used += now() - begun;
        let mut records = &back[..];
        while !records.is_empty() {
            client.read_tls(&mut records)?;
            client.process_new_packets()?;
        }
        if !server.is_handshaking() && !client.is_handshaking() {
            return Ok((used, server.handshake_kind().context("it is done")?));
        }
        there.clear();
        back.clear();
    }
    bail!("no handshake after {FLIGHTS_MAX} flights")
}

/// Nanoseconds that this thread has run.
fn now() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resumed_ones_need_less() {
        let (full, resumed) =
            (measure(50, false).expect("they agree"), measure(50, true).expect("they agree"));
        assert!(0.0 < resumed && resumed < full, "{resumed} {full}");
    }
}
