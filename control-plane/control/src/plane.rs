//! The control plane's inner side: the replicated group, the watch, the leases.
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::Stream;
use revoq_consensus::{Config, Dial, Group, StateReader, Store};
use revoq_credentials::{Command, Event, NodeId, NodeKind, Operation, Outcome, Refusal, query};
use revoq_proto::v1;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::counts::Counts;
use crate::error::Error;
use crate::fences;
use crate::lease::{Due, LeaseKeeper, duties};
use crate::machine::{Credentials, Marks, decode_response};
use crate::membership;
use crate::peer::{Liaison, Peers};
use crate::seal::Seal;
use crate::status::STOPPED;
use crate::stored::GroupState;
use crate::tickets::fresh_ticket_keys;
use crate::watch::{self, Feed, Links, Usage, Watchers};

/// The version of the commands that this program writes.
const COMMAND_VERSION: u16 = 1;

/// In the name of whom the control plane itself acts.
const ACTOR: &str = "control-plane";

/// Reports of use become one command in this time.
const USAGE_INTERVAL: Duration = Duration::from_secs(1);

/// How long the leader may take to tell about the brokers.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// The replicated group of a replica, its watch streams and its part in the leases.
pub(crate) struct Plane {
    /// The group "credentials".
    pub(crate) group: Group<Credentials>,
    /// Recent events.
    pub(crate) feed: Arc<Feed>,
    /// The other replicas.
    pub(crate) peers: Arc<Peers>,
    /// The leases, while this replica leads.
    pub(crate) leases: Arc<LeaseKeeper>,
    /// The brokers that this replica serves.
    pub(crate) watchers: Arc<Watchers>,
    /// Opens and seals secrets.
    pub(crate) seal: Arc<dyn Seal>,
    /// The replica's clocks.
    pub(crate) clock: Clock,
    links: Arc<Links>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Plane {
    /// Starts the group and everything that stands on it. A replica with an empty store waits until it is made
    /// the first of a cluster or added to one.
    pub(crate) async fn start(
        config: Config,
        store: &Store,
        dial: Arc<dyn Dial>,
        seal: Arc<dyn Seal>,
        clock: Clock,
        counts: Counts,
        feed: Feed,
    ) -> Result<Arc<Plane>, Error> {
        let feed = Arc::new(feed);
        let machine = Arc::new(Credentials::new(Arc::clone(&feed), Arc::clone(&seal)));
        let marks = machine.marks();
        let group = Group::start(config, store, Arc::clone(&machine), Arc::clone(&dial)).await?;
        let leases = Arc::new(LeaseKeeper::new(
            Arc::new(group.clone()),
            Arc::clone(&feed),
            Arc::clone(&marks),
            clock.clone(),
            counts.clone(),
        ));
        let watchers = Arc::new(Watchers::new(counts.clone()));
        let liaison = Arc::new(Liaison::new(Arc::clone(&leases), Arc::clone(&watchers), counts.clone()));
        let links = Links {
            feed: Arc::clone(&feed),
            stored: Arc::new(GroupState { group: group.clone(), machine }),
            watchers: Arc::clone(&watchers),
            liaison: Arc::clone(&liaison),
            usage: Arc::default(),
            clock: clock.clone(),
            snapshots: Links::snapshots(),
            counts,
        };
        let plane = Arc::new(Plane {
            group,
            feed,
            peers: Arc::new(Peers::new(dial)),
            leases,
            watchers,
            seal,
            clock,
            links: Arc::new(links),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        // Reads every stored change once, before anybody waits for it.
        let keeper = Arc::clone(&plane.leases);
        spawn_blocking(move || keeper.refresh())
            .await
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        plane.spawn_drivers(liaison, marks);
        Ok(plane)
    }

    fn spawn_drivers(self: &Arc<Self>, liaison: Arc<Liaison>, marks: Arc<Marks>) {
        let keeper = Arc::clone(&self.leases);
        self.tasks.spawn(Arc::clone(&keeper).run(self.stop.clone()));
        self.tasks.spawn(liaison.run(self.group.leadership(), Arc::clone(&self.peers), self.stop.clone()));
        self.tasks.spawn(watch::patience(Arc::clone(&self.links), self.stop.clone()));
        self.tasks.spawn(Arc::clone(self).send_away());
        self.tasks.spawn(membership::keep(Arc::clone(self), marks.watch_nodes(), self.stop.clone()));
        let plane = Arc::clone(self);
        self.tasks.spawn(duties(keeper, marks, self.stop.clone(), move |due| Arc::clone(&plane).act(due)));
        self.tasks.spawn(Arc::clone(self).record_usage());
    }

    /// Ends the watch streams when the group has stopped by itself, so that the brokers go elsewhere at once.
    async fn send_away(self: Arc<Self>) {
        tokio::select! {
            _ = self.group.stopped() => self.watchers.close(&Status::unavailable(STOPPED)),
            () = self.stop.cancelled() => {}
        }
    }

    /// Ends the watch streams and the drivers, then the group; if it leads, another takes over first.
    pub(crate) async fn shutdown(&self) {
        self.watchers.close(&Status::unavailable("this replica is shutting down; another one serves"));
        self.group.shutdown().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Proposes a command. The inner result is the state machine's.
    pub(crate) async fn propose(
        &self,
        actor: &str,
        operation: Operation,
    ) -> Result<Result<Outcome, Refusal>, Error> {
        let time = self.clock.now();
        let command = Command { version: COMMAND_VERSION, actor: actor.to_owned(), time, operation };
        let proposed = self.group.propose(command.encode()).await?;
        decode_response(&proposed.response)
    }

    /// The state, at least as new as everything that was answered before this call.
    pub(crate) async fn read(&self) -> Result<StateReader, Error> {
        self.group.read_barrier().await?;
        self.stale_read()
    }

    /// The state as this replica has it. One that has stopped by itself gives none: it may be wrong.
    pub(crate) fn stale_read(&self) -> Result<StateReader, Error> {
        self.group.fault().map_or(Ok(()), Err)?;
        Ok(self.group.reader()?)
    }

    /// The watch stream of a broker node.
    pub(crate) fn watch(
        self: Arc<Self>,
        node: NodeId,
        inbound: Streaming<v1::BrokerMessage>,
    ) -> impl Stream<Item = Result<v1::ControlMessage, Status>> + use<> {
        let (opened, opening) = oneshot::channel();
        let gone = CancellationToken::new();
        let links = Arc::clone(&self.links);
        self.tasks.spawn(watch::inbound(Arc::clone(&links), node, inbound, opened, gone.clone()));
        watch::outbound(links, opening, gone.drop_guard())
    }

    /// The fence of a committed revision. It goes on at the next leader when the leadership moves.
    pub(crate) async fn fence(
        self: &Arc<Self>,
        revision: u64,
    ) -> Result<impl Stream<Item = Result<v1::FenceUpdate, Status>> + use<>, Status> {
        fences::fence(Arc::clone(self), revision).await
    }

    /// The events after a revision, for ever. Ends with `OUT_OF_RANGE` where they are compacted.
    pub(crate) fn events(&self, after: u64) -> impl Stream<Item = Result<Arc<Event>, Status>> + use<> {
        watch::events(Arc::clone(&self.feed), Arc::clone(&self.links.stored), after)
    }

    /// What the watch and the limits count.
    pub(crate) fn counts(&self) -> &Counts {
        &self.links.counts
    }

    /// Reports of use that the brokers sent.
    pub(crate) fn usage(&self) -> &Usage {
        &self.links.usage
    }

    /// Every broker node: its row, and what the leader makes of its lease where it can be asked.
    pub(crate) async fn broker_status(&self) -> Vec<v1::NodeStatus> {
        let leases = self.broker_leases().await.unwrap_or_else(|status| {
            debug!(reason = status.message(), "the leader does not tell about the brokers");
            Vec::new()
        });
        let nodes = self.stale_read().and_then(|reader| Ok(query::nodes(&reader)?)).unwrap_or_else(|error| {
            warn!(%error, "the nodes cannot be read");
            Vec::new()
        });
        let brokers = nodes.into_iter().filter(|node| node.kind == NodeKind::Broker);
        let line = |node: revoq_credentials::Node| {
            let lease = leases.iter().find(|lease| lease.node == node.id.0);
            v1::NodeStatus {
                node: node.id.0,
                name: node.name.to_string(),
                kind: v1::NodeKind::Broker.into(),
                address: String::new(),
                status: lease.map_or_else(|| "unknown".to_owned(), |lease| lease.status.clone()),
                revision: lease.map_or(0, |lease| lease.revision),
                sessions: lease.map_or(0, |lease| lease.sessions),
                joined_ms: node.joined.0,
                lease_until_ms: lease.map_or(0, |lease| lease.lease_until_ms),
            }
        };
        brokers.map(line).collect()
    }

    async fn broker_leases(&self) -> Result<Vec<v1::BrokerLease>, Status> {
        let leadership = self.group.leadership().borrow().clone();
        if leadership.is_leader {
            return self.leases.status();
        }
        let address = leadership.leader_address.ok_or_else(|| Status::unavailable("nobody leads"))?;
        let mut client = self.peers.client(&address)?;
        let reply = tokio::time::timeout(STATUS_TIMEOUT, client.brokers(v1::PeerBrokersRequest {})).await;
        Ok(reply.map_err(|_| Status::deadline_exceeded("the leader does not answer"))??.into_inner().brokers)
    }

    /// Carries out what is due at the leader.
    async fn act(self: Arc<Self>, due: Due) {
        if due.ticket_keys
            && let Err(error) = self.rotate_ticket_keys().await
        {
            warn!(%error, "ticket keys are not replaced; tried again");
        }
        for operation in due.forget {
            match self.propose(ACTOR, operation).await {
                Ok(Ok(_)) => info!("a broker node that was long gone is forgotten"),
                Ok(Err(refusal)) => debug!(%refusal, "a node is gone already"),
                Err(error) => debug!(%error, "a node is not forgotten yet"),
            }
        }
    }

    async fn rotate_ticket_keys(&self) -> Result<(), Error> {
        let Some(old) = query::ticket_keys(&self.stale_read()?)? else { return Ok(()) };
        let keys = fresh_ticket_keys(self.seal.as_ref(), Some(&old))?;
        self.propose(ACTOR, Operation::RotateTicketKeys { keys }).await??;
        Ok(())
    }

    async fn record_usage(self: Arc<Self>) {
        loop {
            let due = async {
                self.usage().reported().await;
                sleep(USAGE_INTERVAL).await;
            };
            tokio::select! {
                () = due => {}
                () = self.stop.cancelled() => return,
            }
            let Some(operation) = self.usage().command() else { continue };
            // What is lost comes again with the next use.
            match self.propose(ACTOR, operation).await {
                Ok(Ok(_)) => {}
                Ok(Err(refusal)) => warn!(%refusal, "a report of use is refused"),
                Err(error) => debug!(%error, "a report of use is lost"),
            }
        }
    }
}
