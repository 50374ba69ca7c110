//! A node without a control plane, and a client that speaks bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use revoq_credentials::{Change, Event, Millis, NodeId, Revision, StaleGrace};
use revoq_proto::client::{ControlChannel, Options, Tls};
use revoq_routing::Strategy;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::config::Limits;
use crate::listener::{Layers, Listener, Slots};
use crate::lookup::LookUps;
use crate::node::{Node, Parts};
use crate::quic;
use crate::registry::Swept;
use crate::sessions;
use crate::sockets::{bind, bind_udp};
use crate::tls::tests::certificates::{self_signed_ca, view};
use crate::tls::{Carries, ServerCertificate, Verifier, provider, server_config};
use crate::websocket::Terms;

/// Nothing takes longer unless it hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Bench {
    pub(super) node: Arc<Node>,
    pub(super) tcp: SocketAddr,
    pub(super) tls: SocketAddr,
    pub(super) ws: SocketAddr,
    pub(super) wss: SocketAddr,
    pub(super) quic: SocketAddr,
    /// With data streams.
    pub(super) multi_stream: SocketAddr,
    pub(super) proxied: SocketAddr,
    pub(super) proxied_tls: SocketAddr,
}

impl Bench {
    /// A fresh node that takes clients without a certificate.
    pub(super) fn new(limits: Limits, changes: impl IntoIterator<Item = Change>) -> Bench {
        Bench::with_strategy(Strategy::default(), limits, changes)
    }

    pub(super) fn with_strategy(
        shared_strategy: Strategy,
        limits: Limits,
        changes: impl IntoIterator<Item = Change>,
    ) -> Bench {
        let leaf = self_signed_ca();
        // Nobody listens there: look-ups fail.
        let channel = ControlChannel::new(&["127.0.0.1:9"], &Tls::anonymous(&leaf.der), Options::default());
        let certificate = Arc::<ServerCertificate>::default();
        let certified = CertifiedKey::from_der(leaf.chain(), leaf.key(), &provider()).expect("they fit");
        certificate.set(certified, Vec::new());
        let slots = Slots::new(&limits);
        let node = Arc::new(Node::new(Parts {
            id: NodeId(7),
            name: "bench".to_owned(),
            lookups: LookUps::new(channel.expect("an address"), &limits),
            limits,
            shared_strategy,
            certificate: Some(certificate.clone()),
        }));
        let view = view(changes);
        node.trust.update(&view);
        node.view.store(Arc::new(view));
        node.freshness.set_grace(StaleGrace::Never);
        node.freshness.grant(clock::now(), 600_000);
        let config = |carries| {
            let algorithms = provider().signature_verification_algorithms;
            let verifier = Verifier::new(node.view.clone(), node.trust.clone(), algorithms);
            let config =
                server_config(Arc::new(verifier), node.tickets.clone(), certificate.clone(), carries);
            Arc::new(config.expect("a configuration"))
        };
        let acceptor = |carries| TlsAcceptor::from(config(carries));
        let websocket = || Terms { path: "/mqtt".to_owned(), origins: Vec::new() };
        let serve = |layers: Layers| {
            let socket =
                bind("tests", "127.0.0.1:0".parse().expect("an address"), false).expect("a free port");
            let address = socket.local_addr().expect("it is bound");
            let (node, slots) = (node.clone(), slots.clone());
            let listener = Listener { node, slots, layers: Arc::new(layers), tasks: TaskTracker::new() };
            let stop = listener.node.stopping.clone();
            tokio::spawn(listener.run(socket, stop));
            address
        };
        let tcp = serve(Layers::default());
        let tls = serve(Layers { tls: Some(acceptor(Carries::Mqtt)), ..Layers::default() });
        let ws = serve(Layers { websocket: Some(websocket()), ..Layers::default() });
        let wss = serve(Layers {
            tls: Some(acceptor(Carries::Http)),
            websocket: Some(websocket()),
            ..Layers::default()
        });
        let proxied = serve(Layers { proxy: true, ..Layers::default() });
        let proxied_tls =
            serve(Layers { proxy: true, tls: Some(acceptor(Carries::Mqtt)), ..Layers::default() });
        let serve_quic = |data_streams_max| {
            let socket =
                bind_udp("tests", "127.0.0.1:0".parse().expect("an address"), false).expect("a free port");
            let address = socket.local_addr().expect("it is bound");
            let endpoint =
                quic::endpoint(socket, config(Carries::Mqtt), data_streams_max).expect("an endpoint");
            let (node, slots, tasks) = (node.clone(), slots.clone(), TaskTracker::new());
            let multi_stream = data_streams_max > 0;
            let listener = quic::Listener { node, slots, endpoint, multi_stream, tasks };
            let stop = listener.node.stopping.clone();
            tokio::spawn(listener.run(stop));
            address
        };
        let (quic, multi_stream) = (serve_quic(0), serve_quic(node.limits.quic_streams_max));
        tokio::spawn(sessions::keep(node.clone()));
        Bench { node, tcp, tls, ws, wss, quic, multi_stream, proxied, proxied_tls }
    }

