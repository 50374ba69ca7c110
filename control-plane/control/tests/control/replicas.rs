//! Three real replicas on loopback: founding, joining, changes through any of them, restart, removal.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Replicas, TENANT, refused, until};
use anyhow::{Context, Result, ensure};
use revoq_control::{NodeKind, Replica};
use revoq_proto::client::{Identity, Tls};
use revoq_proto::v1;
use revoq_proto::v1::audit_client::AuditClient;
use revoq_proto::v1::authorities_client::AuthoritiesClient;
use revoq_proto::v1::certificates_client::CertificatesClient;
use revoq_proto::v1::cluster_client::ClusterClient;
use revoq_proto::v1::credentials_client::CredentialsClient;
use revoq_proto::v1::raft_client::RaftClient;
use revoq_proto::v1::selector::Selector;
use tonic::Code;

fn by_id(id: &str) -> v1::Selector {
    v1::Selector { selector: Some(Selector::CertificateId(id.to_owned())) }
}

async fn create_authority(replicas: &Replicas, n: usize, name: &str) -> Result<v1::Authority> {
    let request =
        v1::CreateAuthorityRequest { tenant: TENANT.into(), name: name.into(), ..Default::default() };
    let answer = AuthoritiesClient::new(replicas.channel(n)?).create(request).await?.into_inner();
    answer.authority.context("an authority")
}

async fn issue(replicas: &Replicas, n: usize, device: &str) -> Result<v1::IssueCertificateResponse> {
    let request = v1::IssueCertificateRequest {
        tenant: TENANT.into(),
        device: device.into(),
        subject_alternative_names: vec!["DNS:pump.example".into()],
        ..Default::default()
    };
    Ok(CertificatesClient::new(replicas.channel(n)?).issue(request).await?.into_inner())
}

async fn show(replicas: &Replicas, n: usize, id: &str) -> Result<v1::Certificate> {
    Ok(CertificatesClient::new(replicas.channel(n)?).show(by_id(id)).await?.into_inner())
}

fn request(transition: v1::Transition, id: &str, dry_run: bool) -> v1::TransitionRequest {
    v1::TransitionRequest {
        transition: transition.into(),
        selector: Some(by_id(id)),
        dry_run,
        ..Default::default()
    }
}

