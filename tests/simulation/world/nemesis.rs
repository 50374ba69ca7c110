//! The trouble: what breaks, and when it is mended.

use std::collections::BTreeMap;

use super::World;
use crate::clock::{MILLISECOND, SECOND};
use crate::packet::{Address, Timer};
use crate::plan::Havoc;

/// What undoes a trouble.
#[derive(Clone, Debug)]
enum Undo {
    Unblock(Vec<(Address, Address)>),
    Start(Address),
    Resume(Address),
    Thaw(Address),
    Fast(Vec<(Address, Address)>),
}

/// Troubles that are not undone.
#[derive(Debug, Default)]
pub(super) struct Nemesis {
    open: BTreeMap<u64, Undo>,
    /// There is to be no more of it.
    pub(super) retired: bool,
}

impl World {
    /// Something breaks.
    pub(super) fn trouble(&mut self) {
        if self.nemesis.retired || self.engine.plan.havoc.is_empty() {
            return;
        }
        let havoc = self.engine.chance.index(self.engine.plan.havoc.len());
        self.wreak(self.engine.plan.havoc[havoc]);
        let (least, most) = self.engine.plan.calm;
        let calm = self.engine.chance.between(least, most);
        self.engine.after(calm, Address::World, Timer::Nemesis);
    }

    fn wreak(&mut self, havoc: Havoc) {
        match havoc {
            Havoc::Partition => self.partition(),
            Havoc::OneWay => {
                let one = self.any_process();
                let links: Vec<_> = self.others(one).into_iter().collect();
                let deaf = self.engine.chance.percent(50);
                self.block(
                    links.into_iter().map(|other| if deaf { (other, one) } else { (one, other) }).collect(),
                );
            }
            Havoc::LeaderCutOff => {
                let Some(leader) = self.leader() else { return };
                let replicas_only = self.engine.chance.percent(50);
                let reach = |other: &Address| !replicas_only || matches!(other, Address::Replica(_));
                let others = self.others(leader).into_iter().filter(reach);
                self.block(others.flat_map(|other| [(leader, other), (other, leader)]).collect());
            }
            Havoc::BrokerCutOff => {
                let broker = self.any_broker();
                self.block(
                    self.others(broker)
                        .into_iter()
                        .flat_map(|other| [(broker, other), (other, broker)])
                        .collect(),
                );
            }
            Havoc::LinkDown => {
                let (one, other) = (self.any_replica(), self.any_replica());
                self.block(vec![(one, other), (other, one)]);
            }
            Havoc::CrashReplica => {
                let replica = match self.leader() {
                    Some(leader) if self.engine.chance.percent(40) => leader,
                    _ => self.any_replica(),
                };
                let power = self.engine.chance.percent(50);
                self.crash_replica(replica, power);
            }
            Havoc::PowerCut => {
                for seat in 0..self.engine.plan.replicas {
                    self.crash_replica(Address::Replica(seat), true);
                }
            }
            Havoc::CrashBroker => self.end_broker(false),
            Havoc::StopBroker => self.end_broker(true),
            Havoc::Pause => self.pause(),
            Havoc::Freeze => self.freeze(),
            Havoc::WallStep => {
                let step = self.engine.chance.pick(&[-20_000, -1_500, -700, 300, 900, 1_500, 20_000]);
                let broker = self.engine.chance.index(self.brokers.len());
                self.brokers[broker].clock.step_wall(step);
            }
            Havoc::StreamBreak => {
                let process = self.any_process();
                if let Some(stream) = self.engine.any_stream(process) {
                    self.engine.break_stream(stream);
                }
            }
            Havoc::SlowLinks => self.slow_links(),
            Havoc::Replace => {
                let seat = u8::try_from(self.engine.chance.index(self.replicas.len())).expect("few replicas");
                let up = (0..self.engine.plan.replicas)
                    .all(|seat| self.engine.alive(Address::Replica(seat)).is_some());
                if self.replacement.is_none() && up {
                    self.replace(seat);
                }
            }
        }
    }

    /// What breaks is mended after a while: soon mostly, or as late as leases and graces end.
    fn undo_later(&mut self, undo: Undo) {
        let trouble = self.engine.name();
        self.nemesis.open.insert(trouble, undo);
        let while_ = match self.engine.chance.weighted(&[40, 40, 20]) {
            0 => self.engine.chance.between(10 * MILLISECOND, 500 * MILLISECOND),
            1 => self.engine.chance.between(500 * MILLISECOND, 4 * SECOND),
            _ => self.engine.chance.between(4 * SECOND, 9 * SECOND),
        };
        self.engine.after(while_, Address::World, Timer::Undo { trouble });
    }

    pub(super) fn undo(&mut self, trouble: u64) {
        let Some(undo) = self.nemesis.open.remove(&trouble) else { return };
        match undo {
            Undo::Unblock(links) => links.into_iter().for_each(|(from, to)| self.engine.unblock(from, to)),
            Undo::Fast(links) => links.into_iter().for_each(|(from, to)| self.engine.slow_down(from, to, 0)),
            Undo::Resume(address) => self.resume(address),
            Undo::Thaw(address) => {
                let now = self.engine.now;
                match address {
                    Address::Replica(seat) => self.replicas[usize::from(seat)].clock.thaw(now),
                    Address::Broker(seat) => self.brokers[usize::from(seat)].clock.thaw(now),
                    Address::World | Address::Operator(_) => {}
                }
                self.resume(address);
            }
            Undo::Start(Address::Replica(seat)) => {
                if self.engine.alive(Address::Replica(seat)).is_none() {
                    self.replicas[usize::from(seat)].start(&mut self.engine);
                }
            }
            Undo::Start(Address::Broker(seat)) => self.start_again(seat),
            Undo::Start(_) => {}
        }
    }

