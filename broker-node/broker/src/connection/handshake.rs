//! From the first byte to the end of the last handshake: TLS, WebSocket, one within the other, or QUIC.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Entrance;
use super::stream::Stream;
use crate::admission::{Arrival, Evidence};
use crate::clock;
use crate::listener::{Layers, Slot, canonical};
use crate::node::Node;
use crate::proxy;
use crate::quic::Quic;
use crate::registry::Transport;
use crate::tls::{TlsSocket, WRITE_BUFFER_MAX};
use crate::websocket::{self, Terms};

/// After a failed handshake the client is given this long to read the alert, or the HTTP answer.
const REFUSAL_LINGER: Duration = Duration::from_secs(1);
/// The part of that in which its bytes are thrown away.
const REFUSAL_LINGER_BYTES: u64 = 64 * 1024;

/// Why there is no connection.
enum Refused {
    /// There is nothing to be told, or nobody.
    Closed,
    /// The client was told, and should be given the time to read it.
    Told(Box<dyn Wire>),
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

/// Performs all handshakes, or counts why there is no connection.
pub(super) async fn handshake(node: &Node, slot: &Slot, entrance: Entrance) -> Option<(Stream, Arrival)> {
    let entrance = match entrance {
        Entrance::Socket(socket, address, layers) if layers.are_none() => {
            let arrival = Arrival { evidence: Evidence::Anonymous, address, transport: Transport::Tcp };
            return Some((Stream::Plain(socket), arrival));
        }
        entrance => entrance,
    };
    let Ok(permit) = slot.slots().handshakes.try_acquire() else {
        node.metrics.limits.handshakes.inc();
        return None;
    };
    let accepted = async {
        match entrance {
            Entrance::Socket(socket, address, layers) => accept(node, slot, socket, address, &layers).await,
            Entrance::Quic(incoming, multi_stream) => accept_quic(node, *incoming, multi_stream).await,
        }
    };
    let accepted = tokio::time::timeout(node.limits.handshake_timeout, accepted).await;
    drop(permit);
    match accepted {
        Ok(Ok(accepted)) => Some(accepted),
        Ok(Err(Refused::Closed)) => None,
        Ok(Err(Refused::Told(wire))) => {
            let _ = tokio::time::timeout(REFUSAL_LINGER, linger(wire)).await;
            None
        }
        Err(_) => {
            node.metrics.handshakes.timed_out.inc();
            None
        }
    }
}

async fn accept(
    node: &Node,
    slot: &Slot,
    mut socket: TcpStream,
    peer: SocketAddr,
    layers: &Layers,
) -> Result<(Stream, Arrival), Refused> {
    let address = if layers.proxy { client_address(node, slot, &mut socket, peer).await? } else { peer };
    let arrival = |evidence, transport| Arrival { evidence, address, transport };
    let Some(tls) = &layers.tls else {
        let arrival = arrival(Evidence::Anonymous, Transport::WebSocket);
        return match &layers.websocket {
            Some(terms) => Ok((Stream::WebSocket(upgrade(node, socket, terms).await?), arrival)),
            None => Ok((Stream::Plain(socket), Arrival { transport: Transport::Tcp, ..arrival })),
        };
    };
    let stream = secure(node, socket, tls).await?;
    let connection = stream.get_ref().1;
    let evidence = evidence(node, connection.peer_certificates());
    let arrival = arrival(evidence, transport(connection, layers.websocket.is_some()));
    match &layers.websocket {
        Some(terms) => Ok((Stream::SecureWebSocket(upgrade(node, stream, terms).await?), arrival)),
        None => Ok((Stream::Tls(Box::new(stream)), arrival)),
    }
}

/// The address that a balancer names, or its own where it names none.
async fn client_address(
    node: &Node,
    slot: &Slot,
    socket: &mut TcpStream,
    peer: SocketAddr,
) -> Result<SocketAddr, Refused> {
    let named = proxy::read(socket).await.map_err(|fault| {
        tracing::debug!(%peer, %fault, "closed");
        node.metrics.handshakes.no_proxy_header.inc();
        Refused::Closed
    })?;
    let address = canonical(named.unwrap_or(peer));
    if slot.arrive(address) { Ok(address) } else { Err(Refused::Closed) }
}

async fn secure(node: &Node, socket: TcpStream, tls: &TlsAcceptor) -> Result<TlsStream<TlsSocket>, Refused> {
    let handshakes = &node.metrics.handshakes;
    match tls.accept(TlsSocket::new(socket)).into_fallible().await {
        Ok(mut stream) => {
            let (socket, connection) = stream.get_mut();
            socket.open();
            connection.set_buffer_limit(Some(WRITE_BUFFER_MAX));
            match connection.handshake_kind() {
                Some(HandshakeKind::Resumed) => handshakes.resumed.inc(),
                _ => handshakes.full.inc(),
            };
            Ok(stream)
        }
        Err((_, socket)) if socket.is_silent() => Err(Refused::Closed),
        Err((_, socket)) if socket.is_foreign() => {
            handshakes.not_tls.inc();
            Err(Refused::Closed)
        }
        Err((error, socket)) => {
            tracing::debug!(%error, "TLS handshake failed");
            handshakes.failed.inc();
            Err(Refused::Told(Box::new(socket)))
        }
    }
}

async fn upgrade<S: Wire + 'static>(
    node: &Node,
    stream: S,
    terms: &Terms,
) -> Result<Box<websocket::WebSocket<S>>, Refused> {
    match websocket::upgrade(stream, terms, node.limits.packet_size_max).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(websocket::Refused::Gone) => Err(Refused::Closed),
        Err(websocket::Refused::Told(stream)) => {
            node.metrics.handshakes.no_websocket.inc();
            Err(Refused::Told(Box::new(stream)))
        }
    }
}

