//! How a replica ends by itself: what it says, with which code, and what becomes of those that it served.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::process::Process;
use crate::support::{Replicas, refused, until};
use anyhow::{Context, Result, bail, ensure};
use futures_util::future::join_all;
use futures_util::stream::unfold;
use rcgen::{CertificateParams, KeyPair};
use revoq_control::{NodeKind, Replica};
use revoq_proto::client::Tls;
use revoq_proto::token::JoinToken;
use revoq_proto::v1;
use revoq_proto::v1::broker_message::{Hello, Message, Renew};
use revoq_proto::v1::node_client::NodeClient;
use revoq_proto::v1::settings_client::SettingsClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_stream::StreamExt as _;
use tonic::Code;

const TOKEN_TTL: Duration = Duration::from_secs(60);
const STOPPED: &str = "this replica has stopped; another one serves";

async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// A file system in memory, which is there until this is dropped.
struct Small(PathBuf);

impl Small {
    /// `None` where this process may not mount.
    fn mount(at: &Path) -> Result<Option<Small>> {
        std::fs::create_dir_all(at)?;
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(at).output()?;
        if !mounted.status.success() {
            println!("skipped: nothing can be mounted here: {}", String::from_utf8_lossy(&mounted.stderr));
            return Ok(None);
        }
        Ok(Some(Small(at.to_owned())))
    }

    /// Takes what is left, also of what was reserved and given back since the last time.
    fn fill(&self) -> Result<()> {
        let mut file = std::fs::File::options().create(true).append(true).open(self.0.join("filler"))?;
        loop {
            match file.write_all(&[7; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => bail!(error),
            }
        }
    }

    fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.0.join("filler"))?)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.display());
    }
}

async fn join_broker(replicas: &Replicas) -> Result<Tls> {
    let token = replicas.get(0).create_join_token(NodeKind::Broker, Some(1), TOKEN_TTL).await?;
    let key = KeyPair::generate()?;
    let csr = CertificateParams::default().serialize_request(&key)?.der().to_vec();
    let (kind, name) = (v1::NodeKind::Broker.into(), "broker-1".to_owned());
    let request = v1::JoinRequest { token, kind, name, csr: csr.into(), address: String::new() };
    let mut anonymous = NodeClient::new(replicas.channel_as(0, &replicas.anonymous()?)?);
    let joined = anonymous.join(request).await?.into_inner();
    replicas.identity(&joined.certificates, key.serialized_der())
}

