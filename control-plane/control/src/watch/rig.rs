//! A replica's watch for tests: a state in memory, a quorum that always agrees, and brokers made of channels.
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use revoq_consensus::{Dial, Leadership, Machine as _};
use revoq_credentials::{Change, Event, MemoryStore, Millis, NodeId, Revision, SealedTicketKeys, Settings};
use revoq_lease::{Moment, NodeRow, Proof};
use revoq_proto::v1::broker_message::{Ack, Cut, Hello, Message, Renew};
use revoq_proto::v1::control_message::Message as Sent;
use revoq_proto::v1::{self, BrokerMessage, ControlMessage};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::source::ChangeRows;
use super::{Feed, FeedEvent, Links, Rows, Snapshot, Stored, Watchers, inbound, outbound, patience};
use crate::clock::Clock;
use crate::counts::Counts;
use crate::error::Error;
use crate::lease::{Ground, LeaseKeeper};
use crate::machine::Credentials;
use crate::peer::{Liaison, Peers};
use crate::seal::KeyEncryptionKey;

pub(crate) const NODE: NodeId = NodeId(7);

/// What a replica stands on.
pub(crate) struct TestGround {
    machine: Arc<Credentials>,
    rows: Mutex<BTreeMap<u64, Vec<u8>>>,
    /// Rows up to here are gone.
    pub(crate) compacted: AtomicU64,
    /// The leader's commit index.
    pub(crate) commit: AtomicU64,
    pub(crate) proofs: watch::Sender<u64>,
    /// In which Raft says that this replica leads.
    pub(crate) term: AtomicU64,
    applied: AtomicU64,
    /// What snapshots are taken of; nothing: an empty state.
    state: Option<fn() -> MemoryStore>,
}

impl Rows for TestGround {
    fn changes(&self, after: u64, limit: usize) -> Result<Option<ChangeRows>, Error> {
        if after < self.compacted.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let rows = self.rows.lock();
        Ok(Some(rows.range(after + 1..).take(limit).map(|(at, row)| (*at, row.clone())).collect()))
    }

    fn encode(&self, _: u64, event: Event) -> FeedEvent {
        self.machine.feed_event(event, false, Moment::ZERO)
    }
}

#[tonic::async_trait]
impl Stored for TestGround {
    fn as_rows(&self) -> &dyn Rows {
        self
    }

    fn snapshot(&self) -> Result<Snapshot, Error> {
        let revision = self.applied.load(Ordering::SeqCst);
        let store: Box<dyn revoq_credentials::Reader + Send> = match &self.state {
            Some(state) => Box::new(state()),
            None => Box::new(MemoryStore::new()),
        };
        Ok(Snapshot::new(store, revision))
    }

    fn open(&self, _: &SealedTicketKeys) -> Option<v1::TicketKeys> {
        None
    }

    async fn barrier(&self) -> Result<u64, Error> {
        Ok(self.commit.load(Ordering::SeqCst))
    }
}

#[tonic::async_trait]
impl Ground for TestGround {
    fn brokers(&self) -> Result<(u64, Vec<NodeRow>), Error> {
        let row = NodeRow { node: NODE.0, name: "broker".to_owned(), joined: 0 };
        Ok((self.applied.load(Ordering::SeqCst), vec![row]))
    }

    fn settings(&self) -> Result<(u64, Settings), Error> {
        Ok((self.applied.load(Ordering::SeqCst), Settings::default()))
    }

    fn past(&self, _: u64, _: &mut dyn FnMut(&Event)) -> Result<(), Error> {
        Ok(())
    }

    async fn prove(&self) -> Result<Proof, Error> {
        self.proofs.send_modify(|proofs| *proofs += 1);
        Ok(Proof { term: self.term.load(Ordering::SeqCst), commit: self.commit.load(Ordering::SeqCst) })
    }

    async fn wait_applied(&self, _: u64, _: Duration) -> Result<(), Error> {
        Ok(())
    }
}

struct NoDial;

impl Dial for NoDial {
    fn channel(&self, address: &str) -> Result<tonic::transport::Channel, revoq_consensus::Error> {
        Err(revoq_consensus::Error::Address { address: address.to_owned(), reason: "a test".to_owned() })
    }
}

