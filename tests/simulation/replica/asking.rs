//! What only the leader can answer: asked here where this replica leads, else there. Stands for `forward.rs` of
//! control-plane/consensus and `fences.rs` of control-plane/control.

use std::rc::Rc;

use revoq_credentials::{Credential, Fingerprint, Outcome, Principal, Revision, query};

use super::machine::Answered;
use super::{Purpose, Replica};
use crate::clock::{MILLISECOND, SECOND, Time};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::packet::{Address, Found, Packet, Request, Response, Timer};
use crate::raft::Payload;

/// For so long it is tried again while nobody leads.
const PATIENCE: Time = 500 * MILLISECOND;
const FENCE_PATIENCE: Time = 30 * SECOND;

/// Between two tries.
const RETRY: Time = 5 * MILLISECOND;
const FENCE_RETRY: Time = 50 * MILLISECOND;

/// After this a proposal's outcome is unknown, ...
const PROPOSE_TIMEOUT: Time = 10 * SECOND;
/// ... and a read has failed.
const READ_TIMEOUT: Time = 2 * SECOND;
/// How long the local state may take to come as far as a read says.
const APPLIED_TIMEOUT: Time = 5 * SECOND;

/// Something that is asked of whoever leads.
#[derive(Debug)]
pub(super) struct Ask {
    question: Question,
    give_up: Time,
    whom: Whom,
}

#[derive(Clone, Debug)]
enum Question {
    Propose(Rc<[u8]>),
    ReadIndex,
    Fence(u64),
}

/// For whom something is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whom {
    Nobody,
    Caller {
        to: Address,
        call: u64,
    },
    LookUp {
        to: Address,
        call: u64,
        fingerprint: Fingerprint,
    },
    /// A stream whose resume point is ahead of this replica.
    Opening {
        stream: u64,
    },
}

/// Whom the leader answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    /// This replica asked itself.
    Own(u64),
    Peer {
        to: Address,
        call: u64,
    },
}

/// A proposal whose entry is in the log.
#[derive(Debug)]
pub(super) struct Waiting {
    term: u64,
    reply: Reply,
}

/// A read that waits for the local state.
#[derive(Debug)]
pub(super) struct Awaiting {
    barrier: u64,
    index: u64,
    whom: Whom,
}

impl Replica {
    pub(super) fn ask_propose(
        &mut self,
        engine: &mut Engine,
        command: Rc<[u8]>,
        caller: Option<(Address, u64)>,
    ) {
        let whom = caller.map_or(Whom::Nobody, |(to, call)| Whom::Caller { to, call });
        self.ask(engine, Question::Propose(command), whom);
    }

    pub(super) fn ask_fence(&mut self, engine: &mut Engine, revision: u64, to: Address, call: u64) {
        self.ask(engine, Question::Fence(revision), Whom::Caller { to, call });
    }

    pub(super) fn ask_look_up(
        &mut self,
        engine: &mut Engine,
        fingerprint: Fingerprint,
        to: Address,
        call: u64,
    ) {
        self.ask(engine, Question::ReadIndex, Whom::LookUp { to, call, fingerprint });
    }

    pub(super) fn ask_opening(&mut self, engine: &mut Engine, stream: u64) {
        self.ask(engine, Question::ReadIndex, Whom::Opening { stream });
    }

    fn ask(&mut self, engine: &mut Engine, question: Question, whom: Whom) {
        let patience = if matches!(question, Question::Fence(_)) { FENCE_PATIENCE } else { PATIENCE };
        let ask = engine.name();
        self.asks.insert(ask, Ask { question, give_up: engine.now + patience, whom });
        self.attempt(engine, ask);
    }

    /// Asks whoever leads; again a little later where nobody is known to.
    pub(super) fn attempt(&mut self, engine: &mut Engine, ask: u64) {
        let Some(asked) = self.asks.get(&ask) else { return };
        let question = asked.question.clone();
        let leadership = self.raft.leadership();
        if leadership.is_leader {
            match question {
                Question::Propose(command) => self.propose_here(engine, command, Reply::Own(ask)),
                Question::ReadIndex => self.prove(engine, Purpose::Index(Reply::Own(ask))),
                Question::Fence(revision) => self.fence_here(engine, revision, Reply::Own(ask)),
            }
            return;
        }
        let seats = &self.raft.log().members().seats;
        let Some(seat) = leadership.leader.and_then(|leader| seats.get(&leader)).copied() else {
            return self.resolve(engine, ask, Response::NotLeading);
        };
        let (request, timeout) = match question {
            Question::Propose(command) => (Request::Forward { command }, PROPOSE_TIMEOUT),
            Question::ReadIndex => (Request::ReadIndex, READ_TIMEOUT),
            Question::Fence(revision) => (Request::PeerFence { revision }, READ_TIMEOUT),
        };
        let call = engine.name();
        self.calls.insert(call, ask);
        engine.send(self.address(), Address::Replica(seat), Packet::Call { call, request });
        engine.after(timeout, self.address(), Timer::GiveUp { call });
    }

    /// The leader answered, or did not in time.
    pub(super) fn answered(&mut self, engine: &mut Engine, call: u64, response: Response) {
        if let Some(ask) = self.calls.remove(&call) {
            self.resolve(engine, ask, response);
        }
    }