/// A broker's watch stream at replica `n`, once it has begun.
async fn watch(
    replicas: &Replicas,
    n: usize,
    broker: &Tls,
) -> Result<tonic::Streaming<v1::ControlMessage>, tonic::Status> {
    let incarnation = vec![1; 16].into();
    let hello = Message::Hello(Hello { incarnation, revision: 0, version: String::new() });
    let hello = tokio_stream::once(v1::BrokerMessage { message: Some(hello) });
    let channel =
        replicas.channel_as(n, broker).map_err(|error| tonic::Status::unknown(error.to_string()))?;
    // The broker goes on renewing, so that nobody takes it for gone.
    let renewals = unfold(1, |sequence| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let renew = Message::Renew(Renew { sequence, revision: 0, sessions: 0 });
        Some((v1::BrokerMessage { message: Some(renew) }, sequence + 1))
    });
    let messages = hello.chain(renewals);
    let mut stream = NodeClient::new(channel).watch(messages).await?.into_inner();
    stream.message().await?;
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_disk_is_full_sends_everybody_away() -> Result<()> {
    let mut replicas = Replicas::start(2).await?;
    let Some(disk) = Small::mount(&replicas.data(2))? else { return Ok(()) };
    replicas.add().await?;
    replicas.follower().await?;
    let broker = join_broker(&replicas).await?;
    let mut stream =
        until("the broker is known", async || Ok(watch(&replicas, 2, &broker).await.ok())).await?;
    let http = replicas.get(2).http_address().context("an HTTP address")?;
    let fault = {
        let stopped = replicas.get(2).stopped();
        tokio::pin!(stopped);
        loop {
            disk.fill()?;
            tokio::select! {
                fault = &mut stopped => break fault,
                () = commit(&replicas) => {}
            }
        }
    };
    ensure!(fault.exit_code() == 3, "{fault}");
    let text = fault.to_string();
    ensure!(
        text.contains("the disk fails this replica at") && text.contains("No space left on device"),
        "{text}"
    );
    let ready = get(http, "/readyz").await?;
    ensure!(ready.starts_with("HTTP/1.1 503") && ready.contains(&text), "{ready}");
    ensure!(get(http, "/healthz").await?.starts_with("HTTP/1.1 200"));
    let ended = async {
        loop {
            if let Err(status) = stream.message().await {
                break status;
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(10), ended).await.context("the stream ends")?;
    refused(Err::<(), _>(ended), Code::Unavailable, &[STOPPED])?;
    refused(watch(&replicas, 2, &broker).await.map(drop), Code::Unavailable, &[STOPPED])?;
    let mut settings = SettingsClient::new(replicas.channel(2)?);
    refused(settings.list(v1::ListSettingsRequest {}).await, Code::Unavailable, &[STOPPED])?;

    until("the others go on", async || Ok(replicas.get(0).commit_empty().await.ok())).await?;
    replicas.stop_one(2).await;
    disk.free()?;
    replicas.start_one(2).await?;
    until("it has caught up", async || {
        let (there, here) = (replicas.get(0).status(), replicas.get(2).status());
        Ok((replicas.get(2).is_ready() && there.applied == here.applied).then_some(()))
    })
    .await?;
    ensure!(replicas.get(0).status().digest == replicas.get(2).status().digest);
    replicas.stop().await;
    Ok(())
}

/// Commits a batch. Some outcomes are unknown, where the replica that stops leads.
async fn commit(replicas: &Replicas) {
    join_all((0..256).map(|_| replicas.get(0).commit_empty())).await;
}

/// Commits until the process has ended by itself, and answers with its code.
async fn commit_until_it_ends(replicas: &Replicas, process: &mut Process) -> Result<i32> {
    let committing = async {
        loop {
            commit(replicas).await;
        }
    };
    tokio::select! {
        code = process.ended() => code,
        () = committing => unreachable!("it goes on"),
    }
}

async fn caught_up(replicas: &Replicas) -> Result<()> {
    until("all three are up and equal", async || {
        replicas.get(0).commit_empty().await?;
        let status = replicas.get(0).status();
        let matched = status.members.iter().filter(|member| member.matched >= Some(status.applied - 1));
        Ok((status.members.len() == 3 && matched.count() == 3).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_ends_with_a_code_that_tells_whether_to_start_it_again() -> Result<()> {
    let mut replicas = Replicas::start(2).await?;
    // The founder leads: the process below never does while the limit is on.
    replicas.follower().await?;
    let token = replicas.get(0).create_join_token(NodeKind::Replica, Some(1), TOKEN_TTL).await?;
    let (data, at) = (replicas.data(2), replicas.get(0).address().to_string());
    let mut process = Process::start_limited(&data, "replica-2", &token, &at, 512)?;
    ensure!(commit_until_it_ends(&replicas, &mut process).await? == 3, "{}", process.log());
    let log = process.log();
    ensure!(
        log.contains("ERROR") && log.contains("this replica stops: the disk fails this replica at"),
        "{log}"
    );
    let last = log.lines().last().unwrap_or_default();
    ensure!(last.starts_with("revoq-control: the disk fails") && last.contains("File too large"), "{log}");
    // The same data, and a disk that works.
    let process = Process::start(&data, "replica-2", None)?;
    caught_up(&replicas).await.with_context(|| process.log())?;

    // The newest log is cut in half after its death: what it acknowledged is gone.
    process.kill()?;
    let rows = data.join("state/rocksdb");
    let logs = std::fs::read_dir(&rows)?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    let newest = logs.into_iter().filter(|path| path.extension().is_some_and(|end| end == "log")).max();
    let newest = std::fs::File::options().write(true).open(newest.context("a log")?)?;
    newest.set_len(newest.metadata()?.len() / 2)?;
    for _ in 0..2 {
        let mut process = Process::start(&data, "replica-2", None)?;
        ensure!(process.ended().await? == 4, "{}", process.log());
        let log = process.log();
        let last = log.lines().last().unwrap_or_default();
        ensure!(last.starts_with("revoq-control: the write-ahead log in"), "{log}");
        ensure!(
            last.contains("acknowledged writes") && last.contains("revoqctl cluster remove NODE"),
            "{log}"
        );
    }
    std::fs::remove_dir_all(data.join("state"))?;
    let mut process = Process::start(&data, "replica-2", None)?;
    ensure!(process.ended().await? == 4, "{}", process.log());
    let last = process.log().lines().last().unwrap_or_default().to_owned();
    ensure!(
        last.starts_with("revoq-control: there is no state in") && last.contains("forgotten its votes"),
        "{last}"
    );

    // As the message says.
    let node = replicas.get(0).status().members.iter().map(|member| member.node).max().context("three")?;
    let mut cluster = v1::cluster_client::ClusterClient::new(replicas.channel(0)?);
    cluster.remove_node(v1::RemoveNodeRequest { node }).await?;
    std::fs::remove_dir_all(&data)?;
    replicas.add().await?;
    caught_up(&replicas).await?;
    replicas.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_was_cut_short_is_begun_again() -> Result<()> {
    let mut replicas = Replicas::start(1).await?;
    // Before the answer came: the token is used up, and nothing but the mark is there.
    let token = replicas.get(0).create_join_token(NodeKind::Replica, Some(1), TOKEN_TTL).await?;
    std::fs::create_dir_all(replicas.data(1))?;
    std::fs::write(replicas.data(1).join("joining"), "")?;
    let without = Replica::start(replicas.config(1)).await.err().context("it must not found a cluster")?;
    ensure!(without.exit_code() == 2 && without.to_string().contains("has begun to join"), "{without}");
    let forged = JoinToken { secret: [7; 32], ..token.parse()? };
    let used =
        replicas.join(1, forged.to_string()).await.err().context("a token that nobody knows")?.to_string();
    ensure!(used.contains("an earlier start has begun to join"), "{used}");
    // After it was written down, and before the state was made.
    let state = replicas.data(1).join("state");
    std::os::unix::fs::symlink(replicas.data(1).join("nowhere"), &state)?;
    replicas.join(1, token).await.err().context("the state cannot be made")?;
    ensure!(replicas.data(1).join("node.toml").exists() && replicas.data(1).join("joining").exists());
    std::fs::remove_file(&state)?;
    let again = Replica::start(replicas.config(1)).await?;
    until("it has caught up", async || Ok(again.is_ready().then_some(()))).await?;
    again.shutdown().await;
    // From then on it has promises to keep.
    ensure!(!replicas.data(1).join("joining").exists());
    std::fs::remove_dir_all(&state)?;
    let gone = Replica::start(replicas.config(1)).await.err().context("without its state")?;
    ensure!(gone.exit_code() == 4, "{gone}");
    replicas.stop().await;
    Ok(())
}
