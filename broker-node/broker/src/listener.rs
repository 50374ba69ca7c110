//! Accepts connections and hands each to a task of its own. Nothing is awaited here but the next one.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use revoq_session::Rate;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::connection::{self, Entrance};
use crate::node::Node;
use crate::websocket::Terms;

/// Out of file descriptors: others must end before another try makes sense.
const PAUSE: Duration = Duration::from_millis(50);

/// Addresses whose rate is remembered. Beyond that those are forgotten that came longest ago: each may come as if it had not
/// been there, and all together by the rate of the node.
pub(crate) const RATED_ADDRESSES_MAX: usize = 65_536;

/// Admission by number: of all connections, of those from one address, of those in a second, of handshakes.
pub(crate) struct Slots {
    connections: Arc<Semaphore>,
    pub(crate) handshakes: Arc<Semaphore>,
    handshakes_max: usize,
    /// Zero: addresses are not counted.
    per_address_max: usize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    rate_per_address_max: Option<u32>,
    rate_max: Option<u32>,
    rate: Mutex<Rate>,
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
            rate_per_address_max: limits.connect_rate_per_address_max,
            rate_max: limits.connect_rate_max,
            rate: Mutex::default(),
        })
    }

    /// The place of one more connection; `None`, and counted, where there is none. Without an address it counts for none
    /// yet: see [`Slot::arrive`].
    pub(crate) fn take(self: &Arc<Slots>, node: &Arc<Node>, address: Option<SocketAddr>) -> Option<Slot> {
        // First: who comes too often takes nothing from what all may come.
        if address.is_some_and(|address| !self.is_due(node, address.ip())) {
            return None;
        }
        if !self.is_slow_enough() {
            node.metrics.limits.connect_rate.inc();
            return None;
        }
        let Ok(connection) = self.connections.clone().try_acquire_owned() else {
            node.metrics.limits.connections.inc();
            return None;
        };
        node.metrics.connections.inc();
        let counted = OnceLock::new();
        let slot = Slot { _connection: connection, counted, slots: self.clone(), node: node.clone() };
        address.is_none_or(|address| slot.count(address.ip())).then_some(slot)
    }

    /// May one more come from this address? False is counted.
    fn is_due(&self, node: &Node, address: IpAddr) -> bool {
        let Some(rate_max) = self.rate_per_address_max else { return true };
        let now = clock::tick(clock::now());
        let is_due = node.connect_rates.update(network(address), |rate| rate.admits(now, Some(rate_max)));
        if !is_due {
            node.metrics.limits.connect_rate_per_address.inc();
        }
        is_due
    }

    fn is_slow_enough(&self) -> bool {
        self.rate_max.is_none() || self.rate.lock().admits(clock::tick(clock::now()), self.rate_max)
    }

    /// Would somebody who takes places under addresses that are not his keep others out? With many handshakes under way, or
    /// where addresses are counted, he would.
    pub(crate) fn are_precious(&self) -> bool {
        self.per_address_max > 0
            || self.rate_per_address_max.is_some()
            || self.handshakes.available_permits() < self.handshakes_max / 2
    }
}

impl Slot {
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The address of a connection is known at last: false, and counted, where that comes too often or has as many as it
    /// may.
    pub(crate) fn arrive(&self, address: SocketAddr) -> bool {
        self.slots.is_due(&self.node, address.ip()) && self.count(address.ip())
    }

    /// Counts it for an address, once; false, and counted, where that has as many as it may.
    fn count(&self, address: IpAddr) -> bool {
        if self.slots.per_address_max == 0 {
            return true;
        }
        let mut addresses = self.slots.addresses.lock();
        let count = addresses.entry(address).or_default();
        if *count >= self.slots.per_address_max {
            self.node.metrics.limits.connections_per_address.inc();
            return false;
        }
        if self.counted.set(address).is_ok() {
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
        // Behind a balancer the client's address is known later.
        let known = (!self.layers.proxy).then_some(address);
        // Without a slot the socket is dropped, which is the cheapest refusal there is.
        let Some(slot) = self.slots.take(&self.node, known) else { return };
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

/// Whose rate an address counts for: who has one address of IPv6 has all of its /64 (RFC 4291 section 2.5.4).
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// An IPv4 client of an IPv6 socket is shown and counted by its IPv4 address.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
