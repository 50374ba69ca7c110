//! The composition root: from a configuration to a running node, and its orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use revoq_proto::client::{ControlChannel, Identity, Options, Persistence, Tls};
use revoq_proto::v1;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::control::Driver;
use crate::listener::{Listener, Slots, bind};
use crate::lookup::LookUps;
use crate::node::{Node, Parts, Sweep};
use crate::tls::{ServerCertificate, Source, Verifier, provider, server_config};
use crate::{Error, http, identity, sessions};

/// How long connections may take to close at the end, beyond their deadline.
const DRAIN_MARGIN: Duration = Duration::from_secs(3);
/// How long the last call may take.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
const READY_INTERVAL: Duration = Duration::from_millis(10);

/// A running broker node. Dropping it ends it abruptly: sessions are cut, and the lease is left to run out.
pub struct Broker {
    node: Arc<Node>,
    tls_address: Option<SocketAddr>,
    tcp_address: Option<SocketAddr>,
    http_address: Option<SocketAddr>,
    stop: CancellationToken,
    farewell: CancellationToken,
    tasks: TaskTracker,
    watch: Option<JoinHandle<()>>,
    /// Present where the node joined by a token: its place goes with it.
    leaving: Option<ControlChannel>,
}

/// Not ready within the time that was given.
#[derive(Debug, thiserror::Error)]
#[error("broker node {name} is not ready after {after:?}: {why}")]
pub struct NotReady {
    name: String,
    after: Duration,
    why: &'static str,
}

/// The sockets, bound before anything else: a port that is taken is said at once.
struct Sockets {
    tls: Option<TcpListener>,
    tcp: Option<TcpListener>,
    http: Option<TcpListener>,
}

impl Sockets {
    fn bind(config: &Config) -> Result<Sockets, Error> {
        let one = |what, address: Option<SocketAddr>| address.map(|address| bind(what, address)).transpose();
        Ok(Sockets {
            tls: one("MQTT over TLS", config.tls_listen)?,
            tcp: one("MQTT over TCP", config.tcp_listen)?,
            http: one("health and metrics", config.http_listen)?,
        })
    }
}

impl Broker {
    /// Binds the listeners, joins the cluster and starts to watch it. Returns when the node is a member; whether it
    /// serves yet, [`Broker::wait_ready`] tells. Must be called within a multi-threaded tokio runtime.
    ///
    /// # Errors
    /// See [`Error`]. A control plane that cannot be reached is none: the node waits for it.
    pub async fn start(config: Config) -> Result<Broker, Error> {
        config.check()?;
        let sockets = Sockets::bind(&config)?;
        let member = identity::obtain(&config).await?;
        let tls = Tls::from(Identity::clone(&member.identity));
        let channel = ControlChannel::new(&config.control_plane, &tls, Options::default())?;
        let channel = channel.in_order_of(member.node.0);
        let certificate = sockets.tls.is_some().then(Arc::<ServerCertificate>::default);
        let node = Arc::new(Node::new(Parts {
            id: member.node,
            name: config.name.clone(),
            limits: config.limits.clone(),
            lookups: LookUps::new(channel.clone(), &config.limits),
            certificate,
        }));
        let mut broker = Broker {
            tls_address: address(sockets.tls.as_ref()),
            tcp_address: address(sockets.tcp.as_ref()),
            http_address: address(sockets.http.as_ref()),
            node,
            stop: CancellationToken::new(),
            farewell: CancellationToken::new(),
            tasks: TaskTracker::new(),
            watch: None,
            leaving: member.joined.then(|| channel.clone()),
        };
        broker.serve(&config, sockets, channel)?;
        let driver = Driver {
            node: broker.node.clone(),
            addresses: config.control_plane,
            tls,
            incarnation: rand::random(),
            workers: Handle::current(),
            farewell: broker.farewell.clone(),
            kill: broker.stop.clone(),
        };
        broker.watch = Some(driver.spawn()?);
        tracing::info!(node = broker.node.id.0, name = broker.node.name, "broker node started");
        Ok(broker)
    }

