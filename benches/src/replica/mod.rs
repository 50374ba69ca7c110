//! Replicas in processes of their own.

mod cluster;
mod fill;
mod work;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::usage::Usage;

pub(crate) use cluster::{Cluster, Kept};
pub(crate) use fill::fingerprint;
pub(crate) use work::worker;

/// The authority of the certificates that [`Fill`] makes, in the tenant `default`.
pub(crate) const AUTHORITY: &str = "factory";
pub(crate) const TENANT: &str = "default";

/// How a replica is started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    /// A token, and the replica to join; absent: a new cluster.
    pub(crate) join: Option<(String, String)>,
    /// See `limits.changes_kept`.
    pub(crate) changes_kept: u64,
    /// See `limits.changes_in_memory`.
    pub(crate) changes_in_memory: usize,
}

/// What a replica is asked.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// A token for one replica.
    ReplicaToken,
    /// A token for any number of brokers.
    BrokerToken,
    /// Whether it leads.
    Leads,
    /// When it began to apply these revisions.
    AppliedAt(Vec<u64>),
    /// To commit so many certificates, and deny some of them.
    Fill(Fill),
    /// To stop in order.
    Stop,
}

/// A state to make.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Fill {
    pub(crate) certificates: usize,
    /// Of those, denied.
    pub(crate) denied: usize,
}

/// How long that took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Filled {
    pub(crate) added_s: f64,
    pub(crate) denied_s: f64,
    /// The revision at which it is done.
    pub(crate) revision: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Started {
        address: String,
    },
    Token(String),
    Leads(bool),
    /// Nanoseconds of `CLOCK_BOOTTIME`; `None`: not known any more.
    AppliedAt(Vec<Option<u64>>),
    Filled(Filled),
    Failed(String),
}

/// A replica in a process of its own. It ends when this is dropped.
pub(crate) struct Replica {
    process: Process,
    pub(crate) address: String,
    data: PathBuf,
}

impl Replica {
    /// Starts one.
    pub(crate) async fn start(job: &Job) -> Result<Replica> {
        let mut process = Process::start("replica")?;
        match process.ask(job).await? {
            Answer::Started { address } => Ok(Replica { process, address, data: job.data.clone() }),
            other => bail!("{} does not start: {other:?}", job.name),
        }
    }

    /// The first administrator's bundle, where this replica founded the cluster.
    pub(crate) fn bundle(&self) -> Result<String> {
        let path = self.data.join("administrator.toml");
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    pub(crate) async fn replica_token(&mut self) -> Result<String> {
        self.token(&Order::ReplicaToken).await
    }

    pub(crate) async fn broker_token(&mut self) -> Result<String> {
        self.token(&Order::BrokerToken).await
    }

    async fn token(&mut self, order: &Order) -> Result<String> {
        match self.process.ask(order).await? {
            Answer::Token(token) => Ok(token),
            other => bail!("a token was expected: {other:?}"),
        }
    }

    pub(crate) async fn leads(&mut self) -> Result<bool> {
        match self.process.ask(&Order::Leads).await? {
            Answer::Leads(leads) => Ok(leads),
            other => bail!("a yes or no was expected: {other:?}"),
        }
    }

    /// When it began to apply each of these, on [`crate::clock::now_ns`].
    pub(crate) async fn applied_at(&mut self, revisions: Vec<u64>) -> Result<Vec<Option<u64>>> {
        match self.process.ask(&Order::AppliedAt(revisions)).await? {
            Answer::AppliedAt(moments) => Ok(moments),
            other => bail!("moments were expected: {other:?}"),
        }
    }

    pub(crate) async fn fill(&mut self, fill: Fill) -> Result<Filled> {
        match self.process.ask(&Order::Fill(fill)).await? {
            Answer::Filled(filled) => Ok(filled),
            other => bail!("the state is not made: {other:?}"),
        }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.process.id())
    }

    /// Ends it as a crash does.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.process.say(&Order::Stop).await?;
        self.process.wait().await
    }
}
