//! A replica of the control plane: the log, the state, the leases, and the streams of brokers and other replicas.
//!
//! `revoq_credentials::apply` and `revoq_lease::Leases` are the real ones; what drives them here is plain state that
//! does in the same order what the drivers of control-plane/control do. Each file names the code that it stands for.

mod asking;
mod feed;
mod fences;
mod keeper;
mod liaison;
mod machine;
mod outbound;
mod process;
mod watchers;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use revoq_credentials::Fingerprint;
use revoq_lease::Batch;

use asking::{Ask, Awaiting, Reply, Waiting};
pub(crate) use feed::Next;
pub(crate) use fences::Watched;
use keeper::Keeper;
use liaison::Liaison;
pub(crate) use machine::{Answered, Image, Machine};
use watchers::Watcher;

use crate::clock::{Clock, Time};
use crate::engine::{Engine, What};
use crate::fault::Fault;
use crate::packet::{Address, Packet, Request, Response, Said, Timer};
use crate::raft::{Leadership, Log, Raft};

/// One replica.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) seat: u8,
    pub(crate) clock: Clock,
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    pub(crate) keeper: Keeper,
    liaison: Liaison,
    /// The streams of brokers, and which is that of a node.
    watchers: BTreeMap<u64, Watcher>,
    stream_of: BTreeMap<u64, u64>,
    /// Streams of other replicas, while this one leads.
    liaisons: BTreeSet<u64>,
    asks: BTreeMap<u64, Ask>,
    /// Which ask a call to the leader belongs to.
    calls: BTreeMap<u64, u64>,
    /// Proposals by the index that they were given.
    waiting: BTreeMap<u64, Waiting>,
    awaiting: Vec<Awaiting>,
    /// Proofs of leadership that were begun.
    reads: BTreeMap<u64, Purpose>,
    /// Certificates that brokers reported, and the log does not know of.
    used: BTreeSet<Fingerprint>,
    /// Entries up to here were reported as committed.
    told_committed: u64,
    applying: bool,
    raft_timer: Time,
    noticed: Leadership,
    /// Where other members were heard from: one that has just joined knows of nobody else.
    heard_from: BTreeMap<u64, Address>,
}

/// Why the leadership is being proven.
#[derive(Debug)]
enum Purpose {
    Grants(Batch),
    /// So that the keeper can answer for a revision; a fence waits for it, or the keeper itself does.
    Settle {
        revision: u64,
        fence: Option<u64>,
    },
    Index(Reply),
}

impl Replica {
    /// A member with this state and a log that begins after it.
    pub(crate) fn new(seat: u8, id: u64, clock: Clock, image: &Rc<Image>, engine: &Engine) -> Replica {
        // A fault of the state is one of a single replica: the one that the digests give away.
        let fault = engine.fault.filter(|fault| *fault != Fault::SkippedWrite || seat == 1);
        let log = Log::new(image.at, Rc::clone(&image.members));
        Replica {
            seat,
            clock,
            raft: Raft::new(id, log, fault),
            machine: Machine::new(image, engine.plan.ring, engine.plan.changes_kept, fault),
            keeper: Keeper::new(&engine.plan),
            liaison: Liaison::default(),
            watchers: BTreeMap::new(),
            stream_of: BTreeMap::new(),
            liaisons: BTreeSet::new(),
            asks: BTreeMap::new(),
            calls: BTreeMap::new(),
            waiting: BTreeMap::new(),
            awaiting: Vec::new(),
            reads: BTreeMap::new(),
            used: BTreeSet::new(),
            told_committed: image.at.index,
            applying: false,
            raft_timer: 0,
            noticed: Leadership::default(),
            heard_from: BTreeMap::new(),
        }
    }

    pub(crate) fn address(&self) -> Address {
        Address::Replica(self.seat)
    }

    /// It has a state; a replica that has just joined is sent it first.
    pub(super) fn is_founded(&self) -> bool {
        self.machine.at.index > 0
    }

    /// It believes to lead.
    pub(crate) fn leads(&self) -> bool {
        self.raft.leadership().is_leader
    }

    pub(crate) fn handle(&mut self, engine: &mut Engine, what: What) {
        match what {
            What::Packet { from, packet } => self.receive(engine, from, packet),
            What::Timer(timer) => self.wake(engine, timer),
        }
        self.drain(engine);
    }

    fn receive(&mut self, engine: &mut Engine, from: Address, packet: Packet) {
        match packet {
            Packet::Raft(message) => {
                self.heard_from.insert(message.from, from);
                self.raft.handle(engine.now, &mut engine.chance, *message);
            }
            Packet::Call { call, request } => self.called(engine, from, call, request),
            Packet::Answer { call, response } => self.answered(engine, call, response),
            Packet::Unsent { call } => self.answered(engine, call, Response::NotLeading),
            Packet::Open { stream, hello } => self.opened(engine, from, stream, &hello),
            Packet::Said { stream, said: Said::Broker(message) } => self.hear_broker(engine, stream, message),
            Packet::Said { stream, said: Said::Peer(message) } => self.hear_peer(engine, stream, message),
            Packet::Said { stream, said: Said::Grant(grant) } => self.hear_grant(engine, stream, grant),
            // What is said to a leader need not wait for that.
            Packet::Accepted { .. } | Packet::Said { said: Said::Control(_), .. } => {}
            Packet::Closed { stream } => self.closed(engine, stream),
            Packet::Room { stream } => self.has_room(engine, stream),
        }
    }

    fn called(&mut self, engine: &mut Engine, from: Address, call: u64, request: Request) {
        if !self.is_founded() && !matches!(from, Address::Replica(_)) {
            // It says so itself: the call did nothing.
            return engine.send(self.address(), from, Packet::Unsent { call });
        }
        let reply = Reply::Peer { to: from, call };
        match request {
            Request::Propose { actor, operation } => {
                let command = self.command(engine.now, &actor, &operation);
                self.ask_propose(engine, command, Some((from, call)));
            }
            Request::Fence { revision } => self.ask_fence(engine, revision, from, call),
            Request::LookUp { fingerprint } => self.ask_look_up(engine, fingerprint, from, call),
            Request::Forward { command } => self.propose_here(engine, command, reply),
            Request::ReadIndex => self.prove(engine, Purpose::Index(reply)),
            Request::PeerFence { revision } => self.fence_here(engine, revision, reply),
        }
    }

    fn wake(&mut self, engine: &mut Engine, timer: Timer) {
        match timer {
            Timer::Raft => self.raft.timeout(engine.now, &mut engine.chance),
            Timer::Flushed { upto, generation } => self.raft.flushed(engine.now, upto, generation),
            Timer::Apply => self.apply(engine),
            Timer::Leadership => self.follow(engine),
            Timer::Liaise => self.liaise(engine),
            Timer::Serve => self.serve(engine),
            Timer::Fence { fence } => self.look(engine, fence),
            Timer::Retry { call } => self.attempt(engine, call),
            Timer::GiveUp { call } => self.answered(engine, call, Response::Unknown),
            Timer::Barrier { barrier } => self.give_up_waiting(engine, barrier),
            Timer::Progress { stream } => self.progress_due(engine, stream),
            Timer::Usage => self.record_usage(engine),
            Timer::Duties => self.do_duties(engine),
            other => unreachable!("{other:?} is not a replica's"),
        }
    }
}
