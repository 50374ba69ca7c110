//! Watch streams that end at one replica and go on at another.

use std::time::Duration;

use crate::support::{Replicas, until};
use anyhow::{Context, Result, ensure};
use prost::Message as _;
use revoq_control::{Config, Limits};
use revoq_proto::client::Tls;
use revoq_proto::v1::broker_message::{Ack, Hello, Message};
use revoq_proto::v1::control_message::Message as Sent;
use revoq_proto::v1::node_client::NodeClient;
use revoq_proto::v1::settings_client::SettingsClient;
use revoq_proto::v1::{self, BrokerMessage};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

const WITHIN: Duration = Duration::from_secs(20);

/// What a broker has been told.
#[derive(Debug, Default, PartialEq)]
struct Told {
    /// Revisions of snapshots.
    snapshots: Vec<u64>,
    /// Revisions of events.
    events: Vec<u64>,
}

/// A broker that only watches.
struct Broker {
    identity: Tls,
    /// Its view stands here.
    revision: u64,
}

impl Broker {
    async fn join(replicas: &Replicas) -> Result<Broker> {
        Ok(Broker { identity: replicas.join_broker("broker").await?, revision: 0 })
    }

    /// Watches at replica `n` until its view stands at `revision` or later, and goes away.
    async fn watch(&mut self, replicas: &Replicas, n: usize, revision: u64) -> Result<Told> {
        // A replica may learn a little later of the node, and that it runs again.
        let (to_replica, mut stream) =
            until("the stream is opened", async || Ok(Some(self.open(replicas, n).await?))).await?;
        let mut told = Told::default();
        while self.revision < revision {
            let sent = timeout(WITHIN, stream.next()).await.with_context(|| format!("after {told:?}"))?;
            self.hear(sent.context("the stream goes on")??, &mut told)?;
            let ack = Message::Ack(Ack { revision: self.revision, cuts: Vec::new() });
            to_replica.send(BrokerMessage { message: Some(ack) }).await?;
        }
        Ok(told)
    }

    async fn open(
        &self,
        replicas: &Replicas,
        n: usize,
    ) -> Result<(mpsc::Sender<BrokerMessage>, Streaming<v1::ControlMessage>)> {
        let (to_replica, messages) = mpsc::channel(64);
        let hello =
            Hello { incarnation: vec![1; 16].into(), revision: self.revision, version: String::new() };
        to_replica.send(BrokerMessage { message: Some(Message::Hello(hello)) }).await?;
        let mut node = NodeClient::new(replicas.channel_as(n, &self.identity)?);
        Ok((to_replica, node.watch(ReceiverStream::new(messages)).await?.into_inner()))
    }

    fn hear(&mut self, sent: v1::ControlMessage, told: &mut Told) -> Result<()> {
        match sent.message {
            Some(Sent::Snapshot(chunk)) if chunk.last => {
                told.snapshots.push(chunk.revision);
                self.revision = chunk.revision;
            }
            Some(Sent::Events(events)) => {
                for event in events.events {
                    let revision = v1::Event::decode(event)?.revision;
                    ensure!(revision > self.revision, "{revision} after {}", self.revision);
                    told.events.push(revision);
                    self.revision = revision;
                }
            }
            Some(Sent::Progress(progress)) => self.revision = progress.revision,
            _ => {}
        }
        Ok(())
    }
}

/// So many changes through replica `n`; their revisions.
async fn change(replicas: &Replicas, n: usize, times: u64) -> Result<Vec<u64>> {
    let mut client = SettingsClient::new(replicas.channel(n)?);
    let mut revisions = Vec::new();
    for time in 0..times {
        let last = revisions.last().copied().unwrap_or_default();
        let value = format!("{}ms", 1_000 + (last * 7 + time) % 1_000);
        let request = v1::SetSettingRequest { key: "cut_deadline".to_owned(), value };
        revisions.push(client.set(request).await?.into_inner().revision);
    }
    Ok(revisions)
}

fn events(revisions: &[u64]) -> Told {
    Told { snapshots: Vec::new(), events: revisions.to_vec() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_resumes_by_revision_at_any_replica() -> Result<()> {
    let mut replicas = Replicas::start(3).await?;
    let follower = replicas.follower().await?;
    let mut broker = Broker::join(&replicas).await?;
    let told = broker.watch(&replicas, 0, 1).await?;
    ensure!(told.snapshots.len() == 1 && told.events.is_empty(), "it has nothing yet: {told:?}");
    for (round, n) in [1, 2, 0, 1].into_iter().enumerate() {
        let changed = change(&replicas, (n + 1) % 3, 5).await?;
        let told = broker.watch(&replicas, n, changed[4]).await?;
        ensure!(told == events(&changed), "round {round}: {told:?} is not {changed:?}");
    }

    // What one replica has not told it the others do, also when that one is gone.
    let changed = change(&replicas, follower, 5).await?;
    let told = broker.watch(&replicas, follower, changed[2]).await?;
    replicas.stop_one(follower).await;
    let other = (follower + 1) % 3;
    let more = change(&replicas, other, 3).await?;
    let rest = broker.watch(&replicas, other, more[2]).await?;
    let both = [told.events, rest.events].concat();
    ensure!(both == [changed, more].concat() && rest.snapshots.is_empty(), "{both:?}");

    // Replicas that have just started have nothing in memory, and everything on disk.
    replicas.stop().await;
    replicas.start_again().await?;
    let changed = change(&replicas, 0, 3).await?;
    let told = broker.watch(&replicas, 2, changed[2]).await?;
    ensure!(told == events(&changed), "{told:?} is not {changed:?}");
    replicas.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_kept_any_more_is_made_up_for_by_a_snapshot() -> Result<()> {
    let short = |config: &mut Config| {
        config.limits = Limits { changes_kept: 20, changes_in_memory: 10, ..Limits::default() };
    };
    let mut replicas = Replicas::start_with(1, short).await?;
    let mut broker = Broker::join(&replicas).await?;
    broker.watch(&replicas, 0, 1).await?;
    let changed = change(&replicas, 0, 15).await?;
    let told = broker.watch(&replicas, 0, changed[14]).await?;
    ensure!(told == events(&changed), "from disk, then from memory: {told:?} is not {changed:?}");
    let changed = change(&replicas, 0, 40).await?;
    let told = broker.watch(&replicas, 0, changed[39]).await?;
    ensure!(told.events.is_empty() && told.snapshots == [changed[39]], "{told:?}");
    let changed = change(&replicas, 0, 5).await?;
    let told = broker.watch(&replicas, 0, changed[4]).await?;
    ensure!(told == events(&changed), "{told:?} is not {changed:?}");
    replicas.stop().await;
    Ok(())
}
