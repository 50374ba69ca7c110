//! Between the brokers that this replica serves and the leader. Stands for `peer/liaison.rs` and `peer/service.rs` of
//! control-plane/control.

use revoq_lease::Acknowledgement;

use super::Replica;
use super::keeper::Outlet;
use super::watchers::Watcher;
use crate::clock::{MILLISECOND, SECOND, Time};
use crate::engine::Engine;
use crate::packet::{Address, Grant, Hello, PeerSays, Said, Timer};
use crate::raft::Leadership;

/// Between two attempts to reach the leader: doubled from the first to the last.
const RETRY_FIRST: Time = 20 * MILLISECOND;
const RETRY_LAST: Time = SECOND;

/// Where this replica passes on what its brokers say.
#[derive(Debug, Default)]
pub(super) struct Liaison {
    followed: Leadership,
    mode: Mode,
    retry: Time,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// It goes nowhere; the next leader is told again.
    #[default]
    Nobody,
    /// This replica leads.
    Own,
    /// By a stream to the leader.
    Remote(u64),
}

impl Replica {
    /// Who leads may have changed: begins anew if so.
    pub(super) fn follow(&mut self, engine: &mut Engine) {
        let leadership = self.raft.leadership();
        if leadership == self.liaison.followed {
            return;
        }
        self.liaison.followed = leadership;
        self.liaison.retry = RETRY_FIRST;
        if let Mode::Remote(stream) = self.liaison.mode {
            engine.hang_up(self.address(), stream);
        }
        if leadership.is_leader {
            self.elected(engine, leadership.term);
            self.liaison.mode = Mode::Own;
            for message in self.standing() {
                self.say_to_leader(engine, message);
            }
            return;
        }
        self.liaison.mode = Mode::Nobody;
        self.deposed(engine);
        for stream in std::mem::take(&mut self.liaisons) {
            engine.hang_up(self.address(), stream);
        }
        self.liaise(engine);
    }

    /// Opens a stream to the leader.
    pub(super) fn liaise(&mut self, engine: &mut Engine) {
        if self.liaison.mode != Mode::Nobody {
            return;
        }
        let leader = self.liaison.followed.leader.filter(|_| !self.liaison.followed.is_leader);
        let seat = leader.and_then(|leader| self.raft.log().members().seats.get(&leader).copied());
        let Some(seat) = seat else { return };
        let stream = engine.open(self.address(), Address::Replica(seat), Hello::Liaise);
        self.liaison.mode = Mode::Remote(stream);
        for message in self.standing() {
            self.say_to_leader(engine, message);
        }
    }

    /// All that a leader who knows nothing must be told, acks first.
    fn standing(&self) -> Vec<PeerSays> {
        self.watchers.values().flat_map(Watcher::standing).collect()
    }

    pub(super) fn say_to_leader(&mut self, engine: &mut Engine, message: PeerSays) {
        match self.liaison.mode {
            Mode::Nobody => {}
            // What finds no leader is told to the next one.
            Mode::Own => _ = self.hear(engine, message, Outlet::Own),
            Mode::Remote(stream) => engine.say(self.address(), stream, Said::Peer(message)),
        }
    }

    /// Another replica wants to pass on what its brokers say.
    pub(super) fn accept_liaison(&mut self, engine: &mut Engine, stream: u64) {
        if self.leads() {
            self.liaisons.insert(stream);
        } else {
            engine.hang_up(self.address(), stream);
        }
    }

    pub(super) fn hear_peer(&mut self, engine: &mut Engine, stream: u64, message: PeerSays) {
        if self.liaisons.contains(&stream) && self.hear(engine, message, Outlet::Peer(stream)).is_err() {
            self.liaisons.remove(&stream);
            engine.hang_up(self.address(), stream);
        }
    }

    pub(super) fn hear_grant(&mut self, engine: &mut Engine, stream: u64, grant: Grant) {
        if self.liaison.mode == Mode::Remote(stream) {
            self.grant(engine, grant);
        }
    }

    /// A stream between replicas ended.
    pub(super) fn liaison_closed(&mut self, engine: &mut Engine, stream: u64) {
        self.liaisons.remove(&stream);
        if self.liaison.mode == Mode::Remote(stream) {
            self.liaison.mode = Mode::Nobody;
            let retry = engine.chance.between(self.liaison.retry / 2, self.liaison.retry * 3 / 2);
            self.liaison.retry = (self.liaison.retry * 2).min(RETRY_LAST);
            engine.after(retry, self.address(), Timer::Liaise);
        }
    }

    pub(super) fn forget_liaison(&mut self) {
        self.liaison = Liaison::default();
        self.liaisons.clear();
    }
}

/// An ack without anything but a revision.
pub(super) fn bare(node: u64, incarnation: revoq_lease::IncarnationId, revision: u64) -> Acknowledgement {
    Acknowledgement { node, incarnation, revision, sessions: None, cuts: Vec::new(), farewell: false }
}
