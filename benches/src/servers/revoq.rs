//! A broker node: the program `revoq-broker`, with a control plane of one replica.

use anyhow::{Context, Result, ensure};
use revoq_proto::v1;
use tokio::process::Command;

use super::{Kind, Server, first_line, free};
use crate::fleet::Leaf;
use crate::http::until_ready;
use crate::load::Credentials;
use crate::replica::{AUTHORITY, Cluster, Kept, TENANT};

/// What the node needs while it runs.
pub(super) struct ControlPlane(Cluster);

impl ControlPlane {
    pub(super) async fn stop(self) -> Result<()> {
        self.0.stop().await
    }
}

/// Starts both; the node with so many threads, or with as many as it takes by itself.
pub(super) async fn start(worker_threads: Option<usize>) -> Result<(Server, ControlPlane)> {
    let program = std::env::current_exe()?.with_file_name("revoq-broker");
    ensure!(program.is_file(), "{} is not built: -p revoq-broker --bins", program.display());
    let version = first_line(&program, &["--version"]).await?.unwrap_or_default();
    let mut cluster = Cluster::start(1, Kept::default()).await?;
    let credentials = credentials(&mut cluster).await?;
    let [tcp, tls, http] = free()?;
    let mut command = Command::new(program);
    command
        .args(["--name", "broker"])
        .args(["--control-plane", &cluster.addresses.join(",")])
        .args(["--tcp-listen", &tcp.to_string(), "--tls-listen", &tls.to_string()])
        .args(["--http-listen", &http.to_string(), "--tls-names", "localhost"])
        .env("REVOQ_BROKER_JOIN_TOKEN", cluster.leading().await?.broker_token().await?)
        .env("REVOQ_BROKER_LOG", "warn");
    if let Some(threads) = worker_threads {
        command.args(["--worker-threads", &threads.to_string()]);
    }
    let server = Server::start(Kind::Revoq, version, &mut command, (tcp, tls), credentials).await?;
    until_ready(http).await?;
    Ok((server, ControlPlane(cluster)))
}

/// Lets clients come over TCP too, and issues the certificate of those that come over TLS.
async fn credentials(cluster: &mut Cluster) -> Result<Credentials> {
    let channel = cluster.leader_channel().await?;
    let optional = v1::SetSettingRequest { key: "client_certificate".into(), value: "optional".into() };
    v1::settings_client::SettingsClient::new(channel.clone()).set(optional).await?;
    let request = v1::IssueCertificateRequest {
        tenant: TENANT.into(),
        device: "device".into(),
        authority: AUTHORITY.into(),
        ..Default::default()
    };
    let issued = v1::certificates_client::CertificatesClient::new(channel).issue(request).await?.into_inner();
    // The leaf alone: brokers know the authority.
    let chain = vec![issued.chain.first().context("a chain is answered")?.to_vec()];
    Ok(Credentials { root: cluster.root()?, leaf: Leaf { chain, key: issued.private_key.to_vec() } })
}
