//! The ordered log: leader, terms, quorum commit, membership. Stands for `control-plane/consensus`, which is
//! openraft over `RocksDB`; the timings are those of its defaults.
//!
//! Plain state: messages, time and flushes come in, [`Output`]s go out.

mod election;
mod log;
mod message;
mod replication;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub(crate) use log::{Entry, Log, Members, Payload, Position};
pub(crate) use message::{Body, NoQuorum, Output, RaftMessage};

use crate::chance::Chance;
use crate::clock::{MILLISECOND, Time};
use crate::fault::Fault;
use crate::replica::Image;

const HEARTBEAT: Time = 250 * MILLISECOND;
/// For so long a member is loyal to a leader that it hears nothing of.
const ELECTION_MIN: Time = 1_000 * MILLISECOND;
const ELECTION_MAX: Time = 2_000 * MILLISECOND;
/// A read that no quorum confirmed within this time has failed.
const READ_TIMEOUT: Time = 2_000 * MILLISECOND;
/// A snapshot that was not installed within this time is sent again.
const IMAGE_TIMEOUT: Time = 1_000 * MILLISECOND;

/// One member of the group.
#[derive(Debug)]
pub(crate) struct Raft {
    pub(crate) id: u64,
    fault: Option<Fault>,
    // On disk.
    term: u64,
    voted: Option<u64>,
    log: Log,
    // In memory.
    commit: u64,
    role: Role,
    leader: Option<u64>,
    /// When the leader was last heard.
    heard: Option<Time>,
    /// When it stands for election, or sends the next heartbeat.
    due: Time,
    /// Followers: flushes that the leader waits to hear of.
    unconfirmed: bool,
    outputs: Vec<Output>,
}

#[derive(Debug)]
enum Role {
    Follower,
    /// `pre`: it asks whether it would be elected.
    Candidate {
        pre: bool,
        votes: BTreeSet<u64>,
    },
    Leader(Leading),
}

#[derive(Debug)]
struct Leading {
    peers: BTreeMap<u64, Progress>,
    /// The index of the first entry of the term.
    first: u64,
    /// Counts rounds of heartbeats that reads asked for.
    round: u64,
    reads: Vec<Read>,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    next: u64,
    matched: u64,
    image_sent: Option<Time>,
}

#[derive(Debug)]
struct Read {
    read: u64,
    round: u64,
    index: u64,
    confirmed: BTreeSet<u64>,
    give_up: Time,
}

/// Who leads, as far as a member knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) leader: Option<u64>,
    pub(crate) term: u64,
    pub(crate) is_leader: bool,
}

/// Only the leader can do this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotLeader;

impl Raft {
    /// A member whose log begins after `base`.
    pub(crate) fn new(id: u64, log: Log, fault: Option<Fault>) -> Raft {
        let commit = log.base().index;
        Raft {
            id,
            fault,
            term: log.base().term,
            voted: None,
            log,
            commit,
            role: Role::Follower,
            leader: None,
            heard: None,
            due: 0,
            unconfirmed: false,
            outputs: Vec::new(),
        }
    }

    /// What is to be done now.
    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// When [`Raft::timeout`] is to be called next.
    pub(crate) fn due(&self) -> Time {
        self.due
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Entries up to here are committed, as far as this member knows.
    pub(crate) fn commit(&self) -> u64 {
        self.commit
    }

    pub(crate) fn leadership(&self) -> Leadership {
        let is_leader = matches!(self.role, Role::Leader(_));
        Leadership { leader: self.leader, term: self.term, is_leader }
    }

    /// The state up to `index` is safe on its own: entries before are let go.
    pub(crate) fn compact(&mut self, index: u64) {
        self.log.compact(index);
    }

    /// The process ended. `power`: the machine did, and what was not on disk is gone.
    pub(crate) fn crash(&mut self, power: bool) {
        if power {
            self.log.crash();
        }
        self.outputs.clear();
    }

    /// The process starts again, with the state at `applied`.
    pub(crate) fn restart(&mut self, now: Time, chance: &mut Chance, applied: u64) {
        // A process that ends leaves its writes to the kernel.
        let (upto, generation) = (self.log.last().index, self.log.generation());
        self.log.flushed(upto, generation);
        self.commit = applied;
        (self.role, self.leader, self.heard, self.unconfirmed) = (Role::Follower, None, None, false);
        self.postpone_election(now, chance);
    }

    /// Something that should have happened by now did not.
    pub(crate) fn timeout(&mut self, now: Time, chance: &mut Chance) {
        if now < self.due {
            return;
        }
        if let Role::Leader(leading) = &mut self.role {
            let (late, reads) =
                std::mem::take(&mut leading.reads).into_iter().partition(|read: &Read| read.give_up <= now);
            leading.reads = reads;
            self.fail(late);
            self.broadcast(now);
            self.due = now + HEARTBEAT;
        } else {
            self.postpone_election(now, chance);
            self.stand(now, true);
        }
    }

    pub(crate) fn handle(&mut self, now: Time, chance: &mut Chance, message: RaftMessage) {
        if message.to != self.id {
            return;
        }
        let asks =
            matches!(message.body, Body::Vote { pre: true, .. } | Body::Voted { pre: true, granted: true });
        if message.term > self.term && !asks {
            if let Body::Vote { .. } = message.body
                && self.is_loyal(now)
            {
                return;
            }
            self.step_down(now, chance, message.term);
        }
        match message.body {
            Body::Vote { last, pre } => self.handle_vote(now, chance, message.from, message.term, last, pre),
            Body::Voted { granted, pre } => self.handle_voted(now, message.from, message.term, granted, pre),
            Body::Append { previous, entries, commit, round } if message.term == self.term => {
                self.follow(now, chance, message.from);
                self.handle_append(previous, entries, commit, round);
            }
            Body::Install(image) if message.term == self.term => {
                self.follow(now, chance, message.from);
                self.handle_install(&image);
            }
            // A leader that was deposed learns of the present term.
            Body::Append { round, .. } => self.answer(message.from, false, 0, round),
            Body::Install(_) => self.answer(message.from, false, 0, 0),
            Body::Appended { taken, index, round } if message.term == self.term => {
                self.handle_appended(now, message.from, taken, index, round);
            }
            Body::Appended { .. } => {}
        }
    }

    fn answer(&mut self, to: u64, taken: bool, index: u64, round: u64) {
        self.send(to, Body::Appended { taken, index, round });
    }

    fn send(&mut self, to: u64, body: Body) {
        self.outputs.push(Output::Send(RaftMessage { from: self.id, to, term: self.term, body }));
    }

    fn fail(&mut self, reads: Vec<Read>) {
        let failed = |read: Read| Output::Read { read: read.read, outcome: Err(NoQuorum) };
        self.outputs.extend(reads.into_iter().map(failed));
    }

    fn handle_install(&mut self, image: &Rc<Image>) {
        if image.at.index > self.commit {
            self.log.install(image.at, &image.members);
            self.commit = image.at.index;
            self.outputs.push(Output::Install(Rc::clone(image)));
        }
        if let Some(leader) = self.leader {
            // What was installed is on disk before it is used.
            self.answer(leader, true, self.commit.min(self.log.durable()), 0);
        }
    }
}