    /// Starts the tasks of the listeners.
    fn serve(&self, config: &Config, sockets: Sockets, channel: ControlChannel) -> Result<(), Error> {
        let slots = Slots::new(&config.limits);
        let listener =
            |tls| Listener { node: self.node.clone(), slots: slots.clone(), tls, tasks: self.tasks.clone() };
        let (keeper, stop) = (sessions::keep(self.node.clone()), self.stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled(keeper).await });
        if let Some(socket) = sockets.http {
            let (node, stop) = (self.node.clone(), self.stop.clone());
            tokio::spawn(http::serve(socket, node, stop));
        }
        if let (Some(socket), Some(certificate)) = (sockets.tls, &self.node.certificate) {
            let acceptor = self.acceptor(certificate)?;
            let source = source(config, channel);
            source.check(certificate)?;
            let (stop, certificate) = (self.stop.clone(), certificate.clone());
            tokio::spawn(async move { stop.run_until_cancelled(source.keep(certificate)).await });
            self.tasks.spawn(listener(Some(acceptor)).run(socket, self.node.stopping.clone()));
        }
        if let Some(socket) = sockets.tcp {
            self.tasks.spawn(listener(None).run(socket, self.node.stopping.clone()));
        }
        Ok(())
    }

    fn acceptor(&self, certificate: &Arc<ServerCertificate>) -> Result<TlsAcceptor, Error> {
        let node = &self.node;
        let algorithms = provider().signature_verification_algorithms;
        let verifier = Verifier::new(node.view.clone(), node.trust.clone(), algorithms);
        let config = server_config(Arc::new(verifier), node.tickets.clone(), certificate.clone())?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Where MQTT over TLS is served, with the port that was drawn for port 0.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// Where MQTT over TCP is served.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp_address
    }

    /// Where health and metrics are served.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// The number that the cluster gave to this node.
    #[must_use]
    pub fn node_id(&self) -> u64 {
        self.node.id.0
    }

    /// The name of the node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.node.name
    }

    /// Each sweep from now on: the moments at which gates were shut.
    #[must_use]
    pub fn sweeps(&self) -> broadcast::Receiver<Sweep> {
        self.node.sweeps.subscribe()
    }

    /// Waits until the node serves: a fresh view, and a server certificate where one is needed.
    ///
    /// # Errors
    /// [`NotReady`] after `timeout`, with the reason that `/readyz` gives.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), NotReady> {
        let ready = async {
            while self.node.unready().is_some() {
                tokio::time::sleep(READY_INTERVAL).await;
            }
        };
        match (tokio::time::timeout(timeout, ready).await, self.node.unready()) {
            (Err(_), Some(why)) => Err(NotReady { name: self.node.name.clone(), after: timeout, why }),
            _ => Ok(()),
        }
    }

    /// Ends in order: no new clients, those that are there are told (MQTT 5.0: 0x8B), and the control plane learns that
    /// every gate is shut, so that no fence waits for this node.
    pub async fn shutdown(mut self) {
        let sessions = self.node.drain();
        tracing::info!(sessions, "draining");
        self.tasks.close();
        let deadline = self.node.view.load().settings().cut_deadline + DRAIN_MARGIN;
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "some connections did not end in time");
        }
        // A client that was just being let in when the others were drained.
        self.node.drain();
        self.farewell.cancel();
        if let Some(watch) = self.watch.take() {
            let ended = tokio::task::spawn_blocking(move || watch.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!("the watch thread ended by a panic");
            }
        }
        if let Some(channel) = self.leaving.take() {
            leave(&channel).await;
        }
        self.stop.cancel();
    }
}

/// Gives the node's place back. Where that fails, the leader forgets the node after a while.
async fn leave(channel: &ControlChannel) {
    let left = channel.call(Persistence::CHANGE.with_patience(LEAVE_PATIENCE), |channel| async move {
        v1::node_client::NodeClient::new(channel).leave(v1::LeaveRequest {}).await
    });
    if let Ok(Err(error)) = tokio::time::timeout(LEAVE_PATIENCE, left).await {
        tracing::warn!(%error, "the control plane does not know that this node left");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.cancel();
        self.node.drain();
    }
}

fn address(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener.and_then(|listener| listener.local_addr().ok())
}

fn source(config: &Config, channel: ControlChannel) -> Source {
    match (&config.tls_certificate, &config.tls_key) {
        (Some(certificate), Some(key)) => {
            Source::Files { certificate: certificate.clone(), key: key.clone() }
        }
        _ if config.tls_names.is_empty() => Source::Issued { channel, names: vec![config.name.clone()] },
        _ => Source::Issued { channel, names: config.tls_names.clone() },
    }
}
