//! A fence as a stream of updates, at the leader.
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use revoq_lease::{Leases, Moment, NodeStanding, Standing};
use revoq_proto::v1::{FenceNode, FenceState, FenceUpdate};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::keeper::{LeaseKeeper, moved};
use super::{millis, moment};

/// Updates between the first and the last come at most this often.
const UPDATE_INTERVAL: Duration = Duration::from_millis(100);

struct Watched {
    keeper: Arc<LeaseKeeper>,
    changed: watch::Receiver<u64>,
    term: u64,
    revision: u64,
    /// The last revision up to it that has an event.
    target: u64,
    /// Nodes that have yet to be looked at, the one last that it waits for; none: every node is to be looked at.
    waiting: Vec<u64>,
    /// What the last update said of the nodes, as a hash: of a thousand nodes it is large, and fences may be many.
    said: Option<u64>,
    complete: bool,
    next_update: Instant,
    /// The same moment on both clocks, so that what is printed stays the same when the wall clock is set.
    begun: (Moment, u64),
}

impl LeaseKeeper {
    /// The fence of a committed revision: an update at once, then as nodes come further, until none is waiting.
    ///
    /// Fails with `OUT_OF_RANGE` for a revision that is not committed, with `FAILED_PRECONDITION` or
    /// `UNAVAILABLE` where this replica does not lead; the stream ends with the latter when it ceases to.
    pub(crate) async fn fence(
        self: &Arc<Self>,
        revision: u64,
    ) -> Result<impl Stream<Item = Result<FenceUpdate, Status>> + use<>, Status> {
        self.settle(revision).await?;
        // In one look: a new term begins with an account that knows nothing yet.
        let covering = |leases: &mut Leases| leases.term().filter(|_| leases.covers(revision));
        let term = self.leases(covering)?.ok_or_else(moved)?;
        let watched = Watched {
            changed: self.changed(),
            term,
            revision,
            target: self.feed.last_event(revision),
            waiting: Vec::new(),
            said: None,
            complete: false,
            next_update: Instant::now(),
            begun: (moment(), self.clock.now().0),
            keeper: Arc::clone(self),
        };
        Ok(unfold(Some(watched), |watched| async move {
            let mut watched = watched?;
            match watched.next().await {
                Some(Ok(update)) => Some((Ok(update), Some(watched))),
                Some(Err(status)) => Some((Err(status), None)),
                None => None,
            }
        }))
    }
}

impl Watched {
    async fn next(&mut self) -> Option<Result<FenceUpdate, Status>> {
        if self.complete {
            return None;
        }
        loop {
            self.changed.mark_unchanged();
            let wake = match self.look() {
                Ok(Look::Update(update)) => return Some(Ok(update)),
                Ok(Look::Sleep(wake)) => wake,
                Err(status) => return Some(Err(status)),
            };
            tokio::select! {
                // Acks come in crowds: those that are ready by now are taken before the next look.
                _ = self.changed.changed() => tokio::task::yield_now().await,
                () = sleep_until(wake) => {}
            }
        }
    }

    /// What to say now; else when to look again, if nothing changes before.
    fn look(&mut self) -> Result<Look, Status> {
        let now = moment();
        let (nodes, target) = (&mut self.waiting, self.target);
        let (until, lines) = self.keeper.leases(|leases| {
            if leases.term() != Some(self.term) {
                return Err(moved());
            }
            let until = leases.waits_for_one(now, target, nodes).or_else(|| {
                // It is complete only when every node says so at once: a new process of one may be waited for again.
                nodes.extend(leases.known());
                leases.waits_for_one(now, target, nodes)
            });
            let due = until.is_none() || self.next_update <= Instant::now();
            Ok((until, due.then(|| leases.fence(now, target, self.revision))))
        })??;
        let Some(lines) = lines else {
            return Ok(Look::Sleep(self.next_update.min(passed(until, now))));
        };
        // All nodes are looked at this often, whatever comes of it.
        self.next_update = Instant::now() + UPDATE_INTERVAL;
        let next = lines.iter().filter_map(|line| match line.standing {
            Standing::Waiting { until } => Some(until),
            _ => None,
        });
        let next = next.min();
        let update = self.update(lines, until.is_none());
        let mut said = DefaultHasher::new();
        update.nodes.hash(&mut said);
        let news = self.said.replace(said.finish()) != Some(said.finish());
        self.complete = update.complete;
        Ok(if news || update.complete { Look::Update(update) } else { Look::Sleep(passed(next, now)) })
    }

    fn update(&self, lines: Vec<NodeStanding>, complete: bool) -> FenceUpdate {
        let applied = self.keeper.feed.applied_at(self.revision);
        let nodes = lines.into_iter().map(|line| fence_node(line, applied, self.begun)).collect();
        FenceUpdate { revision: self.revision, nodes, complete }
    }
}

enum Look {
    Update(FenceUpdate),
    Sleep(Instant),
}

/// When `moment` has passed: a millisecond beyond. Where there is none, at the next update.
fn passed(moment: Option<Moment>, now: Moment) -> Instant {
    let left = moment.map_or(UPDATE_INTERVAL, |moment| moment.saturating_sub(now));
    Instant::now() + left + Duration::from_millis(1)
}

fn fence_node(line: NodeStanding, applied: Option<Moment>, begun: (Moment, u64)) -> FenceNode {
    let (state, until) = match line.standing {
        Standing::Waiting { until } => (FenceState::Waiting, Some(until)),
        Standing::Confirmed => (FenceState::Confirmed, None),
        Standing::Fenced { since } => (FenceState::Fenced, since),
        Standing::Unconfirmed { since } => (FenceState::Unconfirmed, Some(since)),
    };
    let confirmed = line.received.zip(applied).filter(|_| state == FenceState::Confirmed);
    FenceNode {
        node: line.node,
        name: line.name,
        state: state.into(),
        sessions_cut: line.cut.map_or(0, |cut| cut.sessions),
        gate_micros: line.cut.map_or(0, |cut| micros(cut.gate)),
        confirmed_micros: confirmed.map_or(0, |(received, applied)| micros(received.saturating_sub(applied))),
        until_ms: until.map_or(0, |until| wall_at(until, begun)),
    }
}

/// A moment on the wall clock, given one that is known on both.
pub(crate) fn wall_at(moment: Moment, (then, then_ms): (Moment, u64)) -> u64 {
    let (ahead, behind) = (millis(moment.saturating_sub(then)), millis(then.saturating_sub(moment)));
    then_ms.saturating_add(ahead).saturating_sub(behind)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
