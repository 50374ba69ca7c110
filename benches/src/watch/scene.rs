//! The cluster of a run, and certificates whose state changes.

use anyhow::{Context, Result};
use revoq_proto::v1;

use crate::replica::{AUTHORITY, Cluster, Kept, TENANT};

const REPLICAS: usize = 3;

/// A cluster, and certificates whose state changes.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    /// By fingerprint.
    certificates: Vec<Vec<u8>>,
    /// How often one of them has changed its state.
    changes: usize,
}

impl Scene {
    /// Three replicas and so many certificates.
    pub(crate) async fn start(kept: Kept, certificates: usize) -> Result<Scene> {
        let mut cluster = Cluster::start(REPLICAS, kept).await?;
        let mut client = v1::certificates_client::CertificatesClient::new(cluster.leader_channel().await?);
        let mut fingerprints = Vec::with_capacity(certificates);
        for n in 0..certificates {
            let request = v1::IssueCertificateRequest {
                tenant: TENANT.into(),
                device: format!("device-{n}"),
                authority: AUTHORITY.into(),
                ..Default::default()
            };
            let issued = client.issue(request).await?.into_inner();
            let certificate = issued.certificate.context("a certificate is answered")?;
            fingerprints.push(certificate.fingerprint.to_vec());
        }
        Ok(Scene { cluster, certificates: fingerprints, changes: 0 })
    }

    /// How many changes were asked for.
    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    /// The next change: each certificate in turn is suspended, then each reactivated, and so on.
    pub(crate) fn next_change(&mut self) -> v1::TransitionRequest {
        let (round, n) = (self.changes / self.certificates.len(), self.changes % self.certificates.len());
        self.changes += 1;
        let transition =
            if round.is_multiple_of(2) { v1::Transition::Suspend } else { v1::Transition::Reactivate };
        let selector = v1::selector::Selector::Fingerprint(self.certificates[n].clone().into());
        v1::TransitionRequest {
            transition: transition.into(),
            selector: Some(v1::Selector { selector: Some(selector) }),
            ..Default::default()
        }
    }
}
