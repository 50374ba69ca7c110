//! Drives [`Leases`]: gives it the time, the rows and the settings, proves the leadership, hands out grants.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use revoq_credentials::Settings;
use revoq_lease::{Acknowledgement, Batch, Cut, IncarnationId, Leases, Refused, Renewal, Terms};
use revoq_proto::v1;
use revoq_proto::v1::leader_message::Grant;
use revoq_proto::v1::peer_message::{self, Message};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, warn};

use super::ground::Ground;
use super::{millis, moment};
use crate::clock::Clock;
use crate::counts::{Counts, Limit};
use crate::error::Error;
use crate::machine::Marks;
use crate::watch::Feed;

/// Proofs in a lease. A thousand brokers renew every two milliseconds, and each proof asks a quorum: those that come
/// meanwhile share the next one.
const PROOFS: u32 = 50;

/// Between the beginnings of two proofs at most: a new broker waits for one.
const PROOF_INTERVAL_MAX: Duration = Duration::from_millis(100);

/// Between two attempts of a new leader to prove itself.
const SETTLE_RETRY: Duration = Duration::from_millis(50);

/// Where grants go: to the replica that serves the broker.
pub(crate) trait Outlet: Send + Sync + 'static {
    /// To be handed to the broker after every event up to its commit index.
    fn grant(&self, grant: Grant);
}

/// The account, and how far it has read the state.
struct Account {
    leases: Leases,
    settings: Settings,
    /// Changes of settings up to this revision are in `leases`.
    settings_at: u64,
    /// The marks that were seen.
    nodes: u64,
    restored: u64,
    /// Where the grants of each node go.
    outlets: HashMap<u64, Arc<dyn Outlet>>,
}

/// What came of messages about brokers.
#[derive(Default)]
struct Heard {
    /// A fence may have come further.
    news: bool,
    /// A renewal waits for a proof.
    renewals: bool,
}

/// Keeps the leases of all brokers while this replica leads, and answers fences.
pub(crate) struct LeaseKeeper {
    account: Mutex<Account>,
    pub(super) ground: Arc<dyn Ground>,
    pub(super) feed: Arc<Feed>,
    pub(super) clock: Clock,
    marks: Arc<Marks>,
    renewals: Notify,
    counts: Counts,
    /// Moves whenever a fence may have come further.
    changed: watch::Sender<u64>,
}

impl LeaseKeeper {
    /// A keeper that leads nothing yet.
    pub(crate) fn new(
        ground: Arc<dyn Ground>,
        feed: Arc<Feed>,
        marks: Arc<Marks>,
        clock: Clock,
        counts: Counts,
    ) -> LeaseKeeper {
        let settings = Settings::default();
        let account = Account {
            leases: Leases::new(Terms::from(&settings)),
            settings,
            settings_at: 0,
            nodes: 0,
            // Forces the first reading.
            restored: u64::MAX,
            outlets: HashMap::new(),
        };
        LeaseKeeper {
            account: Mutex::new(account),
            ground,
            feed,
            clock,
            marks,
            renewals: Notify::new(),
            counts,
            changed: watch::Sender::new(0),
        }
    }

