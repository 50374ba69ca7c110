//! The composition: replicas first, then brokers that join with tokens of the first replica.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoq_broker::Broker;
use revoq_control::{NodeKind, Replica};

use crate::layout::{Layout, Ports};

/// A broker is ready well within this on a busy machine: join, server certificate, snapshot, first grant.
const READY_WITHIN: Duration = Duration::from_secs(60);
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
}

/// A running cluster. Dropping it stops nothing in order: call [`Cluster::shutdown`].
pub struct Cluster {
    options: Options,
    layout: Layout,
    replicas: Vec<Replica>,
    brokers: Vec<Broker>,
}

impl Cluster {
    /// Starts all replicas and brokers and returns when each broker is ready.
    pub async fn start(options: Options) -> Result<Cluster> {
        ensure!([1, 3, 5].contains(&options.replicas), "replicas: {} is not 1, 3 or 5", options.replicas);
        let layout = Layout::load_or_draw(
            &options.data,
            options.ports,
            options.replicas,
            options.brokers,
            options.tcp,
        )?;
        let mut cluster = Cluster { options, layout, replicas: Vec::new(), brokers: Vec::new() };
        for n in 0..cluster.options.replicas {
            cluster.start_replica(n).await.with_context(|| format!("starting replica {}", n + 1))?;
        }
        for n in 0..cluster.options.brokers {
            cluster.start_broker(n).await.with_context(|| format!("starting broker {}", n + 1))?;
        }
        for broker in &cluster.brokers {
            broker.wait_ready(READY_WITHIN).await?;
        }
        Ok(cluster)
    }
}
