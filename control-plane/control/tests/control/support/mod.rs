//! Replicas of a test's own, on loopback ports that the system draws.

pub(crate) mod process;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, KeyPair};
use revoq_control::{Config, Join, NodeKind, Replica};
use revoq_proto::client::{Identity, Options, Tls, endpoint};
use revoq_proto::context::Bundle;
use revoq_proto::pem;
use revoq_proto::v1;
use revoq_proto::v1::cluster_client::ClusterClient;
use revoq_proto::v1::node_client::NodeClient;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

pub(crate) const TENANT: &str = "default";
const PATIENCE: Duration = Duration::from_secs(60);

/// Replicas, numbered from 0, and their folders.
pub(crate) struct Replicas {
    folder: TempDir,
    running: Vec<Option<Replica>>,
    adjust: fn(&mut Config),
}

impl Replicas {
    /// Founds a cluster and lets the others join.
    pub(crate) async fn start(count: usize) -> Result<Replicas> {
        Replicas::start_with(count, |_| {}).await
    }

    /// With what `adjust` makes of their configuration.
    pub(crate) async fn start_with(count: usize, adjust: fn(&mut Config)) -> Result<Replicas> {
        let mut replicas = Replicas { folder: TempDir::new()?, running: Vec::new(), adjust };
        replicas.running.push(Some(Replica::start(replicas.config(0)).await?));
        for _ in 1..count {
            replicas.add().await?;
        }
        Ok(replicas)
    }

    /// One more joins.
    pub(crate) async fn add(&mut self) -> Result<()> {
        let token = self.get(0).create_join_token(NodeKind::Replica, Some(1), PATIENCE).await?;
        let joined = self.join(self.running.len(), token).await?;
        self.running.push(Some(joined));
        Ok(())
    }

    pub(crate) async fn join(&self, n: usize, token: String) -> Result<Replica> {
        let endpoints = vec![self.get(0).address().to_string()];
        let config = Config { join: Some(Join { token, endpoints }), ..self.config(n) };
        Ok(Replica::start(config).await?)
    }

    pub(crate) fn config(&self, n: usize) -> Config {
        let mut config = Config::new(format!("replica-{n}"), self.data(n));
        config.listen = "127.0.0.1:0".parse().expect("an address");
        config.http_listen = Some(config.listen);
        config.timings.heartbeat = Duration::from_millis(100);
        config.timings.election_min = Duration::from_millis(500);
        config.timings.election_max = Duration::from_millis(1_000);
        (self.adjust)(&mut config);
        config
    }

    pub(crate) fn data(&self, n: usize) -> PathBuf {
        self.folder.path().join(n.to_string())
    }

    pub(crate) fn get(&self, n: usize) -> &Replica {
        self.running[n].as_ref().expect("the replica runs")
    }

    pub(crate) async fn stop_one(&mut self, n: usize) {
        if let Some(replica) = self.running[n].take() {
            replica.shutdown().await;
        }
    }

    /// From its folder.
    pub(crate) async fn start_one(&mut self, n: usize) -> Result<()> {
        self.running[n] = Some(Replica::start(self.config(n)).await?);
        Ok(())
    }

    pub(crate) async fn stop(&mut self) {
        for replica in self.running.iter_mut().filter_map(Option::take) {
            replica.shutdown().await;
        }
    }

    /// All from their folders, at the addresses that they had.
    pub(crate) async fn start_again(&mut self) -> Result<()> {
        for n in 0..self.running.len() {
            self.running[n] = Some(Replica::start(self.config(n)).await?);
        }
        until("every replica is ready", async || {
            Ok(self.running.iter().flatten().all(Replica::is_ready).then_some(()))
        })
        .await
    }

    pub(crate) fn bundle(&self) -> Result<Bundle> {
        let path = self.data(0).join("administrator.toml");
        Ok(Bundle::parse(&std::fs::read_to_string(path)?)?)
    }

    /// As the first administrator.
    pub(crate) fn channel(&self, n: usize) -> Result<Channel> {
        self.channel_as(n, &Tls::Mutual(self.bundle()?.identity()))
    }

    pub(crate) fn channel_as(&self, n: usize, tls: &Tls) -> Result<Channel> {
        Ok(endpoint(&self.get(n).address().to_string(), tls, Options::default())?.connect_lazy())
    }

    pub(crate) fn anonymous(&self) -> Result<Tls> {
        Ok(Tls::Anonymous { authority_pem: self.bundle()?.authority })
    }

    pub(crate) fn identity(&self, chain: &[impl AsRef<[u8]>], key: &[u8]) -> Result<Tls> {
        Ok(Tls::Mutual(Identity {
            certificates_pem: pem::encode_certificates(chain),
            key_pem: pem::encode(pem::PRIVATE_KEY, key),
            authority_pem: self.bundle()?.authority,
        }))
    }

    /// A broker node that has just joined: its certificate.
    pub(crate) async fn join_broker(&self, name: &str) -> Result<Tls> {
        let token = self.get(0).create_join_token(NodeKind::Broker, Some(1), PATIENCE).await?;
        let key = KeyPair::generate()?;
        let csr = CertificateParams::default().serialize_request(&key)?.der().to_vec();
        let request = v1::JoinRequest {
            token,
            kind: v1::NodeKind::Broker.into(),
            name: name.to_owned(),
            csr: csr.into(),
            address: String::new(),
        };
        let mut anonymous = NodeClient::new(self.channel_as(0, &self.anonymous()?)?);
        let joined = anonymous.join(request).await?.into_inner();
        self.identity(&joined.certificates, key.serialized_der())
    }

    pub(crate) async fn status(&self, n: usize) -> Result<v1::ClusterStatusResponse> {
        let mut client = ClusterClient::new(self.channel(n)?);
        Ok(client.status(v1::ClusterStatusRequest {}).await?.into_inner())
    }

    /// The number (from 0) of a replica that does not lead, once all vote.
    pub(crate) async fn follower(&self) -> Result<usize> {
        until("one leads and all others follow", async || {
            let leading = self.running.iter().flatten().position(Replica::is_leader);
            let Some(leading) = leading else { return Ok(None) };
            let status = self.status(leading).await?;
            let following = status.nodes.iter().filter(|node| node.status == "follower").count();
            let complete = following + 1 == self.running.len();
            Ok(complete.then_some((leading + 1) % self.running.len()))
        })
        .await
    }
}

/// Asks again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        if let Ok(Some(answer)) = answer {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            answer.with_context(|| format!("waiting until {what}"))?;
            anyhow::bail!("in vain waited until {what}");
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The refusal has this code, and its message names all of these.
pub(crate) fn refused<T: std::fmt::Debug>(
    result: Result<T, tonic::Status>,
    code: tonic::Code,
    names: &[&str],
) -> Result<()> {
    let status = result.err().context("a refusal was expected")?;
    ensure!(status.code() == code, "{code:?} was expected: {status:?}");
    for name in names {
        ensure!(status.message().contains(name), "{name:?} is not named: {}", status.message());
    }
    Ok(())
}
