//! A register, brokers and fences that are right, in simulated time, and what processes see of them: histories that
//! must pass.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const BROKERS: u16 = 3;
const PROCESSES: u32 = 8;
const LEASE: u64 = 400;
const GRACE: u64 = 200;

/// A run, and how it came about.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) history: History,
    pub(super) log: Vec<Entry>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Invoke(u32),
    /// The operation takes effect, or is decided.
    Effect(usize),
    Respond(usize),
    /// The broker is granted a lease, if it is not cut off.
    Grant(u16),
    CutOff(u16),
    FirstUse(u32),
}

#[derive(Clone, Copy, Default)]
struct Broker {
    view: u64,
    fresh_until: u64,
    cut_off: bool,
}

struct World {
    random: SmallRng,
    now: u64,
    agenda: BinaryHeap<Reverse<(u64, u64, Happens)>>,
    planned: u64,
    credentials: u32,
    registers: Vec<Register>,
    head: u64,
    brokers: [Broker; BROKERS as usize],
    run: Run,
    /// What each operation will be answered; absent where the answer gets lost.
    answers: Vec<Option<Outcome>>,
    /// Whether answers get lost.
    lossy: bool,
}

/// Runs until so many operations were asked. Without loss, each has its answer.
pub(super) fn run(seed: u64, operations: usize, lossy: bool) -> Run {
    let mut random = SmallRng::seed_from_u64(seed);
    let credentials = random.random_range(1..5);
    let history =
        History { records: Vec::new(), bounds: Some(Bounds { admit: LEASE, serve: LEASE + GRACE }) };
    let mut world = World {
        random,
        now: 0,
        agenda: BinaryHeap::new(),
        planned: 0,
        credentials,
        registers: vec![Register::Inactive; credentials as usize],
        head: 0,
        brokers: Default::default(),
        run: Run { history, log: Vec::new() },
        answers: Vec::new(),
        lossy,
    };
    for credential in 0..credentials {
        world.enter(credential, Event::Issued, None, None);
    }
    (0..PROCESSES).for_each(|process| world.plan(1..50, Happens::Invoke(process)));
    (0..BROKERS).for_each(|broker| world.plan(1..20, Happens::Grant(broker)));
    while let Some(Reverse((at, _, happens))) = world.agenda.pop() {
        world.now = at;
        let over = world.run.history.records.len() >= operations;
        let ends = matches!(happens, Happens::Invoke(_) | Happens::Grant(_) | Happens::CutOff(_));
        if !over || !ends {
            world.step(happens);
        }
    }
    world.run
}

impl World {
    fn plan(&mut self, within: std::ops::Range<u64>, happens: Happens) {
        let at = self.now + self.random.random_range(within);
        self.planned += 1;
        self.agenda.push(Reverse((at, self.planned, happens)));
    }

    fn step(&mut self, happens: Happens) {
        match happens {
            Happens::Invoke(process) => self.invoke(process),
            Happens::Effect(number) => self.effect(number),
            Happens::Respond(number) => self.respond(number),
            Happens::Grant(broker) => self.grant(broker),
            Happens::CutOff(broker) => {
                let broker = &mut self.brokers[usize::from(broker)];
                broker.cut_off = !broker.cut_off;
            }
            Happens::FirstUse(credential) => {
                let before = self.registers[credential as usize];
                if let Some(after) = before.used() {
                    self.registers[credential as usize] = after;
                    self.enter(credential, Event::Used, Some(before), None);
                }
            }
        }
    }

    fn enter(&mut self, credential: u32, event: Event, before: Option<Register>, operation: Option<usize>) {
        // Other things are in the log as well.
        self.head += self.random.random_range(1..4);
        let entry = Entry {
            revision: self.head,
            credential,
            event,
            before: before.map(Register::state),
            after: self.registers[credential as usize].state(),
            operation,
        };
        self.run.log.push(entry);
    }

