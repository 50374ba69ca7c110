//! Administrators: each asks for one change after the other, and for the fences of some. Stands for `revoqctl`: what is
//! unknown is reported as unknown, and only what surely did nothing is asked for again.

use std::rc::Rc;

use revoq_credentials::{NewCertificate, Operation};
use revoq_lease::Standing;

use super::book::{Book, evidence};
use super::devices::Device;
use super::operations::Generator;
use crate::clock::{MILLISECOND, SECOND, Time};
use crate::engine::{Engine, What};
use crate::oracle::{Fact, Known, actor};
use crate::packet::{Address, Packet, Request, Response, Timer};

/// Between two requests for a fence that found no leader.
const FENCE_PAUSE: Time = 200 * MILLISECOND;

/// A fence that is not answered within this time is asked for at another replica.
const FENCE_PATIENCE: Time = 8 * SECOND;

/// One administrator.
#[derive(Debug)]
pub(crate) struct Operator {
    seat: u8,
    /// The replica that is asked first.
    preferred: u8,
    state: State,
    /// It asks for nothing more.
    pub(crate) retired: bool,
}

#[derive(Debug)]
enum State {
    Thinking,
    Changing {
        operation: u64,
        asked: u8,
        what: Rc<Operation>,
        certificate: Option<Box<(usize, NewCertificate)>>,
    },
    Fencing {
        revision: u64,
        call: u64,
    },
}

impl Operator {
    pub(crate) fn new(seat: u8, engine: &Engine) -> Operator {
        Operator { seat, preferred: seat % engine.plan.replicas, state: State::Thinking, retired: false }
    }

    fn address(&self) -> Address {
        Address::Operator(self.seat)
    }

    pub(crate) fn start(&mut self, engine: &mut Engine) {
        engine.start(self.address());
        self.think(engine);
    }

    /// Whether it waits for an answer.
    pub(crate) fn waits(&self) -> bool {
        !matches!(self.state, State::Thinking)
    }

    fn think(&mut self, engine: &mut Engine) {
        self.state = State::Thinking;
        let (least, most) = engine.plan.think;
        let delay = engine.chance.between(least, most);
        engine.after(delay, self.address(), Timer::Think);
    }

    pub(crate) fn handle(
        &mut self,
        engine: &mut Engine,
        book: &mut Book,
        devices: &mut [Device],
        what: What,
    ) {
        match what {
            What::Timer(Timer::Think) => self.decide(engine, book),
            What::Timer(Timer::GiveUp { call }) => self.answered(engine, devices, call, Response::Unknown),
            What::Packet { packet: Packet::Answer { call, response }, .. } => {
                self.answered(engine, devices, call, response);
            }
            What::Packet { packet: Packet::Unsent { call }, .. } => self.unsent(engine, devices, call),
            other => unreachable!("{other:?} is not for an administrator"),
        }
    }

    fn decide(&mut self, engine: &mut Engine, book: &mut Book) {
        if let State::Fencing { revision, .. } = self.state {
            return self.fence(engine, revision);
        }
        if self.retired || self.waits() {
            return;
        }
        let mut generator = Generator { book, chance: &mut engine.chance, plan: &engine.plan };
        let (operation, certificate) = generator.next();
        self.ask(engine, book, operation, certificate);
    }

    /// Asks for a change.
    pub(crate) fn ask(
        &mut self,
        engine: &mut Engine,
        book: &mut Book,
        what: Operation,
        certificate: Option<(usize, NewCertificate)>,
    ) {
        book.certificates.extend(certificate.clone());
        let (operation, what) = (engine.name(), Rc::new(what));
        engine.totals.operations += 1;
        engine.tell(Fact::Invoked { operation, what: Rc::clone(&what) });
        self.send(engine, operation, Rc::clone(&what));
        self.state = State::Changing { operation, asked: 0, what, certificate: certificate.map(Box::new) };
        let patience = engine.chance.pick(&[SECOND, 3 * SECOND, 12 * SECOND]);
        engine.after(patience, self.address(), Timer::GiveUp { call: operation });
    }

