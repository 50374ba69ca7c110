//! What each stream of a connection has of its own towards the client.

use bytes::BytesMut;

use super::Outbound;
use super::aliases::Aliases;
use super::queue::Queue;
use super::window::Flight;
use crate::{Config, Error, StreamId};

/// A write buffer, a queue and a quota: a stream whose client doesn't read it holds up no other.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    stream: StreamId,
    pub(super) buffer: BytesMut,
    /// Only of the control stream: clients differ in whether an alias holds for a stream or for all.
    pub(super) aliases: Aliases,
    pub(super) queue: Queue,
    /// Bytes of answers appended since the buffer was last seen empty: what the client itself makes us buffer.
    pub(super) answer_bytes: usize,
    /// While another is in view.
    flight: Flight,
}

impl Lane {
    pub(crate) fn of(stream: StreamId) -> Lane {
        Lane { stream, flight: Flight::of(stream), ..Lane::default() }
    }

    pub(super) fn is_data(&self) -> bool {
        self.stream != StreamId::CONTROL
    }
}

impl Outbound {
    /// The stream that is in view.
    pub(crate) fn stream(&self) -> StreamId {
        self.lane.stream
    }

    /// There are several streams from now on.
    pub(crate) fn share(&mut self) {
        self.window.share();
    }

    /// Puts another stream into view.
    pub(crate) fn swap(&mut self, lane: &mut Lane) {
        std::mem::swap(&mut self.lane, lane);
        // Each lane that is out of view holds its own account.
        self.window.swap(&mut self.lane.flight);
        std::mem::swap(&mut self.lane.flight, &mut lane.flight);
    }

    /// A data stream is closed: the one in view, the control stream, takes over what was sent on it without acknowledgement,
    /// and what waited for it. Comes back: what stands in its buffer.
    pub(crate) fn take_over(&mut self, closed: Lane) -> BytesMut {
        self.window.hand_over(closed.stream);
        self.lane.queue.append(closed.queue);
        closed.buffer
    }

    /// What was taken over keeps to the limits of the queue.
    pub(crate) fn check_queue(&mut self, config: &Config) -> Result<(), Error> {
        self.counters.dropped_queue_full += self.lane.queue.shorten(config);
        if self.lane.queue.exceeds(config) {
            return Err(Error::QueueFull { messages: config.queue_max, bytes: config.queue_bytes_max });
        }
        Ok(())
    }
}