    fn invoke(&mut self, process: u32) {
        let broker = self.random.random_range(0..BROKERS);
        let credential = self.random.random_range(0..self.credentials);
        let action = match self.random.random_range(0..100) {
            0..24 => Action::Change(Change::Suspend),
            24..48 => Action::Change(Change::Reactivate),
            48 => Action::Change(Change::Revoke),
            49 => Action::Change(Change::Delete),
            50..65 => Action::Read,
            65..75 => Action::Fence { revision: self.head },
            75..90 => Action::Connect { broker },
            90..95 => Action::Publish { broker },
            _ => Action::Ping { broker },
        };
        let number = self.run.history.records.len();
        let (invoked, responded) = (Time(self.now), Time::NEVER);
        let record = Record { process, credential, action, invoked, responded, outcome: Outcome::Unknown };
        self.run.history.records.push(record);
        if !(self.lossy && self.random.random_bool(0.1)) {
            self.answers.push(Some(Outcome::Unknown));
            return self.plan(0..20, Happens::Effect(number));
        }
        self.answers.push(None);
        // What is lost on its way back may still take effect, much later; what is lost on its way there never does.
        if self.random.random_bool(0.7) {
            let latest = if self.random.random_bool(0.5) { 500 } else { 20 };
            self.plan(0..latest, Happens::Effect(number));
        }
        self.plan(20..60, Happens::Invoke(process));
    }

    fn effect(&mut self, number: usize) {
        let Record { credential, action, .. } = self.run.history.records[number];
        let register = self.registers[credential as usize];
        let answer = match action {
            Action::Change(_) if self.random.random_bool(0.02) => Outcome::NotDone,
            Action::Change(change) => self.change(number, credential, change),
            Action::Read => self.read(credential, register),
            Action::Fence { revision } => {
                if self.brokers.iter().any(|broker| broker.may_serve_below(revision, self.now)) {
                    self.plan(1..30, Happens::Effect(number));
                    return;
                }
                Outcome::CONFIRMED
            }
            Action::Connect { broker } => self.serve(credential, broker, 0),
            Action::Publish { broker } | Action::Ping { broker } => self.serve(credential, broker, GRACE),
        };
        if let Some(planned) = &mut self.answers[number] {
            *planned = answer;
            self.plan(0..20, Happens::Respond(number));
        }
    }

    fn change(&mut self, number: usize, credential: u32, change: Change) -> Outcome {
        let before = self.registers[credential as usize];
        let Some(after) = before.after(change) else { return Outcome::Refused { state: before.state() } };
        self.registers[credential as usize] = after;
        self.enter(credential, Event::Changed(change), Some(before), Some(number));
        Outcome::Done { revision: self.head }
    }

    fn read(&mut self, credential: u32, register: Register) -> Outcome {
        let of = |entry: &&Entry| entry.credential == credential;
        let changed = self.run.log.iter().rfind(of).map_or(0, |entry| entry.revision);
        let at = if self.random.random_bool(0.7) { self.head } else { 0 };
        Outcome::Seen { state: register.state(), changed, at }
    }

    fn serve(&mut self, credential: u32, broker: u16, grace: u64) -> Outcome {
        let broker = self.brokers[usize::from(broker)];
        let in_view = |entry: &&Entry| entry.credential == credential && entry.revision <= broker.view;
        let state = self.run.log.iter().rfind(in_view).map(|entry| entry.after);
        if self.now >= broker.fresh_until + grace || state.is_none_or(State::is_denied) {
            return Outcome::Denied;
        }
        if grace == 0 {
            self.plan(1..100, Happens::FirstUse(credential));
        }
        Outcome::Served
    }

    fn respond(&mut self, number: usize) {
        let record = &mut self.run.history.records[number];
        let process = record.process;
        record.responded = Time(self.now);
        record.outcome = self.answers[number].expect("only what is answered responds");
        self.plan(1..60, Happens::Invoke(process));
    }

    fn grant(&mut self, broker: u16) {
        if self.random.random_bool(0.03) {
            self.plan(1..5, Happens::CutOff(broker));
            self.plan(50..1_500, Happens::CutOff(broker));
        }
        let it = &mut self.brokers[usize::from(broker)];
        if !it.cut_off {
            (it.view, it.fresh_until) = (self.head, self.now + LEASE);
        }
        self.plan(5..60, Happens::Grant(broker));
    }
}

impl Broker {
    fn may_serve_below(&self, revision: u64, now: u64) -> bool {
        self.view < revision && now < self.fresh_until + GRACE
    }
}