    fn send(&self, engine: &mut Engine, call: u64, operation: Rc<Operation>) {
        let actor = actor(&format!("operator-{}", self.seat), call);
        let request = Request::Propose { actor, operation };
        engine.send(self.address(), Address::Replica(self.preferred), Packet::Call { call, request });
    }

    /// Nobody listens at that replica: the next one, each once.
    fn unsent(&mut self, engine: &mut Engine, devices: &mut [Device], call: u64) {
        self.preferred = (self.preferred + 1) % engine.plan.replicas;
        match &mut self.state {
            State::Changing { operation, asked, what, .. } if *operation == call => {
                *asked += 1;
                if *asked < engine.plan.replicas {
                    let what = Rc::clone(what);
                    return self.send(engine, call, what);
                }
                self.answered(engine, devices, call, Response::NotDone);
            }
            _ => self.answered(engine, devices, call, Response::NotDone),
        }
    }

    fn answered(&mut self, engine: &mut Engine, devices: &mut [Device], call: u64, response: Response) {
        match &self.state {
            State::Changing { operation, .. } if *operation == call => {
                self.changed(engine, devices, call, response);
            }
            State::Fencing { revision, call: asked } if *asked == call => {
                let revision = *revision;
                self.fenced(engine, revision, &response);
            }
            _ => {}
        }
    }

    fn changed(&mut self, engine: &mut Engine, devices: &mut [Device], operation: u64, response: Response) {
        let known = match response {
            Response::Proposed { answer, .. } if answer.is_ok() => Known::Done(answer.expect("it is")),
            Response::Proposed { index, .. } => Known::Refused { index },
            Response::NotDone | Response::NotLeading => Known::NotDone,
            _ => Known::Unknown,
        };
        engine.tell(Fact::Answered { operation, known });
        let State::Changing { certificate, .. } = std::mem::replace(&mut self.state, State::Thinking) else {
            return;
        };
        let totals = &mut engine.totals;
        match known {
            Known::Done(_) => totals.acknowledged += 1,
            Known::Refused { .. } => totals.refused += 1,
            Known::NotDone => totals.not_done += 1,
            Known::Unknown => totals.unknown += 1,
        }
        if !matches!(known, Known::Done(_)) {
            self.preferred = (self.preferred + 1) % engine.plan.replicas;
        }
        if let (Known::Done(_), Some((device, new))) = (known, certificate.map(|certificate| *certificate)) {
            devices[device].wallet.push(evidence(&new));
        }
        match known {
            Known::Done(outcome) if engine.chance.percent(65) => self.fence(engine, outcome.revision.0),
            _ => self.think(engine),
        }
    }

    /// Asks for the fence of a revision, at the next replica.
    fn fence(&mut self, engine: &mut Engine, revision: u64) {
        let call = engine.name();
        self.state = State::Fencing { revision, call };
        let request = Request::Fence { revision };
        engine.send(self.address(), Address::Replica(self.preferred), Packet::Call { call, request });
        engine.after(FENCE_PATIENCE, self.address(), Timer::GiveUp { call });
    }

    fn fenced(&mut self, engine: &mut Engine, revision: u64, response: &Response) {
        let Response::Fenced(lines) = response else {
            self.preferred = (self.preferred + 1) % engine.plan.replicas;
            // A call that was given up may still be answered: that answer is for nobody.
            self.state = State::Fencing { revision, call: 0 };
            engine.after(FENCE_PAUSE, self.address(), Timer::Think);
            return;
        };
        engine.totals.fences += 1;
        for line in lines.iter() {
            match line.standing {
                Standing::Confirmed => engine.totals.confirmed += 1,
                Standing::Fenced { .. } => engine.totals.fenced += 1,
                Standing::Unconfirmed { .. } | Standing::Waiting { .. } => engine.totals.unconfirmed += 1,
            }
        }
        self.think(engine);
    }
}