    /// Serves renewals until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let unsettled = self.unsettled();
            tokio::select! {
                () = self.renewals.notified() => {}
                () = sleep(SETTLE_RETRY), if unsettled => {}
                () = stop.cancelled() => return,
            }
            if self.unsettled()
                && let Err(status) = self.settle(0).await
            {
                debug!(reason = status.message(), "the leadership is not settled yet");
            }
            // One proof serves every renewal that waits; those that come meanwhile share the next one.
            while let Some(batch) = self.begin_proof() {
                let next = Instant::now() + (self.lease() / PROOFS).min(PROOF_INTERVAL_MAX);
                self.serve(&batch).await;
                sleep_until(next).await;
            }
        }
    }

    /// This replica leads and has yet to prove it. Nodes that join before it has are presumed leased.
    fn unsettled(&self) -> bool {
        let account = self.account.lock();
        account.leases.term().is_some() && !account.leases.settled()
    }

    fn begin_proof(&self) -> Option<Batch> {
        self.account.lock().leases.begin_proof()
    }

    async fn serve(&self, batch: &Batch) {
        let proof = self.ground.prove().await;
        let mut account = self.account.lock();
        match proof {
            Ok(proof) => {
                for granted in account.leases.proved(batch, proof) {
                    let Some(outlet) = account.outlets.get(&granted.renewal.node) else { continue };
                    outlet.grant(Grant {
                        node: granted.renewal.node,
                        sequence: granted.renewal.sequence,
                        commit: granted.commit,
                        lease_ms: millis(granted.lease),
                        incarnation: granted.renewal.incarnation.0.to_vec().into(),
                    });
                }
            }
            Err(error) => {
                debug!(%error, "renewals stay unanswered: the leadership could not be proven");
                account.leases.failed(batch);
            }
        }
        drop(account);
        self.wake();
    }

    fn wake(&self) {
        self.changed.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Moves whenever a fence may have come further.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// This replica leads in `term`.
    pub(crate) fn elected(&self, term: u64) {
        let mut account = self.account.lock();
        if account.leases.term() != Some(term) {
            account.leases.elected(moment(), term);
            account.outlets.clear();
        }
        drop(account);
        self.renewals.notify_one();
        self.wake();
    }

    /// This replica does not lead.
    pub(crate) fn deposed(&self) {
        let mut account = self.account.lock();
        account.leases.deposed();
        account.outlets.clear();
        drop(account);
        self.wake();
    }

    /// Messages about brokers from the replica that serves them, where grants for them go. Those before an error are
    /// taken.
    pub(crate) fn receive(
        &self,
        messages: impl IntoIterator<Item = Result<v1::PeerMessage, Status>>,
        outlet: &Arc<dyn Outlet>,
    ) -> Result<(), Status> {
        let mut heard = Heard::default();
        let taken = self.with(|account| {
            messages.into_iter().try_for_each(|message| match message?.message {
                Some(Message::Renewal(renewal)) => self.renew(account, &renewal, outlet, &mut heard),
                Some(Message::Acknowledgement(ack)) => acknowledge(account, ack, &mut heard),
                // Of a later version, perhaps.
                None => Ok(()),
            })
        });
        if heard.news {
            self.wake();
        }
        if heard.renewals {
            self.renewals.notify_one();
        }
        taken?
    }

    fn renew(
        &self,
        account: &mut Account,
        renewal: &peer_message::Renewal,
        outlet: &Arc<dyn Outlet>,
        heard: &mut Heard,
    ) -> Result<(), Status> {
        let incarnation = incarnation(&renewal.incarnation)?;
        let ack = Acknowledgement {
            node: renewal.node,
            incarnation,
            revision: renewal.revision,
            sessions: Some(renewal.sessions),
            cuts: Vec::new(),
            farewell: false,
        };
        let wanted = Renewal { node: renewal.node, incarnation, sequence: renewal.sequence };
        let taken = account.leases.renew(moment(), wanted);
        heard.news |= account.leases.acknowledge(moment(), ack);
        match taken {
            Ok(()) => {
                account.outlets.insert(renewal.node, Arc::clone(outlet));
                heard.renewals = true;
            }
            Err(Refused::NotLeading) => return Err(not_leading()),
            Err(refused) => {
                debug!(%refused, "a renewal is refused");
                self.counts.limit(Limit::Renewals, usize::from(matches!(refused, Refused::TooMany(_))));
            }
        }
        Ok(())
    }

    /// The account, brought up to what the state says.
    fn with<T>(&self, ask: impl FnOnce(&mut Account) -> T) -> Result<T, Status> {
        let mut account = self.account.lock();
        if let Err(error) = self.catch_up(&mut account) {
            warn!(%error, "the leases cannot be brought up to the state");
            return Err(Status::unavailable("this replica cannot read its state"));
        }
        Ok(ask(&mut account))
    }

    /// As `with`, on the leases alone.
    pub(super) fn leases<T>(&self, ask: impl FnOnce(&mut Leases) -> T) -> Result<T, Status> {
        self.with(|account| ask(&mut account.leases))
    }

    fn catch_up(&self, account: &mut Account) -> Result<(), Error> {
        let restored = self.marks.restored();
        if account.restored != restored {
            // Brokers may go by any setting of the past that they have not been told the end of.
            self.ground.past(account.settings_at, &mut |event| self.marks.note(event))?;
            self.take_settings(account);
            let (revision, settings) = self.ground.settings()?;
            account.leases.set_terms(moment(), revision, Terms::from(&settings));
            (account.settings, account.restored) = (settings, restored);
        }
        self.take_settings(account);
        let nodes = self.marks.nodes();
        if account.nodes != nodes {
            self.read_rows(account)?;
            account.nodes = nodes;
        }
        Ok(())
    }

    fn take_settings(&self, account: &mut Account) {
        let mut changes: Vec<_> = self.marks.take_settings().into();
        changes.sort_by_key(|change| change.revision);
        for change in changes {
            if change.revision > account.settings_at
                && account.settings.set(&change.key, Some(&change.value)).is_ok()
            {
                account.leases.set_terms(moment(), change.revision, Terms::from(&account.settings));
                account.settings_at = change.revision;
            }
        }
    }

    fn read_rows(&self, account: &mut Account) -> Result<(), Error> {
        let (revision, rows) = self.ground.brokers()?;
        account.leases.rows(moment(), revision, rows);
        Ok(())
    }

    /// Makes sure that this replica leads, and knows every node that joined before it did and the state at
    /// `revision`.
    pub(super) async fn settle(&self, revision: u64) -> Result<(), Status> {
        let covered = self.with(|account| account.leases.covers(revision))?;
        if covered && revision <= self.feed.revision() {
            return Ok(());
        }
        let proof = self.ground.prove().await.map_err(crate::status::status)?;
        let commit = proof.commit;
        if revision > commit {
            return Err(Status::out_of_range(format!(
                "revision {revision} is not committed; the last one is {commit}"
            )));
        }
        let patience = Duration::from_secs(5);
        self.ground.wait_applied(commit, patience).await.map_err(crate::status::status)?;
        // What is published was marked before: where this is so, catching up reads all changes of rows up to the commit. To
        // read a thousand rows for each fence would hold its events up.
        let published = self.feed.revision() >= commit;
        let covered = self.with(|account| {
            account.leases.led(proof);
            match published && account.leases.settled() {
                true => account.leases.forget_removed(moment()),
                false => self.read_rows(account)?,
            }
            Ok::<_, Error>(account.leases.covers(revision))
        })?;
        // Not if the proof is of another term than the account.
        covered.map_err(crate::status::status)?.then_some(()).ok_or_else(moved)
    }

    /// The length of a lease.
    pub(crate) fn lease(&self) -> Duration {
        self.account.lock().settings.lease
    }

    /// How often ticket keys are to be replaced.
    pub(super) fn ticket_rotation(&self) -> Duration {
        self.account.lock().settings.ticket_rotation
    }

    /// Reads what the state has news of, also where nobody asks: past settings bound leases of the present.
    pub(crate) fn refresh(&self) {
        _ = self.with(|_| ());
    }
}

fn acknowledge(
    account: &mut Account,
    ack: peer_message::Acknowledgement,
    heard: &mut Heard,
) -> Result<(), Status> {
    account.leases.term().ok_or_else(not_leading)?;
    let cut = |cut: peer_message::Cut| Cut {
        revision: cut.revision,
        sessions: cut.sessions,
        gate: Duration::from_micros(cut.gate_micros),
    };
    let ack = Acknowledgement {
        node: ack.node,
        incarnation: incarnation(&ack.incarnation)?,
        revision: ack.revision,
        sessions: None,
        cuts: ack.cuts.into_iter().map(cut).collect(),
        farewell: ack.farewell,
    };
    heard.news |= account.leases.acknowledge(moment(), ack);
    Ok(())
}

fn incarnation(bytes: &[u8]) -> Result<IncarnationId, Status> {
    IncarnationId::try_from(bytes).map_err(|_| {
        Status::invalid_argument(format!("incarnation has {} bytes: it must have 16", bytes.len()))
    })
}

pub(super) fn moved() -> Status {
    Status::unavailable("the leadership has moved")
}

pub(super) fn not_leading() -> Status {
    Status::failed_precondition("this replica does not lead")
}
