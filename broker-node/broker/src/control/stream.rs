//! One watch stream: events in, acknowledgements out, and the lease.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use prost::Message as _;
use revoq_credentials::{Change, Event, Revision};
use revoq_proto::{GRPC_MESSAGE_MAX, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use v1::broker_message::{Ack, Farewell, Hello, Message as Outbound, Renew, Usage};
use v1::control_message::{Grant, Message as Inbound, SnapshotChunk};

use super::apply::{self, Applied};
use super::{Driver, sessions};
use crate::clock::{self, Now, duration_millis};

/// Messages that may wait for the network. They are small, and few unless sessions are listed.
const OUTBOUND_MAX: usize = 256;
/// A replica that does not take what we send for this long is lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);
/// A replica that does not open the stream within this time is lost.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a last word may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
const USAGE_INTERVAL: Duration = Duration::from_secs(1);
const USAGE_MAX: usize = 4096;
/// Renewals in one lease.
const RENEWALS: u32 = 3;

/// Why a stream ended.
pub(super) enum Ended {
    /// The node says farewell.
    Farewell,
    /// An event said that the cluster removed this node. That a replica does not know it proves nothing: it may lag.
    Removed,
    /// Another replica may do better. `served`: this one had granted a lease.
    Lost { reason: String, served: bool },
}

struct Stream<'a> {
    driver: &'a Driver,
    out: mpsc::Sender<v1::BrokerMessage>,
    /// Renewals that are not answered, with the moment before each was sent.
    renewals: VecDeque<(u64, Now)>,
    /// The number of the last renewal of this process, on whatever stream.
    sequence: &'a mut u64,
    /// The chunks of a snapshot that is not complete.
    snapshot: Option<Vec<Change>>,
    heard: Instant,
    /// When the last renewal was sent, and when the next is due.
    renewed: tokio::time::Instant,
    renew_at: tokio::time::Instant,
    served: bool,
    is_removed: bool,
}

/// Watches through one replica until that fails. `sequence` is the number of the last renewal of this process: a
/// number that came again would name two moments, and the leader would count the lease from the wrong one.
pub(super) async fn watch(driver: &Driver, replica: Channel, sequence: &mut u64) -> Ended {
    let (out, outbound) = mpsc::channel(OUTBOUND_MAX);
    let mut stream = Stream {
        driver,
        out,
        renewals: VecDeque::new(),
        sequence,
        snapshot: None,
        heard: Instant::now(),
        renewed: tokio::time::Instant::now(),
        renew_at: tokio::time::Instant::now(),
        served: false,
        is_removed: false,
    };
    match stream.run(replica, outbound).await {
        Ok(()) => Ended::Farewell,
        Err(_) if stream.is_removed => Ended::Removed,
        Err(status) => Ended::Lost { reason: status.message().to_owned(), served: stream.served },
    }
}

