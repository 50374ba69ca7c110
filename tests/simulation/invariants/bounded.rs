//! A fence is complete within lease, grace and margin of the leader's clock after the change, whatever is cut off, as
//! long as the leader has a quorum.
//!
//! Counted from the change, the leader's election, or the last proof of leadership that failed or took long, whichever
//! came last. Brokers may go by other terms than those in force for as long as those bound them, counted from when the
//! leader learned of the change: for so long the longest lease and grace that ever were bound the fence.

use std::time::Duration;

use revoq_credentials::{Settings, StaleGrace};
use revoq_lease::{NodeStanding, Standing, with_margin};

use super::Invariant;
use crate::clock::{MILLISECOND, Time};
use crate::oracle::{Fact, Scene, Truth};
use crate::replica::{Replica, Watched};

/// A leader's thread may have to wait for its turn.
const SLACK: Time = 300 * MILLISECOND;

/// The longest lease and the longest bounded grace of some settings.
#[derive(Clone, Copy, Debug, Default)]
struct Longest {
    lease: Duration,
    grace: Duration,
}

impl Longest {
    fn add(&mut self, settings: &Settings) {
        self.lease = self.lease.max(settings.lease);
        if let StaleGrace::Bounded(grace) = settings.stale_grace {
            self.grace = self.grace.max(grace);
        }
    }

    /// The longest that a leader may take, in true time: its own clock may be slow.
    fn bound(self) -> Time {
        let bound = with_margin(with_margin(self.lease) + self.grace);
        u64::try_from(bound.as_micros()).expect("leases are short") + SLACK
    }
}

#[derive(Debug, Default)]
pub(super) struct Bounded {
    /// Of all settings that ever were in force, up to a revision.
    ever: Longest,
    read: u64,
}

impl Bounded {
    fn read(&mut self, truth: &Truth) {
        for index in self.read.max(truth.first())..=truth.last() {
            truth.at(index).into_iter().for_each(|change| self.ever.add(change.view.settings()));
        }
        self.read = truth.last() + 1;
    }

    fn late(&self, replica: &Replica, scene: &Scene<'_>) -> Option<String> {
        let since = replica.keeper.troubled(scene.now);
        let mut in_force = Longest::default();
        in_force.add(scene.truth.latest().view.settings());
        let late = |watched: &&Watched| {
            let applied = replica.machine.feed.applied_at(watched.revision).unwrap_or(watched.begun);
            let since = since.max(applied);
            let learned = !replica.keeper.knows(scene.truth.latest().view.settings())
                || since < replica.keeper.terms_learned + self.ever.bound();
            let bound = if learned { self.ever.bound() } else { in_force.bound() };
            // Before it is settled, the proof has its time.
            watched.settled.is_some() && scene.now > since + bound
        };
        let fence = replica.keeper.fences.values().find(late)?;
        let (revision, seat, target) =
            (fence.revision, replica.seat, fence.settled.map_or(0, |(_, target)| target));
        let now = replica.clock.moment(scene.now);
        let lines = replica.keeper.leases.fence(now, target, revision);
        let waits = |line: &&NodeStanding| matches!(line.standing, Standing::Waiting { .. });
        let waits: Vec<_> = lines.iter().filter(waits).collect();
        let late = scene.now - since;
        Some(format!(
            "the fence of {revision} is not complete at replica {seat} {late} us after; at {now:?} it waits for {waits:?}"
        ))
    }
}

impl Invariant for Bounded {
    fn name(&self) -> &'static str {
        "bounded"
    }

    fn check(&mut self, fact: &Fact, scene: &Scene<'_>) -> Result<(), String> {
        if matches!(fact, Fact::Committed { .. }) {
            self.read(scene.truth);
        }
        Ok(())
    }

    fn survey(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        self.read(scene.truth);
        let running = |replica: &&Replica| {
            let address = replica.address();
            scene.engine.alive(address).is_some() && !scene.engine.is_paused(address) && replica.leads()
        };
        match scene.replicas.iter().filter(running).find_map(|replica| self.late(replica, scene)) {
            Some(late) => Err(late),
            None => Ok(()),
        }
    }
}
