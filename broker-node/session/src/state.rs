//! What of a session outlives its connection.

use std::collections::BTreeSet;

use revoq_mqtt::{QoS, ReasonCode, TopicFilter};

use crate::acks::{Acks, PublishToken};
use crate::outbound::{Offered, Queue, Window};
use crate::{Config, Delivery, Tick};

/// Session State (MQTT 5.0 section 4.1) of a client that is away: handed out by
/// [`CloseReason`](crate::CloseReason), and given back with [`Accept`](crate::Accept) when the client is there again.
///
/// The terms of its subscriptions are not here: the router has them, as of any other.
#[derive(Debug, Default)]
pub struct SessionState {
    pub(crate) expiry_s: u32,
    pub(crate) streams_opened: u32,
    pub(crate) subscriptions: BTreeSet<TopicFilter>,
    /// QoS 2 messages for which PUBREL did not come. Of those that the router has not, it may still get some, up to the
    /// moment at which the state is handed out.
    pub(crate) acks: Acks,
    /// Of the data streams, up to that moment.
    pub(crate) stream_acks: Vec<Acks>,
    /// QoS 1 and 2 messages that were sent and are not acknowledged.
    pub(crate) window: Window,
    /// QoS 1 and 2 messages that are to be sent.
    pub(crate) queue: Queue,
}

impl SessionState {
    /// Seconds for which it is to be kept, from the end of the connection on; `u32::MAX` is for ever.
    #[must_use]
    pub fn expiry_s(&self) -> u32 {
        self.expiry_s
    }

    /// Messages that wait for the client, and their bytes of topic, properties and payload.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        (self.queue.len(), self.queue.bytes())
    }

    /// When the session ends: messages of shared subscriptions that other members are to get.
    pub fn into_transferable(self) -> impl Iterator<Item = Delivery> {
        self.window.into_transferable().chain(self.queue.into_transferable())
    }

    /// The router has a message after all.
    pub(crate) fn answer(&mut self, token: PublishToken, reason: ReasonCode) {
        let mut all = std::iter::once(&mut self.acks).chain(&mut self.stream_acks);
        if let Some(acks) = all.find(|acks| acks.stream() == token.stream) {
            acks.answer(token, reason);
        }
    }

    /// From now on nothing reaches the router: what it has not, the client sends again, all of it on one stream. An identifier
    /// that it used on two stands for nothing then: a message that is taken twice is better than one that is lost.
    pub(crate) fn settle(&mut self) {
        let mut received = std::mem::take(&mut self.acks).into_received();
        let mut ambiguous = Vec::new();
        for acks in std::mem::take(&mut self.stream_acks) {
            ambiguous.extend(acks.into_received().into_iter().filter(|id| !received.insert(*id)));
        }
        for packet_id in ambiguous {
            received.remove(&packet_id);
        }
        self.acks = Acks::resume(received);
    }

    /// A message for the client while it is away. False: it is not kept, because it is of QoS 0 or because the queue is
    /// full: what came before keeps its place.
    pub fn handle_delivery(&mut self, now: Tick, delivery: &Delivery, config: &Config) -> bool {
        if delivery.qos() == QoS::AtMostOnce {
            return false;
        }
        let offer =
            |queue: &mut Queue| matches!(queue.offer(delivery.waiting(), config), Offered::Queued { .. });
        if offer(&mut self.queue) {
            return true;
        }
        self.queue.drop_expired(now) > 0 && offer(&mut self.queue)
    }
}
