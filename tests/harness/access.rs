//! How a test reaches a cluster: its replicas as the first administrator, its brokers as a device.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use revoq_broker::ListenerKind;
use revoq_mqtt::Version;
use revoq_proto::client::{Identity, Options as Dial, Tls, endpoint};
use revoq_proto::context::Bundle;
use revoq_proto::v1;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::process::Command;
use tonic::Status;
use tonic::transport::Channel;

use crate::http;
use crate::mqtt::{self, Client, Leaf, Refused};
use crate::process::{Done, binary, run_with};

/// A replica that is asked how it stands answers from its own state.
const STATUS_WITHIN: Duration = Duration::from_secs(3);
/// The tenant of every cluster.
pub const TENANT: &str = "default";
/// The authority that every cluster of the harness has.
pub const AUTHORITY: &str = "factory";

/// Asks for a change of state over that channel.
pub async fn change_state(
    channel: Channel,
    transition: v1::Transition,
    selector: v1::selector::Selector,
    dry_run: bool,
) -> Result<v1::TransitionResponse, Status> {
    let request = v1::TransitionRequest {
        transition: transition.into(),
        selector: Some(v1::Selector { selector: Some(selector) }),
        dry_run,
        ..Default::default()
    };
    Ok(v1::credentials_client::CredentialsClient::new(channel).transition(request).await?.into_inner())
}

/// Issues a certificate with a generated key over that channel.
pub async fn issue(channel: Channel, tenant: &str, authority: &str, device: &str) -> Result<Device> {
    let request = v1::IssueCertificateRequest {
        tenant: tenant.into(),
        device: device.into(),
        authority: authority.into(),
        ..Default::default()
    };
    let issued = v1::certificates_client::CertificatesClient::new(channel).issue(request).await?.into_inner();
    let chain = issued.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivateKeyDer::try_from(issued.private_key.to_vec()).map_err(anyhow::Error::msg)?;
    let certificate = issued.certificate.context("a certificate is answered")?;
    Ok(Device { name: device.to_owned(), leaf: Leaf { chain, key }, certificate })
}

/// A certificate of ours with all that a test asks about it.
#[derive(Clone)]
pub struct Device {
    /// The device's name.
    pub name: String,
    /// What it presents.
    pub leaf: Leaf,
    /// As the control plane knows it.
    pub certificate: v1::Certificate,
}

impl Device {
    /// Its certificate, as a selector.
    pub fn selector(&self) -> v1::selector::Selector {
        v1::selector::Selector::Fingerprint(self.certificate.fingerprint.clone())
    }
}

/// Where a broker is reached.
#[derive(Clone, Debug)]
pub struct BrokerAddresses {
    /// MQTT over TLS.
    pub tls: SocketAddr,
    /// Its other listeners.
    pub also: Vec<(ListenerKind, SocketAddr)>,
    /// Health and metrics.
    pub http: SocketAddr,
}

/// The addresses of a cluster, and the first administrator's identity.
#[derive(Clone)]
pub struct Access {
    /// The cluster authority: what clients trust.
    pub root: CertificateDer<'static>,
    bundle: Bundle,
    bundle_path: PathBuf,
    replicas: Vec<SocketAddr>,
    brokers: Vec<BrokerAddresses>,
    folder: PathBuf,
}

impl Access {
    /// With the bundle in that file. `folder` is for files of the test.
    pub fn new(
        bundle_path: PathBuf,
        replicas: Vec<SocketAddr>,
        brokers: Vec<BrokerAddresses>,
        folder: &Path,
    ) -> Result<Access> {
        let bundle = Bundle::parse(&std::fs::read_to_string(&bundle_path)?)?;
        let mut roots =
            revoq_proto::pem::decode_all("authority", revoq_proto::pem::CERTIFICATE, &bundle.authority)?;
        let root = CertificateDer::from(roots.pop().context("the bundle has an authority")?);
        Ok(Access { root, bundle, bundle_path, replicas, brokers, folder: folder.to_owned() })
    }

    /// A folder for files of the test.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The first administrator.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Where replica `n` is reached by gRPC.
    pub fn replica(&self, n: usize) -> SocketAddr {
        self.replicas[n]
    }

    /// How many replicas there are, running or not.
    pub fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// A channel to replica `n` as the first administrator.
    pub fn channel(&self, n: usize) -> Result<Channel> {
        self.channel_as(n, &self.bundle.certificate, &self.bundle.key)
    }

