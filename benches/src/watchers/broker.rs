//! One broker: the watch driver of the real one, without what the events are for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use prost::Message as _;
use rand::RngExt as _;
use revoq_proto::GRPC_MESSAGE_MAX;
use revoq_proto::client::{ControlChannel, Options, Tls};
use revoq_proto::v1::broker_message::{Ack, Hello, Message as Outbound, Renew};
use revoq_proto::v1::control_message::{Grant, Message as Inbound};
use revoq_proto::v1::{self, BrokerMessage};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::join::Member;
use super::tally::{Counts, Stand};
use crate::clock::now_ns;

const OUTBOUND_MAX: usize = 256;
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Of a lease that is not known yet.
const LEASE: Duration = Duration::from_secs(5);
const RENEWALS: u32 = 3;

/// A broker that is nothing but its watch.
pub(super) struct Broker {
    member: Member,
    replicas: Arc<[String]>,
    counts: Arc<Counts>,
    stand: Arc<Stand>,
    incarnation: [u8; 16],
    /// Its view stands here.
    revision: u64,
    lease: Duration,
    /// The end of its lease.
    fresh_until: Option<Instant>,
}

/// What a stream has in hand.
struct Stream {
    out: mpsc::Sender<BrokerMessage>,
    renewals: VecDeque<(u64, Instant)>,
    sequence: u64,
    heard: Instant,
}

impl Broker {
    pub(super) fn new(
        member: Member,
        replicas: Arc<[String]>,
        counts: Arc<Counts>,
        stand: Arc<Stand>,
    ) -> Broker {
        let incarnation = rand::random();
        Broker { member, replicas, counts, stand, incarnation, revision: 0, lease: LEASE, fresh_until: None }
    }

