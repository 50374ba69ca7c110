//! Brokers that join anew: each start without a certificate of its own is a new node. Stands for `identity.rs` of
//! broker-node/broker.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{World, clock};
use crate::broker::Broker;
use crate::clients::join;
use crate::clock::{MILLISECOND, SECOND, Time};
use crate::oracle::{Fact, Known, actor};
use crate::packet::{Address, Packet, Request, Response, Timer};

/// Between two attempts.
const PAUSE: Time = 200 * MILLISECOND;

/// For an answer.
const PATIENCE: Time = 3 * SECOND;

/// Calls under way, and the brokers that wait for them.
#[derive(Debug, Default)]
pub(super) struct Joins {
    calls: BTreeMap<u64, u8>,
}

impl World {
    /// A broker's process that was here is gone for good, and so is its node.
    pub(super) fn give_up_node(&mut self, seat: u8) {
        let node = self.brokers[usize::from(seat)].node;
        self.book.nodes.retain(|known| *known != node);
        self.book.gone.push(node);
    }

    /// A broker asks to join; its process begins when it has.
    pub(super) fn join(&mut self, seat: u8) {
        let what = Rc::new(join(seat, self.book.number()));
        let call = self.engine.name();
        self.joins.calls.insert(call, seat);
        self.engine.totals.operations += 1;
        self.engine.tell(Fact::Invoked { operation: call, what: Rc::clone(&what) });
        let request = Request::Propose { actor: actor("joining", call), operation: what };
        let replica = u8::try_from(self.engine.chance.index(self.replicas.len())).expect("few replicas");
        self.engine.send(Address::World, Address::Replica(replica), Packet::Call { call, request });
        self.engine.after(PATIENCE, Address::World, Timer::GiveUp { call });
    }

    pub(super) fn join_unsent(&mut self, call: u64) {
        self.join_answered(call, Some(Response::NotDone));
    }

    /// `None`: no answer came.
    pub(super) fn join_answered(&mut self, call: u64, response: Option<Response>) {
        let Some(seat) = self.joins.calls.remove(&call) else { return };
        let known = match response {
            Some(Response::Proposed { index, answer }) => {
                answer.map_or(Known::Refused { index }, Known::Done)
            }
            Some(Response::NotDone | Response::NotLeading) => Known::NotDone,
            _ => Known::Unknown,
        };
        self.engine.tell(Fact::Answered { operation: call, known });
        let totals = &mut self.engine.totals;
        match known {
            Known::Done(outcome) => {
                totals.acknowledged += 1;
                return self.begin_broker(seat, outcome.node.expect("a join gives a number").0);
            }
            Known::Refused { .. } => totals.refused += 1,
            Known::NotDone => totals.not_done += 1,
            Known::Unknown => totals.unknown += 1,
        }
        self.engine.after(PAUSE, Address::World, Timer::Join { broker: seat });
    }

    fn begin_broker(&mut self, seat: u8, node: u64) {
        self.book.nodes.push(node);
        let clock = clock(&mut self.engine);
        self.brokers[usize::from(seat)] = Broker::new(seat, node, clock, &mut self.engine);
        self.start_broker(seat);
    }

    /// A broker's process begins again as the node that it was.
    pub(super) fn restart_broker(&mut self, seat: u8) {
        let (node, clock) = {
            let before = &self.brokers[usize::from(seat)];
            (before.node, before.clock.clone())
        };
        self.brokers[usize::from(seat)] = Broker::new(seat, node, clock, &mut self.engine);
        self.start_broker(seat);
    }

    fn start_broker(&mut self, seat: u8) {
        self.engine.tell(Fact::Began { broker: seat });
        self.brokers[usize::from(seat)].start(&mut self.engine);
    }

    /// Brokers that know that they were removed end, and join anew.
    pub(super) fn rejoin_removed(&mut self) {
        for seat in 0..self.engine.plan.brokers {
            let broker = &self.brokers[usize::from(seat)];
            if broker.removed && self.engine.alive(broker.address()).is_some() {
                self.engine.stop(Address::Broker(seat), false);
                self.give_up_node(seat);
                self.engine.after(PAUSE, Address::World, Timer::Join { broker: seat });
            }
        }
    }
}
