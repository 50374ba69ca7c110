//! The composition: replicas first, then brokers that join with tokens of the first replica.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use revoq_broker::{Broker, Listener};
use revoq_control::{NodeKind, Replica};

use crate::layout::{Layout, Ports};

/// A broker is ready well within this on a busy machine: join, server certificate, snapshot, first grant.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Replicas elect a leader well within this.
const LED_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const BUNDLE: &str = "administrator.toml";
const TOKEN_TTL: Duration = Duration::from_secs(600);

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is kept; created if absent. A second start finds the first one's cluster here.
    pub data: PathBuf,
    /// 1, 3 or 5.
    pub replicas: usize,
    /// 0 or more.
    pub brokers: usize,
    /// How ports are chosen at the first start.
    pub ports: Ports,
    /// Brokers listen for MQTT over plain TCP too.
    pub tcp: bool,
    /// Further listeners of each broker. For port 0 one is drawn at each start: [`Broker::addresses`] tells it.
    pub listeners: Vec<Listener>,
}

/// A running cluster: stop it with [`Cluster::shutdown`].
pub struct Cluster {
    options: Options,
    layout: Layout,
    replicas: Vec<Option<Replica>>,
    brokers: Vec<Option<Broker>>,
}

impl Cluster {
    /// Starts all replicas and brokers; returns when each broker is ready.
    pub async fn start(options: Options) -> Result<Cluster> {
        ensure!([1, 3, 5].contains(&options.replicas), "replicas: {} is not 1, 3 or 5", options.replicas);
        let layout = Layout::load_or_draw(
            &options.data,
            options.ports,
            options.replicas,
            options.brokers,
            options.tcp,
        )?;
        let mut cluster = Cluster {
            replicas: (0..options.replicas).map(|_| None).collect(),
            brokers: (0..options.brokers).map(|_| None).collect(),
            options,
            layout,
        };
        cluster.start_replicas().await?;
        for n in 0..cluster.options.brokers {
            cluster.start_broker(n).await?;
        }
        cluster.write_bundle()?;
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    /// The first replica's bundle for the first administrator, with all replicas as endpoints.
    fn write_bundle(&self) -> Result<()> {
        let first = self.replica_folder(0).join(BUNDLE);
        let text = std::fs::read_to_string(&first).with_context(|| format!("reading {}", first.display()))?;
        let mut bundle: toml::Table = text.parse().with_context(|| format!("reading {}", first.display()))?;
        let endpoints = self.layout.replicas.iter().map(|replica| replica.grpc.to_string().into()).collect();
        bundle.insert("endpoints".to_owned(), toml::Value::Array(endpoints));
        let path = self.options.data.join(BUNDLE);
        let mut options = std::fs::OpenOptions::new();
        // It holds a private key.
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("writing {}", path.display()))?;
        file.write_all(toml::to_string(&bundle)?.as_bytes())?;
        Ok(())
    }

    /// Those that have started before can only elect a leader together, so they start side by side; new ones join one
    /// after the other.
    async fn start_replicas(&mut self) -> Result<()> {
        let (known, new): (Vec<usize>, Vec<usize>) =
            (0..self.options.replicas).partition(|n| self.replica_folder(*n).exists());
        let mut starting = tokio::task::JoinSet::new();
        for n in known {
            let config = self.replica_config(n);
            starting.spawn(async move { (n, Box::pin(Replica::start(config)).await) });
        }
        while let Some(started) = starting.join_next().await {
            let (n, replica) = started.context("starting a replica")?;
            self.replicas[n] = Some(replica.with_context(|| format!("starting replica {}", n + 1))?);
        }
        for n in new {
            self.start_replica(n).await?;
        }
        Ok(())
    }

    /// Starts replica `n` (from 0), which is not running: from its folder, or by joining the others.
    pub async fn start_replica(&mut self, n: usize) -> Result<()> {
        ensure!(self.replicas[n].is_none(), "replica {} is running", n + 1);
        let mut config = self.replica_config(n);
        if n > 0 && !config.data.exists() {
            let endpoints = vec![self.any_replica()?.address().to_string()];
            config.join =
                Some(revoq_control::Join { token: self.token(NodeKind::Replica).await?, endpoints });
        }
        // Boxed, here and below: the futures are large.
        let replica =
            Box::pin(Replica::start(config)).await.with_context(|| format!("starting replica {}", n + 1))?;
        self.replicas[n] = Some(replica);
        Ok(())
    }

