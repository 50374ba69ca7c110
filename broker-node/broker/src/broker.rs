//! The composition root: from a configuration to a running node, and its orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use revoq_proto::client::{ControlChannel, Identity, Options, Persistence, Tls};
use revoq_proto::v1;
use tokio::runtime::Handle;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ListenerKind};
use crate::control::Driver;
use crate::lookup::LookUps;
use crate::node::{Node, Parts, Sweep};
use crate::sockets::{Server, Sockets};
use crate::tls::{ServerCertificate, Source};
use crate::{Error, http, identity};

/// How long connections may take to close at the end, beyond their deadline.
const DRAIN_MARGIN: Duration = Duration::from_secs(3);
/// How long the last call may take.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
const READY_INTERVAL: Duration = Duration::from_millis(10);

/// A running broker node. Dropping it ends it abruptly: sessions are cut, and the lease is left to run out.
pub struct Broker {
    node: Arc<Node>,
    addresses: Vec<(ListenerKind, SocketAddr)>,
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
        let certificate = sockets.needs_certificate().then(Arc::<ServerCertificate>::default);
        let node = Arc::new(Node::new(Parts {
            id: member.node,
            name: config.name.clone(),
            limits: config.limits.clone(),
            lookups: LookUps::new(channel.clone(), &config.limits),
            certificate,
        }));
        let mut broker = Broker {
            addresses: sockets.addresses(),
            http_address: sockets.http.as_ref().and_then(|socket| socket.local_addr().ok()),
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
        if let Some(socket) = sockets.http {
            let (node, stop) = (self.node.clone(), self.stop.clone());
            tokio::spawn(http::serve(socket, node, stop));
        }
        if let Some(certificate) = &self.node.certificate {
            let source = source(config, channel);
            source.check(certificate)?;
            let (stop, certificate) = (self.stop.clone(), certificate.clone());
            tokio::spawn(async move { stop.run_until_cancelled(source.keep(certificate)).await });
        }
        let server = Server::new(config, self.node.clone(), self.tasks.clone())?;
        for (listener, socket) in sockets.mqtt {
            server.serve(&listener, socket)?;
        }
        Ok(())
    }

    /// Where MQTT is served, in the order of the configuration, with the ports that were drawn for port 0.
    #[must_use]
    pub fn addresses(&self) -> &[(ListenerKind, SocketAddr)] {
        &self.addresses
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

fn source(config: &Config, channel: ControlChannel) -> Source {
    if !config.tls_certificate.is_empty() {
        let pairs = config.tls_certificate.iter().cloned().zip(config.tls_key.iter().cloned());
        return Source::Files(pairs.collect());
    }
    let names =
        if config.tls_names.is_empty() { vec![config.name.clone()] } else { config.tls_names.clone() };
    Source::Issued { channel, names }
}
