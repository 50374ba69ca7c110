//! Fences over real replicas, with brokers that are nothing but a watch stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Replicas, refused, until};
use anyhow::{Context, Result, ensure};
use prost::Message as _;
use revoq_control::Replica;
use revoq_proto::v1::broker_message::{Ack, Cut, Farewell, Hello, Message, Renew, SessionsReply};
use revoq_proto::v1::control_message::Message as Sent;
use revoq_proto::v1::credentials_client::CredentialsClient;
use revoq_proto::v1::node_client::NodeClient;
use revoq_proto::v1::sessions_client::SessionsClient;
use revoq_proto::v1::settings_client::SettingsClient;
use revoq_proto::v1::{self, BrokerMessage, FenceState, FenceUpdate};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

const RENEWAL: Duration = Duration::from_millis(100);

/// A broker that applies what it is told and cuts one session at each event.
struct Broker {
    name: String,
    /// It reads and says nothing any more.
    mute: Arc<AtomicBool>,
    /// Grants that it has had.
    grants: watch::Receiver<u64>,
    to_replica: mpsc::Sender<BrokerMessage>,
    task: JoinHandle<()>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn say(message: Message) -> BrokerMessage {
    BrokerMessage { message: Some(message) }
}

impl Broker {
    /// Joins, and watches at replica `n` until it holds a lease.
    async fn start(replicas: &Replicas, n: usize, name: &str) -> Result<Broker> {
        let identity = replicas.join_broker(name).await?;
        let stream = until("the replica knows the node", async || {
            let (to_replica, messages) = mpsc::channel(64);
            let hello = Hello { incarnation: vec![1; 16].into(), revision: 0, version: String::new() };
            to_replica.send(say(Message::Hello(hello))).await?;
            let mut node = NodeClient::new(replicas.channel_as(n, &identity)?);
            let stream = node.watch(ReceiverStream::new(messages)).await?.into_inner();
            Ok(Some((to_replica, stream)))
        });
        let (to_replica, stream) = stream.await?;
        let mute = Arc::<AtomicBool>::default();
        let (granted, grants) = watch::channel(0);
        let task = tokio::spawn(serve(stream, to_replica.clone(), Arc::clone(&mute), granted));
        let mut broker = Broker { name: name.to_owned(), mute, grants, to_replica, task };
        broker.granted().await?;
        Ok(broker)
    }