/// The handshake, and the stream that the client opens: it is there when its first byte is.
async fn accept_quic(
    node: &Node,
    incoming: quinn::Incoming,
    multi_stream: bool,
) -> Result<(Stream, Arrival), Refused> {
    let connecting = async { incoming.accept()?.await };
    let connection = connecting.await.map_err(|error| {
        tracing::debug!(%error, "QUIC handshake failed");
        node.metrics.handshakes.failed.inc();
        Refused::Closed
    })?;
    node.metrics.handshakes.quic.inc();
    let streams = connection.accept_bi().await.map_err(|_| Refused::Closed)?;
    let identity = connection.peer_identity();
    let chain = identity.and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let arrival = Arrival {
        evidence: evidence(node, chain.as_ref().map(|chain| &chain[..])),
        address: canonical(connection.remote_address()),
        transport: Transport::Quic,
    };
    Ok((Stream::Quic(Box::new(Quic::new(connection, streams, multi_stream))), arrival))
}

/// Lets the client read what it was told: a socket that is closed over unread bytes resets, and that may be lost.
async fn linger(mut wire: Box<dyn Wire>) {
    if wire.shutdown().await.is_err() {
        return;
    }
    let mut left = REFUSAL_LINGER_BYTES;
    let mut scrap = [0; 512];
    while let Ok(count @ 1..) = wire.read(&mut scrap).await {
        left = left.saturating_sub(count as u64);
        if left == 0 {
            return;
        }
    }
}

/// Who the client is, taken from the connection and not from the verifier, which resumed handshakes do not ask.
fn evidence(node: &Node, chain: Option<&[CertificateDer<'_>]>) -> Evidence {
    match chain {
        None | Some([]) => Evidence::Anonymous,
        Some(chain) => match node.trust.identify(chain, clock::now().millis()) {
            Ok(identity) => Evidence::Identity(identity),
            Err(error) => Evidence::Invalid(error),
        },
    }
}

fn transport(connection: &ServerConnection, is_websocket: bool) -> Transport {
    match (connection.protocol_version(), is_websocket) {
        (Some(ProtocolVersion::TLSv1_2), false) => Transport::Tls12,
        (Some(ProtocolVersion::TLSv1_2), true) => Transport::SecureWebSocket12,
        (_, false) => Transport::Tls13,
        (_, true) => Transport::SecureWebSocket13,
    }
}
