//! Between the brokers that this replica serves and the leader.
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::unfold;
use parking_lot::RwLock;
use revoq_consensus::Leadership;
use revoq_proto::v1::peer_message::Message;
use revoq_proto::v1::{LeaderMessage, PeerMessage};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, info};

use super::outbox::Outbox;
use super::peers::Peers;
use crate::counts::{Counts, Limit};
use crate::lease::{LeaseKeeper, Outlet};
use crate::watch::Watchers;

/// Between two attempts to reach the leader: doubled from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LAST: Duration = Duration::from_secs(1);

/// How long the leader may take to accept the stream.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
enum Mode {
    /// This replica leads: messages go straight to its keeper.
    Local,
    /// Messages wait for the stream to the leader. Each stream has a box of its own, so that one that dies takes
    /// nothing that the next should send.
    Remote(Arc<Outbox>),
}

/// Passes on what brokers say to the leader, wherever it is, and its grants to them.
pub(crate) struct Liaison {
    keeper: Arc<LeaseKeeper>,
    watchers: Arc<Watchers>,
    outlet: Arc<dyn Outlet>,
    counts: Counts,
    mode: RwLock<Mode>,
}

impl Liaison {
    pub(crate) fn new(keeper: Arc<LeaseKeeper>, watchers: Arc<Watchers>, counts: Counts) -> Liaison {
        let outlet: Arc<dyn Outlet> = Arc::<Watchers>::clone(&watchers);
        Liaison { keeper, watchers, outlet, counts, mode: RwLock::new(Mode::Remote(Arc::default())) }
    }

    /// The length of a lease.
    pub(crate) fn lease(&self) -> Duration {
        self.keeper.lease()
    }

    /// To the leader, at once.
    pub(crate) fn send(&self, message: PeerMessage) {
        match &*self.mode.read() {
            Mode::Local => self.tell_keeper([message]),
            Mode::Remote(outbox) => {
                if !outbox.push(message) {
                    self.counts.limit(Limit::Outbox, 1);
                }
            }
        }
    }

    fn tell_keeper(&self, messages: impl IntoIterator<Item = PeerMessage>) {
        if let Err(status) = self.keeper.receive(messages.into_iter().map(Ok), &self.outlet) {
            // The next leader is told again.
            debug!(reason = status.message(), "a broker's message found no leader");
        }
    }

    /// Follows the leadership until `stop`.
    pub(crate) async fn run(
        self: Arc<Self>,
        leadership: watch::Receiver<Leadership>,
        peers: Arc<Peers>,
        stop: CancellationToken,
    ) {
        tokio::select! {
            () = self.follow_all(leadership, &peers) => {}
            () = stop.cancelled() => {}
        }
        // Fences that are still open here go on elsewhere.
        self.keeper.deposed();
    }

    async fn follow_all(&self, mut leadership: watch::Receiver<Leadership>, peers: &Peers) {
        let mut retry = RETRY_FIRST;
        loop {
            let now = leadership.borrow_and_update().clone();
            let work = self.follow(&now, peers);
            tokio::select! {
                // Whatever changed, begin anew: the stream to an old leader is dropped with `work`.
                changed = changed(&mut leadership, &now) => {
                    if changed.is_err() {
                        return;
                    }
                    retry = RETRY_FIRST;
                }
                status = work => {
                    debug!(reason = status.message(), "the stream to the leader ends");
                    let jitter = 0.5 + rand::random::<f64>();
                    sleep(retry.mul_f64(jitter)).await;
                    retry = (retry * 2).min(RETRY_LAST);
                }
            }
        }
    }

    /// Serves one leadership; returns why the stream to the leader ended, never where there is none.
    async fn follow(&self, leadership: &Leadership, peers: &Peers) -> Status {
        if leadership.is_leader {
            self.lead(leadership.term);
            return std::future::pending().await;
        }
        let outbox = Arc::default();
        *self.mode.write() = Mode::Remote(Arc::clone(&outbox));
        self.keeper.deposed();
        let Some(address) = &leadership.leader_address else {
            return std::future::pending().await;
        };
        self.liaise(address, peers, outbox)
            .await
            .err()
            .unwrap_or_else(|| Status::cancelled("the leader ended it"))
    }

    fn lead(&self, term: u64) {
        info!(term, "this replica leads");
        self.keeper.elected(term);
        *self.mode.write() = Mode::Local;
        // What was said before the mode changed is in the watchers; what is said after goes to the keeper.
        self.tell_keeper(self.standing());
    }

    async fn liaise(&self, address: &str, peers: &Peers, outbox: Arc<Outbox>) -> Result<(), Status> {
        let mut client = peers.client(address)?;
        for message in self.standing() {
            outbox.push(message);
        }
        let messages = unfold(outbox, |outbox| async move { outbox.next().await.map(|next| (next, outbox)) });
        let grants = timeout(CONNECT_TIMEOUT, client.liaise(messages)).await;
        let mut grants =
            grants.map_err(|_| Status::deadline_exceeded("the leader does not answer"))??.into_inner();
        while let Some(LeaderMessage { grant }) = grants.next().await.transpose()? {
            if let Some(grant) = grant {
                self.watchers.grant(grant);
            }
        }
        Ok(())
    }

    /// All that a leader who knows nothing must be told, acks first.
    fn standing(&self) -> Vec<PeerMessage> {
        let message = |message| PeerMessage { message: Some(message) };
        let mut messages = Vec::new();
        for watcher in self.watchers.all() {
            let standing = watcher.standing();
            messages.push(message(Message::Acknowledgement(standing.acknowledgement)));
            messages.extend(standing.renewals.into_iter().map(|renewal| message(Message::Renewal(renewal))));
        }
        messages
    }
}

/// Waits until who leads, or in which term, is another than in `now`.
async fn changed(
    leadership: &mut watch::Receiver<Leadership>,
    now: &Leadership,
) -> Result<(), watch::error::RecvError> {
    let differs = |next: &Leadership| {
        let who = |of: &Leadership| (of.is_leader, of.term, of.leader, of.leader_address.clone());
        who(next) != who(now)
    };
    leadership.wait_for(differs).await.map(|_| ())
}
