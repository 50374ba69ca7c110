//! Replicas as processes of their own, which can be killed and starved.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use revoq_proto::client::{Options, Tls, endpoint};
use revoq_proto::context::Bundle;
use revoq_proto::v1;
use revoq_proto::v1::cluster_client::ClusterClient;
use revoq_proto::v1::settings_client::SettingsClient;
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::transport::Channel;

use super::until;

/// One replica. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it in `data`. `join`: a token, and whom to join with it.
    pub(crate) fn start(data: &Path, name: &str, join: Option<(&str, &str)>) -> Result<Process> {
        Process::spawn(data, &mut Command::new(env!("CARGO_BIN_EXE_revoq-control")), name, join)
    }

    /// Starts it so that none of its files grows beyond so many blocks of 512 bytes.
    pub(crate) fn start_limited(
        data: &Path,
        name: &str,
        token: &str,
        at: &str,
        blocks: u32,
    ) -> Result<Process> {
        let mut command = Command::new("sh");
        // Ignored, the signal becomes an error of the write.
        command.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""), "sh"]);
        Process::spawn(data, command.arg(env!("CARGO_BIN_EXE_revoq-control")), name, Some((token, at)))
    }

    fn spawn(data: &Path, command: &mut Command, name: &str, join: Option<(&str, &str)>) -> Result<Process> {
        let log = data.with_extension("log");
        command
            .args(["--name", name, "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--data"])
            .arg(data);
        if let Some((token, at)) = join {
            command.args(["--join-token", token, "--join-endpoints", at]);
        }
        let file = File::options().create(true).append(true).open(&log)?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Process { child, log })
    }

    /// What it has said, and those before it in the same folder.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// As kill -9.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Its exit code, once it has ended by itself.
    pub(crate) async fn ended(&mut self) -> Result<i32> {
        let ended = until("it ends by itself", async || Ok(self.child.try_wait()?)).await;
        ended.with_context(|| self.log())?.code().with_context(|| self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster of three processes.
pub(crate) struct Processes {
    folder: TempDir,
    running: Vec<Option<Process>>,
    channels: Vec<Channel>,
}

impl Processes {
    pub(crate) async fn start() -> Result<Processes> {
        let mut processes = Processes { folder: TempDir::new()?, running: Vec::new(), channels: Vec::new() };
        for n in 0..3 {
            let (data, name) = (processes.data(n), format!("replica-{n}"));
            let process = match n {
                0 => Process::start(&data, &name, None)?,
                _ => Process::start(&data, &name, Some((&processes.token().await?, &processes.address(0)?)))?,
            };
            processes.running.push(Some(process));
            let address = until("it has an address", async || Ok(processes.address(n).ok())).await?;
            let tls = Tls::Mutual(processes.bundle()?.identity());
            processes.channels.push(endpoint(&address, &tls, Options::default())?.connect_lazy());
            processes.settled().await?;
        }
        Ok(processes)
    }

    pub(crate) fn data(&self, n: usize) -> PathBuf {
        self.folder.path().join(n.to_string())
    }

    fn address(&self, n: usize) -> Result<String> {
        let member: toml::Table = std::fs::read_to_string(self.data(n).join("node.toml"))?.parse()?;
        Ok(member.get("address").and_then(toml::Value::as_str).context("its address")?.to_owned())
    }

    fn bundle(&self) -> Result<Bundle> {
        Ok(Bundle::parse(&std::fs::read_to_string(self.data(0).join("administrator.toml"))?)?)
    }

    async fn token(&self) -> Result<String> {
        let request =
            v1::CreateJoinTokenRequest { kind: v1::NodeKind::Replica.into(), uses: 1, ttl_ms: 60_000 };
        until("a token is made", async || {
            let mut cluster = ClusterClient::new(self.channels[0].clone());
            Ok(Some(cluster.create_join_token(request).await?.into_inner().token))
        })
        .await
    }

    /// Number `n`, which does not run, starts from its folder.
    pub(crate) fn start_again(&mut self, n: usize) -> Result<()> {
        self.running[n] = Some(Process::start(&self.data(n), &format!("replica-{n}"), None)?);
        Ok(())
    }

    /// Kills number `n`, and answers with the others.
    pub(crate) fn kill(&mut self, n: usize) -> Result<()> {
        self.running[n].take().context("it runs")?.kill()
    }

    /// Waits until one leads and all others that run follow it; the leader's number, from 0.
    pub(crate) async fn settled(&self) -> Result<usize> {
        let running: Vec<_> = (0..self.running.len()).filter(|n| self.running[*n].is_some()).collect();
        until("one leads and all follow", async || {
            let (mut leaders, mut complete) = (Vec::new(), false);
            for n in &running {
                let mut cluster = ClusterClient::new(self.channel(*n));
                let status = cluster.status(v1::ClusterStatusRequest {});
                let status = timeout(Duration::from_secs(2), status).await??.into_inner();
                let up = status.nodes.iter().filter(|node| ["leader", "follower"].contains(&&*node.status));
                complete |= status.leader == status.node && up.count() == running.len();
                leaders.push(usize::try_from(status.leader)?);
            }
            let leader = leaders.iter().all(|other| *other == leaders[0]).then(|| leaders[0].checked_sub(1));
            Ok(leader.flatten().filter(|leader| complete && running.contains(leader)))
        })
        .await
    }

    pub(crate) fn channel(&self, n: usize) -> Channel {
        self.channels[n].clone()
    }
}

/// Makes a change, once.
pub(crate) async fn change(channel: Channel) -> Result<()> {
    let set = v1::SetSettingRequest { key: "cut_deadline".into(), value: "2s".into() };
    SettingsClient::new(channel).set(set).await?;
    Ok(())
}