    /// Waits for the next grant.
    async fn granted(&mut self) -> Result<()> {
        self.grants.mark_unchanged();
        tokio::time::timeout(Duration::from_secs(20), self.grants.changed()).await?.context("it watches")
    }
}

async fn serve(
    mut stream: Streaming<v1::ControlMessage>,
    to_replica: mpsc::Sender<BrokerMessage>,
    mute: Arc<AtomicBool>,
    granted: watch::Sender<u64>,
) {
    let (mut revision, mut sequence) = (0, 0);
    let mut renewal = tokio::time::interval(RENEWAL);
    loop {
        let reply = tokio::select! {
            _ = renewal.tick() => {
                sequence += 1;
                Some(Message::Renew(Renew { sequence, revision, sessions: 1 }))
            }
            sent = stream.next() => match sent {
                Some(Ok(sent)) => hear(sent, &mut revision, &granted),
                Some(Err(_)) | None => return,
            },
        };
        let Some(reply) = reply.filter(|_| !mute.load(Ordering::SeqCst)) else { continue };
        if to_replica.send(say(reply)).await.is_err() {
            return;
        }
    }
}

fn hear(sent: v1::ControlMessage, revision: &mut u64, granted: &watch::Sender<u64>) -> Option<Message> {
    let mut cuts = Vec::new();
    match sent.message? {
        Sent::Snapshot(chunk) if chunk.last => *revision = chunk.revision,
        Sent::Snapshot(_) => return None,
        Sent::Events(events) => {
            for event in events.events {
                *revision = v1::Event::decode(event).expect("an event").revision;
                cuts.push(Cut { revision: *revision, sessions: 1, gate_micros: 1 });
            }
        }
        Sent::Progress(progress) => *revision = progress.revision,
        Sent::Grant(_) => {
            granted.send_modify(|grants| *grants += 1);
            return None;
        }
        Sent::Sessions(query) => {
            let sessions = vec![v1::Session { client_id: "one".to_owned(), ..Default::default() }];
            let reply = SessionsReply { query: query.query, count: 1, sessions, more: false };
            return Some(Message::Sessions(reply));
        }
    }
    Some(Message::Ack(Ack { revision: *revision, cuts }))
}

async fn set(replicas: &Replicas, n: usize, key: &str, value: &str) -> Result<u64> {
    let request = v1::SetSettingRequest { key: key.to_owned(), value: value.to_owned() };
    Ok(SettingsClient::new(replicas.channel(n)?).set(request).await?.into_inner().revision)
}

async fn fence(replicas: &Replicas, n: usize, revision: u64) -> Result<Streaming<FenceUpdate>> {
    let mut client = CredentialsClient::new(replicas.channel(n)?);
    Ok(client.fence(v1::FenceRequest { revision }).await?.into_inner())
}

async fn completed(mut fence: Streaming<FenceUpdate>) -> Result<FenceUpdate> {
    while let Some(update) = fence.next().await.transpose()? {
        if update.complete {
            return Ok(update);
        }
    }
    anyhow::bail!("the fence ended before it was complete")
}

fn state(update: &FenceUpdate, broker: &Broker) -> Result<FenceState> {
    let node = update.nodes.iter().find(|node| node.name == broker.name).context("a known node")?;
    Ok(node.state())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fences_at_any_replica_name_every_broker() -> Result<()> {
    let mut replicas = Replicas::start(3).await?;
    replicas.follower().await?;
    let mut brokers = Vec::new();
    for n in 0..3 {
        brokers.push(Broker::start(&replicas, n, &format!("broker-{n}")).await?);
    }
    let mut times = Vec::new();
    for round in 0..30 {
        let n = round % 3;
        let revision = set(&replicas, n, "cut_deadline", &format!("{}ms", 1_000 + round)).await?;
        let begun = Instant::now();
        let update = completed(fence(&replicas, n, revision).await?).await?;
        times.push(begun.elapsed());
        ensure!(update.revision == revision && update.nodes.len() == 3, "{update:?}");
        for node in &update.nodes {
            ensure!(node.state() == FenceState::Confirmed && node.sessions_cut == 1, "{node:?}");
        }
    }
    times.sort();
    ensure!(times[15] < Duration::from_millis(500), "no timer is on the path: {times:?}");
    println!("change answered to fence complete: p50 {:?}, max {:?}", times[15], times[29]);

    let request = v1::ListSessionsRequest::default();
    let listed = SessionsClient::new(replicas.channel(1)?).list(request).await?.into_inner();
    ensure!(listed.total == 3 && listed.missing.is_empty(), "{listed:?}");
    let committed = set(&replicas, 0, "cut_deadline", "2s").await?;
    for n in 0..3 {
        let mut client = CredentialsClient::new(replicas.channel(n)?);
        let request = v1::FenceRequest { revision: committed + 1_000 };
        refused(client.fence(request).await.map(|_| ()), Code::OutOfRange, &["not committed"])?;
    }
    replicas.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_broker_is_fenced_by_time_and_one_that_leaves_at_once() -> Result<()> {
    let mut replicas = Replicas::start(3).await?;
    let follower = replicas.follower().await?;
    set(&replicas, 0, "stale_grace", "400ms").await?;
    let revision = set(&replicas, 0, "lease", "600ms").await?;
    let silent = Broker::start(&replicas, follower, "silent").await?;
    let leaving = Broker::start(&replicas, follower, "leaving").await?;
    let lively = Broker::start(&replicas, (follower + 1) % 3, "lively").await?;
    completed(fence(&replicas, 0, revision).await?).await?;

    silent.mute.store(true, Ordering::SeqCst);
    leaving.mute.store(true, Ordering::SeqCst);
    leaving.to_replica.send(say(Message::Farewell(Farewell {}))).await?;
    let begun = Instant::now();
    let revision = set(&replicas, 0, "cut_deadline", "1s").await?;
    let update = completed(fence(&replicas, follower, revision).await?).await?;
    let took = begun.elapsed();
    ensure!(state(&update, &silent)? == FenceState::Fenced, "{update:?}");
    ensure!(state(&update, &leaving)? == FenceState::Fenced, "{update:?}");
    ensure!(state(&update, &lively)? == FenceState::Confirmed, "{update:?}");
    ensure!(took < Duration::from_millis(600 + 400 + 110 + 500), "lease, grace, margin: {took:?}");

    set(&replicas, 0, "stale_grace", "never").await?;
    let unbounded = Broker::start(&replicas, follower, "unbounded").await?;
    unbounded.mute.store(true, Ordering::SeqCst);
    let revision = set(&replicas, 0, "cut_deadline", "2s").await?;
    let update = completed(fence(&replicas, follower, revision).await?).await?;
    ensure!(state(&update, &unbounded)? == FenceState::Unconfirmed, "{update:?}");
    replicas.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_goes_on_at_the_next_leader() -> Result<()> {
    let mut replicas = Replicas::start(3).await?;
    let follower = replicas.follower().await?;
    set(&replicas, 0, "stale_grace", "1s").await?;
    let revision = set(&replicas, 0, "lease", "30s").await?;
    let mut broker = Broker::start(&replicas, follower, "broker").await?;
    completed(fence(&replicas, follower, revision).await?).await?;
    broker.granted().await?;

    broker.mute.store(true, Ordering::SeqCst);
    let revision = set(&replicas, 0, "cut_deadline", "1s").await?;
    let mut fence = fence(&replicas, follower, revision).await?;
    let update = fence.next().await.context("an update at once")??;
    ensure!(!update.complete && state(&update, &broker)? == FenceState::Waiting, "{update:?}");
    let leader = (0..3).find(|n| Replica::is_leader(replicas.get(*n))).context("a leader")?;
    replicas.stop_one(leader).await;
    broker.mute.store(false, Ordering::SeqCst);
    let update = tokio::time::timeout(Duration::from_secs(20), completed(fence)).await??;
    ensure!(state(&update, &broker)? == FenceState::Confirmed, "{update:?}");
    broker.granted().await?;
    replicas.stop().await;
    Ok(())
}
