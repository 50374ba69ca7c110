//! The model as the checker sees it: what can happen in a state, and what must hold.
use stateright::{Model, Property};

use crate::account::Asked;
use crate::config::{Config, Fault};
use crate::steps::Step;
use crate::world::{REPLICAS, World};

/// The invariant.
pub(crate) const CUT: &str = "after a fence no broker lets through whom it denied";

/// The model of one configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    pub(crate) config: Config,
    /// What must be reachable.
    pub(crate) reachable: &'static [Reachable],
}

pub(crate) type Reachable = (&'static str, fn(&Protocol, &World) -> bool);

impl Protocol {
    fn actions_of_replica(&self, world: &World, replica: usize, steps: &mut Vec<Step>) {
        let config = &self.config;
        let others = (0..REPLICAS).filter(|voter| *voter != replica);
        steps.extend(others.map(|voter| Step::Elect { replica, voter }));
        steps.extend([Step::Notice(replica), Step::Crash(replica)]);
        if config.votes {
            steps.push(Step::Hear(replica));
        }
        if config.proofs_late {
            steps.extend([Step::Begin, Step::Confirm, Step::Finish, Step::Fail].map(|step| step(replica)));
        }
        if config.has(Fault::EarlierProofCounts) {
            steps.extend([Step::Settle(replica), Step::Enter(replica)]);
        }
        let Some(account) = world.replicas[replica].account else { return };
        for asked in Asked::all().filter(|asked| asked.broker < config.brokers) {
            if world.brokers[asked.broker].renewals[asked.process][asked.slot].is_some() {
                steps.push(Step::Receive { replica, asked });
            }
            if account.nodes[asked.broker].processes[asked.process].unproven[asked.slot] > 0 {
                steps.push(Step::Prove { replica, asked });
            }
        }
        for broker in 0..config.brokers {
            if config.acks_late {
                steps.push(Step::Ack { broker, replica });
            }
            if config.restarts {
                steps.push(Step::LastWord { broker, replica });
            }
        }
    }

    fn actions_of_broker(&self, broker: usize, steps: &mut Vec<Step>) {
        let config = &self.config;
        steps.push(Step::Event(broker));
        let lags = config.lag_min..=config.lag_worst();
        steps.extend(lags.map(|lag| Step::Renew { broker, lag }));
        steps.extend((0..config.renewals).map(|slot| Step::Grant { broker, slot }));
        if config.restarts {
            steps.extend([false, true].map(|farewell| Step::Restart { broker, farewell }));
        }
        match config.fault {
            Fault::AckBeforeSweep => steps.push(Step::Sweep(broker)),
            Fault::TimerOnly => steps.push(Step::Lapse(broker)),
            _ => {}
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        steps.extend([Step::Tick, Step::Deny]);
        (0..REPLICAS).for_each(|replica| self.actions_of_replica(world, replica, steps));
        (0..self.config.brokers).for_each(|broker| self.actions_of_broker(broker, steps));
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.step(step, &self.config)?;
        next.settle(&self.config);
        let next = next.normal(&self.config);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        let reachable = self.reachable.iter().map(|(name, holds)| Property::sometimes(name, *holds));
        std::iter::once(Property::always(CUT, |_, world: &World| !world.is_violated()))
            .chain(reachable)
            .collect()
    }
}
