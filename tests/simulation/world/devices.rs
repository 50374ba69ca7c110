//! What devices do next.

use super::World;
use crate::broker::Arrival;
use crate::clients::State;
use crate::clock::{MILLISECOND, SECOND, Time};
use crate::packet::{Address, Timer, Told};

/// A device that is not let in within this time tries elsewhere.
const PATIENCE: Time = 3 * SECOND;

impl World {
    /// It is time for a device to do something.
    pub(super) fn device_due(&mut self, device: usize) {
        match self.devices[device].state {
            State::Idle => self.connect(device),
            State::Connecting { broker, life, attempt } => self.abandon(device, broker, life, attempt),
            State::Connected { broker, life, attempt, number } => {
                let gone = self.engine.alive(Address::Broker(broker)) != Some(life);
                if gone || self.engine.chance.one_in(60) {
                    return self.abandon(device, broker, life, attempt);
                }
                let delay = self.engine.chance.between(50, 2 * MILLISECOND);
                self.engine.after(delay, Address::Broker(broker), Timer::Publish { number });
                let next = self.engine.chance.between(60 * MILLISECOND, 300 * MILLISECOND);
                self.engine.after(next, Address::World, Timer::Device(device));
            }
        }
    }

    fn connect(&mut self, device: usize) {
        let engine = &mut self.engine;
        let seat = self.devices[device]
            .home
            .unwrap_or_else(|| u8::try_from(engine.chance.index(self.brokers.len())).expect("few brokers"));
        let Some(life) = engine.alive(Address::Broker(seat)) else { return self.rest(device) };
        let wallet = &self.devices[device].wallet;
        // Mostly the newest; an old one now and then.
        let place =
            if engine.chance.percent(75) { wallet.len() - 1 } else { engine.chance.index(wallet.len()) };
        let evidence = wallet[place].clone();
        let (attempt, resumed) = (engine.name(), engine.chance.percent(40));
        self.devices[device].state = State::Connecting { broker: seat, life, attempt };
        let arrival = Arrival { device, attempt, evidence, resumed };
        engine.after(PATIENCE, Address::World, Timer::Told { device, attempt, told: Told::Refused });
        self.brokers[usize::from(seat)].arrive(engine, arrival);
    }

    /// Leaves a broker, or gives up to get in.
    fn abandon(&mut self, device: usize, broker: u8, life: u32, attempt: u64) {
        if self.engine.alive(Address::Broker(broker)) == Some(life) {
            let delay = self.engine.chance.between(50, 2 * MILLISECOND);
            self.engine.after(delay, Address::Broker(broker), Timer::Left { attempt });
        }
        self.rest(device);
    }

    fn rest(&mut self, device: usize) {
        self.devices[device].state = State::Idle;
        let pause = self.engine.chance.between(30 * MILLISECOND, 1_200 * MILLISECOND);
        self.engine.after(pause, Address::World, Timer::Device(device));
    }

    /// A broker answered a device; or the device's patience is over.
    pub(super) fn device_told(&mut self, device: usize, attempt: u64, told: Told) {
        match (self.devices[device].state, told) {
            (State::Connecting { broker, life, attempt: asked }, Told::Accepted { number })
                if asked == attempt =>
            {
                self.devices[device].state = State::Connected { broker, life, attempt, number };
                self.engine.after(MILLISECOND, Address::World, Timer::Device(device));
            }
            (State::Connecting { broker, life, attempt: asked }, _) if asked == attempt => {
                self.abandon(device, broker, life, attempt);
            }
            (State::Connected { attempt: asked, .. }, Told::Closed) if asked == attempt => self.rest(device),
            _ => {}
        }
    }
}