    /// Starts broker `n` (from 0), which is not running. It joins anew; wait for it with [`Cluster::wait_ready`].
    pub async fn start_broker(&mut self, n: usize) -> Result<()> {
        ensure!(self.brokers[n].is_none(), "broker {} is running", n + 1);
        let addresses = self.layout.brokers[n];
        let token = self.token(NodeKind::Broker).await?;
        let config = revoq_broker::Config {
            name: format!("broker-{}", n + 1),
            control_plane: self.layout.replicas.iter().map(|replica| replica.grpc.to_string()).collect(),
            join_token: Some(token),
            tls_listen: vec![addresses.tls],
            tcp_listen: addresses.tcp.into_iter().collect(),
            listeners: self.options.listeners.clone(),
            http_listen: Some(addresses.http),
            tls_names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            ..revoq_broker::Config::default()
        };
        let broker =
            Box::pin(Broker::start(config)).await.with_context(|| format!("starting broker {}", n + 1))?;
        self.brokers[n] = Some(broker);
        Ok(())
    }

    /// Waits until each running broker has a fresh view.
    pub async fn wait_ready(&self) -> Result<()> {
        for broker in self.brokers.iter().flatten() {
            broker.wait_ready(READY_WITHIN).await?;
        }
        Ok(())
    }

    /// Stops replica `n` in order: it hands over leadership first.
    pub async fn stop_replica(&mut self, n: usize) {
        if let Some(replica) = self.replicas[n].take() {
            Box::pin(replica.shutdown()).await;
        }
    }

    /// Stops broker `n` in order: it tells its clients.
    pub async fn stop_broker(&mut self, n: usize) {
        if let Some(broker) = self.brokers[n].take() {
            Box::pin(broker.shutdown()).await;
        }
    }

    /// Waits until a replica has stopped by itself: which, from 0, and why. Stop it then, which releases its files.
    pub async fn failed(&self) -> (usize, revoq_control::Error) {
        let running =
            self.replicas.iter().enumerate().filter_map(|(n, replica)| Some((n, replica.as_ref()?)));
        let mut waiting: Vec<_> = running.map(|(n, replica)| (n, Box::pin(replica.stopped()))).collect();
        std::future::poll_fn(|context| {
            let ready = waiting.iter_mut().find_map(|(n, stopped)| match stopped.as_mut().poll(context) {
                Poll::Ready(fault) => Some((*n, fault)),
                Poll::Pending => None,
            });
            ready.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Whether any replica runs.
    #[must_use]
    pub fn has_replicas(&self) -> bool {
        self.replicas.iter().any(Option::is_some)
    }

    /// Stops everything, brokers first.
    pub async fn shutdown(mut self) {
        for n in 0..self.brokers.len() {
            self.stop_broker(n).await;
        }
        for n in 0..self.replicas.len() {
            self.stop_replica(n).await;
        }
    }

    /// The addresses of all parts, running or not.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Running replica `n`, from 0.
    pub fn replica(&self, n: usize) -> Result<&Replica> {
        self.replicas[n].as_ref().with_context(|| format!("replica {} is not running", n + 1))
    }

    /// Running broker `n`, from 0.
    pub fn broker(&self, n: usize) -> Result<&Broker> {
        self.brokers[n].as_ref().with_context(|| format!("broker {} is not running", n + 1))
    }

    /// The first administrator's bundle, which names all replicas.
    pub fn bundle_path(&self) -> Result<PathBuf> {
        let path = self.options.data.join(BUNDLE);
        ensure!(path.is_file(), "{} is not there: it is written at the first start", path.display());
        Ok(path)
    }

    /// A token for one node. Replicas that were just started elect their leader first.
    async fn token(&self, kind: NodeKind) -> Result<String> {
        let replica = self.any_replica()?;
        let started = Instant::now();
        loop {
            match Box::pin(replica.create_join_token(kind, Some(1), TOKEN_TTL)).await {
                Ok(token) => return Ok(token),
                Err(error) if started.elapsed() > LED_WITHIN => {
                    return Err(error).context("making a join token");
                }
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    fn any_replica(&self) -> Result<&Replica> {
        match self.replicas.iter().flatten().next() {
            Some(replica) => Ok(replica),
            None => bail!("no replica is running"),
        }
    }

    fn replica_folder(&self, n: usize) -> PathBuf {
        self.options.data.join(format!("replica-{}", n + 1))
    }

    fn replica_config(&self, n: usize) -> revoq_control::Config {
        let addresses = self.layout.replicas[n];
        let mut config = revoq_control::Config::new(format!("replica-{}", n + 1), self.replica_folder(n));
        config.listen = addresses.grpc;
        config.http_listen = Some(addresses.http);
        config
    }
}
