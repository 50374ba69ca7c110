//! The same client over each transport of MQTT.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use futures_util::{SinkExt, StreamExt};
use quinn::Endpoint;
use quinn::crypto::rustls::QuicClientConfig;
use revoq_broker::ListenerKind;
use revoq_mqtt::{ClientId, Connect, Version};
use rustls::ClientConfig;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, copy_bidirectional, duplex, join,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::mqtt::{Client, Refused, secure};

/// Bytes between a client and the task that frames them.
const PIPE: usize = 64 * 1024;

/// What carries bytes, whatever it is.
pub type Wire = Box<dyn Carrier>;

/// A stream of bytes in both directions.
pub trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Carrier for S {}

/// Connects over that transport and waits for CONNACK. Of `tls` the kinds without TLS make nothing.
pub async fn connect(
    kind: ListenerKind,
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    version: Version,
    client_id: &str,
) -> Result<Result<Client<Wire>, Refused>> {
    let connect = Connect { keepalive_s: 60, ..Connect::new(version, client_id.parse::<ClientId>()?) };
    Client::connect_over(open(kind, address, tls.clone()), connect).await
}

/// A connection that carries MQTT.
pub async fn open(kind: ListenerKind, address: SocketAddr, tls: Arc<ClientConfig>) -> io::Result<Wire> {
    let tcp = async {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        io::Result::Ok(socket)
    };
    Ok(match kind {
        ListenerKind::Tcp => Box::new(tcp.await?),
        ListenerKind::Tls => Box::new(secure(address, tls).await?),
        ListenerKind::WebSocket => Box::new(websocket(tcp.await?).await?),
        ListenerKind::SecureWebSocket => Box::new(websocket(secure(address, tls).await?).await?),
        ListenerKind::Quic => Box::new(quic(address, &tls).await?),
    })
}

/// One stream of a connection of its own. Tickets are those of `tls`.
async fn quic(address: SocketAddr, tls: &ClientConfig) -> io::Result<DuplexStream> {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"mqtt".to_vec()];
    let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let connecting = endpoint.connect_with(config, address, "localhost").map_err(io::Error::other)?;
    let connection = connecting.await?;
    let (send, receive) = connection.open_bi().await?;
    let (outer, mut inner) = duplex(PIPE);
    tokio::spawn(async move {
        let _ = copy_bidirectional(&mut inner, &mut join(receive, send)).await;
        connection.close(0_u8.into(), b"");
    });
    Ok(outer)
}

async fn websocket<S: Carrier + 'static>(stream: S) -> io::Result<DuplexStream> {
    let mut request = "ws://localhost/mqtt".into_client_request().map_err(io::Error::other)?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    let (socket, _) = client_async(request, stream).await.map_err(io::Error::other)?;
    let (outer, inner) = duplex(PIPE);
    tokio::spawn(frame(socket, inner));
    Ok(outer)
}

/// Each piece that is read is a binary frame.
async fn frame<S: Carrier>(mut socket: WebSocketStream<S>, mut bytes: DuplexStream) -> Result<(), Error> {
    let mut buffer = vec![0; PIPE];
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Binary(payload))) => bytes.write_all(&payload).await?,
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            read = bytes.read(&mut buffer) => match read? {
                0 => return socket.close(None).await,
                count => socket.send(Message::binary(buffer[..count].to_vec())).await?,
            },
        }
    }
}
