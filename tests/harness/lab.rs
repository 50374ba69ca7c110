//! A cluster of a test's own within the test's process, in its own folder, on free ports.

use std::ops::Deref;

use anyhow::Result;
use revoq_local::{Cluster, Options, Ports};
use tempfile::TempDir;

use crate::access::{AUTHORITY, Access, BrokerAddresses};

/// A cluster with one authority, `factory`, in the tenant `default`. It is used as its [`Access`].
pub struct Lab {
    /// The replicas and brokers.
    pub cluster: Cluster,
    access: Access,
    folder: TempDir,
}

impl Deref for Lab {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl Lab {
    /// Starts it, ready.
    pub async fn start(replicas: usize, brokers: usize) -> Result<Lab> {
        let folder = TempDir::new()?;
        let lab = Lab::open(folder, replicas, brokers).await?;
        lab.create_authority(AUTHORITY).await?;
        Ok(lab)
    }

    async fn open(folder: TempDir, replicas: usize, brokers: usize) -> Result<Lab> {
        let data = folder.path().join("data");
        let options = Options { data, replicas, brokers, ports: Ports::Free, tcp: false };
        let cluster = Box::pin(Cluster::start(options)).await?;
        let layout = cluster.layout();
        let replicas = layout.replicas.iter().map(|replica| replica.grpc).collect();
        let brokers = layout.brokers.iter();
        let brokers =
            brokers.map(|broker| BrokerAddresses { tls: broker.tls, tcp: None, http: broker.http }).collect();
        let access = Access::new(cluster.bundle_path()?, replicas, brokers, folder.path())?;
        Ok(Lab { cluster, access, folder })
    }

    /// Stops every process part and starts all of them from their folders.
    pub async fn restart(self) -> Result<Lab> {
        let (replicas, brokers) = (self.cluster.layout().replicas.len(), self.cluster.layout().brokers.len());
        self.cluster.shutdown().await;
        Lab::open(self.folder, replicas, brokers).await
    }
}
