//! Accepts connections and hands each to a task of its own. Nothing is awaited here but the next one.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{self, Entrance};
use crate::node::Node;
use crate::websocket::Terms;

/// Out of file descriptors: others must end before another try makes sense.
const PAUSE: Duration = Duration::from_millis(50);

/// Admission by number: of all connections, of those from one address, of handshakes.
pub(crate) struct Slots {
    connections: Arc<Semaphore>,
    pub(crate) handshakes: Arc<Semaphore>,
    handshakes_max: usize,
    /// Zero: addresses are not counted.
    per_address_max: usize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one connection.
pub(crate) struct Slot {
    _connection: OwnedSemaphorePermit,
    counted: OnceLock<IpAddr>,
    slots: Arc<Slots>,
    node: Arc<Node>,
}

impl Slots {
    pub(crate) fn new(limits: &crate::config::Limits) -> Arc<Slots> {
        Arc::new(Slots {
            connections: Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS))),
            handshakes_max: limits.handshakes_max,
            handshakes: Arc::new(Semaphore::new(limits.handshakes_max.min(Semaphore::MAX_PERMITS))),
            per_address_max: limits.connections_per_address_max,
            addresses: Mutex::default(),
        })
    }

    /// The place of one more connection; `None`, and counted, where there is none.
    /// It counts for no address yet.
    pub(crate) fn take(self: &Arc<Slots>, node: &Arc<Node>) -> Option<Slot> {
        let Ok(connection) = self.connections.clone().try_acquire_owned() else {
            node.metrics.limits.connections.inc();
            return None;
        };
        node.metrics.connections.inc();
        Some(Slot {
            _connection: connection,
            counted: OnceLock::new(),
            slots: self.clone(),
            node: node.clone(),
        })
    }

    /// Would somebody who takes places under addresses that are not his keep others out? With many handshakes under way, or
    /// where addresses are counted, he would.
    pub(crate) fn are_precious(&self) -> bool {
        self.per_address_max > 0 || self.handshakes.available_permits() < self.handshakes_max / 2
    }
}

impl Slot {
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Counts it for an address, once; false, and counted, where that has as many as it may.
    pub(crate) fn count(&self, address: SocketAddr) -> bool {
        if self.slots.per_address_max == 0 {
            return true;
        }
        let mut addresses = self.slots.addresses.lock();
        let count = addresses.entry(address.ip()).or_default();
        if *count >= self.slots.per_address_max {
            self.node.metrics.limits.connections_per_address.inc();
            return false;
        }
        if self.counted.set(address.ip()).is_ok() {
            *count += 1;
        }
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.node.metrics.connections.dec();
        let Some(ip) = self.counted.get() else { return };
        let mut addresses = self.slots.addresses.lock();
        if let Some(count) = addresses.get_mut(ip) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(ip);
            }
        }
    }
}

/// What lies between the socket and MQTT, from the outside in.
#[derive(Default)]
pub(crate) struct Layers {
    /// A header of the PROXY protocol is expected.
    pub(crate) proxy: bool,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) websocket: Option<Terms>,
}

impl Layers {
    /// MQTT over TCP: there is no handshake.
    pub(crate) fn are_none(&self) -> bool {
        !self.proxy && self.tls.is_none() && self.websocket.is_none()
    }
}

/// Everything that a listener needs to serve its connections.
pub(crate) struct Listener {
    pub(crate) node: Arc<Node>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) layers: Arc<Layers>,
    pub(crate) tasks: TaskTracker,
}

impl Listener {
    /// Accepts until `stop`.
    pub(crate) async fn run(self, listener: TcpListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((socket, address)) => self.serve(socket, canonical(address)),
                Err(error) => self.failed(&error).await,
            }
        }
    }

    fn serve(&self, socket: TcpStream, address: SocketAddr) {
        // Without a slot the socket is dropped, which is the cheapest refusal there is.
        let Some(slot) = self.slots.take(&self.node) else { return };
        // Behind a balancer the client's address is known later.
        if !self.layers.proxy && !slot.count(address) {
            return;
        }
        // Small packets must not wait for an acknowledgement of earlier ones.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%address, %error, "cannot set TCP_NODELAY");
        }
        let (node, layers) = (self.node.clone(), self.layers.clone());
        self.tasks.spawn(connection::serve(node, Entrance::Socket(socket, address, layers), slot));
    }

    async fn failed(&self, error: &io::Error) {
        // The peer may be gone before it is accepted: that is no failure of ours.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        self.node.metrics.limits.descriptors.inc();
        tracing::warn!(%error, "cannot accept connections");
        tokio::time::sleep(PAUSE).await;
    }
}

/// An IPv4 client of an IPv6 socket is shown and counted by its IPv4 address.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
