//! The listening sockets: all bound before anything else, so that a port that is taken is said at once.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::config::{Config, Listener, ListenerKind};
use crate::listener::{self, Layers, Slots};
use crate::node::Node;
use crate::quic;
use crate::tls::{Carries, ServerCertificate, Verifier, provider, server_config};
use crate::websocket::Terms;

/// Connections that the kernel keeps for us to accept; it cuts this down to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Bytes of a UDP socket.
const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// Bound, and not served yet.
pub(crate) struct Sockets {
    pub(crate) mqtt: Vec<(Listener, Bound)>,
    pub(crate) http: Option<TcpListener>,
}

/// A bound socket.
pub(crate) enum Bound {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Sockets {
    /// Must be called within a tokio runtime.
    pub(crate) fn bind(config: &Config) -> Result<Sockets, Error> {
        let listeners = config.all_listeners();
        let bind_one = |listener: Listener| {
            let is_udp = listener.kind == ListenerKind::Quic;
            let others = listeners.iter().filter(|other| (other.kind == ListenerKind::Quic) == is_udp);
            let addresses = others.map(|other| other.address);
            let (what, address) = (listener.kind.what(), listener.address);
            let socket = if is_udp {
                Bound::Udp(bind_udp(what, address, is_shared(address, addresses))?)
            } else {
                Bound::Tcp(bind(what, address, is_shared(address, addresses.chain(config.http_listen)))?)
            };
            Ok((listener, socket))
        };
        let bind_http = |address| {
            let others = listeners.iter().filter(|other| other.kind != ListenerKind::Quic);
            let is_shared = is_shared(address, others.map(|other| other.address));
            bind("health and metrics", address, is_shared)
        };
        Ok(Sockets {
            mqtt: listeners.iter().cloned().map(bind_one).collect::<Result<_, Error>>()?,
            http: config.http_listen.map(bind_http).transpose()?,
        })
    }

    /// With the ports that were drawn for port 0.
    pub(crate) fn addresses(&self) -> Vec<(ListenerKind, SocketAddr)> {
        let address = |socket: &Bound| match socket {
            Bound::Tcp(socket) => socket.local_addr(),
            Bound::Udp(socket) => socket.local_addr(),
        };
        let each = self.mqtt.iter();
        each.filter_map(|(listener, socket)| Some((listener.kind, address(socket).ok()?))).collect()
    }

    pub(crate) fn needs_certificate(&self) -> bool {
        self.mqtt.iter().any(|(listener, _)| listener.kind.is_secure())
    }
}

/// Is there an IPv4 socket at the port of this IPv6 one? Then each takes its own; else `[::]` takes both, as Linux has it.
fn is_shared(address: SocketAddr, mut taken: impl Iterator<Item = SocketAddr>) -> bool {
    let port = address.port();
    address.is_ipv6() && port != 0 && taken.any(|other| other.is_ipv4() && other.port() == port)
}

/// Binds a listening socket. Must be called within a tokio runtime.
pub(crate) fn bind(what: &'static str, address: SocketAddr, only_v6: bool) -> Result<TcpListener, Error> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Small packets must not wait for an acknowledgement of earlier ones. What is accepted inherits it.
        socket.set_tcp_nodelay(true)?;
        if only_v6 {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|source| Error::Listen { what, address, source })
}

/// Binds a UDP socket.
pub(crate) fn bind_udp(what: &'static str, address: SocketAddr, only_v6: bool) -> Result<UdpSocket, Error> {
    let bind = || -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if only_v6 {
            socket.set_only_v6(true)?;
        }
        // All connections share it. The kernel gives what `net.core.rmem_max` permits.
        socket.set_recv_buffer_size(UDP_BUFFER)?;
        socket.set_send_buffer_size(UDP_BUFFER)?;
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    bind().map_err(|source| Error::Listen { what, address, source })
}

/// Serves sockets: makes what lies between them and MQTT.
pub(crate) struct Server {
    node: Arc<Node>,
    slots: Arc<Slots>,
    tasks: TaskTracker,
    /// Of all WebSockets that do not have their own.
    terms: Terms,
    proxy_protocol: bool,
    quic_multi_stream: bool,
    mqtt: Option<Arc<ServerConfig>>,
    http: Option<Arc<ServerConfig>>,
}

impl Server {
    /// Connections run in `tasks`.
    pub(crate) fn new(config: &Config, node: Arc<Node>, tasks: TaskTracker) -> Result<Server, Error> {
        let tls = |carries| {
            let Some(certificate) = &node.certificate else { return Ok(None) };
            tls(&node, certificate, carries).map(Some)
        };
        Ok(Server {
            terms: Terms { path: config.ws_path.clone(), origins: config.ws_origins.clone() },
            proxy_protocol: config.proxy_protocol,
            quic_multi_stream: config.quic_multi_stream,
            mqtt: tls(Carries::Mqtt)?,
            http: tls(Carries::Http)?,
            slots: Slots::new(&config.limits),
            node,
            tasks,
        })
    }

