//! A cluster of a test's own within the test's process, in its own folder, on free ports.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;

use anyhow::{Context, Result};
use revoq_broker::{Listener, ListenerKind};
use revoq_local::{Cluster, Options, Ports};
use tempfile::TempDir;

use crate::access::{AUTHORITY, Access, BrokerAddresses};

/// What brokers serve beside MQTT over TLS.
const LISTENERS: [ListenerKind; 4] =
    [ListenerKind::Tcp, ListenerKind::WebSocket, ListenerKind::SecureWebSocket, ListenerKind::Quic];

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
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listeners = LISTENERS.map(|kind| Listener::new(kind, free)).into();
        let options = Options { data, replicas, brokers, ports: Ports::Free, tcp: false, listeners };
        let cluster = Box::pin(Cluster::start(options)).await?;
        let layout = cluster.layout();
        let replicas = layout.replicas.iter().map(|replica| replica.grpc).collect();
        let brokers = layout.brokers.iter();
        let brokers = brokers
            .map(|broker| BrokerAddresses { tls: broker.tls, also: Vec::new(), http: broker.http })
            .collect();
        let access = Access::new(cluster.bundle_path()?, replicas, brokers, folder.path())?;
        Ok(Lab { cluster, access, folder })
    }

    /// Where broker `n` serves that kind; each but MQTT over TLS at another port after a restart.
    pub fn address(&self, n: usize, kind: ListenerKind) -> Result<SocketAddr> {
        let addresses = self.cluster.broker(n)?.addresses();
        let found = addresses.iter().find(|(served, _)| *served == kind);
        found.map(|(_, address)| *address).with_context(|| format!("broker {n} does not serve {kind:?}"))
    }

    /// Stops every process part and starts all of them from their folders.
    pub async fn restart(self) -> Result<Lab> {
        let (replicas, brokers) = (self.cluster.layout().replicas.len(), self.cluster.layout().brokers.len());
        self.cluster.shutdown().await;
        Lab::open(self.folder, replicas, brokers).await
    }
}
