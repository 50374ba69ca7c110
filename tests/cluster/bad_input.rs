//! Bad input to the API: its status, with field, value and remedy; nothing changes; audit has it where it should.

use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use revoq_proto::v1::administrators_client::AdministratorsClient;
use revoq_proto::v1::certificates_client::CertificatesClient;
use revoq_proto::v1::devices_client::DevicesClient;
use revoq_proto::v1::selector::Selector;
use revoq_proto::v1::{self, Transition};
use revoq_tests::Lab;
use revoq_tests::access::TENANT;
use revoq_tests::process::run_with;
use tokio::process::Command;
use tonic::{Code, Status};

/// The refusal has this code and its message names all of these.
fn refusal<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, names: &[&str]) -> Result<()> {
    let status = match result {
        Ok(answer) => anyhow::bail!("{code:?} {names:?} expected, not {answer:?}"),
        Err(status) => status,
    };
    ensure!(status.code() == code, "{code:?} {names:?} expected: {status:?}");
    for name in names {
        ensure!(status.message().contains(name), "{name:?} is not named: {}", status.message());
    }
    Ok(())
}

async fn revision(lab: &Lab) -> Result<(u64, u64)> {
    let mut client = v1::cluster_client::ClusterClient::new(lab.channel(0)?);
    let status = client.status(v1::ClusterStatusRequest {}).await?.into_inner();
    Ok((status.devices, status.certificates))
}

async fn csr_by_openssl(lab: &Lab, arguments: &[&str]) -> Result<Vec<u8>> {
    let mut command = Command::new("openssl");
    command.args(["req", "-new", "-nodes", "-subj", "/CN=x", "-keyout", "x.key", "-out", "x.csr"]);
    let done = run_with(command.args(arguments).current_dir(lab.folder())).await?;
    ensure!(done.code == 0, "{done:?}");
    Ok(std::fs::read(lab.folder().join("x.csr"))?)
}

