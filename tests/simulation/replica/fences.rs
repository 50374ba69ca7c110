//! A fence at the leader: it is looked at whenever a broker says something, and when time lets a lease run out. Stands
//! for `lease/fences.rs` of control-plane/control.

use revoq_lease::{NodeStanding, Standing};

use super::{Replica, Reply};
use crate::clock::{MILLISECOND, Time};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::oracle::Fact;
use crate::packet::{Response, Timer};

/// A fence that is being watched.
#[derive(Debug)]
pub(crate) struct Watched {
    reply: Reply,
    pub(crate) revision: u64,
    /// The term, and the last revision up to `revision` that has an event; once settled.
    pub(crate) settled: Option<(u64, u64)>,
    /// When it was settled, and when this replica applied the revision; true time.
    pub(crate) begun: Time,
    wake: Option<Time>,
}

impl Replica {
    /// The fence of a committed revision, as far as this replica leads.
    pub(super) fn fence_here(&mut self, engine: &mut Engine, revision: u64, reply: Reply) {
        let fence = engine.name();
        let watched = Watched { reply, revision, settled: None, begun: engine.now, wake: None };
        self.keeper.fences.insert(fence, watched);
        self.settle(engine, revision, Some(fence));
    }

    pub(super) fn begin_fence(&mut self, engine: &mut Engine, fence: u64) {
        let Some(watched) = self.keeper.fences.get(&fence) else { return };
        let revision = watched.revision;
        let leases = self.leases(engine.now);
        let term = leases.term().filter(|_| leases.covers(revision));
        let Some(watched) = self.keeper.fences.get_mut(&fence) else { return };
        let target = self.machine.feed.last_event(watched.revision);
        let Some(term) = term else { return self.refuse_fence(engine, fence) };
        (watched.settled, watched.begun) = (Some((term, target)), engine.now);
        self.look(engine, fence);
    }

    pub(super) fn refuse_fence(&mut self, engine: &mut Engine, fence: u64) {
        if let Some(watched) = self.keeper.fences.remove(&fence) {
            self.reply(engine, watched.reply, Response::NotLeading);
        }
    }

    /// A fence may have come further.
    pub(super) fn look_at_all(&mut self, engine: &mut Engine) {
        let fences: Vec<u64> = self.keeper.fences.keys().copied().collect();
        for fence in fences {
            self.look(engine, fence);
        }
    }

    pub(super) fn look(&mut self, engine: &mut Engine, fence: u64) {
        let now = self.moment(engine.now);
        let Some(watched) = self.keeper.fences.get(&fence) else { return };
        let (revision, Some((term, target))) = (watched.revision, watched.settled) else { return };
        if self.leases(engine.now).term() != Some(term) {
            return self.refuse_fence(engine, fence);
        }
        let waiting = self.keeper.leases.waiting(now, target);
        if waiting.nodes > 0 {
            let next = waiting.next.map_or(engine.now, |next| self.clock.reaches(engine.now, next));
            return self.look_again(engine, fence, next + MILLISECOND);
        }
        let lines = distort(engine, self.keeper.leases.fence(now, target, revision));
        engine.tell(Fact::Fence { revision, lines: lines.clone().into() });
        if let Some(watched) = self.keeper.fences.remove(&fence) {
            self.reply(engine, watched.reply, Response::Fenced(lines.into()));
        }
    }

    fn look_again(&mut self, engine: &mut Engine, fence: u64, at: Time) {
        let Some(watched) = self.keeper.fences.get_mut(&fence) else { return };
        let later = watched.wake.is_some_and(|wake| engine.now < wake && wake <= at);
        if !later && !engine.has(Fault::FenceSleeps) {
            watched.wake = Some(at);
            engine.at(at, self.address(), Timer::Fence { fence });
        }
    }
}

/// What a fence says where something is deliberately wrong.
fn distort(engine: &Engine, lines: Vec<NodeStanding>) -> Vec<NodeStanding> {
    let distort = |mut line: NodeStanding| {
        let confirmed = line.standing == Standing::Confirmed;
        if engine.has(Fault::SilentNodesLeftOut) && !confirmed {
            return None;
        }
        if engine.has(Fault::FencedIsConfirmed) {
            line.standing = Standing::Confirmed;
        }
        Some(line)
    };
    lines.into_iter().filter_map(distort).collect()
}
