//! From the first byte to the end of the TLS handshake.

use std::time::Duration;

use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::admission::Evidence;
use crate::clock;
use crate::listener::Slots;
use crate::node::Node;
use crate::registry::Transport;
use crate::tls::WRITE_BUFFER_MAX;

/// The content type of a TLS record that starts a handshake, RFC 8446 section 5.1.
const HANDSHAKE: u8 = 0x16;
/// After a failed handshake the client is given this long to read the alert.
const ALERT_LINGER: Duration = Duration::from_secs(1);
/// The part of that in which its bytes are thrown away.
const ALERT_LINGER_BYTES: u64 = 64 * 1024;

/// Performs a handshake, or counts why there is none.
pub(super) async fn handshake(
    node: &Node,
    slots: &Slots,
    socket: TcpStream,
    tls: &TlsAcceptor,
) -> Option<(Box<TlsStream<TcpStream>>, Evidence, Transport)> {
    let Ok(permit) = slots.handshakes.try_acquire() else {
        node.metrics.limits.handshakes.inc();
        return None;
    };
    let handshakes = &node.metrics.handshakes;
    let accepted = tokio::time::timeout(node.limits.handshake_timeout, accept(node, socket, tls)).await;
    drop(permit);
    match accepted {
        Err(_) => {
            handshakes.timed_out.inc();
            None
        }
        Ok(Accepted::NotTls) => None,
        Ok(Accepted::Failed(socket)) => {
            handshakes.failed.inc();
            let _ = tokio::time::timeout(ALERT_LINGER, linger(socket)).await;
            None
        }
        Ok(Accepted::Done(mut stream)) => {
            let (_, connection) = stream.get_mut();
            connection.set_buffer_limit(Some(WRITE_BUFFER_MAX));
            match connection.handshake_kind() {
                Some(HandshakeKind::Resumed) => handshakes.resumed.inc(),
                _ => handshakes.full.inc(),
            };
            let (evidence, transport) = (evidence(node, connection), transport(connection));
            Some((stream, evidence, transport))
        }
    }
}

enum Accepted {
    Done(Box<TlsStream<TcpStream>>),
    Failed(TcpStream),
    NotTls,
}

async fn accept(node: &Node, socket: TcpStream, tls: &TlsAcceptor) -> Accepted {
    let mut first = [0];
    if !matches!(socket.peek(&mut first).await, Ok(1)) {
        return Accepted::NotTls;
    }
    if first[0] != HANDSHAKE {
        node.metrics.handshakes.not_tls.inc();
        // Unread bytes would turn the close into a reset.
        let _ = socket.try_read(&mut [0; 1024]);
        return Accepted::NotTls;
    }
    match tls.accept(socket).into_fallible().await {
        Ok(stream) => Accepted::Done(Box::new(stream)),
        Err((error, socket)) => {
            tracing::debug!(%error, "TLS handshake failed");
            Accepted::Failed(socket)
        }
    }
}

/// Lets the client read the alert: a socket that is closed over unread bytes resets, and the alert may be lost.
async fn linger(mut socket: TcpStream) {
    if socket.shutdown().await.is_err() {
        return;
    }
    let mut left = ALERT_LINGER_BYTES;
    let mut scrap = [0; 512];
    while let Ok(count @ 1..) = socket.read(&mut scrap).await {
        left = left.saturating_sub(count as u64);
        if left == 0 {
            return;
        }
    }
}

/// Who the client is, taken from the connection and not from the verifier, which resumed handshakes do not ask.
fn evidence(node: &Node, connection: &ServerConnection) -> Evidence {
    match connection.peer_certificates() {
        None | Some([]) => Evidence::Anonymous,
        Some(chain) => match node.trust.identify(chain, clock::now().millis()) {
            Ok(identity) => Evidence::Identity(identity),
            Err(error) => Evidence::Invalid(error),
        },
    }
}

fn transport(connection: &ServerConnection) -> Transport {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => Transport::Tls12,
        _ => Transport::Tls13,
    }
}
