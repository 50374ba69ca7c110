//! From the leader's log to the others', and what a quorum has.

use std::collections::BTreeSet;
use std::rc::Rc;

use revoq_lease::Proof;

use super::log::{Entry, Members, Payload, Position};
use super::message::{Body, Output, RaftMessage};
use super::{IMAGE_TIMEOUT, Leading, NotLeader, Progress, READ_TIMEOUT, Raft, Read, Role};
use crate::clock::Time;
use crate::fault::Fault;
use crate::replica::Image;

/// Entries in one message.
const ENTRIES_MAX: usize = 64;

impl Raft {
    /// Appends a command; where it will be, if it is committed.
    pub(crate) fn propose(&mut self, now: Time, payload: Payload) -> Result<Position, NotLeader> {
        if !matches!(self.role, Role::Leader(_)) {
            return Err(NotLeader);
        }
        let index = self.append_own(now, Entry { term: self.term, payload });
        Ok(Position { index, term: self.term })
    }

    /// Changes the membership by one voter, once the change before is committed and this term is.
    pub(crate) fn change_members(&mut self, now: Time, change: impl FnOnce(&mut Members)) -> bool {
        let Role::Leader(leading) = &self.role else { return false };
        if self.commit < leading.first.max(self.log.members_at()) {
            return false;
        }
        let mut members = Members::clone(self.log.members());
        change(&mut members);
        self.propose(now, Payload::Members(Rc::new(members))).is_ok()
    }

    /// How far a member has come, at the leader.
    pub(crate) fn matched(&self, id: u64) -> Option<u64> {
        let Role::Leader(leading) = &self.role else { return None };
        leading.peers.get(&id).map(|peer| peer.matched)
    }

    /// Asks a quorum whether this member leads. [`Output::Read`] answers.
    pub(crate) fn read(&mut self, now: Time, read: u64) -> Result<(), NotLeader> {
        let commit = self.commit;
        let Role::Leader(leading) = &mut self.role else { return Err(NotLeader) };
        leading.round += 1;
        let confirmed = BTreeSet::from([self.id]);
        // Before the first entry of the term is committed, that one is the answer: whoever uses it waits for it.
        let index = commit.max(leading.first);
        leading.reads.push(Read {
            read,
            round: leading.round,
            index,
            confirmed,
            give_up: now + READ_TIMEOUT,
        });
        self.broadcast(now);
        self.finish_reads();
        Ok(())
    }

    /// Entries up to `upto` are on disk.
    pub(crate) fn flushed(&mut self, now: Time, upto: u64, generation: u64) {
        self.log.flushed(upto, generation);
        if matches!(self.role, Role::Leader(_)) {
            self.count(now);
        } else if let Some(leader) = self.leader.filter(|_| std::mem::take(&mut self.unconfirmed)) {
            self.answer(leader, true, self.log.durable(), 0);
        }
    }

    pub(super) fn append_own(&mut self, now: Time, entry: Entry) -> u64 {
        let members_changed = matches!(entry.payload, Payload::Members(_));
        let index = self.log.append(entry);
        self.flush();
        if members_changed {
            self.reconsider_peers();
        }
        self.broadcast(now);
        index
    }

    fn flush(&mut self) {
        let (upto, generation) = (self.log.last().index, self.log.generation());
        self.outputs.push(Output::Flush { upto, generation });
    }

    fn reconsider_peers(&mut self) {
        let members = Rc::clone(self.log.members());
        let next = self.log.last().index;
        let Role::Leader(leading) = &mut self.role else { return };
        let known: BTreeSet<u64> = members.others(self.id).collect();
        leading.peers.retain(|id, _| known.contains(id));
        for id in known {
            leading.peers.entry(id).or_insert(Progress { next, matched: 0, image_sent: None });
        }
    }

    /// Sends everybody what it lacks; to those that lack nothing, that this member leads.
    pub(super) fn broadcast(&mut self, now: Time) {
        let Role::Leader(leading) = &self.role else { return };
        let peers: Vec<u64> = leading.peers.keys().copied().collect();
        for peer in peers {
            self.replicate(now, peer);
        }
    }

