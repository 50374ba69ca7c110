//! Who leads.

use std::collections::{BTreeMap, BTreeSet};

use super::log::{Entry, Payload, Position};
use super::message::Body;
use super::{ELECTION_MAX, ELECTION_MIN, HEARTBEAT, Leading, Progress, Raft, Role};
use crate::chance::Chance;
use crate::clock::Time;

impl Raft {
    pub(super) fn postpone_election(&mut self, now: Time, chance: &mut Chance) {
        self.due = now + chance.between(ELECTION_MIN, ELECTION_MAX);
    }

    /// It heard a leader so lately that it elects no other.
    pub(super) fn is_loyal(&self, now: Time) -> bool {
        let heard = self.heard.is_some_and(|heard| now < heard + ELECTION_MIN);
        heard && self.leader.is_some_and(|leader| leader != self.id)
    }

    pub(super) fn step_down(&mut self, now: Time, chance: &mut Chance, term: u64) {
        if term > self.term {
            (self.term, self.voted, self.leader) = (term, None, None);
        }
        if let Role::Leader(leading) = std::mem::replace(&mut self.role, Role::Follower) {
            self.fail(leading.reads);
            self.postpone_election(now, chance);
        }
    }

    pub(super) fn follow(&mut self, now: Time, chance: &mut Chance, leader: u64) {
        (self.role, self.leader, self.heard) = (Role::Follower, Some(leader), Some(now));
        self.postpone_election(now, chance);
    }

    /// Stands for election, if it has a vote itself.
    pub(super) fn stand(&mut self, now: Time, pre: bool) {
        let members = self.log.members().clone();
        if !members.voters.contains(&self.id) {
            return;
        }
        if !pre {
            (self.term, self.voted, self.leader) = (self.term + 1, Some(self.id), None);
        }
        let votes = BTreeSet::from([self.id]);
        if members.is_quorum(&votes) {
            return if pre { self.stand(now, false) } else { self.lead(now) };
        }
        self.role = Role::Candidate { pre, votes };
        let (last, term) = (self.log.last(), self.term + u64::from(pre));
        let me = self.id;
        for voter in members.voters.iter().filter(|voter| **voter != me) {
            self.send(*voter, Body::Vote { last, pre });
            self.set_term_of_last(term);
        }
    }

    /// A pre-vote carries the term that is asked about.
    fn set_term_of_last(&mut self, term: u64) {
        if let Some(super::Output::Send(message)) = self.outputs.last_mut() {
            message.term = term;
        }
    }

    pub(super) fn handle_vote(
        &mut self,
        now: Time,
        chance: &mut Chance,
        from: u64,
        term: u64,
        last: Position,
        pre: bool,
    ) {
        let up_to_date = last.is_up_to_date(self.log.last());
        let granted = if pre {
            let leads = matches!(self.role, Role::Leader(_));
            term > self.term && up_to_date && !leads && !self.is_loyal(now)
        } else {
            term == self.term && up_to_date && self.voted.is_none_or(|voted| voted == from)
        };
        if granted && !pre {
            self.voted = Some(from);
            self.postpone_election(now, chance);
        }
        self.send(from, Body::Voted { granted, pre });
        if granted {
            self.set_term_of_last(term);
        }
    }

    pub(super) fn handle_voted(&mut self, now: Time, from: u64, term: u64, granted: bool, pre: bool) {
        let asked = self.term + u64::from(pre);
        let Role::Candidate { pre: asking, votes } = &mut self.role else { return };
        if !granted || term != asked || *asking != pre {
            return;
        }
        votes.insert(from);
        if self.log.members().is_quorum(votes) {
            if pre { self.stand(now, false) } else { self.lead(now) }
        }
    }

    fn lead(&mut self, now: Time) {
        let next = self.log.last().index + 1;
        let progress = Progress { next, matched: 0, image_sent: None };
        let peers: BTreeMap<_, _> = self.log.members().others(self.id).map(|id| (id, progress)).collect();
        let leading = Leading { peers, first: next, round: 0, reads: Vec::new() };
        (self.role, self.leader) = (Role::Leader(leading), Some(self.id));
        self.append_own(now, Entry { term: self.term, payload: Payload::Blank });
        self.due = now + HEARTBEAT;
    }
}
