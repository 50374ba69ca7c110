//! A broker in a process of its own.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use revoq_broker::{Broker, Config};
use serde::{Deserialize, Serialize};

use crate::process::{Orders, Process, answer};
use crate::usage::Usage;

/// How a broker is started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) replicas: Vec<String>,
    pub(crate) token: String,
    /// Where health is told.
    pub(crate) http: SocketAddr,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Member,
    Failed(String),
}

/// A broker in a process of its own. It ends when this is dropped.
pub(crate) struct Node(Process);

impl Node {
    /// Starts it: [`Node::member`] waits until it has joined, `/readyz` tells when it is ready.
    pub(crate) async fn start(job: &Job) -> Result<Node> {
        let mut process = Process::start("node")?;
        process.say(job).await?;
        Ok(Node(process))
    }

    /// Waits until it is a member of the cluster.
    pub(crate) async fn member(&mut self) -> Result<()> {
        match self.0.hear().await? {
            Some(Answer::Member) => Ok(()),
            other => bail!("the broker does not start: {other:?}"),
        }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.0.id())
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.0.close_input();
        self.0.wait().await
    }
}

/// The process of a broker: one job, then it serves until nothing more is said.
pub(crate) async fn worker() -> Result<()> {
    let mut orders = Orders::new();
    let job: Job = orders.next().await?.context("a job")?;
    let config = Config {
        name: job.name,
        control_plane: job.replicas,
        join_token: Some(job.token),
        tls_listen: vec!["127.0.0.1:0".parse().expect("an address")],
        http_listen: Some(job.http),
        tls_names: vec!["localhost".to_owned()],
        ..Config::default()
    };
    let broker = match Box::pin(Broker::start(config)).await {
        Ok(broker) => broker,
        Err(error) => return answer(&Answer::Failed(error.to_string())).await,
    };
    answer(&Answer::Member).await?;
    while orders.next::<()>().await?.is_some() {}
    Box::pin(broker.shutdown()).await;
    Ok(())
}