    fn replicate(&mut self, now: Time, to: u64) {
        let (base, last, commit, term) = (self.log.base(), self.log.last(), self.commit, self.term);
        let Role::Leader(Leading { peers, round, .. }) = &mut self.role else { return };
        let (Some(peer), round) = (peers.get_mut(&to), *round) else { return };
        if peer.next <= base.index && peer.image_sent.is_none_or(|sent| sent + IMAGE_TIMEOUT <= now) {
            peer.image_sent = Some(now);
            self.outputs.push(Output::Image { to });
        }
        // What it lacks beyond the snapshot that is on its way comes later; that this member leads, now.
        let next = peer.next.max(base.index + 1);
        let entries = if peer.next > base.index { self.log.from(next, ENTRIES_MAX) } else { Vec::new() };
        peer.next += entries.len() as u64;
        debug_assert!(peer.next <= last.index + 1);
        let index = next - 1;
        let previous = Position { index, term: self.log.term(index).expect("within the log") };
        let body = Body::Append { previous, entries, commit, round };
        self.outputs.push(Output::Send(RaftMessage { from: self.id, to, term, body }));
    }

    /// The state for a member that lacks entries which are gone.
    pub(crate) fn send_image(&mut self, to: u64, image: Rc<Image>) {
        self.send(to, Body::Install(image));
    }

    pub(super) fn handle_append(&mut self, previous: Position, entries: Vec<Entry>, commit: u64, round: u64) {
        let Some(leader) = self.leader else { return };
        let base = self.log.base();
        // Entries before the base were committed, so they are the same.
        let agrees = previous.index < base.index || self.log.term(previous.index) == Some(previous.term);
        if !agrees {
            let hint = self.log.last().index.min(previous.index - 1);
            return self.answer(leader, false, hint, round);
        }
        let upto = previous.index + entries.len() as u64;
        let mut appended = false;
        for (index, entry) in (previous.index + 1..).zip(entries) {
            if index <= base.index || self.log.term(index) == Some(entry.term) {
                continue;
            }
            if self.log.term(index).is_some() {
                self.log.truncate(index);
            }
            self.log.append(entry);
            appended = true;
        }
        if appended {
            self.flush();
        }
        let confirmed = match self.fault {
            Some(Fault::ConfirmBeforeFlush) => upto,
            _ => upto.min(self.log.durable()),
        };
        self.unconfirmed |= confirmed < upto;
        self.commit = self.commit.max(commit.min(upto));
        self.answer(leader, true, confirmed, round);
    }

    pub(super) fn handle_appended(&mut self, now: Time, from: u64, taken: bool, index: u64, round: u64) {
        let last = self.log.last().index;
        let Role::Leader(leading) = &mut self.role else { return };
        let Some(peer) = leading.peers.get_mut(&from) else { return };
        let before = (peer.next, peer.matched);
        if taken {
            peer.matched = peer.matched.max(index);
            peer.next = peer.next.max(peer.matched + 1);
            if peer.matched >= self.log.base().index {
                peer.image_sent = None;
            }
        } else {
            peer.next = (index + 1).clamp(peer.matched + 1, last + 1);
        }
        for read in leading.reads.iter_mut().filter(|read| read.round <= round) {
            read.confirmed.insert(from);
        }
        // What says nothing new is answered by the next heartbeat only, or messages would beget messages.
        let behind = peer.next <= last && before != (peer.next, peer.matched);
        if behind {
            self.replicate(now, from);
        }
        self.finish_reads();
        self.count(now);
    }

    fn finish_reads(&mut self) {
        let members = Rc::clone(self.log.members());
        let Role::Leader(leading) = &mut self.role else { return };
        let (done, reads) = std::mem::take(&mut leading.reads)
            .into_iter()
            .partition(|read: &Read| members.is_quorum(&read.confirmed));
        leading.reads = reads;
        let done: Vec<Read> = done;
        let term = self.term;
        let proven =
            |read: &Read| Output::Read { read: read.read, outcome: Ok(Proof { term, commit: read.index }) };
        self.outputs.extend(done.iter().map(proven));
    }

    /// Commits what a quorum has, if an entry of this term is among it.
    fn count(&mut self, now: Time) {
        let Role::Leader(leading) = &self.role else { return };
        let members = self.log.members();
        let mut have: Vec<u64> = leading
            .peers
            .iter()
            .filter(|(id, _)| members.voters.contains(id))
            .map(|(_, peer)| peer.matched)
            .collect();
        if members.voters.contains(&self.id) {
            have.push(self.log.durable());
        }
        have.sort_unstable_by(|a, b| b.cmp(a));
        let quorum = members.voters.len() / 2;
        let upto = match self.fault {
            Some(Fault::CommitAlone) => self.log.durable(),
            _ => have.get(quorum).copied().unwrap_or(0),
        };
        if upto <= self.commit || upto < leading.first {
            return;
        }
        self.commit = upto;
        self.outputs.push(Output::Committed { upto });
        let members = Rc::clone(self.log.members());
        if self.log.members_at() <= upto && !members.voters.contains(&self.id) {
            // It led to its own removal.
            self.role = Role::Follower;
            self.leader = None;
            return;
        }
        self.broadcast(now);
    }
}