    /// Accepts connections from now on, until the node stops.
    pub(crate) fn serve(&self, listener: &Listener, socket: Bound) -> Result<(), Error> {
        let (node, slots, tasks) = (self.node.clone(), self.slots.clone(), self.tasks.clone());
        let stop = node.stopping.clone();
        match (socket, &self.mqtt) {
            (Bound::Tcp(socket), _) => {
                let listener = listener::Listener { node, slots, tasks, layers: self.layers(listener) };
                self.tasks.spawn(listener.run(socket, stop));
            }
            (Bound::Udp(socket), Some(tls)) => {
                let multi_stream = listener.multi_stream.unwrap_or(self.quic_multi_stream);
                let data_streams_max = if multi_stream { node.limits.quic_streams_max } else { 0 };
                let endpoint = quic::endpoint(socket, tls.clone(), data_streams_max)?;
                let listener = quic::Listener { node, slots, endpoint, multi_stream, tasks };
                self.tasks.spawn(listener.run(stop));
            }
            // QUIC has no form without TLS, and where it listens a certificate is kept.
            (Bound::Udp(_), None) => {}
        }
        Ok(())
    }

    fn layers(&self, listener: &Listener) -> Arc<Layers> {
        let is_websocket = listener.kind.is_websocket();
        let tls = if is_websocket { &self.http } else { &self.mqtt };
        let terms = || Terms {
            path: listener.path.as_ref().unwrap_or(&self.terms.path).clone(),
            origins: listener.origins.as_ref().unwrap_or(&self.terms.origins).clone(),
        };
        Arc::new(Layers {
            proxy: listener.proxy_protocol.unwrap_or(self.proxy_protocol),
            tls: tls.clone().filter(|_| listener.kind.is_secure()).map(TlsAcceptor::from),
            websocket: is_websocket.then(terms),
        })
    }
}

fn tls(
    node: &Node,
    certificate: &Arc<ServerCertificate>,
    carries: Carries,
) -> Result<Arc<ServerConfig>, Error> {
    let algorithms = provider().signature_verification_algorithms;
    let verifier = Verifier::new(node.view.clone(), node.trust.clone(), algorithms);
    let config = server_config(Arc::new(verifier), node.tickets.clone(), certificate.clone(), carries)?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_families_share_a_port_and_an_ipv6_socket_alone_takes_both() {
        let free = || std::net::TcpListener::bind("[::]:0").and_then(|socket| socket.local_addr());
        let Ok(port) = free().map(|address| address.port()) else {
            eprintln!("this machine has no IPv6");
            return;
        };
        let listen = |addresses: &[&str]| {
            let addresses =
                addresses.iter().map(|host| format!("{host}:{port}").parse().expect("an address"));
            let config = Config { tls_listen: addresses.collect(), http_listen: None, ..Config::default() };
            Sockets::bind(&config).map(|sockets| sockets.mqtt)
        };
        let reaches = |host: &str| std::net::TcpStream::connect(format!("{host}:{port}")).is_ok();
        let both = listen(&["127.0.0.1", "[::]"]).expect("each takes its own");
        assert_eq!(both.len(), 2);
        assert!(reaches("127.0.0.1") && reaches("[::1]"));
        assert!(listen(&["[::1]"]).is_err(), "it is taken");
        drop(both);
        let _alone = listen(&["[::]"]).expect("it is free again");
        assert!(reaches("127.0.0.1") && reaches("[::1]"));
    }

    #[tokio::test]
    async fn what_is_accepted_sends_small_packets_at_once() {
        let listener =
            bind("a test", "127.0.0.1:0".parse().expect("an address"), false).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (client, accepted) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        client.expect("it listens");
        assert!(accepted.expect("it is accepted").0.nodelay().expect("it is a socket"));
    }
}
