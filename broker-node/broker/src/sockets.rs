//! The listening sockets: all bound before anything else, so that a port that is taken is said at once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::Error;
use crate::config::{Config, Listener, ListenerKind};
use crate::listener::Layers;
use crate::node::Node;
use crate::tls::{Carries, ServerCertificate, Verifier, provider, server_config};
use crate::websocket::Terms;

/// Connections that the kernel keeps for us to accept; it cuts this down to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Bound, and not served yet.
pub(crate) struct Sockets {
    pub(crate) mqtt: Vec<(Listener, TcpListener)>,
    pub(crate) http: Option<TcpListener>,
}

impl Sockets {
    /// Must be called within a tokio runtime.
    pub(crate) fn bind(config: &Config) -> Result<Sockets, Error> {
        let listeners = config.all_listeners();
        let taken: Vec<_> =
            listeners.iter().map(|listener| listener.address).chain(config.http_listen).collect();
        let bind = |what, address| bind(what, address, is_shared(address, &taken));
        let listeners = listeners.into_iter().map(|listener| {
            let socket = bind(listener.kind.what(), listener.address)?;
            Ok((listener, socket))
        });
        Ok(Sockets {
            mqtt: listeners.collect::<Result<_, Error>>()?,
            http: config.http_listen.map(|address| bind("health and metrics", address)).transpose()?,
        })
    }

    /// With the ports that were drawn for port 0.
    pub(crate) fn addresses(&self) -> Vec<(ListenerKind, SocketAddr)> {
        let each = self.mqtt.iter();
        each.filter_map(|(listener, socket)| Some((listener.kind, socket.local_addr().ok()?))).collect()
    }

    pub(crate) fn needs_certificate(&self) -> bool {
        self.mqtt.iter().any(|(listener, _)| listener.kind.is_secure())
    }
}

/// Is there an IPv4 listener at the port of this IPv6 one? Then each takes its own; else `[::]` takes both, as Linux has it.
fn is_shared(address: SocketAddr, taken: &[SocketAddr]) -> bool {
    let port = address.port();
    address.is_ipv6() && port != 0 && taken.iter().any(|other| other.is_ipv4() && other.port() == port)
}

/// Binds a listening socket. Must be called within a tokio runtime.
pub(crate) fn bind(what: &'static str, address: SocketAddr, only_v6: bool) -> Result<TcpListener, Error> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if only_v6 {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|source| Error::Listen { what, address, source })
}

/// Makes what lies between the sockets and MQTT.
pub(crate) struct Builder {
    terms: Terms,
    mqtt: Option<TlsAcceptor>,
    http: Option<TlsAcceptor>,
}

impl Builder {
    pub(crate) fn new(config: &Config, node: &Node) -> Result<Builder, Error> {
        let acceptor = |carries| {
            let Some(certificate) = &node.certificate else { return Ok(None) };
            Ok::<_, Error>(Some(acceptor(node, certificate, carries)?))
        };
        Ok(Builder {
            terms: Terms { path: config.ws_path.clone(), origins: config.ws_origins.clone() },
            mqtt: acceptor(Carries::Mqtt)?,
            http: acceptor(Carries::Http)?,
        })
    }

    pub(crate) fn layers(&self, listener: &Listener) -> Arc<Layers> {
        let is_websocket = listener.kind.is_websocket();
        let acceptor = if is_websocket { &self.http } else { &self.mqtt };
        let terms = || Terms {
            path: listener.path.as_ref().unwrap_or(&self.terms.path).clone(),
            origins: listener.origins.as_ref().unwrap_or(&self.terms.origins).clone(),
        };
        Arc::new(Layers {
            tls: acceptor.clone().filter(|_| listener.kind.is_secure()),
            websocket: is_websocket.then(terms),
        })
    }
}

fn acceptor(
    node: &Node,
    certificate: &Arc<ServerCertificate>,
    carries: Carries,
) -> Result<TlsAcceptor, Error> {
    let algorithms = provider().signature_verification_algorithms;
    let verifier = Verifier::new(node.view.clone(), node.trust.clone(), algorithms);
    let config = server_config(Arc::new(verifier), node.tickets.clone(), certificate.clone(), carries)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
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
}
