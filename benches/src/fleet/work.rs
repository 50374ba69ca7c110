//! The worker's side.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::flow::{self, Tally};
use super::{Job, Leaf, Report};
use crate::client::Client;
use crate::clock::now_ns;

/// Handshakes in flight: enough to keep two cores busy.
const OPENING: usize = 32;

/// A worker process: one job, then the end.
pub(crate) async fn worker() -> Result<()> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).await?;
    let job: Job = serde_json::from_str(&line).context("reading the job")?;
    let (reports, queue) = mpsc::unbounded_channel();
    let printer = tokio::spawn(print(queue));
    let stop = CancellationToken::new();
    match open(&job, &reports, &stop).await {
        Ok((flows, _sessions)) => {
            reports.send(Report::Open)?;
            // Its end is the parent's word to stop.
            input.read_to_end(&mut Vec::new()).await?;
            stop.cancel();
            let tallies = flows.join_all().await;
            reports.send(total(&tallies))?;
        }
        Err(error) => reports.send(Report::Failed(format!("{error:#}")))?,
    }
    drop(reports);
    // Sessions that still live hold a sender: they have nothing more to say.
    let _ = tokio::time::timeout(Duration::from_millis(500), printer).await;
    std::process::exit(0)
}

async fn print(mut queue: mpsc::UnboundedReceiver<Report>) -> Result<()> {
    let mut out = tokio::io::stdout();
    let mut reports = Vec::new();
    while queue.recv_many(&mut reports, 1_024).await > 0 {
        let mut lines = Vec::new();
        for report in reports.drain(..) {
            serde_json::to_writer(&mut lines, &report)?;
            lines.push(b'\n');
        }
        out.write_all(&lines).await?;
        out.flush().await?;
    }
    Ok(())
}

fn total(tallies: &[Tally]) -> Report {
    let acknowledged = tallies.iter().map(|tally| tally.acknowledged).sum();
    let lost = tallies.iter().map(|tally| tally.acknowledged.saturating_sub(tally.delivered)).sum();
    let broken = tallies.iter().map(|tally| u64::from(tally.broken)).sum();
    Report::Flows { acknowledged, lost, broken }
}

/// Opens all sessions; each reports its own end.
async fn open(
    job: &Job,
    reports: &mpsc::UnboundedSender<Report>,
    stop: &CancellationToken,
) -> Result<(JoinSet<Tally>, JoinSet<()>)> {
    let configurations = job.leaves.iter().map(|leaf| tls(&job.root, leaf)).collect::<Result<Vec<_>>>()?;
    let permits = Arc::new(Semaphore::new(OPENING));
    let mut opening = JoinSet::new();
    for session in 0..job.sessions {
        let leaf = session % job.leaves.len();
        let broker = (session / job.leaves.len() + session) % job.brokers.len();
        let address = job.brokers[broker];
        let (config, permits) = (configurations[leaf].clone(), permits.clone());
        let client_id = format!("{}-{session}", job.name);
        opening.spawn(async move {
            let _permit = permits.acquire().await?;
            Client::connect(address, config, &client_id).await.map(|client| (leaf, broker, client))
        });
    }
    let mut sessions = JoinSet::new();
    while let Some(opened) = opening.join_next().await {
        let (leaf, broker, client) = opened??;
        let reports = reports.clone();
        sessions.spawn(async move {
            let reason = client.ended().await;
            // The parent may be gone.
            let _ = reports.send(Report::Closed { leaf, broker, at_ns: now_ns(), reason });
        });
    }
    let mut flows = JoinSet::new();
    for (n, broker) in job.brokers.iter().flat_map(|broker| (0..job.flows).map(move |n| (n, broker))) {
        let topic = format!("{}/{}/{n}", job.name, broker.port());
        let config = configurations[n % configurations.len()].clone();
        let mut client = Client::connect(*broker, config, &topic.replace('/', "-")).await?;
        flow::subscribe(&mut client, &topic).await?;
        let every = Duration::from_millis(job.flow_every_ms);
        flows.spawn(flow::run(client, topic.parse()?, every, stop.clone()));
    }
    Ok((flows, sessions))
}

/// TLS 1.3 without resumption: each session is a full handshake.
fn tls(root: &[u8], leaf: &Leaf) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(root.to_vec()))?;
    let chain = leaf.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf.key.clone()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}