    pub(super) async fn tcp(&self, client_id: &str) -> Client<TcpStream> {
        let mut client = self.socket().await;
        assert_eq!(client.connect(client_id).await, 0, "{client_id} is let in");
        client
    }

    /// A client that is let in, and whether it was told of a session.
    pub(super) async fn tcp_with(&self, client_id: &str, connect: Connect) -> (Client<TcpStream>, bool) {
        let mut client = self.socket().await;
        let (present, reason) = client.connect_with(client_id, connect).await;
        assert_eq!(reason, 0, "{client_id} is let in");
        (client, present)
    }

    pub(super) async fn socket(&self) -> Client<TcpStream> {
        Client { stream: TcpStream::connect(self.tcp).await.expect("it listens") }
    }

    pub(super) async fn handshake(
        &self,
        config: &Arc<rustls::ClientConfig>,
    ) -> std::io::Result<Client<TlsStream<TcpStream>>> {
        Ok(Client { stream: secure(self.tls, config).await? })
    }

    /// As the watch driver applies an event; the number of sessions that were cut.
    pub(super) fn apply(&self, change: Change) -> u64 {
        let revision = Revision(self.node.view.load().revision().0 + 1);
        let (actor, action) = (String::new(), String::new());
        let event = Event { revision, time: Millis(0), actor, action, changes: vec![change] };
        let mut view = revoq_credentials::View::clone(&self.node.view.load());
        let affected = view.apply(&event);
        self.node.view.store(Arc::new(view));
        let swept: Swept = self.node.sweep(&affected);
        let sessions = swept.sessions;
        self.node.finish(swept);
        self.node.discard_sessions(None);
        sessions
    }