    /// A channel to replica `n` with that certificate and key, PEM.
    pub fn channel_as(&self, n: usize, certificate: &str, key: &str) -> Result<Channel> {
        let tls = Tls::Mutual(Identity {
            certificates_pem: certificate.to_owned(),
            key_pem: key.to_owned(),
            authority_pem: self.bundle.authority.clone(),
        });
        Ok(endpoint(&self.replicas[n].to_string(), &tls, Dial::default())?.connect_lazy())
    }

    /// Makes an authority in the tenant `default`.
    pub async fn create_authority(&self, name: &str) -> Result<v1::Authority> {
        let request =
            v1::CreateAuthorityRequest { tenant: TENANT.into(), name: name.into(), ..Default::default() };
        let mut client = v1::authorities_client::AuthoritiesClient::new(self.channel(0)?);
        client.create(request).await?.into_inner().authority.context("an authority is answered")
    }

    /// Issues a certificate with a generated key by `factory`.
    pub async fn issue(&self, device: &str) -> Result<Device> {
        self.issue_by(AUTHORITY, device).await
    }

    /// Issues a certificate with a generated key by that authority.
    pub async fn issue_by(&self, authority: &str, device: &str) -> Result<Device> {
        self.issue_in(TENANT, authority, device).await
    }

    /// Issues a certificate with a generated key in that tenant.
    pub async fn issue_in(&self, tenant: &str, authority: &str, device: &str) -> Result<Device> {
        issue(self.channel(0)?, tenant, authority, device).await
    }

    /// Registers a leaf as it is.
    pub async fn register(&self, device: &str, certificate: &[u8]) -> Result<v1::Certificate, Status> {
        let channel = self.channel(0).map_err(|error| Status::internal(error.to_string()))?;
        let request = v1::RegisterCertificateRequest {
            tenant: TENANT.into(),
            device: device.into(),
            certificate: certificate.to_vec().into(),
        };
        let answer = v1::certificates_client::CertificatesClient::new(channel).register(request).await?;
        Ok(answer.into_inner().certificate.expect("a certificate is answered"))
    }

    /// Asks replica `n` for a change of state.
    pub async fn transition(
        &self,
        n: usize,
        transition: v1::Transition,
        selector: v1::selector::Selector,
        dry_run: bool,
    ) -> Result<v1::TransitionResponse, Status> {
        let channel = self.channel(n).map_err(|error| Status::internal(error.to_string()))?;
        change_state(channel, transition, selector, dry_run).await
    }

    /// Waits until the fence of a revision is complete; the last update.
    pub async fn fence(&self, n: usize, revision: u64) -> Result<v1::FenceUpdate> {
        let mut client = v1::credentials_client::CredentialsClient::new(self.channel(n)?);
        let mut updates = client.fence(v1::FenceRequest { revision }).await?.into_inner();
        let listen = async {
            while let Some(update) = updates.message().await? {
                if update.complete {
                    return Ok(update);
                }
            }
            anyhow::bail!("the fence ended before it was complete")
        };
        tokio::time::timeout(mqtt::ANSWERS_WITHIN, listen).await.context("the fence did not complete")?
    }

    /// How the fence of a revision stands now.
    pub async fn first_fence_update(&self, n: usize, revision: u64) -> Result<v1::FenceUpdate> {
        let mut client = v1::credentials_client::CredentialsClient::new(self.channel(n)?);
        let mut updates = client.fence(v1::FenceRequest { revision }).await?.into_inner();
        let update = tokio::time::timeout(mqtt::ANSWERS_WITHIN, updates.message()).await;
        update.context("the fence says nothing")??.context("the fence ended at once")
    }

    /// A change of state through replica `n`, and its fence.
    pub async fn change(
        &self,
        n: usize,
        transition: v1::Transition,
        selector: v1::selector::Selector,
    ) -> Result<v1::FenceUpdate> {
        let answer = self.transition(n, transition, selector, false).await?;
        self.fence(n, answer.revision).await
    }

    /// Sets a replicated setting and waits for its fence.
    pub async fn set(&self, key: &str, value: &str) -> Result<v1::FenceUpdate> {
        let request = v1::SetSettingRequest { key: key.into(), value: value.into() };
        let answer =
            v1::settings_client::SettingsClient::new(self.channel(0)?).set(request).await?.into_inner();
        self.fence(0, answer.revision).await
    }

    /// The cluster as replica `n` sees it.
    pub async fn status(&self, n: usize) -> Result<v1::ClusterStatusResponse, Status> {
        let channel = self.channel(n).map_err(|error| Status::internal(error.to_string()))?;
        let mut request = tonic::Request::new(v1::ClusterStatusRequest {});
        request.set_timeout(STATUS_WITHIN);
        Ok(v1::cluster_client::ClusterClient::new(channel).status(request).await?.into_inner())
    }

