//! The same client over each transport of MQTT.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use futures_util::{SinkExt, StreamExt};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint};
use revoq_broker::ListenerKind;
use revoq_mqtt::{ClientId, Connect, Version};
use rustls::ClientConfig;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, copy_bidirectional, duplex, join,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
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
        ListenerKind::WebSocket => Box::new(websocket(tcp.await?, Framing::Messages).await?),
        ListenerKind::SecureWebSocket => {
            Box::new(websocket(secure(address, tls).await?, Framing::Messages).await?)
        }
        ListenerKind::Quic => Box::new(quic(address, &tls).await?),
    })
}

/// How bytes are framed for a WebSocket.
#[derive(Clone, Copy)]
enum Framing {
    /// Each piece that is read is a message.
    Messages,
    /// Each byte is a frame of one message, which does not end.
    Fragments,
}

/// A WebSocket over TCP on which each byte is a frame.
pub async fn open_fragments(address: SocketAddr) -> io::Result<Wire> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(Box::new(websocket(socket, Framing::Fragments).await?))
}

/// A client over QUIC with several streams.
pub struct MultiStream {
    /// On which CONNECT went.
    pub control: Client<Wire>,
    version: Version,
    connection: Connection,
}

impl MultiStream {
    /// Connects and waits for CONNACK.
    pub async fn connect(
        address: SocketAddr,
        tls: &ClientConfig,
        version: Version,
        client_id: &str,
    ) -> Result<Result<MultiStream, Refused>> {
        let connect = Connect { keepalive_s: 60, ..Connect::new(version, client_id.parse::<ClientId>()?) };
        MultiStream::connect_with(address, tls, connect).await
    }

    /// Connects with a CONNECT of one's own.
    pub async fn connect_with(
        address: SocketAddr,
        tls: &ClientConfig,
        connect: Connect,
    ) -> Result<Result<MultiStream, Refused>> {
        let version = connect.version;
        let connection = match dial(address, tls).await {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(Refused::Tls(error.to_string()))),
        };
        let control = Client::connect_over(stream(&connection), connect).await?;
        Ok(control.map(|control| MultiStream { control, version, connection }))
    }

    /// Opens a data stream.
    pub async fn open(&self) -> io::Result<Client<Wire>> {
        Ok(Client::over(self.open_wire().await?, self.version))
    }

    /// The same, bare.
    pub async fn open_wire(&self) -> io::Result<Wire> {
        stream(&self.connection).await
    }
}

async fn stream(connection: &Connection) -> io::Result<Wire> {
    let (send, receive) = connection.open_bi().await?;
    Ok(Box::new(join(receive, send)))
}

/// One stream of a connection of its own.
async fn quic(address: SocketAddr, tls: &ClientConfig) -> io::Result<DuplexStream> {
    let connection = dial(address, tls).await?;
    let mut stream = stream(&connection).await?;
    let (outer, mut inner) = duplex(PIPE);
    tokio::spawn(async move {
        let _ = copy_bidirectional(&mut inner, &mut stream).await;
        connection.close(0_u8.into(), b"");
    });
    Ok(outer)
}

/// A connection over QUIC without a stream yet. Tickets are those of `tls`.
pub async fn dial(address: SocketAddr, tls: &ClientConfig) -> io::Result<Connection> {
    let endpoint = Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into())?;
    let connecting =
        endpoint.connect_with(quic_config(tls)?, address, "localhost").map_err(io::Error::other)?;
    Ok(connecting.await?)
}

/// Of a client over QUIC.
pub fn quic_config(tls: &ClientConfig) -> io::Result<quinn::ClientConfig> {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"mqtt".to_vec()];
    let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    Ok(quinn::ClientConfig::new(Arc::new(crypto)))
}

async fn websocket<S: Carrier + 'static>(stream: S, framing: Framing) -> io::Result<DuplexStream> {
    let mut request = "ws://localhost/mqtt".into_client_request().map_err(io::Error::other)?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    let (socket, _) = client_async(request, stream).await.map_err(io::Error::other)?;
    let (outer, inner) = duplex(PIPE);
    tokio::spawn(frame(socket, inner, framing));
    Ok(outer)
}

async fn frame<S: Carrier>(
    mut socket: WebSocketStream<S>,
    mut bytes: DuplexStream,
    framing: Framing,
) -> Result<(), Error> {
    let mut buffer = vec![0; PIPE];
    let mut data = Data::Binary;
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
                count => match framing {
                    Framing::Messages => socket.send(Message::binary(buffer[..count].to_vec())).await?,
                    Framing::Fragments => for byte in &buffer[..count] {
                        let fragment = Frame::message(vec![*byte], OpCode::Data(data), false);
                        socket.send(Message::Frame(fragment)).await?;
                        data = Data::Continue;
                    },
                },
            },
        }
    }
}
