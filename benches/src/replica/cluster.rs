//! Replicas that are a cluster of a run's own.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use revoq_proto::client::{Options, Tls, endpoint};
use revoq_proto::context::Bundle;
use revoq_proto::v1;
use tempfile::TempDir;
use tonic::transport::Channel;

use super::{AUTHORITY, Job, Replica, TENANT};
use crate::usage::Usage;

const LED_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is kept for watchers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// See `limits.changes_kept` of a replica.
    pub(crate) changes: u64,
    /// See `limits.changes_in_memory` of a replica.
    pub(crate) in_memory: usize,
}

impl Default for Kept {
    fn default() -> Kept {
        let limits = revoq_control::Limits::default();
        Kept { changes: limits.changes_kept, in_memory: limits.changes_in_memory }
    }
}

/// A cluster of a run's own, in a folder of its own, each replica a process, with the authority [`AUTHORITY`].
pub(crate) struct Cluster {
    /// `None`: it was killed.
    replicas: Vec<Option<Replica>>,
    pub(crate) addresses: Vec<String>,
    tls: Tls,
    _folder: TempDir,
}

impl Cluster {
    /// Founds it, and lets the other replicas join.
    pub(crate) async fn start(count: usize, kept: Kept) -> Result<Cluster> {
        let folder = TempDir::new()?;
        let job = |n: usize, join| Job {
            name: format!("replica-{}", n + 1),
            data: folder.path().join(n.to_string()),
            join,
            changes_kept: kept.changes,
            changes_in_memory: kept.in_memory,
        };
        let mut first = Replica::start(&job(0, None)).await?;
        let tls = Tls::Mutual(Bundle::parse(&first.bundle()?)?.identity());
        let mut replicas = Vec::new();
        for n in 1..count {
            let join = Some((first.replica_token().await?, first.address.clone()));
            replicas.push(Some(Replica::start(&job(n, join)).await?));
        }
        replicas.insert(0, Some(first));
        let addresses = replicas.iter().flatten().map(|replica| replica.address.clone()).collect();
        let mut cluster = Cluster { replicas, addresses, tls, _folder: folder };
        let request = v1::CreateAuthorityRequest {
            tenant: TENANT.into(),
            name: AUTHORITY.into(),
            ..Default::default()
        };
        let channel = cluster.leader_channel().await?;
        v1::authorities_client::AuthoritiesClient::new(channel).create(request).await?;
        Ok(cluster)
    }

    /// A replica that runs.
    pub(crate) fn replica(&mut self, n: usize) -> Result<&mut Replica> {
        self.replicas[n].as_mut().with_context(|| format!("replica {} does not run", n + 1))
    }

    /// The replica that leads.
    pub(crate) async fn leading(&mut self) -> Result<&mut Replica> {
        let leader = self.leader().await?;
        self.replica(leader)
    }

    /// The number of the replica that leads.
    pub(crate) async fn leader(&mut self) -> Result<usize> {
        let end = tokio::time::Instant::now() + LED_WITHIN;
        while tokio::time::Instant::now() < end {
            for (n, replica) in self.replicas.iter_mut().enumerate() {
                if let Some(replica) = replica
                    && replica.leads().await?
                {
                    return Ok(n);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        bail!("no replica leads within {LED_WITHIN:?}")
    }

    /// To the leader, as the first administrator.
    pub(crate) async fn leader_channel(&mut self) -> Result<Channel> {
        let leader = self.leader().await?;
        Ok(endpoint(&self.addresses[leader], &self.tls, Options::default())?.connect().await?)
    }

    /// The certificate of the cluster authority, DER.
    pub(crate) fn root(&mut self) -> Result<Vec<u8>> {
        let bundle = Bundle::parse(&self.replica(0)?.bundle()?)?;
        let mut roots =
            revoq_proto::pem::decode_all("authority", revoq_proto::pem::CERTIFICATE, &bundle.authority)?;
        roots.pop().context("the bundle has an authority")
    }

    /// Of each replica that runs; zero for others.
    pub(crate) fn usage(&self) -> Result<Vec<Usage>> {
        let usage = |replica: &Option<Replica>| replica.as_ref().map_or(Ok(Usage::default()), Replica::usage);
        self.replicas.iter().map(usage).collect()
    }

    /// Microseconds that all replicas together have used.
    pub(crate) fn cpu_us(&self) -> Result<u64> {
        Ok(self.usage()?.iter().map(|usage| usage.cpu_us).sum())
    }

    /// Ends a replica as a crash does.
    pub(crate) async fn kill(&mut self, n: usize) -> Result<()> {
        let mut replica = self.replicas[n].take().context("it runs")?;
        replica.kill().await
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        for replica in self.replicas.drain(..).flatten() {
            replica.stop().await?;
        }
        Ok(())
    }
}
