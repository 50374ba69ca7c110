//! All trouble ends: then everything must recover.

use revoq_credentials::{Operation, StaleGrace};
use revoq_lease::Permitted;

use super::World;
use crate::broker::Broker;
use crate::clients::{Device, State, probe};
use crate::clock::{MILLISECOND, SECOND, Time};
use crate::invariants::{Broken, unrecovered};
use crate::packet::{Address, Timer};

/// How often it is looked at.
const LOOK: Time = 50 * MILLISECOND;

/// Beyond lease and grace: elections, pauses of brokers, an administrator's patience.
const PATIENCE: Time = 25 * SECOND;

impl World {
    /// Mends everything, and waits until everything has recovered.
    pub(super) fn recover(&mut self) -> Result<(), Broken> {
        self.mend();
        for seat in 0..self.engine.plan.replicas {
            if self.engine.alive(Address::Replica(seat)).is_none() {
                self.replicas[usize::from(seat)].start(&mut self.engine);
            }
        }
        self.end_removed();
        self.operators.iter_mut().for_each(|operator| operator.retired = true);
        self.judge()?;
        self.wait()?;
        self.begin_again()?;
        for operation in probe::setup() {
            self.change(operation)?;
        }
        self.wait()?;
        self.connect_everywhere()?;
        self.wait()?;
        let mut invariants = std::mem::replace(&mut self.invariants, crate::invariants::Invariants::none());
        let outcome = invariants.end(&self.scene());
        self.invariants = invariants;
        outcome
    }

    /// Nodes that were removed and were not told so: their operators end them.
    fn end_removed(&mut self) {
        let nodes = self.truth.latest().nodes.clone();
        for seat in 0..self.engine.plan.brokers {
            let broker = &self.brokers[usize::from(seat)];
            if self.engine.alive(broker.address()).is_some() && !nodes.contains(&broker.node) {
                self.engine.stop(Address::Broker(seat), false);
                self.give_up_node(seat);
                self.join(seat);
            }
        }
    }

    /// A broker that begins again is fresh soon, and stays so; as all others do.
    fn begin_again(&mut self) -> Result<(), Broken> {
        self.engine.stop(Address::Broker(0), false);
        self.restart_broker(0);
        self.judge()?;
        self.wait()?;
        // One that joins meanwhile has its first lease to come, and a change whose outcome was unknown may remove one.
        let members: Vec<_> = self.brokers.iter().map(|broker| (broker.seat, broker.node)).collect();
        let end = self.engine.now + 2 * SECOND;
        while self.engine.now < end {
            self.run_until(self.engine.now + LOOK)?;
            let nodes = &self.truth.latest().nodes;
            let stale = |broker: &&Broker| {
                members.contains(&(broker.seat, broker.node))
                    && nodes.contains(&broker.node)
                    && broker.permitted(self.engine.now) != Permitted::Fresh
            };
            let stale = self.brokers.iter().find(stale);
            if let Some(broker) = stale {
                let how = format!("broker {} does not stay fresh", broker.seat);
                return Err(Broken { invariant: "recovered", how });
            }
        }
        Ok(())
    }

    fn longest(&self) -> Time {
        let settings = self.truth.changes().map(|(_, change)| change.view.settings().clone());
        let bounds = settings.chain([self.truth.latest().view.settings().clone()]).map(|settings| {
            match settings.stale_grace {
                StaleGrace::Bounded(grace) => settings.lease + grace,
                StaleGrace::Never => settings.lease,
            }
        });
        Time::try_from(bounds.max().unwrap_or_default().as_micros()).expect("leases are short")
    }

    fn wait(&mut self) -> Result<(), Broken> {
        let end = self.engine.now + 3 * self.longest() + PATIENCE;
        loop {
            let waiting = self.operators.iter().filter(|operator| operator.waits()).count();
            let Some(lack) = unrecovered(&self.scene(), waiting) else { return Ok(()) };
            if self.engine.now >= end {
                return Err(Broken { invariant: "recovered", how: lack });
            }
            // A change whose outcome was unknown may have removed one that no stream tells so.
            if self.engine.now + PATIENCE / 2 >= end {
                self.end_removed();
            }
            self.run_until(self.engine.now + LOOK)?;
        }
    }

    /// A change passes, with its fence.
    fn change(&mut self, operation: Operation) -> Result<(), Broken> {
        let before = self.engine.totals;
        let text = format!("{operation:?}");
        self.operators[0].ask(&mut self.engine, &mut self.book, operation, None);
        self.judge()?;
        self.wait()?;
        if self.engine.totals.acknowledged == before.acknowledged {
            return Err(Broken { invariant: "recovered", how: format!("not acknowledged: {text}") });
        }
        Ok(())
    }

    /// A device that is permitted connects to each broker, publishes there, and hears what others publish.
    fn connect_everywhere(&mut self) -> Result<(), Broken> {
        let first = self.devices.len();
        for seat in 0..self.engine.plan.brokers {
            for _ in 0..2 {
                self.devices.push(Device { home: Some(seat), ..probe::device() });
                self.engine.after(MILLISECOND, Address::World, Timer::Device(self.devices.len() - 1));
            }
        }
        let end = self.engine.now + PATIENCE;
        loop {
            let connected = |device: &Device| matches!(device.state, State::Connected { .. });
            if self.devices[first..].iter().all(connected) {
                break;
            }
            if self.engine.now >= end {
                let states: Vec<_> = self.devices[first..].iter().map(|device| device.state).collect();
                return Err(Broken {
                    invariant: "recovered",
                    how: format!("not everywhere connected: {states:?}"),
                });
            }
            self.run_until(self.engine.now + LOOK)?;
        }
        let before = self.engine.totals.passed;
        self.run_until(self.engine.now + SECOND)?;
        let passed = self.engine.totals.passed - before;
        if passed < 4 * u64::from(self.engine.plan.brokers) {
            return Err(Broken { invariant: "recovered", how: format!("only {passed} packets pass") });
        }
        Ok(())
    }
}
