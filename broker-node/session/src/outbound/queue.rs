//! Messages that wait until they may be sent.

use std::collections::VecDeque;

use revoq_mqtt::QoS;

use crate::{Config, Delivery, Tick};

/// A queue keeps this capacity when it has run empty; what is beyond goes back to the allocator.
const CAPACITY_KEPT: usize = 32;

/// Messages that wait for the window or for room in the write buffer.
///
/// QoS 0 waits apart from QoS 1: a shut window must not hold it up, and it is what is dropped first. The sequence
/// number restores the order between the two when only the write buffer was in the way.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    at_most_once: VecDeque<Queued>,
    at_least_once: VecDeque<Queued>,
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct Queued {
    sequence: u64,
    delivery: Delivery,
}

/// What became of an offered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It is queued, at the cost of so many older QoS 0 messages.
    Queued { dropped: u64 },
    /// It was QoS 0 and there was no room.
    Dropped,
    /// It was of another QoS and there was no room.
    Full,
}

impl Queue {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.at_most_once.len() + self.at_least_once.len()
    }

    /// Bytes of topics, properties and payloads.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What waits and could be given to another member of a group.
    pub(crate) fn into_transferable(self) -> impl Iterator<Item = Delivery> {
        let deliveries = self.at_least_once.into_iter().map(|queued| queued.delivery);
        deliveries.filter(Delivery::is_transferable)
    }

    /// QoS 0 ends with the connection.
    pub(crate) fn drop_at_most_once(&mut self) {
        while self.drop_oldest() {}
    }

    /// Drops what must not be sent any more ([MQTT-3.3.2-5]); how many.
    pub(crate) fn drop_expired(&mut self, now: Tick) -> usize {
        let before = self.at_least_once.len();
        let bytes = &mut self.bytes;
        self.at_least_once.retain(|queued| {
            let is_expired = queued.delivery.message().is_expired(now);
            *bytes -= if is_expired { queued.delivery.size() } else { 0 };
            !is_expired
        });
        before - self.at_least_once.len()
    }

    /// Whether a message of this QoS would have to wait for older ones.
    #[inline]
    pub(crate) fn holds(&self, qos: QoS) -> bool {
        match qos {
            QoS::AtMostOnce => !self.at_most_once.is_empty(),
            QoS::AtLeastOnce | QoS::ExactlyOnce => !self.at_least_once.is_empty(),
        }
    }

    pub(crate) fn offer(&mut self, delivery: Delivery, config: &Config) -> Offered {
        let size = delivery.size();
        let mut dropped = 0;
        while !self.has_room(size, config) {
            if self.drop_oldest() {
                dropped += 1;
            } else if delivery.qos == QoS::AtMostOnce {
                return Offered::Dropped;
            } else {
                return Offered::Full;
            }
        }
        self.push(delivery);
        Offered::Queued { dropped }
    }

    /// Takes on what waits in another queue, in its order and whatever the limits say.
    pub(crate) fn append(&mut self, mut other: Queue) {
        while let Some(delivery) = other.pop(true) {
            self.push(delivery);
        }
    }

    fn push(&mut self, delivery: Delivery) {
        self.bytes += delivery.size();
        self.next += 1;
        let queued = Queued { sequence: self.next, delivery };
        match queued.delivery.qos {
            QoS::AtMostOnce => self.at_most_once.push_back(queued),
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.at_least_once.push_back(queued),
        }
    }

    /// Drops QoS 0 as far as the limits ask for it; how many.
    pub(crate) fn shorten(&mut self, config: &Config) -> u64 {
        let mut dropped = 0;
        while self.exceeds(config) && self.drop_oldest() {
            dropped += 1;
        }
        dropped
    }

    /// Whether more waits than may; one message always may.
    pub(crate) fn exceeds(&self, config: &Config) -> bool {
        self.len() > 1 && (self.len() > config.queue_max || self.bytes > config.queue_bytes_max)
    }

    /// The oldest message that may be sent now.
    pub(crate) fn pop(&mut self, window_open: bool) -> Option<Delivery> {
        let guaranteed = self.at_least_once.front().filter(|_| window_open).map(|queued| queued.sequence);
        let best_effort = self.at_most_once.front().map(|queued| queued.sequence);
        let from = match (guaranteed, best_effort) {
            (None, None) => return None,
            (Some(one), Some(zero)) if one < zero => &mut self.at_least_once,
            (Some(_), None) => &mut self.at_least_once,
            (_, Some(_)) => &mut self.at_most_once,
        };
        let delivery = take(from)?;
        self.bytes -= delivery.size();
        Some(delivery)
    }

    /// Room by both limits. One message is always taken, or one larger than the limit could never be sent.
    fn has_room(&self, size: usize, config: &Config) -> bool {
        self.len() == 0
            || (self.len() < config.queue_max && self.bytes.saturating_add(size) <= config.queue_bytes_max)
    }

    fn drop_oldest(&mut self) -> bool {
        let dropped = take(&mut self.at_most_once);
        if let Some(delivery) = &dropped {
            self.bytes -= delivery.size();
        }
        dropped.is_some()
    }
}

fn take(from: &mut VecDeque<Queued>) -> Option<Delivery> {
    let queued = from.pop_front()?;
    if from.is_empty() {
        from.shrink_to(CAPACITY_KEPT);
    }
    Some(queued.delivery)
}
