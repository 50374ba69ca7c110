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
    /// QoS 1, and there was no room: the client must be disconnected.
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

    /// Empties it for good.
    pub(crate) fn shut(&self) {
        let mut queue = self.queue.lock();
        *queue = Queue { shut: true, ..Queue::default() };
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
