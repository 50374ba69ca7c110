//! Who may call what, over real connections; brokers' calls; HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::{Replicas, TENANT, refused, until};
use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, KeyPair};
use revoq_control::NodeKind;
use revoq_proto::client::Tls;
use revoq_proto::v1;
use revoq_proto::v1::administrators_client::AdministratorsClient;
use revoq_proto::v1::audit_client::AuditClient;
use revoq_proto::v1::certificates_client::CertificatesClient;
use revoq_proto::v1::cluster_client::ClusterClient;
use revoq_proto::v1::credentials_client::CredentialsClient;
use revoq_proto::v1::node_client::NodeClient;
use revoq_proto::v1::settings_client::SettingsClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

async fn administrator(replicas: &Replicas, name: &str, role: v1::Role, ttl_ms: u64) -> Result<Tls> {
    let request =
        v1::IssueAdministratorRequest { name: name.into(), role: role.into(), ttl_ms, ..Default::default() };
    let issued = AdministratorsClient::new(replicas.channel(0)?).issue(request).await?.into_inner();
    replicas.identity(&issued.certificates, &issued.private_key)
}

async fn refusals(replicas: &Replicas, actor: &str) -> Result<Vec<String>> {
    let mut client = AuditClient::new(replicas.channel(0)?);
    let entries = client.list(v1::ListAuditRequest::default()).await?.into_inner().entries;
    let refused = entries.into_iter().filter(|entry| entry.actor == actor && entry.outcome != "ok");
    Ok(refused.map(|entry| entry.outcome).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_get_what_their_role_allows() -> Result<()> {
    let mut replicas = Replicas::start(1).await?;
    let anonymous = replicas.channel_as(0, &replicas.anonymous()?)?;
    let root = ClusterClient::new(anonymous.clone()).root(v1::ClusterRootRequest {}).await?.into_inner();
    ensure!(!root.certificate.is_empty());
    let listing = SettingsClient::new(anonymous).list(v1::ListSettingsRequest {}).await;
    refused(listing, Code::Unauthenticated, &["Settings.List", "auditor", "without a client certificate"])?;

    let operator = administrator(&replicas, "otto", v1::Role::Operator, 60_000).await?;
    let operator = replicas.channel_as(0, &operator)?;
    let mut settings = SettingsClient::new(operator.clone());
    settings.list(v1::ListSettingsRequest {}).await?;
    let set = v1::SetSettingRequest { key: "lease".into(), value: "6s".into() };
    refused(settings.set(set).await, Code::PermissionDenied, &["otto", "operator", "administrator"])?;
    let tenant = v1::Selector { selector: Some(v1::selector::Selector::Tenant(TENANT.into())) };
    let suspend = v1::TransitionRequest {
        transition: v1::Transition::Suspend.into(),
        selector: Some(tenant),
        ..Default::default()
    };
    let refusal = CredentialsClient::new(operator.clone()).transition(suspend).await;
    refused(refusal, Code::PermissionDenied, &["tenant default", "administrator", "otto"])?;
    until("both refusals are in the audit log", async || {
        Ok((refusals(&replicas, "otto").await? == ["permission_denied"; 2]).then_some(()))
    })
    .await?;

    let mut administrators = AdministratorsClient::new(replicas.channel(0)?);
    administrators.remove(v1::RemoveAdministratorRequest { name: "otto".into() }).await?;
    let listing = SettingsClient::new(operator).list(v1::ListSettingsRequest {}).await;
    refused(listing, Code::Unauthenticated, &["otto", "no longer", "administrator issue"])?;
    let last = v1::RemoveAdministratorRequest { name: "administrator".into() };
    refused(administrators.remove(last).await, Code::FailedPrecondition, &["last", "issue another"])?;
    replicas.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_administrator_is_told_so() -> Result<()> {
    let mut replicas = Replicas::start(1).await?;
    let short = administrator(&replicas, "short", v1::Role::Auditor, 1_000).await?;
    let old = replicas.channel_as(0, &short)?;
    let list = async |channel| SettingsClient::new(channel).list(v1::ListSettingsRequest {}).await;
    let status = until("it expires", async || Ok(list(old.clone()).await.err())).await?;
    let names = ["short", "expired at", "administrator issue"];
    refused(Err::<(), _>(status), Code::Unauthenticated, &names)?;
    // A new handshake succeeds too, so that the answer can say why.
    refused(list(replicas.channel_as(0, &short)?).await, Code::Unauthenticated, &names)?;
    until("the refusals are in the audit log", async || {
        Ok(refusals(&replicas, "short").await?.contains(&"unauthenticated".to_owned()).then_some(()))
    })
    .await?;
    replicas.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_join_look_up_and_get_server_certificates() -> Result<()> {
    let mut replicas = Replicas::start(1).await?;
    let token = replicas.get(0).create_join_token(NodeKind::Broker, None, Duration::from_secs(60)).await?;
    let key = KeyPair::generate()?;
    let csr = CertificateParams::default().serialize_request(&key)?.der().to_vec();
    let join = v1::JoinRequest {
        token,
        kind: v1::NodeKind::Broker.into(),
        name: "broker-1".into(),
        csr: csr.clone().into(),
        address: String::new(),
    };
    let mut anonymous = NodeClient::new(replicas.channel_as(0, &replicas.anonymous()?)?);
    let joined = anonymous.join(join.clone()).await?.into_inner();
    ensure!(
        joined.node > 1 && joined.key_encryption_key.is_empty() && joined.replicas.is_empty(),
        "{joined:?}"
    );
    let forged = v1::JoinRequest { token: format!("{}x", &join.token[..join.token.len() - 1]), ..join };
    ensure!(anonymous.join(forged).await.is_err(), "a token of another secret");

    let broker = replicas.identity(&joined.certificates, key.serialized_der())?;
    let broker = replicas.channel_as(0, &broker)?;
    let mut node = NodeClient::new(broker.clone());
    let unknown = v1::LookUpRequest { fingerprint: vec![7; 32].into() };
    ensure!(node.look_up(unknown).await?.into_inner().certificate.is_none());
    let leaf = CertificateParams::default().self_signed(&KeyPair::generate()?)?.der().to_vec();
    let mut certificates = CertificatesClient::new(replicas.channel(0)?);
    let register = v1::RegisterCertificateRequest {
        tenant: TENANT.into(),
        device: "odd".into(),
        certificate: leaf.into(),
    };
    let registered =
        certificates.register(register.clone()).await?.into_inner().certificate.context("a leaf")?;
    refused(certificates.register(register).await, Code::AlreadyExists, &["odd"])?;
    let found =
        node.look_up(v1::LookUpRequest { fingerprint: registered.fingerprint.clone() }).await?.into_inner();
    ensure!(found.certificate.is_some_and(|found| found.id == registered.id));
    ensure!(found.effective == i32::from(v1::State::Inactive));

    let server = |names: &[&str]| v1::IssueServerCertificateRequest {
        csr: csr.clone().into(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let issued = node.issue_server_certificate(server(&["localhost", "127.0.0.1"])).await?.into_inner();
    ensure!(issued.certificates.len() == 2, "leaf and issuing authority");
    let refusal = node.issue_server_certificate(server(&["control-plane.revoq"])).await;
    refused(refusal, Code::InvalidArgument, &["control-plane.revoq", "replicas alone"])?;
    let listing = SettingsClient::new(broker).list(v1::ListSettingsRequest {}).await;
    refused(listing, Code::PermissionDenied, &["broker-1", "a broker node"])?;
    let mut as_administrator = NodeClient::new(replicas.channel(0)?);
    let look_up = v1::LookUpRequest { fingerprint: registered.fingerprint };
    refused(
        as_administrator.look_up(look_up).await,
        Code::PermissionDenied,
        &["Node.LookUp", "a broker node"],
    )?;
    replicas.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_have_a_limit() -> Result<()> {
    let mut replicas = Replicas::start(1).await?;
    let huge = v1::RegisterCertificateRequest {
        tenant: TENANT.into(),
        device: "x".into(),
        certificate: vec![0; 5 * 1_024 * 1_024].into(),
    };
    let result = CertificatesClient::new(replicas.channel(0)?).register(huge).await;
    refused(result, Code::OutOfRange, &["4194304"])?;
    replicas.stop().await;
    Ok(())
}

async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_tells_health_metrics_and_roots() -> Result<()> {
    let mut replicas = Replicas::start(1).await?;
    let address = replicas.get(0).http_address().context("an HTTP address")?;
    let create =
        v1::CreateAuthorityRequest { tenant: TENANT.into(), name: "factory".into(), ..Default::default() };
    v1::authorities_client::AuthoritiesClient::new(replicas.channel(0)?).create(create).await?;
    for (path, expected) in [
        ("/healthz", "ok"),
        ("/readyz", "ready"),
        ("/metrics", "revoq_control_leader 1"),
        ("/metrics", "revoq_control_calls_total{service=\"revoq.v1.Authorities\",method=\"Create\"} 1"),
        ("/root.pem", "-----BEGIN CERTIFICATE-----"),
        ("/authorities/default/factory/root.pem", "-----BEGIN CERTIFICATE-----"),
    ] {
        let answer = get(address, path).await?;
        ensure!(answer.starts_with("HTTP/1.1 200") && answer.contains(expected), "{path}: {answer}");
    }
    for path in ["/authorities/default/nobody/root.pem", "/authorities/No%20Name/x/root.pem", "/nothing"] {
        let answer = get(address, path).await?;
        ensure!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    let pem = get(address, "/root.pem").await?;
    ensure!(pem.ends_with(&replicas.bundle()?.authority), "the root is the bundle's");
    replicas.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_with_its_administrator() -> Result<()> {
    let mut replicas = Replicas::start(1).await?;
    let watcher = administrator(&replicas, "wanda", v1::Role::Auditor, 60_000).await?;
    let mut client = CredentialsClient::new(replicas.channel_as(0, &watcher)?);
    let mut events = client.watch(v1::WatchRequest { revision: 0 }).await?.into_inner();
    let mut settings = SettingsClient::new(replicas.channel(0)?);
    settings.set(v1::SetSettingRequest { key: "lease".into(), value: "6s".into() }).await?;
    let event = events.message().await?.context("an event")?;
    ensure!(event.action == "setting.set" && event.actor == "administrator", "{event:?}");
    let mut administrators = AdministratorsClient::new(replicas.channel(0)?);
    administrators.remove(v1::RemoveAdministratorRequest { name: "wanda".into() }).await?;
    refused(events.message().await, Code::Unauthenticated, &["wanda", "removed"])?;
    replicas.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_handshakes_delay_nobody() -> Result<()> {
    let mut replicas = Replicas::start(1).await?;
    let mut stalled = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(replicas.get(0).address()).await?;
        stream.write_all(&[0x16, 3, 1]).await?;
        stalled.push(stream);
    }
    let begun = std::time::Instant::now();
    replicas.status(0).await?;
    ensure!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    replicas.stop().await;
    Ok(())
}
