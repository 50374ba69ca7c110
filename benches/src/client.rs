//! The smallest MQTT 5.0 client that shows when a session ends and which messages arrive.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, bail};
use bytes::BytesMut;
use revoq_mqtt::{Connect, Packet, Peek, ReasonCode, Version, decode, encode, peek};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PACKET_MAX: u32 = 64 * 1024;

pub(crate) struct Client {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
}

impl Client {
    /// Connects and waits for CONNACK with success.
    pub(crate) async fn connect(
        address: SocketAddr,
        tls: Arc<ClientConfig>,
        client_id: &str,
    ) -> Result<Client> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("localhost is a name");
        let stream = TlsConnector::from(tls).connect(name, tcp).await?;
        let mut client = Client { stream, buffer: BytesMut::new() };
        let connect = Connect { keepalive_s: 0, ..Connect::new(Version::V5, client_id.parse()?) };
        client.send(&Packet::Connect(Box::new(connect))).await?;
        match client.read().await? {
            Some(Packet::ConnAck(ack)) if ack.reason == ReasonCode::Success => Ok(client),
            other => bail!("{client_id} is not let in: {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, packet: &Packet) -> Result<()> {
        let mut out = BytesMut::new();
        encode(packet, Version::V5, &mut out)?;
        self.stream.write_all(&out).await?;
        Ok(())
    }

    /// The next packet; `None` at the end of the stream.
    pub(crate) async fn read(&mut self) -> Result<Option<Packet>> {
        loop {
            if let Peek::Frame(size) = peek(&self.buffer, PACKET_MAX)? {
                return Ok(Some(decode(self.buffer.split_to(size).freeze(), Version::V5)?));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads until the broker ends the session; the reason code of its DISCONNECT, 0 where there was none.
    pub(crate) async fn ended(mut self) -> u8 {
        let mut reason = 0;
        while let Ok(Some(packet)) = self.read().await {
            if let Packet::Disconnect(disconnect) = packet {
                reason = disconnect.reason as u8;
            }
        }
        reason
    }
}