    /// All live sessions.
    pub async fn sessions(&self) -> Result<v1::ListSessionsResponse> {
        let request = v1::ListSessionsRequest { limit: 10_000, ..Default::default() };
        let mut client = v1::sessions_client::SessionsClient::new(self.channel(0)?);
        Ok(client.list(request).await?.into_inner())
    }

    /// The TLS address of broker `n`.
    pub fn broker(&self, n: usize) -> SocketAddr {
        self.brokers[n].tls
    }

    /// The TCP address of broker `n`, which must listen there.
    pub fn broker_tcp(&self, n: usize) -> SocketAddr {
        self.broker_at(n, ListenerKind::Tcp)
    }

    /// Where broker `n` listens for that kind; the test must have asked for it.
    pub fn broker_at(&self, n: usize, kind: ListenerKind) -> SocketAddr {
        let broker = &self.brokers[n];
        let also = broker.also.iter().find(|(other, _)| *other == kind).map(|(_, address)| *address);
        let tls = (kind == ListenerKind::Tls).then_some(broker.tls);
        also.or(tls).expect("the test asked for this listener")
    }

    /// Whether broker `n` says that it is ready, and what it says.
    pub async fn readiness(&self, n: usize) -> Result<(bool, String)> {
        let (code, text) = http::get(self.brokers[n].http, "/readyz").await?;
        Ok((code == 200, text))
    }

    /// TLS 1.2 and 1.3 with that leaf; a configuration, and so a ticket store, of its own.
    pub fn tls(&self, leaf: Option<&Leaf>) -> Result<Arc<ClientConfig>> {
        mqtt::tls(&self.root, leaf, rustls::ALL_VERSIONS)
    }

    /// Connects a device to broker `n`, 5.0.
    pub async fn connect(&self, n: usize, device: &Device, client_id: &str) -> Result<Client> {
        let attempt = self.try_connect(n, device, client_id).await?;
        attempt.map_err(|refused| anyhow::anyhow!("{client_id} is refused at broker {n}: {refused:?}"))
    }

    /// As [`Access::connect`]; a refusal is a value.
    pub async fn try_connect(
        &self,
        n: usize,
        device: &Device,
        client_id: &str,
    ) -> Result<Result<Client, Refused>> {
        Client::connect(self.broker(n), self.tls(Some(&device.leaf))?, Version::V5, client_id).await
    }

    /// Writes PEM files of a device, `chain.pem` and `key.pem`, and the cluster's root as `root.pem`; their folder.
    pub fn write_pem(&self, device: &Device) -> Result<PathBuf> {
        let folder = self.folder().join(&device.name);
        std::fs::create_dir_all(&folder)?;
        let chain: Vec<&[u8]> = device.leaf.chain.iter().map(AsRef::as_ref).collect();
        std::fs::write(folder.join("chain.pem"), revoq_proto::pem::encode_certificates(&chain))?;
        let key = revoq_proto::pem::encode(revoq_proto::pem::PRIVATE_KEY, device.leaf.key.secret_der());
        std::fs::write(folder.join("key.pem"), key)?;
        std::fs::write(folder.join("root.pem"), &self.bundle.authority)?;
        Ok(folder)
    }

    /// `revoqctl` as the first administrator, to be run.
    pub fn revoqctl_command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary("revoqctl")?);
        command.args(arguments).env("REVOQ_CONTEXT", &self.bundle_path);
        command.env("REVOQ_CONFIG", self.folder().join("contexts.toml")).current_dir(self.folder());
        Ok(command)
    }

    /// Runs `revoqctl` as the first administrator.
    pub async fn revoqctl(&self, arguments: &[&str]) -> Result<Done> {
        run_with(&mut self.revoqctl_command(arguments)?).await
    }

    /// As [`Access::revoqctl`], which must succeed; its standard output.
    pub async fn revoqctl_ok(&self, arguments: &[&str]) -> Result<String> {
        let done = self.revoqctl(arguments).await?;
        anyhow::ensure!(done.code == 0, "revoqctl {arguments:?}: {done:?}");
        Ok(done.out)
    }

    /// The sum of a metric of broker `n` over the rows that contain `label`.
    pub async fn metric(&self, n: usize, name: &str, label: &str) -> Result<f64> {
        http::metric(self.brokers[n].http, name, label).await
    }
}