    /// Watches for ever. Each move of `drops` drops the connection.
    pub(super) async fn run(mut self, mut drops: watch::Receiver<u64>) -> Result<()> {
        let mut lost = 0;
        let mut pause = PAUSE_MIN;
        loop {
            // Whatever connections the last one held are closed with it.
            let channel = self.channel()?;
            while lost > 0 {
                let (address, _) = channel.current();
                channel.failed(address);
                lost -= 1;
            }
            loop {
                let (address, replica) = channel.current();
                let index = self.replicas.iter().position(|other| other == address).unwrap_or_default();
                self.stand.ask(index, now_ns());
                self.counts.with(|tally| tally.streams += 1);
                let ended = tokio::select! {
                    ended = self.watch(replica) => Some(ended),
                    _ = drops.changed() => None,
                };
                let served = self.stand.granted_ns.load(Ordering::SeqCst) > 0;
                self.stand.lose();
                pause = if served { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
                let Some(status) = ended else {
                    lost = 1;
                    break;
                };
                self.counts.with(|tally| *tally.lost.entry(status.message().to_owned()).or_default() += 1);
                channel.failed(address);
                self.wait(pause).await;
            }
            self.wait(pause).await;
        }
    }

    async fn wait(&self, pause: Duration) {
        let jitter = rand::rng().random_range(0.5..1.5);
        tokio::time::sleep(pause.mul_f64(jitter)).await;
    }

    fn channel(&self) -> Result<ControlChannel> {
        let tls = Tls::from(self.member.identity.clone());
        let channel = ControlChannel::new(&self.replicas, &tls, Options::default())?;
        Ok(channel.in_order_of(self.member.node))
    }

    /// One stream, and why it ended.
    async fn watch(&mut self, replica: Channel) -> Status {
        let (out, outbound) = mpsc::channel(OUTBOUND_MAX);
        let mut stream = Stream { out, renewals: VecDeque::new(), sequence: 0, heard: Instant::now() };
        match self.serve(&mut stream, replica, outbound).await {
            Ok(()) => Status::unavailable("the replica ended the stream"),
            Err(status) => status,
        }
    }

    async fn serve(
        &mut self,
        stream: &mut Stream,
        replica: Channel,
        outbound: mpsc::Receiver<BrokerMessage>,
    ) -> Result<(), Status> {
        let hello = Hello {
            incarnation: self.incarnation.to_vec().into(),
            revision: self.revision,
            version: String::new(),
        };
        stream.send(Outbound::Hello(hello)).await?;
        let mut client =
            v1::node_client::NodeClient::new(replica).max_decoding_message_size(GRPC_MESSAGE_MAX);
        let opening = tokio::time::timeout(OPEN_TIMEOUT, client.watch(ReceiverStream::new(outbound)));
        let late = |_| Status::deadline_exceeded("no answer to Watch");
        let mut inbound = opening.await.map_err(late)??.into_inner();
        stream.heard = Instant::now();
        let mut renew_at = tokio::time::Instant::now();
        loop {
            tokio::select! {
                biased;
                message = inbound.message() => {
                    let Some(message) = message? else { return Ok(()) };
                    stream.heard = Instant::now();
                    self.hear(stream, message).await?;
                }
                () = tokio::time::sleep_until(renew_at) => {
                    stream.check_life(self.lease)?;
                    stream.renew(self.revision).await?;
                    renew_at = tokio::time::Instant::now() + self.lease / RENEWALS;
                }
            }
        }
    }

    async fn hear(&mut self, stream: &mut Stream, message: v1::ControlMessage) -> Result<(), Status> {
        match message.message {
            Some(Inbound::Events(events)) => {
                let mut seen = Vec::with_capacity(events.events.len());
                for event in events.events {
                    let event = v1::Event::decode(event)
                        .map_err(|error| Status::data_loss(format!("an event: {error}")))?;
                    seen.push((event.revision, event.revision > self.revision));
                    self.revision = self.revision.max(event.revision);
                }
                stream.send(Outbound::Ack(Ack { revision: self.revision, cuts: Vec::new() })).await?;
                self.acknowledged(&seen);
            }
            Some(Inbound::Snapshot(chunk)) => {
                if chunk.first {
                    self.stand.snapshot.store(true, Ordering::SeqCst);
                    self.counts.with(|tally| tally.snapshots += 1);
                }
                if chunk.last {
                    self.revision = chunk.revision;
                    stream.send(Outbound::Ack(Ack { revision: self.revision, cuts: Vec::new() })).await?;
                }
            }
            Some(Inbound::Progress(progress)) => self.revision = self.revision.max(progress.revision),
            Some(Inbound::Grant(grant)) => self.grant(stream, grant),
            // Nobody asks for sessions here.
            Some(Inbound::Sessions(_)) | None => {}
        }
        Ok(())
    }

    /// Counts acks of events; each says whether it was new.
    fn acknowledged(&self, seen: &[(u64, bool)]) {
        let now = now_ns();
        self.counts.with(|tally| {
            for (revision, new) in seen {
                if !new {
                    tally.repeated += 1;
                    continue;
                }
                let acknowledged = tally.acknowledged.entry(*revision).or_default();
                acknowledged.brokers += 1;
                acknowledged.last_ns = acknowledged.last_ns.max(now);
            }
        });
    }

    fn grant(&mut self, stream: &mut Stream, grant: Grant) {
        let Some(sent) = stream.granted(grant.sequence) else { return };
        self.lease = Duration::from_millis(grant.lease_ms);
        let lapsed = self.fresh_until.is_some_and(|until| until < Instant::now());
        self.fresh_until = Some(sent + self.lease);
        let first = self.stand.grant(now_ns());
        let resumed = first && !self.stand.snapshot.load(Ordering::SeqCst);
        self.counts.with(|tally| {
            tally.lapsed += u64::from(lapsed);
            tally.resumed += u64::from(resumed);
        });
    }
}

impl Stream {
    async fn send(&self, message: Outbound) -> Result<(), Status> {
        let message = BrokerMessage { message: Some(message) };
        self.out.send(message).await.map_err(|_| Status::unavailable("the replica takes no messages"))
    }

    async fn renew(&mut self, revision: u64) -> Result<(), Status> {
        self.sequence += 1;
        self.renewals.push_back((self.sequence, Instant::now()));
        self.send(Outbound::Renew(Renew { sequence: self.sequence, revision, sessions: 0 })).await
    }

    /// When the renewal was sent that is granted.
    fn granted(&mut self, sequence: u64) -> Option<Instant> {
        while let Some((waiting, sent)) = self.renewals.front().copied() {
            if waiting > sequence {
                return None;
            }
            self.renewals.pop_front();
            if waiting == sequence {
                return Some(sent);
            }
        }
        None
    }

    fn check_life(&self, lease: Duration) -> Result<(), Status> {
        if self.heard.elapsed() > lease {
            return Err(Status::unavailable("the replica is silent"));
        }
        if self.renewals.front().is_some_and(|(_, sent)| sent.elapsed() > lease) {
            return Err(Status::unavailable("the replica grants no lease"));
        }
        Ok(())
    }
}