    pub(super) async fn until(&self, what: &str, mut predicate: impl FnMut(&Node) -> bool) {
        let start = Instant::now();
        while !predicate(&self.node) {
            assert!(start.elapsed() < PATIENCE, "{what} does not come true");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What a CONNECT asks for.
#[derive(Clone, Copy, Default)]
pub(super) struct Connect {
    pub(super) clean_start: bool,
    pub(super) expiry_s: u32,
    /// Of a will of `gone` to `will`.
    pub(super) will_delay_s: Option<u32>,
}

/// A TLS connection to a listener.
pub(super) async fn secure(
    address: SocketAddr,
    config: &Arc<rustls::ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(config.clone()).connect(name, socket).await
}

/// An MQTT 5.0 client by hand.
pub(super) struct Client<S> {
    pub(super) stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(super) async fn send(&mut self, packet: &[u8]) {
        self.stream.write_all(packet).await.expect("it is sent");
        self.stream.flush().await.expect("it is sent");
    }

    /// The reason code of CONNACK.
    pub(super) async fn connect(&mut self, client_id: &str) -> u8 {
        self.connect_with(client_id, Connect { clean_start: true, ..Connect::default() }).await.1
    }

    /// Session Present and the reason code of CONNACK.
    pub(super) async fn connect_with(&mut self, client_id: &str, connect: Connect) -> (bool, u8) {
        let will_flag = if connect.will_delay_s.is_some() { 4 } else { 0 };
        let flags = u8::from(connect.clean_start) << 1 | will_flag;
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, flags, 0, 60, 5, 0x11];
        body.extend(connect.expiry_s.to_be_bytes());
        body.extend([0, short(client_id.len())]);
        body.extend(client_id.as_bytes());
        if let Some(delay_s) = connect.will_delay_s {
            body.extend([5, 0x18]);
            body.extend(delay_s.to_be_bytes());
            body.extend(b"\0\x04will\0\x04gone");
        }
        self.send(&packet(0x10, &body)).await;
        let (first, body) = self.receive().await.expect("an answer");
        assert_eq!(first, 0x20, "CONNACK");
        (body[0] == 1, body[1])
    }

    /// With QoS 1; the reason code of SUBACK.
    pub(super) async fn subscribe(&mut self, filter: &str) -> u8 {
        self.subscribe_with(filter, 1).await
    }

    /// With these Subscription Options; the reason code of SUBACK.
    pub(super) async fn subscribe_with(&mut self, filter: &str, options: u8) -> u8 {
        let mut body = vec![0, 1, 0, 0, short(filter.len())];
        body.extend(filter.as_bytes());
        body.push(options);
        self.send(&packet(0x82, &body)).await;
        let (first, body) = self.receive().await.expect("an answer");
        assert_eq!(first, 0x90, "SUBACK");
        body[3]
    }

    /// With QoS 1; PUBACK is not awaited.
    pub(super) async fn publish(&mut self, topic: &str, payload: &[u8]) {
        let mut body = vec![0, short(topic.len())];
        body.extend(topic.as_bytes());
        body.extend([0, 9, 0]);
        body.extend(payload);
        self.send(&packet(0x32, &body)).await;
    }

    /// With QoS 0.
    pub(super) async fn publish_lossy(&mut self, topic: &str, payload: &[u8]) {
        self.publish_by(0x30, topic, payload).await;
    }

    /// With QoS 0 and RETAIN.
    pub(super) async fn publish_retained(&mut self, topic: &str, payload: &[u8]) {
        self.publish_by(0x31, topic, payload).await;
    }

    async fn publish_by(&mut self, first: u8, topic: &str, payload: &[u8]) {
        let mut body = vec![0, short(topic.len())];
        body.extend(topic.as_bytes());
        body.push(0);
        body.extend(payload);
        self.send(&packet(first, &body)).await;
    }

    pub(super) async fn ping(&mut self) {
        self.send(&[0xc0, 0]).await;
        assert_eq!(self.receive().await, Some((0xd0, vec![])));
    }

    /// First byte and body of the next packet; `None` at the end of the stream.
    pub(super) async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        tokio::time::timeout(PATIENCE, self.receive_without_end()).await.expect("something comes")
    }

    async fn receive_without_end(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((first, body))
    }

    /// DISCONNECT with this reason, and then the end.
    pub(super) async fn is_cut(&mut self, reason: u8) {
        let (first, body) = self.receive().await.expect("a last word");
        assert_eq!((first, body.first().copied()), (0xe0, Some(reason)));
        assert_eq!(self.receive().await, None);
    }
}

/// CONNECT of MQTT 5.0.
pub(super) fn connect(client_id: &str) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0, 0, short(client_id.len())];
    body.extend(client_id.as_bytes());
    packet(0x10, &body)
}

fn short(length: usize) -> u8 {
    u8::try_from(length).expect("short")
}

pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        packet.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}
