//! Where a case runs: a broker process that is reached over one transport.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use bytes::Bytes;
use revoq_mqtt::{ClientId, ConnAck, Connect, Packet, Publish, PublishProperties, QoS, Version};
use revoq_tests::raw::{Raw, Wire};
use revoq_tests::{Fleet, Plan};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What carries the bytes. Another transport is another variant, and a case of `connect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Tls,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        })
    }
}

impl Transport {
    async fn connect(self, cluster: &Cluster) -> Result<Box<dyn Wire>> {
        Ok(match self {
            Transport::Tcp => Box::new(open(cluster.fleet.broker_tcp(0)).await?),
            Transport::Tls => {
                let name = ServerName::try_from("localhost").expect("localhost is a name");
                let stream = open(cluster.fleet.broker(0)).await?;
                Box::new(TlsConnector::from(cluster.tls.clone()).connect(name, stream).await?)
            }
        })
    }
}

async fn open(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One replica and one broker, as processes.
pub(crate) struct Cluster {
    fleet: Fleet,
    /// With a certificate of `factory`.
    tls: Arc<ClientConfig>,
}

impl Cluster {
    pub(crate) async fn start() -> Result<Arc<Cluster>> {
        // Over TCP nobody can show a certificate.
        let settings = vec![("client_certificate", "optional")];
        let fleet =
            Fleet::start(Plan { replicas: 1, brokers: 1, settings, tcp: true, ..Plan::default() }).await?;
        let device = fleet.issue("conformance").await?;
        let tls = fleet.tls(Some(&device.leaf))?;
        Ok(Arc::new(Cluster { fleet, tls }))
    }
}

/// What one case sees. Client ids and topics are the case's own.
#[derive(Clone)]
pub(crate) struct Site {
    cluster: Arc<Cluster>,
    transport: Transport,
    case: &'static str,
    clients: Arc<AtomicUsize>,
}

/// The versions that have statements of their own.
pub(crate) const STANDARDS: [Version; 2] = [Version::V311, Version::V5];
/// Every version that is served.
pub(crate) const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
/// Every QoS.
pub(crate) const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

impl Site {
    pub(crate) fn new(cluster: Arc<Cluster>, transport: Transport, case: &'static str) -> Site {
        Site { cluster, transport, case, clients: Arc::default() }
    }

    /// A client id that nobody else has.
    pub(crate) fn id(&self) -> ClientId {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        format!("{} {} {number}", self.case, self.transport).parse().expect("a client id")
    }

    /// A topic that no other case uses, under one that no other call gives: `…/<number>/<name>`.
    pub(crate) fn topic(&self, name: &str) -> String {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        format!("{}/{}/{number}/{name}", self.case, self.transport)
    }

    /// A connection on which nothing was sent.
    pub(crate) async fn bare(&self, version: Version) -> Result<Raw> {
        let stream = self.transport.connect(&self.cluster).await;
        Ok(Raw::new(stream.with_context(|| format!("connecting over {}", self.transport))?, version))
    }

    /// A CONNECT with a clean start and a client id of its own.
    pub(crate) fn connect(&self, version: Version) -> Connect {
        Connect { keepalive_s: 60, ..Connect::new(version, self.id()) }
    }

    /// Connects; the broker must accept.
    pub(crate) async fn join(&self, connect: &Connect) -> Result<(Raw, ConnAck)> {
        let mut raw = self.bare(connect.version).await?;
        raw.send_packet(&Packet::Connect(Box::new(connect.clone()))).await?;
        match raw.packet().await? {
            Packet::ConnAck(ack) if !ack.reason.is_error() => Ok((raw, ack)),
            _ => Err(raw.failed("CONNACK with success was expected")),
        }
    }

    /// A connected client.
    pub(crate) async fn client(&self, version: Version) -> Result<Raw> {
        Ok(self.join(&self.connect(version)).await?.0)
    }

    /// A connected client that subscribes to one filter.
    pub(crate) async fn subscriber(&self, version: Version, filter: &str, qos: QoS) -> Result<Raw> {
        let mut raw = self.client(version).await?;
        raw.subscribe_at(filter, qos).await?;
        Ok(raw)
    }
}

/// A message of QoS 0.
pub(crate) fn message(topic: &str, payload: &str) -> Publish {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: topic.parse().expect("a topic"),
        packet_id: None,
        properties: PublishProperties::default(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

/// A message of that QoS; helpers give it its packet identifier.
pub(crate) fn message_at(topic: &str, payload: &str, qos: QoS) -> Publish {
    Publish { qos, ..message(topic, payload) }
}
