//! Where a case runs: a broker process that is reached over one transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use bytes::Bytes;
use revoq_broker::ListenerKind;
use revoq_mqtt::{ClientId, ConnAck, Connect, Packet, Publish, PublishProperties, QoS, Version};
use revoq_tests::raw::Raw;
use revoq_tests::scram::set_password;
use revoq_tests::transports::open;
use revoq_tests::{Fleet, Plan};
use rustls::ClientConfig;

/// As topics and client ids name it.
pub(crate) fn label(transport: ListenerKind) -> &'static str {
    match transport {
        ListenerKind::Tcp => "TCP",
        ListenerKind::Tls => "TLS",
        ListenerKind::WebSocket => "WS",
        ListenerKind::SecureWebSocket => "WSS",
        ListenerKind::Quic => "QUIC",
    }
}

/// What the broker tells clients that ask for it.
pub(crate) const RESPONSE_INFORMATION: &str = "answers/";
/// Beside TLS.
const ALSO: [ListenerKind; 4] =
    [ListenerKind::Tcp, ListenerKind::WebSocket, ListenerKind::SecureWebSocket, ListenerKind::Quic];

/// With which a client may authenticate.
pub(crate) const USERNAME: &str = "conformance";
pub(crate) const PASSWORD: &str = "pencil";

/// One replica and one broker, as processes.
pub(crate) struct Cluster {
    fleet: Fleet,
    /// With a certificate of `factory`.
    tls: Arc<ClientConfig>,
}

impl Cluster {
    pub(crate) async fn start() -> Result<Arc<Cluster>> {
        // Over TCP nobody can show a certificate.
        let broker_environment = vec![("REVOQ_BROKER_RESPONSE_INFORMATION", RESPONSE_INFORMATION)];
        let fleet = Fleet::start(Plan { broker_environment, ..Plan::single("optional", ALSO) }).await?;
        let device = fleet.issue("conformance").await?;
        let tls = fleet.tls(Some(&device.leaf))?;
        // Over TLS the certificate is of the same device.
        set_password(&fleet, USERNAME, &device.name, PASSWORD).await?;
        Ok(Arc::new(Cluster { fleet, tls }))
    }
}

/// What one case sees. Client ids and topics are the case's own.
#[derive(Clone)]
pub(crate) struct Site {
    cluster: Arc<Cluster>,
    transport: ListenerKind,
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
    pub(crate) fn new(cluster: Arc<Cluster>, transport: ListenerKind, case: &'static str) -> Site {
        Site { cluster, transport, case, clients: Arc::default() }
    }

    /// A client id that nobody else has.
    pub(crate) fn id(&self) -> ClientId {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        format!("{} {} {number}", self.case, label(self.transport)).parse().expect("a client id")
    }

    /// A topic that no other case uses, under one that no other call gives: `…/<number>/<name>`.
    pub(crate) fn topic(&self, name: &str) -> String {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        format!("{}/{}/{number}/{name}", self.case, label(self.transport))
    }

    /// A connection on which nothing was sent.
    pub(crate) async fn bare(&self, version: Version) -> Result<Raw> {
        let Cluster { fleet, tls } = &*self.cluster;
        let stream = open(self.transport, fleet.broker_at(0, self.transport), tls.clone()).await;
        let stream = stream.with_context(|| format!("connecting over {}", label(self.transport)))?;
        Ok(Raw::new(stream, version))
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