    fn resolve(&mut self, engine: &mut Engine, ask: u64, response: Response) {
        let Some(asked) = self.asks.get(&ask) else { return };
        let is_fence = matches!(asked.question, Question::Fence(_));
        let again = match response {
            Response::NotLeading => true,
            // A read or a fence that got no answer can be asked again; a proposal cannot.
            Response::Unknown => !matches!(asked.question, Question::Propose(_)),
            _ => false,
        };
        if again && engine.now < asked.give_up {
            let retry = if is_fence { FENCE_RETRY } else { RETRY };
            engine.after(retry, self.address(), Timer::Retry { call: ask });
            return;
        }
        let response = if again { Response::NotDone } else { response };
        if let Some(asked) = self.asks.remove(&ask) {
            self.finish(engine, ask, asked.whom, response);
        }
    }

    fn finish(&mut self, engine: &mut Engine, ask: u64, whom: Whom, response: Response) {
        match (whom, response) {
            (Whom::Nobody, _) => {}
            (Whom::Caller { to, call }, response) => {
                engine.send(self.address(), to, Packet::Answer { call, response });
            }
            (Whom::LookUp { .. } | Whom::Opening { .. }, Response::Index(index)) => {
                self.awaiting.push(Awaiting { barrier: ask, index, whom });
                engine.after(APPLIED_TIMEOUT, self.address(), Timer::Barrier { barrier: ask });
                self.check_awaiting(engine);
            }
            // Without a quorum this replica's own state serves.
            (Whom::LookUp { to, call, fingerprint }, _) => self.answer_look_up(engine, to, call, fingerprint),
            (Whom::Opening { stream }, _) => self.begin(engine, stream, None),
        }
    }

    /// Reads whose index the state has reached.
    pub(super) fn check_awaiting(&mut self, engine: &mut Engine) {
        let applied = self.machine.at.index;
        let (ready, waiting) =
            std::mem::take(&mut self.awaiting).into_iter().partition(|read: &Awaiting| read.index <= applied);
        self.awaiting = waiting;
        let ready: Vec<Awaiting> = ready;
        for read in ready {
            match read.whom {
                Whom::LookUp { to, call, fingerprint } => self.answer_look_up(engine, to, call, fingerprint),
                Whom::Opening { stream } => self.begin(engine, stream, Some(read.index)),
                Whom::Nobody | Whom::Caller { .. } => {}
            }
        }
    }

    pub(super) fn give_up_waiting(&mut self, engine: &mut Engine, barrier: u64) {
        let Some(place) = self.awaiting.iter().position(|read| read.barrier == barrier) else { return };
        let read = self.awaiting.remove(place);
        self.finish(engine, barrier, read.whom, Response::NotDone);
    }

    /// Stands for `look_up_certificate` of `api/node.rs`, and for `read` of the broker's `lookup.rs`.
    fn answer_look_up(&mut self, engine: &mut Engine, to: Address, call: u64, fingerprint: Fingerprint) {
        let store = &self.machine.store;
        let found = query::certificate_by_fingerprint(store, &fingerprint).expect("the rows are sound");
        let found = found.map_or(Found::Unknown, |certificate| {
            let standing = query::standing(store, &certificate).expect("the rows are sound").worst();
            if standing.is_denied() {
                return Found::Denied(standing);
            }
            let (authority, not_after) = (certificate.authority, certificate.not_after);
            let credential = Credential::Certificate { fingerprint, authority, not_after };
            Found::Registered(Principal {
                tenant: certificate.tenant,
                device: Some(certificate.device),
                credential,
                password: None,
            })
        });
        engine.send(self.address(), to, Packet::Answer { call, response: Response::Found(found) });
    }

    /// Proposes on the leader.
    pub(super) fn propose_here(&mut self, engine: &mut Engine, command: Rc<[u8]>, reply: Reply) {
        match self.raft.propose(engine.now, Payload::Command(command)) {
            Ok(at) => {
                if let Some(discarded) = self.waiting.insert(at.index, Waiting { term: at.term, reply }) {
                    self.reply(engine, discarded.reply, Response::Unknown);
                }
            }
            Err(_) => self.reply(engine, reply, Response::NotLeading),
        }
    }

    /// The entry at an index was applied.
    pub(super) fn answer_waiting(
        &mut self,
        engine: &mut Engine,
        index: u64,
        term: u64,
        answer: Option<Answered>,
    ) {
        let Some(waiting) = self.waiting.remove(&index) else { return };
        let response = match answer {
            Some(answer) if waiting.term == term => Response::Proposed { index, answer: Box::new(answer) },
            // Another leader's entry stands in its place.
            _ if engine.has(Fault::UnknownIsDone) => done(index),
            _ => Response::Unknown,
        };
        self.reply(engine, waiting.reply, response);
    }

    /// What became of proposals up to this index nobody here knows.
    pub(super) fn lose_waiting(&mut self, engine: &mut Engine, index: u64) {
        let kept = self.waiting.split_off(&(index + 1));
        for waiting in std::mem::replace(&mut self.waiting, kept).into_values() {
            self.reply(engine, waiting.reply, Response::Unknown);
        }
    }

    pub(super) fn reply(&mut self, engine: &mut Engine, reply: Reply, response: Response) {
        match reply {
            Reply::Own(ask) => self.resolve(engine, ask, response),
            Reply::Peer { to, call } => engine.send(self.address(), to, Packet::Answer { call, response }),
        }
    }
}

/// What a replica says that takes hope for knowledge.
fn done(index: u64) -> Response {
    let outcome = Outcome { revision: Revision(index), changed: 1, ..Outcome::default() };
    Response::Proposed { index, answer: Box::new(Ok(outcome)) }
}
