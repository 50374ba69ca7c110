//! The world of one seed: all processes, everybody who uses them, and the trouble that they are in.

mod devices;
mod joins;
mod nemesis;
mod recovery;
mod replacement;

use joins::Joins;
use nemesis::Nemesis;
use replacement::Replacement;

use crate::broker::Broker;
use crate::chance::Chance;
use crate::clients::{Beginning, Book, Device, Operator, begin};
use crate::clock::{Clock, MILLISECOND, SECOND, Time};
use crate::engine::{Engine, Scheduled, What};
use crate::fault::Fault;
use crate::invariants::{Broken, Invariants};
use crate::oracle::{Fact, History, Scene, Truth};
use crate::packet::{Address, Packet, Timer};
use crate::plan::Plan;
use crate::replica::Replica;
use crate::totals::Totals;

/// How often the world is looked at as a whole.
const SURVEY: Time = 100 * MILLISECOND;

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) engine: Engine,
    replicas: Vec<Replica>,
    brokers: Vec<Broker>,
    operators: Vec<Operator>,
    devices: Vec<Device>,
    book: Book,
    nemesis: Nemesis,
    joins: Joins,
    replacement: Option<Replacement>,
    /// The highest number that was given to a replica.
    last_replica: u64,
    truth: Truth,
    history: History,
    invariants: Invariants,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) hash: u64,
    pub(crate) totals: Totals,
    pub(crate) broken: Option<Broken>,
    /// The last lines of the trace, where they were asked for.
    pub(crate) lines: Vec<String>,
}

/// Runs a seed to its end.
pub(crate) fn run(seed: u64, fault: Option<Fault>, verbose: bool) -> Report {
    let mut world = World::new(seed, fault, verbose);
    let broken = world.live().err();
    world.engine.totals.steps = world.engine.trace.steps();
    let lines = world.engine.trace.lines().map(str::to_owned).collect();
    Report { hash: world.engine.trace.hash(), totals: world.engine.totals, broken, lines }
}

fn clock(engine: &mut Engine) -> Clock {
    let rate = Plan::rate(&mut engine.chance);
    let boot = engine.chance.between(0, 1_000_000 * SECOND);
    let wall = crate::clients::START.0 + engine.chance.below(3_600_000);
    let ahead = i64::try_from(wall).expect("before the end of time")
        - i64::try_from(boot / MILLISECOND).expect("small");
    Clock::new(boot, rate, ahead)
}

impl World {
    fn new(seed: u64, fault: Option<Fault>, verbose: bool) -> World {
        let mut chance = Chance::new(seed);
        let plan = Plan::draw(&mut chance);
        let mut engine = Engine::new(plan, chance, fault, verbose);
        let Beginning { image, book, devices, nodes, leaves } = begin(&mut engine);
        let mut replicas = Vec::new();
        for seat in 0..engine.plan.replicas {
            let clock = clock(&mut engine);
            replicas.push(Replica::new(seat, u64::from(seat) + 1, clock, &image, &engine));
        }
        let mut brokers = Vec::new();
        for (seat, node) in (0..).zip(nodes) {
            let clock = clock(&mut engine);
            brokers.push(Broker::new(seat, node, clock, &mut engine));
        }
        let operators = (0..engine.plan.operators).map(|seat| Operator::new(seat, &engine)).collect();
        World {
            last_replica: replicas.len() as u64,
            replicas,
            brokers,
            operators,
            devices,
            book,
            nemesis: Nemesis::default(),
            joins: Joins::default(),
            replacement: None,
            truth: Truth::new(&image, leaves, fault),
            history: History::default(),
            invariants: Invariants::new(),
            engine,
        }
    }

    fn live(&mut self) -> Result<(), Broken> {
        self.start();
        let end = self.engine.plan.trouble;
        self.run_until(end)?;
        self.recover()
    }

