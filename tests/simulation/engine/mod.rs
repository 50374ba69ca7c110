//! True time, the queue of what happens next, and the processes that it happens to.

mod network;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use network::Network;

use crate::chance::Chance;
use crate::clock::Time;
use crate::fault::Fault;
use crate::oracle::Fact;
use crate::packet::{Address, Packet, Said, Timer};
use crate::plan::Plan;
use crate::totals::Totals;
use crate::trace::Trace;

/// What all processes share, and what none of them may look at but through the network.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) now: Time,
    pub(crate) plan: Plan,
    pub(crate) fault: Option<Fault>,
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
    pub(crate) totals: Totals,
    /// What happened and no invariant has seen yet.
    pub(crate) facts: Vec<Fact>,
    queue: BinaryHeap<Scheduled>,
    sequence: u64,
    names: u64,
    processes: BTreeMap<Address, Process>,
    network: Network,
}

/// Something that happens to a process.
#[derive(Debug)]
pub(crate) struct Scheduled {
    at: Time,
    sequence: u64,
    pub(crate) to: Address,
    /// The process that it is for, of those that follow each other at this address.
    life: u32,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Packet { from: Address, packet: Packet },
    Timer(Timer),
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The heap gives out its greatest: the earliest.
impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

#[derive(Debug, Default)]
struct Process {
    life: u32,
    up: bool,
    paused: bool,
    /// What came while it was paused.
    held: Vec<Scheduled>,
}

impl Engine {
    pub(crate) fn new(plan: Plan, mut chance: Chance, fault: Option<Fault>, verbose: bool) -> Engine {
        let mut trace = Trace::new(verbose);
        trace.mix(chance.below(u64::MAX));
        Engine {
            now: 0,
            plan,
            fault,
            chance,
            trace,
            totals: Totals::default(),
            facts: Vec::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            names: 0,
            processes: BTreeMap::new(),
            network: Network::default(),
        }
    }

    /// Is this what is deliberately wrong in this run?
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// A number that was never used: of a call, a stream.
    pub(crate) fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    pub(crate) fn tell(&mut self, fact: Fact) {
        self.facts.push(fact);
    }

    fn life(&self, address: Address) -> u32 {
        self.processes.get(&address).map_or(0, |process| process.life)
    }

    /// The number of the process that runs there; `None` while none does.
    pub(crate) fn alive(&self, address: Address) -> Option<u32> {
        self.processes.get(&address).filter(|process| process.up).map(|process| process.life)
    }

    pub(crate) fn is_paused(&self, address: Address) -> bool {
        self.processes.get(&address).is_some_and(|process| process.paused)
    }

    /// A process begins at this address.
    pub(crate) fn start(&mut self, address: Address) {
        let process = self.processes.entry(address).or_default();
        process.life += 1;
        process.up = true;
    }

    /// The process ends. `silent`: the machine does, and nobody hears of it.
    pub(crate) fn stop(&mut self, address: Address, silent: bool) {
        let Some(process) = self.processes.get_mut(&address) else { return };
        (process.up, process.paused) = (false, false);
        process.held.clear();
        self.cut_streams(address, silent);
    }

    /// The process takes no step: SIGSTOP, or its machine is stopped.
    pub(crate) fn pause(&mut self, address: Address) {
        if let Some(process) = self.processes.get_mut(&address) {
            process.paused = process.up;
        }
    }

    /// It goes on, with all that came meanwhile.
    pub(crate) fn resume(&mut self, address: Address) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(&address) else { return };
        process.paused = false;
        for held in std::mem::take(&mut process.held) {
            self.queue.push(Scheduled { at: now, ..held });
        }
    }

    fn schedule(&mut self, at: Time, to: Address, life: u32, what: What) {
        self.sequence += 1;
        let at = at.max(self.now);
        self.queue.push(Scheduled { at, sequence: self.sequence, to, life, what });
    }

    /// The process at `to` does something after a while, unless it ends before.
    pub(crate) fn after(&mut self, delay: Time, to: Address, timer: Timer) {
        self.at(self.now + delay, to, timer);
    }

    pub(crate) fn at(&mut self, at: Time, to: Address, timer: Timer) {
        self.schedule(at, to, self.life(to), What::Timer(timer));
    }

    /// A step of a thread: some microseconds, or as long as the scheduler lets it wait.
    pub(crate) fn step_delay(&mut self) -> Time {
        if self.chance.below(1_000) < self.plan.preempted_permille {
            return self.chance.between(1_000, 40_000);
        }
        self.chance.between(2, 60)
    }

    /// The same for one of many connections: when it is preempted, it may wait for long.
    pub(crate) fn connection_delay(&mut self) -> Time {
        if self.chance.below(1_000) < self.plan.preempted_permille {
            return self.chance.between(1_000, 1_000_000);
        }
        self.chance.between(2, 60)
    }

    /// What happens next; time has passed until then. `None` after `end`.
    pub(crate) fn next(&mut self, end: Time) -> Option<Scheduled> {
        loop {
            if self.queue.peek()?.at > end {
                self.now = end;
                return None;
            }
            let next = self.queue.pop()?;
            self.now = next.at;
            if next.to != Address::World {
                let Some(process) = self.processes.get_mut(&next.to) else { continue };
                if process.life != next.life || !process.up {
                    continue;
                }
                if process.paused {
                    process.held.push(next);
                    continue;
                }
            }
            self.trace.step();
            self.trace.mix(next.at);
            self.trace.mix(next.sequence);
            self.note_delivery(&next);
            self.trace.line(next.at, &(next.to, &next.what));
            return Some(next);
        }
    }

    /// A broker that takes a message lets its replica send another.
    fn note_delivery(&mut self, next: &Scheduled) {
        let What::Packet { from, packet } = &next.what else { return };
        match packet {
            Packet::Said { stream, said: Said::Control(_) } => {
                self.send(next.to, *from, Packet::Room { stream: *stream });
            }
            Packet::Closed { stream } => self.forget_stream(*stream),
            _ => {}
        }
    }
}
