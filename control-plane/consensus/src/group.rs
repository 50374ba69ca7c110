//! A replicated group as the rest of the process sees it.
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::Fatal;
use openraft::metrics::RaftServerMetrics;
use openraft::{BasicNode, Raft, RaftLogReader as _, RaftState, ServerState};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Error;
use crate::channels::{Channels, Dial};
use crate::compare::keep_comparing;
use crate::config::Config;
use crate::digest::Digest;
use crate::ending::{refuse_diverged, supervise};
use crate::log::LogStore;
use crate::machine::Machine;
use crate::network::Network;
use crate::reader::StateReader;
use crate::state::{Machinery, StateMachine};
use crate::store::Store;
use crate::types::Types;

/// One replica of a group. Clones are the same replica.
pub struct Group<M: Machine> {
    pub(crate) inner: Arc<Inner<M>>,
}

impl<M: Machine> Clone for Group<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

pub(crate) struct Inner<M: Machine> {
    config: Config,
    raft: Raft<Types, StateMachine<M>>,
    machinery: Arc<Machinery>,
    channels: Arc<Channels>,
    leadership: watch::Receiver<Leadership>,
    /// There was something on disk when it started.
    found: bool,
    /// Why it has ended.
    pub(crate) ended: watch::Sender<Option<Error>>,
    /// See [`Status::differing`].
    pub(crate) differing: Mutex<Vec<u64>>,
    closing: watch::Sender<bool>,
}

/// Where a command ended up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    /// Its index in the log: its revision.
    pub index: u64,
    /// The response of [`Machine::apply`].
    pub response: Vec<u8>,
}

/// A quorum said that this replica leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// In this term. [`Leadership`] may not show it yet.
    pub term: u64,
    /// Everything is committed up to this index, which is at or after the first entry of the term.
    pub index: u64,
}

/// Who leads, as far as this replica knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader of this term, once known.
    pub leader: Option<u64>,
    /// Where it is reached.
    pub leader_address: Option<String>,
    /// The term, which only grows.
    pub term: u64,
    /// This replica leads, or believes so: only a quorum can tell.
    pub is_leader: bool,
}

/// How a replica stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This replica.
    pub node: u64,
    /// The leader that it knows.
    pub leader: Option<u64>,
    /// Its term.
    pub term: u64,
    /// Index of the last applied entry.
    pub applied: u64,
    /// Index up to which it knows entries to be committed.
    pub committed: u64,
    /// Index of its last entry.
    pub last_log: u64,
    /// Everyone in the group.
    pub members: Vec<Member>,
    /// The digest of the state at `applied`.
    pub digest: Digest,
    /// Voters whose state was seen to differ from this replica's, which goes on: either a majority of the voters agrees
    /// with it, or nobody can tell who is right.
    pub differing: Vec<u64>,
}

/// One replica of a group, as another sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub node: u64,
    /// Where it is reached.
    pub address: String,
    /// It counts for a quorum; else it only learns.
    pub voter: bool,
    /// On the leader: index up to which its log equals the leader's.
    pub matched: Option<u64>,
}