/// A replica that leads, at revision 10.
pub(crate) struct Rig {
    pub(crate) ground: Arc<TestGround>,
    pub(crate) keeper: Arc<LeaseKeeper>,
    pub(crate) links: Arc<Links>,
    leadership: watch::Sender<Leadership>,
    stop: CancellationToken,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Rig {
    pub(crate) fn new() -> Rig {
        Rig::of_state(None)
    }

    /// One whose snapshots are of this state.
    pub(crate) fn of_state(state: Option<fn() -> MemoryStore>) -> Rig {
        let feed = Arc::new(Feed::new(8, 1_000_000));
        let seal = Arc::new(KeyEncryptionKey::generate().expect("randomness"));
        let machine = Arc::new(Credentials::new(Arc::clone(&feed), seal));
        let ground = Arc::new(TestGround {
            machine: Arc::clone(&machine),
            rows: Mutex::default(),
            compacted: AtomicU64::new(0),
            commit: AtomicU64::new(10),
            proofs: watch::Sender::new(0),
            term: AtomicU64::new(1),
            applied: AtomicU64::new(10),
            state,
        });
        machine.restored(10);
        let clock = Clock::system();
        let counts = Counts::default();
        let marks = machine.marks();
        let keeper =
            LeaseKeeper::new(ground.clone(), Arc::clone(&feed), marks, clock.clone(), counts.clone());
        let keeper = Arc::new(keeper);
        let watchers = Arc::new(Watchers::new(counts.clone()));
        let liaison = Arc::new(Liaison::new(Arc::clone(&keeper), Arc::clone(&watchers), counts.clone()));
        let links = Arc::new(Links {
            feed,
            stored: ground.clone(),
            watchers,
            liaison: Arc::clone(&liaison),
            usage: Arc::default(),
            clock,
            snapshots: Links::snapshots(),
            counts,
        });
        let (leadership, following) = watch::channel(Rig::leads(1));
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&keeper).run(stop.clone()));
        tokio::spawn(liaison.run(following, Arc::new(Peers::new(Arc::new(NoDial))), stop.clone()));
        tokio::spawn(patience(Arc::clone(&links), stop.clone()));
        Rig { ground, keeper, links, leadership, stop }
    }

    fn leads(term: u64) -> Leadership {
        Leadership { leader: Some(1), leader_address: None, term, is_leader: true }
    }

    /// The same replica leads in another term.
    pub(crate) fn reelect(&self, term: u64) {
        self.ground.term.store(term, Ordering::SeqCst);
        self.leadership.send_replace(Rig::leads(term));
    }

    /// Commits and applies a change.
    pub(crate) fn change(&self, revision: u64, changes: Vec<Change>) {
        let event = Event {
            revision: Revision(revision),
            time: Millis(0),
            actor: "test".to_owned(),
            action: "suspend".to_owned(),
            changes,
        };
        self.ground.rows.lock().insert(revision, event.encode());
        self.ground.commit.fetch_max(revision, Ordering::SeqCst);
        self.ground.applied.store(revision, Ordering::SeqCst);
        let event = self.ground.machine.feed_event(event, false, crate::lease::moment());
        self.ground.machine.publish(revision, vec![(revision, Arc::new(event))]);
    }

    /// Applies up to a revision without an event.
    pub(crate) fn pass(&self, revision: u64) {
        self.ground.commit.fetch_max(revision, Ordering::SeqCst);
        self.ground.applied.store(revision, Ordering::SeqCst);
        self.ground.machine.publish(revision, Vec::new());
    }

    /// A broker's stream, not yet begun.
    pub(crate) fn stream(&self) -> Broker {
        self.stream_of(NODE)
    }

    fn stream_of(&self, node: NodeId) -> Broker {
        let (to_replica, inbox) = mpsc::channel(100);
        let (opened, opening) = oneshot::channel();
        let gone = CancellationToken::new();
        let links = Arc::clone(&self.links);
        tokio::spawn(inbound(Arc::clone(&links), node, ReceiverStream::new(inbox), opened, gone.clone()));
        Broker { to_replica, from_replica: Box::pin(outbound(links, opening, gone.drop_guard())) }
    }

    /// A broker that has everything up to `revision`.
    pub(crate) async fn broker(&self, process: u8, revision: u64) -> Broker {
        self.broker_of(NODE, process, revision).await
    }

    /// As [`Rig::broker`], of another node. It has no row, so that its renewals are refused.
    pub(crate) async fn broker_of(&self, node: NodeId, process: u8, revision: u64) -> Broker {
        let broker = self.stream_of(node);
        let hello = Hello { incarnation: vec![process; 16].into(), revision, version: String::new() };
        broker.say(Message::Hello(hello)).await;
        broker
    }
}

/// A broker's end of a stream.
pub(crate) struct Broker {
    to_replica: mpsc::Sender<Result<BrokerMessage, Status>>,
    from_replica: Pin<Box<dyn Stream<Item = Result<ControlMessage, Status>> + Send>>,
}

impl Broker {
    pub(crate) async fn say(&self, message: Message) {
        let message = BrokerMessage { message: Some(message) };
        self.to_replica.send(Ok(message)).await.expect("the replica reads");
    }

    pub(crate) async fn renew(&self, sequence: u64, revision: u64) {
        self.say(Message::Renew(Renew { sequence, revision, sessions: 1 })).await;
    }

    pub(crate) async fn acknowledge(&self, revision: u64, sessions: u64) {
        let cuts = if sessions > 0 { vec![Cut { revision, sessions, gate_micros: 50 }] } else { Vec::new() };
        self.say(Message::Ack(Ack { revision, cuts })).await;
    }

    pub(crate) async fn next(&mut self) -> Result<Sent, Status> {
        let next = timeout(Duration::from_secs(10), self.from_replica.next()).await;
        let message = next.expect("a message within 10 s").expect("the stream goes on")?;
        Ok(message.message.expect("a message says something"))
    }

    /// The next message in short: its kind and revision, or sequence.
    pub(crate) async fn hears(&mut self) -> String {
        match self.next().await {
            Ok(Sent::Snapshot(chunk)) => format!("snapshot {}", chunk.revision),
            Ok(Sent::Events(events)) => {
                let revision = |event: bytes::Bytes| {
                    <v1::Event as prost::Message>::decode(event).expect("an event").revision.to_string()
                };
                let revisions: Vec<String> = events.events.into_iter().map(revision).collect();
                format!("events {}", revisions.join(" "))
            }
            Ok(Sent::Progress(progress)) => format!("progress {}", progress.revision),
            Ok(Sent::Grant(grant)) => format!("grant {}", grant.sequence),
            Ok(Sent::Sessions(query)) => format!("query {}", query.query),
            Err(status) => format!("{:?}", status.code()),
        }
    }
}
