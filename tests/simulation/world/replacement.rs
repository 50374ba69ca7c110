//! A replica that lost its disk is taken from the group, and another takes its place, empty: it is sent the state, and
//! has a vote when it has come as far as the others.

use std::collections::BTreeSet;
use std::rc::Rc;

use revoq_credentials::MemoryStore;

use super::{World, clock};
use crate::packet::Address;
use crate::raft::{Members, Position};
use crate::replica::{Image, Replica};

/// Which replica takes whose place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replacement {
    seat: u8,
    old: u64,
    new: u64,
}

impl World {
    /// The replica at `seat` is lost with its disk.
    pub(super) fn replace(&mut self, seat: u8) {
        let lost = &mut self.replicas[usize::from(seat)];
        lost.crash(&mut self.engine, true);
        let old = lost.raft.id;
        self.last_replica += 1;
        let new = self.last_replica;
        let nothing = Image::new(Position::default(), Rc::<Members>::default(), MemoryStore::new());
        let clock = clock(&mut self.engine);
        let mut replica = Replica::new(seat, new, clock, &Rc::new(nothing), &self.engine);
        replica.start(&mut self.engine);
        self.replicas[usize::from(seat)] = replica;
        self.replacement = Some(Replacement { seat, old, new });
        self.engine.totals.replaced += 1;
    }

    pub(super) fn is_replacing(&self, seat: u8) -> bool {
        self.replacement.is_some_and(|replacement| replacement.seat == seat)
    }

    /// Takes the next step, if there is a leader that can.
    pub(super) fn go_on_replacing(&mut self) {
        let Some(Replacement { seat, old, new }) = self.replacement else { return };
        let engine = &mut self.engine;
        let runs = |replica: &&mut Replica| {
            let address = Address::Replica(replica.seat);
            replica.leads() && engine.alive(address).is_some() && !engine.is_paused(address)
        };
        let leaders = self.replicas.iter_mut().filter(runs);
        let Some(leader) = leaders.max_by_key(|replica| replica.raft.leadership().term) else { return };
        let members = Rc::clone(leader.raft.log().members());
        let matched = leader.raft.matched(new).unwrap_or(0);
        if members.voters.contains(&old) {
            leader.change_members(engine, |members| _ = members.voters.remove(&old));
        } else if members.voters.contains(&new) {
            if leader.raft.commit() >= leader.raft.log().members_at() {
                self.replacement = None;
            }
        } else if !members.learners.contains(&new) {
            leader.change_members(engine, |members| {
                members.learners = BTreeSet::from([new]);
                members.seats.insert(new, seat);
            });
        } else if matched + 4 >= leader.raft.commit() && matched > 0 {
            leader.change_members(engine, |members| {
                members.learners.clear();
                members.voters.insert(new);
            });
        }
    }
}
