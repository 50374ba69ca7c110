//! A client that shows what the wire says: reason codes, alerts, bytes after a cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use revoq_mqtt::{
    ClientId, Connect, Disconnect, Packet, PacketId, Peek, Publish, PublishProperties, QoS, ReasonCode,
    Subscribe, SubscribeOptions, Subscription, Topic, TopicFilter, Version, decode, encode, peek,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Long enough for a busy machine; what takes longer hangs.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(20);
const PACKET_MAX: u32 = 1024 * 1024;

/// A certificate with its key, both as a client presents them.
pub struct Leaf {
    /// DER, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Leaf {
    fn clone(&self) -> Leaf {
        Leaf { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// A TLS configuration. Clients that share one share its session tickets.
pub fn tls(
    root: &CertificateDer<'static>,
    leaf: Option<&Leaf>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_root_certificates(roots);
    Ok(Arc::new(match leaf {
        Some(leaf) => builder.with_client_auth_cert(leaf.chain.clone(), leaf.key.clone_key())?,
        None => builder.with_no_client_auth(),
    }))
}

/// PUBLISH: with a packet identifier at QoS 1, without one at QoS 0.
pub fn message(topic: &str, payload: &str, packet_id: Option<PacketId>) -> Result<Packet> {
    Ok(Packet::Publish(Publish {
        dup: false,
        qos: if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce },
        retain: false,
        topic: topic.parse::<Topic>()?,
        packet_id,
        properties: PublishProperties::default(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }))
}

/// Why a client is not let in.
#[derive(Debug)]
pub enum Refused {
    /// The connection ended before CONNACK; the text names the alert.
    Tls(String),
    /// CONNACK with this code.
    ConnAck(ReasonCode),
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// DISCONNECT with this code, then the end of the stream.
    Disconnect(ReasonCode),
    /// The stream just ended, or was reset.
    Silent,
}

/// A connected MQTT client, over TLS or what else carries bytes.
pub struct Client<S = TlsStream<TcpStream>> {
    stream: S,
    version: Version,
    buffer: BytesMut,
    next_id: PacketId,
    session_present: bool,
}

impl Client {
    /// Connects and waits for CONNACK. A refusal is a value, everything else an error.
    pub async fn connect(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        version: Version,
        client_id: &str,
    ) -> Result<Result<Client, Refused>> {
        let connect = Connect { keepalive_s: 60, ..Connect::new(version, client_id.parse::<ClientId>()?) };
        Client::connect_with(address, config, connect).await
    }

    /// Connects with a CONNECT of one's own.
    pub async fn connect_with(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        connect: Connect,
    ) -> Result<Result<Client, Refused>> {
        Client::connect_over(secure(address, config), connect).await
    }

    /// Was the TLS session resumed?
    pub fn is_resumed(&self) -> bool {
        self.stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// The bare connection, for tests that misbehave.
    pub fn into_stream(self) -> TlsStream<TcpStream> {
        self.stream
    }
}

/// A TLS connection to a listener.
pub async fn secure(address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").expect("localhost is a name");
    TlsConnector::from(config).connect(name, tcp).await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Connects over what `open` brings.
    pub async fn connect_over(
        open: impl Future<Output = std::io::Result<S>>,
        connect: Connect,
    ) -> Result<Result<Client<S>, Refused>> {
        let version = connect.version;
        let attempt = async {
            let mut client = Client::over(open.await?, version);
            client.send(&Packet::Connect(Box::new(connect))).await?;
            let packet = client.read().await?;
            Ok::<_, std::io::Error>((client, packet))
        };
        match tokio::time::timeout(ANSWERS_WITHIN, attempt).await.context("no CONNACK, no refusal")? {
            Err(error) => Ok(Err(Refused::Tls(error.to_string()))),
            Ok((_, None)) => Ok(Err(Refused::Tls("end of stream before CONNACK".to_owned()))),
            Ok((client, Some(Packet::ConnAck(ack)))) => Ok(match ack.reason {
                ReasonCode::Success => Ok(Client { session_present: ack.session_present, ..client }),
                reason => Err(Refused::ConnAck(reason)),
            }),
            Ok((_, Some(other))) => bail!("CONNACK expected, not {other:?}"),
        }
    }

    /// On a stream that needs no CONNECT of its own.
    pub fn over(stream: S, version: Version) -> Client<S> {
        let (buffer, next_id) = (BytesMut::new(), PacketId::FIRST);
        Client { stream, version, buffer, next_id, session_present: false }
    }

    /// Did CONNACK say that the session goes on?
    pub fn is_session_present(&self) -> bool {
        self.session_present
    }

    /// Sends a packet.
    pub async fn send(&mut self, packet: &Packet) -> std::io::Result<()> {
        self.send_all(std::slice::from_ref(packet)).await
    }

    /// Sends packets in one piece.
    pub async fn send_all(&mut self, packets: &[Packet]) -> std::io::Result<()> {
        let mut out = BytesMut::new();
        for packet in packets {
            encode(packet, self.version, &mut out).map_err(std::io::Error::other)?;
        }
        self.stream.write_all(&out).await?;
        self.stream.flush().await
    }

    /// The next packet; `None` at the end of the stream.
    async fn read(&mut self) -> std::io::Result<Option<Packet>> {
        loop {
            if let Peek::Frame(size) = peek(&self.buffer, PACKET_MAX).map_err(std::io::Error::other)? {
                let frame = self.buffer.split_to(size).freeze();
                return decode(frame, self.version).map(Some).map_err(std::io::Error::other);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next packet, which must come.
    pub async fn receive(&mut self) -> Result<Packet> {
        let packet = tokio::time::timeout(ANSWERS_WITHIN, self.read()).await.context("no packet came")??;
        packet.context("the stream ended")
    }

    /// The next packet, or `None` if the broker ends the session, by a reset or otherwise.
    pub async fn receive_or_end(&mut self) -> Result<Option<Packet>> {
        let read = tokio::time::timeout(ANSWERS_WITHIN, self.read()).await;
        Ok(read.context("neither a packet nor the end came")?.unwrap_or(None))
    }

    /// Subscribes at QoS 1 and waits for SUBACK.
    pub async fn subscribe(&mut self, filter: &str) -> Result<()> {
        self.subscribe_at(filter, QoS::AtLeastOnce).await
    }

    /// Subscribes and waits for SUBACK.
    pub async fn subscribe_at(&mut self, filter: &str, qos: QoS) -> Result<()> {
        let packet_id = self.next_id();
        let options = SubscribeOptions { qos, ..SubscribeOptions::default() };
        let subscriptions = vec![Subscription { filter: filter.parse::<TopicFilter>()?, options }];
        let subscribe = Subscribe {
            packet_id,
            subscription_id: None,
            user_properties: Default::default(),
            subscriptions,
        };
        self.send(&Packet::Subscribe(subscribe)).await?;
        match self.receive().await? {
            Packet::SubAck(ack) if ack.reasons.iter().all(|reason| (*reason as u8) < 0x80) => Ok(()),
            other => bail!("SUBACK expected, not {other:?}"),
        }
    }

    /// Publishes at QoS 1 and returns its packet identifier, without waiting for PUBACK.
    pub async fn publish(&mut self, topic: &str, payload: &str) -> Result<PacketId> {
        let packet_id = self.next_id();
        self.send(&message(topic, payload, Some(packet_id))?).await?;
        Ok(packet_id)
    }

    /// Publishes to itself or another and waits for PUBACK.
    pub async fn publish_acknowledged(&mut self, topic: &str, payload: &str) -> Result<()> {
        let id = self.publish(topic, payload).await?;
        loop {
            match self.receive().await? {
                Packet::PubAck(ack) if ack.packet_id == id => return Ok(()),
                Packet::Publish(_) => {}
                other => bail!("PUBACK expected, not {other:?}"),
            }
        }
    }

    /// The session is alive: PINGREQ is answered.
    pub async fn ping(&mut self) -> Result<()> {
        self.send(&Packet::PingReq).await?;
        loop {
            match self.receive().await? {
                Packet::PingResp => return Ok(()),
                Packet::Publish(_) => {}
                other => bail!("PINGRESP expected, not {other:?}"),
            }
        }
    }

    /// Waits until the broker ends the session.
    pub async fn ended(self) -> Result<End> {
        let listen = self.listen(|_| ());
        tokio::time::timeout(ANSWERS_WITHIN, listen).await.context("the session did not end")
    }

    /// Gives each message to `each` until the broker ends the session. Acknowledges none.
    pub async fn listen(mut self, mut each: impl FnMut(Publish)) -> End {
        let mut end = End::Silent;
        while let Ok(Some(packet)) = self.read().await {
            match packet {
                Packet::Publish(publish) => each(publish),
                Packet::Disconnect(Disconnect { reason, .. }) => end = End::Disconnect(reason),
                _ => {}
            }
        }
        end
    }

    fn next_id(&mut self) -> PacketId {
        let id = self.next_id;
        self.next_id = id.next();
        id
    }
}