    fn start(&mut self) {
        let engine = &mut self.engine;
        engine.start(Address::World);
        self.replicas.iter_mut().for_each(|replica| replica.start(engine));
        for broker in &mut self.brokers {
            broker.start(engine);
            engine.tell(Fact::Began { broker: broker.seat });
        }
        self.operators.iter_mut().for_each(|operator| operator.start(engine));
        for device in 0..self.devices.len() {
            let delay = engine.chance.between(0, 3 * SECOND);
            engine.after(delay, Address::World, Timer::Device(device));
        }
        let first = engine.chance.between(SECOND, 3 * SECOND);
        engine.after(first, Address::World, Timer::Nemesis);
        engine.after(SURVEY, Address::World, Timer::Survey);
    }

    fn run_until(&mut self, end: Time) -> Result<(), Broken> {
        while let Some(next) = self.engine.next(end) {
            self.dispatch(next)?;
        }
        Ok(())
    }

    fn dispatch(&mut self, next: Scheduled) -> Result<(), Broken> {
        let engine = &mut self.engine;
        match next.to {
            Address::Replica(seat) => self.replicas[usize::from(seat)].handle(engine, next.what),
            Address::Broker(seat) => self.brokers[usize::from(seat)].handle(engine, next.what),
            Address::Operator(seat) => {
                self.operators[usize::from(seat)].handle(
                    engine,
                    &mut self.book,
                    &mut self.devices,
                    next.what,
                );
            }
            Address::World => self.handle(next.what)?,
        }
        self.judge()
    }

    fn handle(&mut self, what: What) -> Result<(), Broken> {
        match what {
            What::Timer(Timer::Device(device)) => self.device_due(device),
            What::Timer(Timer::Told { device, attempt, told }) => self.device_told(device, attempt, told),
            What::Timer(Timer::Nemesis) => self.trouble(),
            What::Timer(Timer::Undo { trouble }) => self.undo(trouble),
            What::Timer(Timer::Join { broker }) => self.join(broker),
            What::Timer(Timer::GiveUp { call }) => self.join_answered(call, None),
            What::Packet { packet: Packet::Answer { call, response }, .. } => {
                self.join_answered(call, Some(response));
            }
            What::Packet { packet: Packet::Unsent { call }, .. } => self.join_unsent(call),
            What::Timer(Timer::Survey) => {
                self.engine.after(SURVEY, Address::World, Timer::Survey);
                self.go_on_replacing();
                self.rejoin_removed();
                return self.survey();
            }
            other => unreachable!("{other:?} is not the world's"),
        }
        Ok(())
    }

    /// Shows what happened to the oracle and to every invariant.
    fn judge(&mut self) -> Result<(), Broken> {
        let mut facts = std::mem::take(&mut self.engine.facts);
        for fact in facts.drain(..) {
            self.engine.trace.line(self.engine.now, &fact);
            if let Fact::Committed { index, entry, .. } = &fact {
                let broken = |how| Broken { invariant: "acknowledged", how };
                self.truth.commit(*index, entry).map_err(broken)?;
            }
            self.count(&fact);
            self.history.note(&fact);
            let scene = Scene {
                now: self.engine.now,
                engine: &self.engine,
                truth: &self.truth,
                history: &self.history,
                replicas: &self.replicas,
                brokers: &self.brokers,
            };
            self.invariants.check(&fact, &scene)?;
        }
        self.engine.facts = facts;
        Ok(())
    }

    fn count(&mut self, fact: &Fact) {
        let mixed = match fact {
            Fact::Applied { at, digest, .. } => at.index ^ digest.short(),
            Fact::Admitted { number, .. } => {
                self.engine.totals.admitted += 1;
                *number
            }
            Fact::Passed { number, .. } => {
                self.engine.totals.passed += 1;
                *number
            }
            Fact::Fence { revision, lines, .. } => revision + lines.len() as u64,
            Fact::Viewed { view, .. } => view.revision().0,
            _ => 0,
        };
        self.engine.trace.mix(mixed);
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            now: self.engine.now,
            engine: &self.engine,
            truth: &self.truth,
            history: &self.history,
            replicas: &self.replicas,
            brokers: &self.brokers,
        }
    }

    fn survey(&mut self) -> Result<(), Broken> {
        let mut invariants = std::mem::replace(&mut self.invariants, Invariants::none());
        let outcome = invariants.survey(&self.scene());
        self.invariants = invariants;
        outcome
    }
}
