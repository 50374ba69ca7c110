//! The cluster of a run, its certificates, and the moments that its parts report.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use revoq_local::{Cluster, Options, Ports};
use revoq_proto::client::{Identity, Options as Dial, Tls, endpoint};
use revoq_proto::context::Bundle;
use revoq_proto::v1;
use tempfile::TempDir;
use tonic::transport::Channel;

use super::Arguments;
use crate::clock::now_ns;
use crate::fleet::Leaf;

const TENANT: &str = "default";

/// A cluster of a run's own, in a folder of its own, with brokers and replicas in this process.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) root: Vec<u8>,
    /// To the leader.
    pub(crate) channel: Channel,
    pub(crate) leader: usize,
    _folder: TempDir,
}

/// A certificate and the fingerprint by which it is suspended.
pub(crate) struct Issued {
    pub(crate) leaf: Leaf,
    pub(crate) fingerprint: Vec<u8>,
}

/// The moments of one suspension, on [`now_ns`].
pub(crate) struct Suspended {
    /// The call was sent.
    pub(crate) called: u64,
    /// The leader had learned that it is committed, and began to apply it.
    pub(crate) committed: u64,
    /// Each broker's gates for it were shut, in the order of brokers.
    pub(crate) gates: Vec<u64>,
}

impl Scene {
    pub(crate) async fn start(arguments: &Arguments) -> Result<Scene> {
        let folder = TempDir::new()?;
        let options = Options {
            data: folder.path().join("data"),
            replicas: arguments.replicas,
            brokers: arguments.brokers,
            ports: Ports::Free,
            tcp: false,
            listeners: Vec::new(),
        };
        let cluster = Box::pin(Cluster::start(options)).await?;
        let bundle = Bundle::parse(&std::fs::read_to_string(cluster.bundle_path()?)?)?;
        let mut roots =
            revoq_proto::pem::decode_all("authority", revoq_proto::pem::CERTIFICATE, &bundle.authority)?;
        let root = roots.pop().context("the bundle has an authority")?;
        let leader = (0..arguments.replicas)
            .find(|n| cluster.replica(*n).is_ok_and(revoq_control::Replica::is_leader))
            .context("a replica leads")?;
        let tls = Tls::Mutual(Identity {
            certificates_pem: bundle.certificate.clone(),
            key_pem: bundle.key.clone(),
            authority_pem: bundle.authority.clone(),
        });
        let address = cluster.layout().replicas[leader].grpc.to_string();
        let channel = endpoint(&address, &tls, Dial::default())?.connect().await?;
        Ok(Scene { cluster, root, channel, leader, _folder: folder })
    }

    pub(crate) fn brokers(&self) -> Vec<SocketAddr> {
        self.cluster.layout().brokers.iter().map(|broker| broker.tls).collect()
    }

    /// An authority with so many certificates.
    pub(crate) async fn issue(&self, authority: &str, certificates: usize) -> Result<Vec<Issued>> {
        let request = v1::CreateAuthorityRequest {
            tenant: TENANT.into(),
            name: authority.into(),
            ..Default::default()
        };
        v1::authorities_client::AuthoritiesClient::new(self.channel.clone()).create(request).await?;
        let mut client = v1::certificates_client::CertificatesClient::new(self.channel.clone());
        let mut issued = Vec::with_capacity(certificates);
        for n in 0..certificates {
            let request = v1::IssueCertificateRequest {
                tenant: TENANT.into(),
                device: format!("{authority}-{n}"),
                authority: authority.into(),
                ..Default::default()
            };
            let answer = client.issue(request).await?.into_inner();
            // The leaf alone: brokers know the authority.
            let chain = vec![answer.chain.first().context("a chain is answered")?.to_vec()];
            let fingerprint = answer.certificate.context("a certificate is answered")?.fingerprint.to_vec();
            issued.push(Issued { leaf: Leaf { chain, key: answer.private_key.to_vec() }, fingerprint });
        }
        Ok(issued)
    }

    /// Suspends, and follows the change to the last gate.
    pub(crate) async fn suspend(&self, selector: v1::selector::Selector) -> Result<Suspended> {
        let brokers = (0..self.cluster.layout().brokers.len()).map(|n| self.cluster.broker(n));
        let sweeps = brokers.map(|broker| Ok(broker?.sweeps())).collect::<Result<Vec<_>>>()?;
        let request = v1::TransitionRequest {
            transition: v1::Transition::Suspend.into(),
            selector: Some(v1::Selector { selector: Some(selector) }),
            ..Default::default()
        };
        let mut client = v1::credentials_client::CredentialsClient::new(self.channel.clone());
        let called = now_ns();
        let revision = client.transition(request).await?.into_inner().revision;
        let leader = self.cluster.replica(self.leader)?;
        let committed = leader.applied_at(revision).context("the leader has applied what it answered")?;
        let committed = nanoseconds(committed);
        let mut gates = Vec::new();
        for mut sweeps in sweeps {
            gates.push(loop {
                let sweep = sweeps.recv().await?;
                if sweep.revision >= revision {
                    break nanoseconds(sweep.at);
                }
            });
        }
        Ok(Suspended { called, committed, gates })
    }

    pub(crate) async fn shutdown(self) {
        self.cluster.shutdown().await;
    }
}

pub(crate) fn authority(name: &str) -> v1::selector::Selector {
    v1::selector::Selector::Authority(v1::AuthorityName { tenant: TENANT.into(), name: name.into() })
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("a machine is up for less than 500 years")
}
