//! How the brokers become nodes of the cluster.

use anyhow::{Context, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use revoq_proto::client::{ControlChannel, Identity, Options, Persistence, Tls};
use revoq_proto::token::JoinToken;
use revoq_proto::{pem, v1};

use super::Job;

/// Joins in flight in one process.
const IN_FLIGHT: usize = 16;

/// A node and its certificate.
pub(super) struct Member {
    pub(super) node: u64,
    pub(super) identity: Identity,
}

/// All of them, each with a key and a certificate of its own.
pub(super) async fn join_all(job: &Job) -> Result<Vec<Member>> {
    let token: JoinToken = job.token.parse()?;
    let tls = Tls::anonymous(&token.authority_der);
    let channel = ControlChannel::new(&job.replicas, &tls, Options::default())?;
    stream::iter(0..job.brokers)
        .map(|n| Ok(join(job, &token, &channel, n)))
        .try_buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await
}

async fn join(job: &Job, token: &JoinToken, channel: &ControlChannel, n: usize) -> Result<Member> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let csr = CertificateParams::default().serialize_request(&key)?.der().to_vec();
    let request = v1::JoinRequest {
        token: job.token.clone(),
        kind: v1::NodeKind::Broker.into(),
        name: format!("{}-{n}", job.name),
        csr: csr.into(),
        address: String::new(),
    };
    let joined = channel.call(Persistence::CHANGE, |channel| {
        let request = request.clone();
        async move { v1::node_client::NodeClient::new(channel).join(request).await }
    });
    let joined = joined.await.with_context(|| format!("{} joins", request.name))?.into_inner();
    let identity = Identity {
        certificates_pem: pem::encode_certificates(&joined.certificates),
        key_pem: key.serialize_pem(),
        authority_pem: pem::encode(pem::CERTIFICATE, &token.authority_der),
    };
    Ok(Member { node: joined.node, identity })
}