async fn audit(replicas: &Replicas, n: usize) -> Result<Vec<v1::AuditEntry>> {
    let mut client = AuditClient::new(replicas.channel(n)?);
    Ok(client.list(v1::ListAuditRequest::default()).await?.into_inner().entries)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_through_any_replica_survive_a_restart() -> Result<()> {
    let mut replicas = Replicas::start(3).await?;
    let follower = replicas.follower().await?;
    create_authority(&replicas, 1, "factory").await?;
    let issued = issue(&replicas, 2, "pump-7").await?;
    let certificate = issued.certificate.context("a certificate")?;
    ensure!(issued.chain.len() == 2 && !issued.private_key.is_empty());
    ensure!(show(&replicas, follower, &certificate.id).await?.state() == v1::State::Inactive);

    let mut through_follower = CredentialsClient::new(replicas.channel(follower)?);
    let rehearsal = through_follower
        .transition(request(v1::Transition::Suspend, &certificate.id, true))
        .await?
        .into_inner();
    ensure!((rehearsal.revision, rehearsal.credentials) == (0, 1), "{rehearsal:?}");
    ensure!(show(&replicas, 0, &certificate.id).await?.state() == v1::State::Inactive, "only rehearsed");
    let done = through_follower
        .transition(request(v1::Transition::Suspend, &certificate.id, false))
        .await?
        .into_inner();
    ensure!(done.revision > 0 && done.credentials == 1, "{done:?}");
    for n in 0..3 {
        let seen = show(&replicas, n, &certificate.id).await?;
        ensure!(seen.state() == v1::State::Suspended && seen.revision == done.revision, "{n}: {seen:?}");
    }
    let before = (show(&replicas, 0, &certificate.id).await?, audit(&replicas, 0).await?);
    ensure!(before.1.iter().any(|entry| entry.action == "suspend" && entry.actor == "administrator"));

    let addresses: Vec<_> = (0..3).map(|n| replicas.get(n).address()).collect();
    replicas.stop().await;
    replicas.start_again().await?;
    ensure!((0..3).map(|n| replicas.get(n).address()).eq(addresses), "drawn ports are kept");
    for n in 0..3 {
        let after = (show(&replicas, n, &certificate.id).await?, audit(&replicas, n).await?);
        ensure!(after == before, "replica {n} forgot something: {after:#?} is not {before:#?}");
    }
    issue(&replicas, 1, "pump-8").await.context("keys of authorities are kept")?;
    until("all digests are equal", async || {
        let mut seen = Vec::new();
        for n in 0..3 {
            let status = replicas.get(n).status();
            seen.push((status.applied, status.digest));
        }
        Ok((seen[0] == seen[1] && seen[1] == seen[2]).then_some(()))
    })
    .await?;
    replicas.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_needs_a_good_token_and_removal_ends_a_membership() -> Result<()> {
    let mut replicas = Replicas::start(2).await?;
    replicas.follower().await?;
    let mut cluster = ClusterClient::new(replicas.channel(0)?);
    let token = v1::CreateJoinTokenRequest { kind: v1::NodeKind::Replica.into(), uses: 1, ttl_ms: 60_000 };
    let token = cluster.create_join_token(token).await?.into_inner().token;
    let third = replicas.join(2, token.clone()).await?;
    until("the third votes", async || {
        let status = third.status();
        Ok(status.members.iter().filter(|member| member.voter).count().eq(&3).then_some(()))
    })
    .await?;
    let again = replicas.join(3, token).await.err().context("a token that is used up")?;
    ensure!(again.to_string().contains("join token"), "{again}");
    let broker =
        replicas.get(0).create_join_token(NodeKind::Broker, None, std::time::Duration::from_secs(9)).await?;
    let wrong = replicas.join(4, broker).await.err().context("a broker's token")?;
    ensure!(wrong.to_string().contains("join token"), "{wrong}");

    let node = third.status().node;
    cluster.remove_node(v1::RemoveNodeRequest { node }).await?;
    until("two are left", async || {
        let status = replicas.get(0).status();
        Ok(status.members.iter().all(|member| member.node != node).then_some(()))
    })
    .await?;
    third.shutdown().await;
    // Its certificate is as good as new, and opens nothing any more.
    let read = |name: &str| std::fs::read_to_string(replicas.data(2).join(name));
    let identity = Identity {
        certificates_pem: read("certificate.pem")?,
        key_pem: read("key.pem")?,
        authority_pem: read("authority.pem")?,
    };
    let mut raft = RaftClient::new(replicas.channel_as(0, &Tls::Mutual(identity))?);
    let call = v1::RaftCall {
        group: 0,
        kind: v1::raft_call::Kind::Vote.into(),
        payload: Vec::new().into(),
        ..Default::default()
    };
    refused(raft.call(call).await, Code::Unauthenticated, &["replica-2", "no longer"])?;
    let unknown = v1::RemoveNodeRequest { node: 77 };
    refused(cluster.remove_node(unknown).await, Code::NotFound, &["77"])?;
    create_authority(&replicas, 1, "after").await.context("two go on")?;
    replicas.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_is_a_cluster() -> Result<()> {
    let mut replicas = Replicas::start(1).await?;
    for name in ["administrator.toml", "key.pem", "key-encryption-key", "cluster-root-key.pem"] {
        let mode = std::fs::metadata(replicas.data(0).join(name))?.permissions().mode();
        ensure!(mode & 0o777 == 0o600, "{name}: {mode:o}");
    }
    let status = replicas.status(0).await?;
    ensure!(status.leader == 1 && status.nodes.len() == 1 && status.tenants == 1, "{status:?}");
    let mut cluster = ClusterClient::new(replicas.channel(0)?);
    let last = v1::RemoveNodeRequest { node: 1 };
    refused(cluster.remove_node(last).await, Code::FailedPrecondition, &["last replica"])?;
    create_authority(&replicas, 0, "factory").await?;
    replicas.stop().await;
    replicas.start_again().await?;
    issue(&replicas, 0, "pump-7").await?;
    replicas.stop().await;
    let renamed = revoq_control::Config { name: "other".into(), ..replicas.config(0) };
    let error = Replica::start(renamed).await.err().context("another name")?.to_string();
    ensure!(error.contains("name = \"other\"") && error.contains("replica-0"), "{error}");
    Ok(())
}