    /// Everything that is broken is mended, and nothing breaks any more.
    pub(super) fn mend(&mut self) {
        self.nemesis.retired = true;
        let open: Vec<u64> = self.nemesis.open.keys().copied().collect();
        open.into_iter().for_each(|trouble| self.undo(trouble));
        self.engine.unblock_all();
        // Nobody is fresh where a renewal takes longer than a lease.
        self.engine.plan.delay = (100, 2 * MILLISECOND);
        self.engine.plan.lost_permille = 0;
        self.engine.plan.preempted_permille = 0;
    }

    fn resume(&mut self, address: Address) {
        self.engine.resume(address);
        if let Address::Replica(seat) = address {
            self.replicas[usize::from(seat)].keeper.troubled = self.engine.now;
        }
    }

    fn block(&mut self, links: Vec<(Address, Address)>) {
        self.engine.totals.partitions += 1;
        links.iter().for_each(|(from, to)| self.engine.block(*from, *to));
        self.undo_later(Undo::Unblock(links));
    }

    fn partition(&mut self) {
        let mut parts = [Vec::new(), Vec::new()];
        for process in self.processes() {
            parts[self.engine.chance.index(2)].push(process);
        }
        let [one, other] = parts;
        let pairs = one.iter().flat_map(|a| other.iter().flat_map(move |b| [(*a, *b), (*b, *a)]));
        self.block(pairs.collect());
    }

    fn slow_links(&mut self) {
        let (one, most) = (self.any_process(), self.engine.chance.between(50, 800) * MILLISECOND);
        let links: Vec<_> =
            self.others(one).into_iter().flat_map(|other| [(one, other), (other, one)]).collect();
        links.iter().for_each(|(from, to)| self.engine.slow_down(*from, *to, most));
        self.undo_later(Undo::Fast(links));
    }

    fn crash_replica(&mut self, address: Address, power: bool) {
        let Address::Replica(seat) = address else { return };
        if self.engine.alive(address).is_none() || self.is_replacing(seat) {
            return;
        }
        self.engine.totals.crashes += 1;
        self.replicas[usize::from(seat)].crash(&mut self.engine, power);
        self.undo_later(Undo::Start(address));
    }

    fn end_broker(&mut self, in_order: bool) {
        let address = self.any_broker();
        let Address::Broker(seat) = address else { return };
        if self.engine.alive(address).is_none() || self.engine.is_paused(address) {
            return;
        }
        self.engine.totals.crashes += 1;
        if in_order {
            self.brokers[usize::from(seat)].farewell(&mut self.engine);
        }
        let silent = !in_order && self.engine.chance.percent(30);
        self.engine.stop(address, silent);
        self.undo_later(Undo::Start(address));
    }

    /// As the node that it was, if its certificate is in files; else it joins anew.
    fn start_again(&mut self, seat: u8) {
        if self.engine.alive(Address::Broker(seat)).is_some() {
            return;
        }
        if self.engine.chance.percent(65) {
            return self.restart_broker(seat);
        }
        self.give_up_node(seat);
        self.join(seat);
    }

    fn pause(&mut self) {
        let address = self.any_process();
        if self.engine.alive(address).is_some() && !self.engine.is_paused(address) {
            self.engine.totals.pauses += 1;
            self.engine.pause(address);
            self.undo_later(Undo::Resume(address));
        }
    }

    /// The machine is stopped, and its clock with it.
    fn freeze(&mut self) {
        let address = self.any_process();
        if self.engine.alive(address).is_none() || self.engine.is_paused(address) {
            return;
        }
        let now = self.engine.now;
        match address {
            Address::Replica(seat) => self.replicas[usize::from(seat)].clock.freeze(now),
            Address::Broker(seat) => self.brokers[usize::from(seat)].clock.freeze(now),
            Address::World | Address::Operator(_) => {}
        }
        self.engine.totals.pauses += 1;
        self.engine.pause(address);
        self.undo_later(Undo::Thaw(address));
    }

    fn processes(&self) -> Vec<Address> {
        let replicas = (0..self.engine.plan.replicas).map(Address::Replica);
        replicas.chain((0..self.engine.plan.brokers).map(Address::Broker)).collect()
    }

    fn others(&self, than: Address) -> Vec<Address> {
        self.processes().into_iter().filter(|process| *process != than).collect()
    }

    fn any_process(&mut self) -> Address {
        let processes = self.processes();
        self.engine.chance.pick(&processes)
    }

    fn any_replica(&mut self) -> Address {
        Address::Replica(u8::try_from(self.engine.chance.index(self.replicas.len())).expect("few replicas"))
    }

    fn any_broker(&mut self) -> Address {
        Address::Broker(u8::try_from(self.engine.chance.index(self.brokers.len())).expect("few brokers"))
    }

    fn leader(&self) -> Option<Address> {
        let leaders = self.replicas.iter().filter(|replica| replica.leads());
        leaders.max_by_key(|replica| replica.raft.leadership().term).map(crate::replica::Replica::address)
    }
}