impl Stream<'_> {
    async fn run(
        &mut self,
        replica: Channel,
        outbound: mpsc::Receiver<v1::BrokerMessage>,
    ) -> Result<(), Status> {
        let node = &self.driver.node;
        // In the queue before the stream opens: a server may want it before it answers.
        self.send(Outbound::Hello(Hello {
            incarnation: self.driver.incarnation.to_vec().into(),
            revision: node.view.load().revision().0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
        .await?;
        let mut client =
            v1::node_client::NodeClient::new(replica).max_decoding_message_size(GRPC_MESSAGE_MAX);
        let opening = client.watch(ReceiverStream::new(outbound));
        let inbound = tokio::time::timeout(OPEN_TIMEOUT, opening).await;
        let mut inbound = inbound.map_err(|_| Status::unavailable("no answer to Watch"))??.into_inner();
        node.metrics.watch_streams.inc();
        self.heard = Instant::now();
        (self.renewed, self.renew_at) = (tokio::time::Instant::now(), tokio::time::Instant::now());
        let mut usage = tokio::time::interval(USAGE_INTERVAL);
        loop {
            tokio::select! {
                biased;
                message = inbound.message() => {
                    let received = Instant::now();
                    let message = message?.ok_or_else(|| Status::unavailable("the replica ended the stream"))?;
                    self.heard = received;
                    self.handle(message, received).await?;
                }
                () = tokio::time::sleep_until(self.renew_at) => {
                    self.check_life()?;
                    self.renew().await?;
                    self.renew_at = self.renewed + self.lease() / RENEWALS;
                }
                _ = usage.tick() => self.report_usage().await?,
                () = self.driver.farewell.cancelled() => return self.say_farewell(inbound).await,
            }
        }
    }

    fn lease(&self) -> Duration {
        self.driver.node.view.load().settings().lease
    }

    async fn send(&self, message: Outbound) -> Result<(), Status> {
        let message = v1::BrokerMessage { message: Some(message) };
        match self.out.send_timeout(message, SEND_TIMEOUT).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Status::unavailable("the replica takes no messages")),
        }
    }

    /// A replica that is silent, or that has lost its leader, keeps a stream open that renews nothing.
    fn check_life(&self) -> Result<(), Status> {
        let lease = self.lease();
        if self.heard.elapsed() > lease {
            return Err(Status::unavailable("the replica is silent"));
        }
        let oldest = self.renewals.front().map(|(_, sent)| clock::now().boot.saturating_sub(sent.boot));
        if self.snapshot.is_none() && oldest.is_some_and(|waited| waited > duration_millis(lease)) {
            return Err(Status::unavailable("the replica grants no lease"));
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), Status> {
        let node = &self.driver.node;
        *self.sequence += 1;
        let renew = Renew {
            sequence: *self.sequence,
            revision: node.view.load().revision().0,
            sessions: node.registry.len() as u64,
        };
        self.renewed = tokio::time::Instant::now();
        // The lease counts from before the request leaves.
        self.renewals.push_back((*self.sequence, clock::now()));
        self.send(Outbound::Renew(renew)).await
    }

    fn handle_grant(&mut self, grant: &Grant) {
        while let Some((sequence, sent)) = self.renewals.front().copied() {
            if sequence > grant.sequence {
                return;
            }
            self.renewals.pop_front();
            if sequence == grant.sequence {
                self.driver.node.freshness.grant(sent, grant.lease_ms);
                self.served = true;
                // The lease may be shorter than this broker knew when it asked: before its first view it knows none.
                let next = self.renewed + Duration::from_millis(grant.lease_ms) / RENEWALS;
                self.renew_at = self.renew_at.min(next);
            }
        }
    }

    async fn handle(&mut self, message: v1::ControlMessage, received: Instant) -> Result<(), Status> {
        let node = &self.driver.node;
        match message.message {
            Some(Inbound::Events(events)) => {
                let events = decode(&events.events)?;
                let applied = apply::events(node, &events, received);
                self.acknowledge(applied).await
            }
            Some(Inbound::Snapshot(chunk)) => self.handle_snapshot(chunk, received).await,
            Some(Inbound::Progress(progress)) => {
                apply::progress(node, progress.revision);
                Ok(())
            }
            Some(Inbound::Grant(grant)) => {
                self.handle_grant(&grant);
                Ok(())
            }
            Some(Inbound::Sessions(query)) => {
                self.driver.workers.spawn(sessions::answer(node.clone(), query, self.out.clone()));
                Ok(())
            }
            // Of a newer control plane.
            None => Ok(()),
        }
    }

    async fn handle_snapshot(&mut self, chunk: SnapshotChunk, received: Instant) -> Result<(), Status> {
        if chunk.first {
            self.snapshot = Some(Vec::new());
        }
        let changes = self.snapshot.as_mut().ok_or_else(|| broken("a snapshot without its start"))?;
        for change in chunk.changes {
            changes.push(change.try_into().map_err(|error| broken(&format!("snapshot: {error}")))?);
        }
        if !chunk.last {
            return Ok(());
        }
        let changes = self.snapshot.take().unwrap_or_default();
        tracing::info!(revision = chunk.revision, changes = changes.len(), "snapshot");
        let applied = apply::snapshot(&self.driver.node, Revision(chunk.revision), changes, received);
        self.acknowledge(applied).await
    }

    /// First the word that the gates are shut, then the work of closing.
    async fn acknowledge(&mut self, applied: Applied) -> Result<(), Status> {
        let ack = Ack { revision: applied.revision, cuts: applied.cuts.clone() };
        let sent = self.send(Outbound::Ack(ack)).await;
        let is_removed = applied.is_removed;
        applied.finish(&self.driver.node);
        self.is_removed |= is_removed;
        if is_removed { Err(Status::aborted("this node was removed from the cluster")) } else { sent }
    }

    async fn report_usage(&self) -> Result<(), Status> {
        let usage = &self.driver.node.usage;
        let batch = usage.take(USAGE_MAX);
        if batch.is_empty() {
            return Ok(());
        }
        let fingerprints = batch.iter().map(|fingerprint| fingerprint.0.to_vec().into()).collect();
        let sent = self.send(Outbound::Usage(Usage { fingerprints, time_ms: clock::now().wall })).await;
        if sent.is_err() {
            usage.put_back(batch);
        }
        sent
    }

    /// The last word, and a moment for it to arrive.
    async fn say_farewell(&mut self, mut inbound: Streaming<v1::ControlMessage>) -> Result<(), Status> {
        self.report_usage().await?;
        self.send(Outbound::Farewell(Farewell {})).await?;
        // Ends our half of the stream once everything is sent.
        self.out = mpsc::channel(1).0;
        let drained = async { while let Ok(Some(_)) = inbound.message().await {} };
        let _ = tokio::time::timeout(FAREWELL_TIMEOUT, drained).await;
        Ok(())
    }
}

fn decode(events: &[bytes::Bytes]) -> Result<Vec<Event>, Status> {
    let decode = |bytes: &bytes::Bytes| {
        let event = v1::Event::decode(bytes.clone()).map_err(|error| broken(&format!("event: {error}")))?;
        Event::try_from(event).map_err(|error| broken(&format!("event: {error}")))
    };
    events.iter().map(decode).collect()
}

/// An event that is not understood must not be passed over: the lease must not be renewed on top of it. Another
/// replica, or a snapshot, may do better.
fn broken(what: &str) -> Status {
    tracing::error!(what, "the control plane sent what cannot be read");
    Status::data_loss(what)
}
