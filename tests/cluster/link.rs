//! One connection of a client: packets both ways, and every way to end it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use revoq_broker::ListenerKind;
use revoq_mqtt::{Packet, Peek, Version, decode, encode, peek};
use revoq_tests::transports::{self, Wire};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Small, so that a client that does not read is soon noticed by the broker.
const RECEIVE_BUFFER: u32 = 16 * 1024;
const PACKET_MAX: u32 = 1024 * 1024;
/// The broker takes what a client sends within this, on the busiest machine.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

/// How a client reaches the broker.
#[derive(Clone)]
pub(crate) enum Route {
    Tcp(SocketAddr),
    Tls(SocketAddr, Arc<ClientConfig>),
    /// Any transport.
    Over(ListenerKind, SocketAddr, Arc<ClientConfig>),
    /// A WebSocket on which each byte is a frame.
    Fragments(SocketAddr),
}

enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Wire(Wire),
}

pub(crate) struct Link {
    stream: Stream,
    version: Version,
    buffer: BytesMut,
}

impl Link {
    pub(crate) async fn open(route: &Route, version: Version) -> io::Result<Link> {
        let stream = match route {
            Route::Tcp(address) => Stream::Tcp(Link::connect(address).await?),
            Route::Tls(address, config) => {
                let name = ServerName::try_from("localhost").expect("localhost is a name");
                let connector = TlsConnector::from(Arc::clone(config));
                Stream::Tls(Box::new(connector.connect(name, Link::connect(address).await?).await?))
            }
            Route::Over(kind, address, config) => {
                Stream::Wire(transports::open(*kind, *address, config.clone()).await?)
            }
            Route::Fragments(address) => Stream::Wire(transports::open_fragments(*address).await?),
        };
        Ok(Link { stream, version, buffer: BytesMut::new() })
    }

    async fn connect(address: &SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let socket = socket.connect(*address).await?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    pub(crate) async fn send(&mut self, packets: &[Packet]) -> io::Result<()> {
        let bytes = self.encode(packets)?;
        self.send_bytes(&bytes).await
    }

    /// Half of a packet, and never the rest.
    pub(crate) async fn send_half(&mut self, packet: &Packet) -> io::Result<()> {
        let bytes = self.encode(std::slice::from_ref(packet))?;
        self.send_bytes(&bytes[..bytes.len() / 2]).await
    }

    fn encode(&self, packets: &[Packet]) -> io::Result<BytesMut> {
        let mut bytes = BytesMut::new();
        for packet in packets {
            encode(packet, self.version, &mut bytes).map_err(io::Error::other)?;
        }
        Ok(bytes)
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let send = async {
            match &mut self.stream {
                Stream::Tcp(stream) => stream.write_all(bytes).await,
                Stream::Tls(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
                Stream::Wire(stream) => stream.write_all(bytes).await,
            }
        };
        timeout(TAKEN_WITHIN, send).await.map_err(|_| io::Error::other("the broker does not read"))?
    }

    /// The next packet; `None` at the end of the stream. Nothing is lost where this is not awaited to its end.
    pub(crate) async fn read(&mut self) -> io::Result<Option<Packet>> {
        loop {
            if let Peek::Frame(size) = peek(&self.buffer, PACKET_MAX).map_err(io::Error::other)? {
                let frame = self.buffer.split_to(size).freeze();
                return decode(frame, self.version).map(Some).map_err(io::Error::other);
            }
            let count = match &mut self.stream {
                Stream::Tcp(stream) => stream.read_buf(&mut self.buffer).await?,
                Stream::Tls(stream) => stream.read_buf(&mut self.buffer).await?,
                Stream::Wire(stream) => stream.read_buf(&mut self.buffer).await?,
            };
            if count == 0 {
                return Ok(None);
            }
        }
    }

    /// What can be read at once; empty at the end of the stream, which a reset is as well.
    pub(crate) async fn read_bytes(&mut self) -> BytesMut {
        let mut bytes = std::mem::take(&mut self.buffer);
        if bytes.is_empty() {
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read_buf(&mut bytes).await,
                Stream::Tls(stream) => stream.read_buf(&mut bytes).await,
                Stream::Wire(stream) => stream.read_buf(&mut bytes).await,
            };
            if read.is_err() {
                bytes.clear();
            }
        }
        bytes
    }

    /// Ends the connection in order: what was sent arrives, and then the end.
    pub(crate) async fn close(mut self) {
        // That the broker has closed before is no matter here.
        let _ = match &mut self.stream {
            Stream::Tcp(stream) => stream.shutdown().await,
            Stream::Tls(stream) => stream.shutdown().await,
            Stream::Wire(stream) => stream.shutdown().await,
        };
    }

    /// Ends the connection by a reset: what is under way is lost.
    pub(crate) fn reset(self) {
        let socket = match &self.stream {
            Stream::Tcp(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
            // Its task closes it.
            Stream::Wire(_) => return,
        };
        let _ = socket.set_zero_linger();
    }
}