fn sign(csr: Vec<u8>) -> v1::SignCertificateRequest {
    v1::SignCertificateRequest {
        tenant: TENANT.into(),
        device: "x".into(),
        csr: csr.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_signing_requests() -> Result<()> {
    let lab = Lab::start(1, 0).await?;
    let known = lab.issue("known").await?;
    let der = known.leaf.chain[0].as_ref().to_vec();
    let before = revision(&lab).await?;

    refusal(lab.register("x", b"").await, Code::InvalidArgument, &["certificate"])?;
    let garbage = b"-----BEGIN CERTIFICATE-----\nnonsense!\n-----END CERTIFICATE-----\n";
    refusal(lab.register("x", garbage).await, Code::InvalidArgument, &["certificate"])?;
    refusal(lab.register("x", &[0x30, 0x03, 0x02, 0x01]).await, Code::InvalidArgument, &["certificate"])?;
    let trailing: Vec<u8> = der.iter().copied().chain([0, 0]).collect();
    refusal(lab.register("x", &trailing).await, Code::InvalidArgument, &["certificate", "trailing"])?;
    refusal(lab.register("x", &der).await, Code::AlreadyExists, &["known"])?;
    refusal(lab.register("no spaces", &der).await, Code::InvalidArgument, &["device", "no spaces"])?;

    let mut client = CertificatesClient::new(lab.channel(0)?);
    refusal(client.sign(sign(b"nonsense".to_vec())).await, Code::InvalidArgument, &["csr"])?;
    let weak = csr_by_openssl(&lab, &["-newkey", "rsa:1024"]).await?;
    refusal(client.sign(sign(weak)).await, Code::InvalidArgument, &["csr", "1024", "2048"])?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let good = CertificateParams::default().serialize_request(&key)?.der().to_vec();
    let mut forged = good.clone();
    *forged.last_mut().context("a request is not empty")? ^= 1;
    refusal(client.sign(sign(forged)).await, Code::InvalidArgument, &["csr", "signature"])?;
    let trailing: Vec<u8> = good.iter().copied().chain([0]).collect();
    refusal(client.sign(sign(trailing)).await, Code::InvalidArgument, &["csr"])?;
    let unknown = v1::SignCertificateRequest { authority: "nobody".into(), ..sign(good) };
    refusal(client.sign(unknown).await, Code::NotFound, &["nobody"])?;

    ensure!(revision(&lab).await? == before, "a refused certificate left something behind");
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_ids_and_sizes() -> Result<()> {
    let lab = Lab::start(1, 0).await?;
    let mut devices = DevicesClient::new(lab.channel(0)?);
    let device =
        |name: &str| v1::CreateDeviceRequest { tenant: TENANT.into(), name: name.into(), labels: vec![] };
    let long = "x".repeat(129);
    refusal(devices.create(device(&long)).await, Code::InvalidArgument, &["device", "128"])?;
    refusal(devices.create(device("")).await, Code::InvalidArgument, &["device"])?;
    devices.create(device("twice")).await?;
    refusal(devices.create(device("twice")).await, Code::AlreadyExists, &["twice"])?;
    let nowhere = v1::CreateDeviceRequest { tenant: "nowhere".into(), name: "x".into(), labels: vec![] };
    refusal(devices.create(nowhere).await, Code::NotFound, &["nowhere"])?;
    let labels = vec![v1::Label { key: "k".repeat(64), value: String::new() }];
    let labelled = v1::CreateDeviceRequest { tenant: TENANT.into(), name: "x".into(), labels };
    refusal(devices.create(labelled).await, Code::InvalidArgument, &["label", "63"])?;

    let unknown = "0".repeat(32);
    let by_id = Selector::CertificateId(unknown.clone());
    refusal(lab.transition(0, Transition::Suspend, by_id, false).await, Code::NotFound, &[&unknown])?;
    let odd = Selector::CertificateId("xyz".into());
    refusal(lab.transition(0, Transition::Suspend, odd, false).await, Code::InvalidArgument, &["xyz", "32"])?;
    let short = Selector::Fingerprint(vec![1, 2, 3].into());
    refusal(
        lab.transition(0, Transition::Suspend, short, false).await,
        Code::InvalidArgument,
        &["fingerprint"],
    )?;

    let huge = lab.register("x", &vec![0; 5 * 1024 * 1024]).await;
    refusal(huge, Code::OutOfRange, &["4194304"])?;

    let mut settings = v1::settings_client::SettingsClient::new(lab.channel(0)?);
    let set = |key: &str, value: &str| v1::SetSettingRequest { key: key.into(), value: value.into() };
    refusal(settings.set(set("no_such", "1")).await, Code::InvalidArgument, &["no_such"])?;
    let refused = settings.set(set("client_certificate", "maybe")).await;
    refusal(refused, Code::InvalidArgument, &["client_certificate", "maybe", "required"])?;
    lab.cluster.shutdown().await;
    Ok(())
}

/// An administrator's certificate and key, PEM.
async fn administrator(lab: &Lab, name: &str, role: v1::Role, ttl_ms: u64) -> Result<(String, String)> {
    let request =
        v1::IssueAdministratorRequest { name: name.into(), role: role.into(), ttl_ms, ..Default::default() };
    let issued = AdministratorsClient::new(lab.channel(0)?).issue(request).await?.into_inner();
    let chain = revoq_proto::pem::encode_certificates(&issued.certificates);
    Ok((chain, revoq_proto::pem::encode(revoq_proto::pem::PRIVATE_KEY, &issued.private_key)))
}

async fn audited(lab: &Lab, actor: &str) -> Result<Vec<v1::AuditEntry>> {
    let mut client = v1::audit_client::AuditClient::new(lab.channel(0)?);
    let entries =
        client.list(v1::ListAuditRequest { after: 0, page_size: 1_000 }).await?.into_inner().entries;
    Ok(entries.into_iter().filter(|entry| entry.actor.contains(actor)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_roles() -> Result<()> {
    let lab = Lab::start(1, 0).await?;
    let device = lab.issue("device").await?;
    let by_id = v1::Selector { selector: Some(Selector::CertificateId(device.certificate.id.clone())) };
    let suspend = || v1::TransitionRequest {
        transition: Transition::Suspend.into(),
        selector: Some(by_id.clone()),
        ..Default::default()
    };
    let (certificate, key) = administrator(&lab, "olga", v1::Role::Auditor, 3_600_000).await?;
    let auditor = lab.channel_as(0, &certificate, &key)?;
    let mut credentials = v1::credentials_client::CredentialsClient::new(auditor.clone());
    refusal(
        credentials.transition(suspend()).await,
        Code::PermissionDenied,
        &["olga", "auditor", "operator"],
    )?;
    CertificatesClient::new(auditor.clone()).show(by_id.clone()).await?;

    let (certificate, key) = administrator(&lab, "otto", v1::Role::Operator, 3_600_000).await?;
    let operator = lab.channel_as(0, &certificate, &key)?;
    let mut settings = v1::settings_client::SettingsClient::new(operator.clone());
    let set = v1::SetSettingRequest { key: "lease".into(), value: "6s".into() };
    refusal(settings.set(set).await, Code::PermissionDenied, &["otto", "operator", "administrator"])?;
    v1::credentials_client::CredentialsClient::new(operator.clone()).transition(suspend()).await?;

    let entries = audited(&lab, "olga").await?;
    ensure!(
        entries.iter().any(|entry| entry.outcome != "ok"),
        "the refusal is not in the audit log: {entries:#?}"
    );

    // A removed administrator is nobody, from the next call on.
    let mut administrators = AdministratorsClient::new(lab.channel(0)?);
    administrators.remove(v1::RemoveAdministratorRequest { name: "otto".into() }).await?;
    let mut credentials = v1::credentials_client::CredentialsClient::new(operator);
    refusal(credentials.transition(suspend()).await, Code::Unauthenticated, &["otto"])?;

    // A device's certificate is none of the cluster authority's.
    let folder = lab.write_pem(&device)?;
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    let stranger = lab.channel_as(0, &std::fs::read_to_string(chain)?, &std::fs::read_to_string(key)?)?;
    let result = CertificatesClient::new(stranger).show(by_id).await;
    ensure!(result.is_err(), "a device's certificate let it administer");
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_administrator_is_told_so() -> Result<()> {
    let lab = Lab::start(1, 0).await?;
    let (certificate, key) = administrator(&lab, "short", v1::Role::Auditor, 2_000).await?;
    let channel = lab.channel_as(0, &certificate, &key)?;
    let expired = revoq_tests::until("it expires", std::time::Duration::from_secs(20), || async {
        let result =
            v1::settings_client::SettingsClient::new(channel.clone()).list(v1::ListSettingsRequest {}).await;
        Ok(result.err())
    })
    .await?;
    refusal(Err::<(), _>(expired), Code::Unauthenticated, &["short", "expired", "administrator issue"])?;
    // A new connection is told the same, not just dropped in the handshake.
    let fresh = lab.channel_as(0, &certificate, &key)?;
    let result = v1::settings_client::SettingsClient::new(fresh).list(v1::ListSettingsRequest {}).await;
    refusal(result, Code::Unauthenticated, &["short", "expired"])?;
    lab.cluster.shutdown().await;
    Ok(())
}