impl<M: Machine> Group<M> {
    /// Starts this replica with what its store holds. A replica with an empty store waits: for [`Group::bootstrap`], or
    /// to be added by the others.
    ///
    /// # Errors
    /// The configuration contradicts itself, the store is damaged, or an earlier start has found its state to be
    /// another than the others'.
    pub async fn start(
        config: Config,
        store: &Store,
        machine: Arc<M>,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, Error> {
        let started = Self::begin(config, store, machine, dial).await;
        started.map_err(|error| match error {
            Error::Storage(text) => store.shared.database.fault_of(text),
            other => other,
        })
    }

    async fn begin(
        config: Config,
        store: &Store,
        machine: Arc<M>,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, Error> {
        let rows = Arc::new(store.group(config.group)?);
        refuse_diverged(&rows)?;
        let fault = rows.shared.database.fault();
        let machinery = Machinery::open(Arc::clone(&rows), config.changes_kept)?;
        let channels = Arc::new(Channels::new(config.group, dial));
        let network =
            Network { node: config.node, channels: Arc::clone(&channels), store: Arc::clone(&rows) };
        let mut log = LogStore::open(rows)?;
        let found = log.read_vote().await?.is_some();
        let states = StateMachine::open(Arc::clone(&machinery), Arc::clone(&machine))?;
        let raft = Raft::build(config.node, config.raft()?, network, log, states)
            .await
            .map_err(|e| Error::Storage(e.to_string()))?;
        machine.restored(machinery.standing().index());
        machinery.go_live();
        let leadership = watch_leadership(config.node, raft.server_metrics());
        raft.run();
        let (ended, closing) = (watch::channel(None).0, watch::channel(false).0);
        let differing = Mutex::default();
        let inner = Inner { config, raft, machinery, channels, leadership, found, ended, differing, closing };
        let group = Self { inner: Arc::new(inner) };
        group.spawn_drivers(fault);
        group.lead_if_alone().await.map_err(|e| Error::Stopped(e.to_string()))?;
        Ok(group)
    }

    fn spawn_drivers(&self, fault: watch::Receiver<Option<Error>>) {
        tokio::spawn(supervise(Arc::downgrade(&self.inner), fault));
        let comparing = keep_comparing(Arc::downgrade(&self.inner), self.config().compare);
        let mut closing = self.inner.closing.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = comparing => {}
                _ = closing.wait_for(|closing| *closing) => {}
            }
        });
    }

    pub(crate) fn upgrade(inner: &Weak<Inner<M>>) -> Option<Self> {
        inner.upgrade().map(|inner| Self { inner })
    }

    /// Where nobody else can lead, there is no point in waiting for an election timeout.
    async fn lead_if_alone(&self) -> Result<(), Fatal<Types>> {
        let voters =
            |state: &RaftState<Types>| state.membership_state.effective().voter_ids().collect::<Vec<_>>();
        if self.raft().with_raft_state(voters).await? == [self.config().node] {
            self.raft().trigger().elect(false).await?;
        }
        Ok(())
    }

    /// A leader without followers has nobody to tell that it lives: it sleeps until there is something to do.
    pub(crate) fn tick_unless_alone(&self) {
        let metrics = self.raft().metrics();
        let now = metrics.borrow_watched();
        let mut members = now.membership_config.membership().nodes();
        let alone = now.state == ServerState::Leader && members.all(|(node, _)| *node == self.config().node);
        self.raft().runtime_config().tick(!alone);
    }

    /// Makes a new group of this replica alone, reached at `address`.
    ///
    /// # Errors
    /// The replica belongs to a group already.
    pub async fn bootstrap(&self, address: &str) -> Result<(), Error> {
        let members = std::collections::BTreeMap::from([(self.config().node, BasicNode::new(address))]);
        self.raft().initialize(members).await.map_err(|e| Error::Membership(e.to_string()))
    }

    /// Whether this replica belongs to a group, by what is on its disk or by what others have sent it.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        self.inner.found || self.raft().metrics().borrow_watched().last_log_index.is_some()
    }

    /// The state at this moment. Not linearizable by itself: see [`Group::read_barrier`].
    ///
    /// # Errors
    /// The store failed.
    pub fn reader(&self) -> Result<StateReader, Error> {
        Ok(StateReader::new(&self.machinery().store)?)
    }

    /// The change rows after index `after`, at most `limit`, in order.
    ///
    /// # Errors
    /// [`Error::Compacted`] if rows in between are gone.
    pub fn changes(&self, after: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let reader = self.reader()?;
        let floor = reader.standing().changes_floor;
        if after < floor {
            return Err(Error::Compacted { oldest: floor + 1 });
        }
        Ok(reader.changes(after, limit)?)
    }

    /// Waits until the local state is at `index` or later.
    ///
    /// # Errors
    /// [`Error::Late`] if it isn't by then.
    pub async fn wait_applied(&self, index: u64, patience: Duration) -> Result<(), Error> {
        let mut applied = self.machinery().applied();
        let reached = timeout(patience, applied.wait_for(|applied| *applied >= index)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => {
                self.running()?;
                Err(Error::Late { index, applied: self.machinery().standing().index() })
            }
        }
    }

    /// The index of the last applied entry, as it moves.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.machinery().applied()
    }

    /// Who leads, as it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// How this replica stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.raft().metrics().borrow_watched().clone();
        let standing = self.machinery().standing();
        let membership = metrics.membership_config.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let matched = |node: &u64| {
            let progress = metrics.replication.as_ref()?.get(node)?.as_ref()?;
            Some(progress.index)
        };
        let members = membership.nodes().map(|(node, at)| Member {
            node: *node,
            address: at.addr.clone(),
            voter: voters.contains(node),
            matched: matched(node),
        });
        Status {
            node: self.config().node,
            leader: metrics.current_leader,
            term: metrics.current_term,
            applied: standing.index(),
            committed: metrics.local_committed.map_or(0, |id| id.index).max(standing.index()),
            last_log: metrics.last_log_index.unwrap_or(0),
            members: members.collect(),
            digest: standing.digest,
            differing: self.inner.differing.lock().clone(),
        }
    }

    /// Makes the state durable and lets the log up to it go.
    ///
    /// # Errors
    /// The replica has stopped.
    pub async fn compact(&self) -> Result<(), Error> {
        self.raft().trigger().snapshot().await.map_err(|e| Error::Stopped(e.to_string()))
    }

    /// Stops this replica; if it leads, another takes over first.
    pub async fn shutdown(&self) {
        if self.inner.leadership.borrow().is_leader
            && let Some(heir) = self.heir()
        {
            self.hand_over(heir).await;
        }
        self.inner.closing.send_replace(true);
        self.end(Error::Stopped("it was told to".to_owned())).await;
        // Where it had ended before, that may still be under way.
        if let Err(error) = self.raft().shutdown().await {
            tracing::error!(%error, group = self.config().group, "a replica ended badly");
        }
    }

    /// The voter that lags the least.
    fn heir(&self) -> Option<u64> {
        let others = self.status().members.into_iter().filter(|m| m.voter && m.node != self.config().node);
        others.max_by_key(|member| member.matched).map(|member| member.node)
    }

    async fn hand_over(&self, heir: u64) {
        if self.raft().trigger().transfer_leader(heir).await.is_err() {
            return;
        }
        let mut leadership = self.leadership();
        let taken = leadership.wait_for(|now| !now.is_leader && now.leader.is_some());
        if timeout(self.config().election_max, taken).await.is_err() {
            tracing::info!(heir, group = self.config().group, "nobody took over before the shutdown");
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn raft(&self) -> &Raft<Types, StateMachine<M>> {
        &self.inner.raft
    }

    pub(crate) fn machinery(&self) -> &Machinery {
        &self.inner.machinery
    }

    pub(crate) fn channels(&self) -> &Channels {
        &self.inner.channels
    }
}

/// Follows openraft's metrics for as long as the replica runs.
fn watch_leadership(
    node: u64,
    mut metrics: openraft::alias::WatchReceiverOf<Types, RaftServerMetrics<Types>>,
) -> watch::Receiver<Leadership> {
    let (sender, receiver) = watch::channel(Leadership::default());
    tokio::spawn(async move {
        loop {
            let now = leadership(node, &metrics.borrow_watched());
            sender.send_if_modified(|known| {
                let changed = *known != now;
                *known = now;
                changed
            });
            if metrics.changed().await.is_err() {
                break;
            }
        }
        // It has stopped: whoever leads now, it will not hear of it.
        sender.send_modify(|known| *known = Leadership { term: known.term, ..Leadership::default() });
    });
    receiver
}

fn leadership(node: u64, metrics: &RaftServerMetrics<Types>) -> Leadership {
    let leader = metrics.current_leader;
    let at = leader.and_then(|id| metrics.membership_config.membership().get_node(&id));
    Leadership {
        leader,
        leader_address: at.map(|at| at.addr.clone()),
        term: metrics.vote.leader_id.term,
        is_leader: leader == Some(node) && metrics.state == ServerState::Leader,
    }
}
