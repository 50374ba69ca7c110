//! Messages on their way from the router to a connection's task.

use std::collections::VecDeque;

use parking_lot::Mutex;
use revoq_mqtt::QoS;
use revoq_session::Delivery;

/// A mailbox that has run empty keeps room for so many messages; the rest goes back to the allocator.
const CAPACITY_KEPT: usize = 16;

/// A short, bounded queue: the task takes all of it whenever it runs, and its session applies the client's own limits.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    shut: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It waits, as others do already: the task has been woken for those.
    Queued,
    /// It is the first: the task must be woken.
    First,
    /// QoS 0, and there was no room.
    Dropped,
    /// QoS 1 or 2, and there was no room: the client must be disconnected.
    Overflow,
    /// The connection is closing.
    Shut,
}

impl Mailbox {
    /// Queues a message. Without room the oldest QoS 0 one makes way, so QoS 0 is what is lost first; the number of
    /// those comes second.
    pub(crate) fn post(&self, delivery: Delivery, messages_max: usize, bytes_max: usize) -> (Posted, u64) {
        let size = delivery.message().size();
        let mut queue = self.queue.lock();
        let mut dropped = 0;
        if queue.shut {
            return (Posted::Shut, 0);
        }
        while !queue.has_room(size, messages_max, bytes_max) {
            if delivery.qos() == QoS::AtMostOnce {
                return (Posted::Dropped, dropped + 1);
            }
            if !queue.drop_oldest() {
                return (Posted::Overflow, dropped);
            }
            dropped += 1;
        }
        queue.bytes += size;
        queue.deliveries.push_back(delivery);
        (if queue.deliveries.len() == 1 { Posted::First } else { Posted::Queued }, dropped)
    }

    /// Moves everything that waits into `out`.
    pub(crate) fn take(&self, out: &mut Vec<Delivery>) {
        let mut queue = self.queue.lock();
        out.extend(queue.deliveries.drain(..));
        queue.bytes = 0;
        if queue.deliveries.capacity() > CAPACITY_KEPT {
            queue.deliveries.shrink_to(CAPACITY_KEPT);
        }
    }

    /// Takes nothing from now on; gives out what waits.
    pub(crate) fn close(&self) -> VecDeque<Delivery> {
        let mut queue = self.queue.lock();
        let closed = std::mem::replace(&mut *queue, Queue { shut: true, ..Queue::default() });
        closed.deliveries
    }
}

impl Queue {
    fn has_room(&self, size: usize, messages_max: usize, bytes_max: usize) -> bool {
        // One message is always taken, or one larger than the limit could never be sent.
        self.deliveries.is_empty()
            || (self.deliveries.len() < messages_max && self.bytes.saturating_add(size) <= bytes_max)
    }

    fn drop_oldest(&mut self) -> bool {
        let oldest = self.deliveries.iter().position(|delivery| delivery.qos() == QoS::AtMostOnce);
        let dropped = oldest.and_then(|index| self.deliveries.remove(index));
        self.bytes -= dropped.as_ref().map_or(0, |delivery| delivery.message().size());
        dropped.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use revoq_mqtt::{Publish, PublishProperties, SubscribeOptions};
    use revoq_session::{Message, SubscriptionTerms, Tick};

    use super::*;

    fn delivery(qos: QoS, payload: &'static str) -> Delivery {
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic: "t".parse().expect("a topic"),
            packet_id: None,
            properties: PublishProperties::default(),
            payload: payload.into(),
        };
        let options = SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() };
        let terms = SubscriptionTerms { options, ..Default::default() };
        Delivery::new(&Arc::new(Message::new(publish, Tick(0))), &terms, false).expect("it is not local")
    }

    fn contents(mailbox: &Mailbox) -> Vec<String> {
        let mut out = Vec::new();
        mailbox.take(&mut out);
        let text = |delivery: &Delivery| String::from_utf8_lossy(delivery.message().payload()).into_owned();
        out.iter().map(text).collect()
    }

    #[test]
    fn only_the_first_wakes() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.post(delivery(QoS::AtMostOnce, "a"), 9, 99), (Posted::First, 0));
        assert_eq!(mailbox.post(delivery(QoS::AtMostOnce, "b"), 9, 99), (Posted::Queued, 0));
        assert_eq!(contents(&mailbox), ["a", "b"]);
        assert_eq!(mailbox.post(delivery(QoS::AtMostOnce, "c"), 9, 99), (Posted::First, 0));
    }

    #[test]
    fn qos_0_is_lost_first_and_qos_1_never_silently() {
        let mailbox = Mailbox::default();
        let post = |qos, payload| mailbox.post(delivery(qos, payload), 2, 99);
        assert_eq!(post(QoS::AtLeastOnce, "a").0, Posted::First);
        assert_eq!(post(QoS::AtMostOnce, "b").0, Posted::Queued);
        assert_eq!(post(QoS::AtMostOnce, "c"), (Posted::Dropped, 1));
        assert_eq!(post(QoS::AtLeastOnce, "d"), (Posted::Queued, 1));
        assert_eq!(post(QoS::AtLeastOnce, "e"), (Posted::Overflow, 0));
        assert_eq!(contents(&mailbox), ["a", "d"]);
    }

    #[test]
    fn bytes_are_bounded_and_one_message_always_fits() {
        let mailbox = Mailbox::default();
        assert_eq!(mailbox.post(delivery(QoS::AtLeastOnce, "0123456789"), 9, 5).0, Posted::First);
        assert_eq!(mailbox.post(delivery(QoS::AtLeastOnce, "0"), 9, 5).0, Posted::Overflow);
    }

    #[test]
    fn a_shut_one_takes_nothing() {
        let mailbox = Mailbox::default();
        mailbox.post(delivery(QoS::AtMostOnce, "a"), 9, 99);
        assert_eq!(mailbox.close().len(), 1);
        assert_eq!(mailbox.post(delivery(QoS::AtLeastOnce, "b"), 9, 99).0, Posted::Shut);
        assert!(contents(&mailbox).is_empty());
    }
}
