//! Everything that goes to the client: answers at once, messages as window and write buffer allow.

mod aliases;
mod lane;
mod queue;
mod window;

use bytes::BytesMut;
use revoq_mqtt::{
    Ack, EncodedPublish, Packet, PacketId, PacketType, QoS, ReasonCode, Recipient, Version, encode,
};

use crate::message::Age;
use crate::{Config, Delivery, Error, Tick};
use aliases::Aliases;
pub(crate) use lane::Lane;
pub(crate) use queue::{Offered, Queue};
use window::Awaited;
pub(crate) use window::Window;

/// What a client did not get, because of a limit or because it is slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// QoS 0 messages dropped because the queue was full.
    pub dropped_queue_full: u64,
    /// Messages whose expiry interval ran out while they waited.
    pub dropped_expired: u64,
    /// Messages larger than the client's Maximum Packet Size ([MQTT-3.1.2-25]), or than any packet can be.
    pub dropped_too_large: u64,
    /// Times that reading paused because the client published faster than it may.
    pub paused: u64,
    /// Filters refused because the session has too many, or because they have too many levels.
    pub filters_refused: u64,
}

#[derive(Debug)]
pub(crate) struct Outbound {
    /// Of the stream that is in view: the control stream, unless [`Outbound::swap`] put another there.
    lane: Lane,
    version: Version,
    /// The client's Maximum Packet Size.
    packet_size_max: u32,
    window: Window,
    /// Whether the window outlives the connection.
    keeps: bool,
    counters: Counters,
}

impl Default for Outbound {
    fn default() -> Outbound {
        Outbound {
            lane: Lane::default(),
            version: Version::V311,
            packet_size_max: u32::MAX,
            window: Window::default(),
            keeps: false,
            counters: Counters::default(),
        }
    }
}

impl Outbound {
    /// Sets what CONNECT said about the answers that the client can take.
    pub(crate) fn open(&mut self, version: Version, packet_size_max: u32) {
        self.version = version;
        self.packet_size_max = packet_size_max;
    }

    /// Lets messages through, with so many in flight and so many topic aliases, and goes on where another connection of
    /// the session ended. With `keeps` they outlive this one.
    pub(crate) fn admit(
        &mut self,
        (window, queue): (Window, Queue),
        window_size: u16,
        topic_alias_max: u16,
        keeps: bool,
    ) {
        (self.window, self.lane.queue) = (window, queue);
        self.window.reopen(window_size);
        self.lane.aliases = Aliases::new(topic_alias_max);
        self.keeps = keeps;
    }

    /// What the next connection of the session goes on with. Only the control stream is left.
    pub(crate) fn take(&mut self) -> (Window, Queue) {
        self.lane.queue.drop_at_most_once();
        (std::mem::take(&mut self.window), std::mem::take(&mut self.lane.queue))
    }

    #[inline]
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.lane.buffer
    }

    /// Whether a packet of this type is the first that has not left.
    pub(crate) fn begins_with(&self, kind: PacketType) -> bool {
        self.lane.buffer.first().is_some_and(|&first| PacketType::of(first) == Some(kind))
    }

    /// Puts bytes before those that stand in the buffer.
    pub(crate) fn put_back(&mut self, mut bytes: BytesMut) {
        bytes.extend_from_slice(&self.lane.buffer);
        self.lane.buffer = bytes;
    }

    /// Reading pauses because of a limit.
    pub(crate) fn count_pause(&mut self) {
        self.counters.paused += 1;
    }

    /// A filter was refused because of a limit.
    pub(crate) fn count_refused_filter(&mut self) {
        self.counters.filters_refused += 1;
    }

    #[inline]
    pub(crate) fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// Whether the client leaves few enough answers unread to be given more.
    #[inline]
    pub(crate) fn has_room_for_answers(&self, config: &Config) -> bool {
        self.lane.buffer.is_empty() || self.lane.answer_bytes < config.write_bytes_high
    }

    /// Nothing waits, and there is room for more.
    #[inline]
    pub(crate) fn is_flowing(&self, config: &Config) -> bool {
        self.lane.queue.len() == 0
            && self.window.is_resent()
            && self.lane.buffer.len() < config.write_bytes_high
    }

    /// Appends an answer or a closing word. Nothing is left behind by an error.
    pub(crate) fn answer(&mut self, packet: &Packet) -> Result<(), Error> {
        let start = self.lane.buffer.len();
        if start == 0 {
            self.lane.answer_bytes = 0;
        }
        if let Err(error) = encode(packet, self.version, &mut self.lane.buffer) {
            self.lane.buffer.truncate(start);
            return Err(Error::Encode(error));
        }
        let size = self.lane.buffer.len() - start;
        if exceeds(size, self.packet_size_max) {
            self.lane.buffer.truncate(start);
            return Err(Error::ClientPacketSize { size, maximum: self.packet_size_max });
        }
        self.lane.answer_bytes += size;
        Ok(())
    }

    /// Writes a message if nothing is in its way, else queues it.
    #[inline]
    pub(crate) fn deliver(&mut self, now: Tick, delivery: &Delivery, config: &Config) -> Result<(), Error> {
        let waits = self.lane.buffer.len() >= config.write_bytes_high
            || self.lane.queue.holds(delivery.qos)
            || (delivery.qos != QoS::AtMostOnce && !self.window.is_open());
        if !waits {
            self.send(now, delivery);
            return Ok(());
        }
        match self.lane.queue.offer(delivery.waiting(), config) {
            Offered::Queued { dropped } => self.counters.dropped_queue_full += dropped,
            Offered::Dropped => self.counters.dropped_queue_full += 1,
            Offered::Full => {
                return Err(Error::QueueFull { messages: config.queue_max, bytes: config.queue_bytes_max });
            }
        }
        Ok(())
    }

    /// Moves what an earlier connection sent, and then queued messages, into the buffer while there is room.
    #[inline]
    pub(crate) fn fill(&mut self, now: Tick, config: &Config) {
        while self.lane.buffer.len() < config.write_bytes_high {
            if let Some((packet_id, delivery)) = self.window.resend() {
                self.send_again(now, packet_id, delivery);
                continue;
            }
            match self.lane.queue.pop(self.window.is_open()) {
                Some(delivery) => self.send(now, &delivery),
                None => break,
            }
        }
    }

    /// A PUBACK came: the window opens.
    pub(crate) fn acknowledge(&mut self, packet_id: PacketId) -> Result<(), Error> {
        self.land(packet_id, Awaited::PubAck, PacketType::PubAck)
    }

    /// A PUBREC came. PUBREL follows ([MQTT-4.3.3-4]), unless the client refused the message.
    pub(crate) fn received(&mut self, ack: &Ack) -> Result<(), Error> {
        let packet_id = ack.packet_id;
        let awaited = self.window.awaited(packet_id);
        if awaited == Some(Awaited::PubAck) {
            return Err(Error::Unexpected(PacketType::PubRec));
        }
        if ack.reason.is_error() {
            self.window.acknowledge(packet_id, Awaited::PubRec);
            return Ok(());
        }
        let known = self.window.received(packet_id) || awaited == Some(Awaited::PubComp);
        let reason = if known || !self.version.is_v5() {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        self.answer(&Packet::PubRel(Ack::new(packet_id, reason)))
    }

    /// A PUBCOMP came: the window opens.
    pub(crate) fn complete(&mut self, packet_id: PacketId) -> Result<(), Error> {
        self.land(packet_id, Awaited::PubComp, PacketType::PubComp)
    }

    /// Ends a flight. With nothing in flight by that identifier the packet may be repeated, which does no harm; with something
    /// else awaited it is none that a receiver could have sent (4.3).
    fn land(&mut self, packet_id: PacketId, awaited: Awaited, came: PacketType) -> Result<(), Error> {
        if !self.window.acknowledge(packet_id, awaited) && self.window.awaited(packet_id).is_some() {
            return Err(Error::Unexpected(came));
        }
        Ok(())
    }

    /// Drops what stands in the buffer.
    pub(crate) fn discard(&mut self) {
        self.lane.buffer.clear();
    }

    /// Appends one PUBLISH. The caller has seen that the window is open.
    fn send(&mut self, now: Tick, delivery: &Delivery) {
        let expiry_s = match delivery.message.age(now) {
            Age::Fresh => None,
            Age::Waited { expiry_s } => Some(expiry_s),
            Age::Expired => {
                self.counters.dropped_expired += 1;
                return;
            }
        };
        let Some(encoded) = delivery.message.encoded(self.version, delivery.qos, delivery.retain) else {
            self.counters.dropped_too_large += 1;
            return;
        };
        let awaited = match delivery.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => Some(Awaited::PubAck),
            QoS::ExactlyOnce => Some(Awaited::PubRec),
        };
        let packet_id = awaited.and_then(|awaited| self.window.send(awaited));
        if !self.write(&encoded, packet_id, expiry_s, delivery) {
            self.counters.dropped_too_large += 1;
            if let (Some(packet_id), Some(awaited)) = (packet_id, awaited) {
                self.window.acknowledge(packet_id, awaited);
            }
        } else if let Some(packet_id) =
            packet_id.filter(|_| self.keeps || delivery.is_shared || self.lane.is_data())
        {
            self.window.keep(packet_id, delivery.waiting());
        }
    }

    /// Appends a PUBLISH with DUP, or a PUBREL, that an earlier connection sent. A message whose expiry interval ran out goes
    /// too: its delivery has begun.
    fn send_again(&mut self, now: Tick, packet_id: PacketId, delivery: Option<Delivery>) {
        let Some(delivery) = delivery else {
            // To a client that takes no packet of this size nothing more can be said about the message.
            let _ = self.answer(&Packet::PubRel(Ack::new(packet_id, ReasonCode::Success)));
            return;
        };
        let expiry_s = match delivery.message.age(now) {
            Age::Fresh => None,
            Age::Waited { expiry_s } => Some(expiry_s),
            Age::Expired => Some(0),
        };
        let encoded = delivery.message.encode(self.version, delivery.qos, delivery.retain, true);
        if !encoded.is_some_and(|encoded| self.write(&encoded, Some(packet_id), expiry_s, &delivery)) {
            self.counters.dropped_too_large += 1;
            let awaited = self.window.awaited(packet_id).expect("it is in flight");
            self.window.acknowledge(packet_id, awaited);
        }
    }

    /// False when the packet is larger than the client takes; nothing of it is in the buffer then.
    fn write(
        &mut self,
        encoded: &EncodedPublish,
        packet_id: Option<PacketId>,
        expiry_s: Option<u32>,
        delivery: &Delivery,
    ) -> bool {
        let topic = delivery.message.topic();
        let (topic_alias, alias_known) = self.lane.aliases.find(topic);
        let subscription_ids = &delivery.subscription_ids;
        let start = self.lane.buffer.len();
        if !self.append(
            encoded,
            packet_id,
            &Recipient { expiry_s, topic_alias, alias_known, subscription_ids },
        ) {
            self.lane.buffer.truncate(start);
            return false;
        }
        if topic_alias.is_some() && !alias_known {
            self.lane.aliases.learn(topic);
        }
        true
    }

    /// False when the packet is larger than the client takes; it may be in the buffer then.
    #[inline]
    fn append(
        &mut self,
        encoded: &EncodedPublish,
        packet_id: Option<PacketId>,
        recipient: &Recipient<'_>,
    ) -> bool {
        if !self.version.is_v5() || *recipient == Recipient::default() {
            if exceeds(encoded.size(), self.packet_size_max) {
                return false;
            }
            encoded.write(packet_id, &mut self.lane.buffer);
            return true;
        }
        let start = self.lane.buffer.len();
        encoded.write_for(packet_id, recipient, &mut self.lane.buffer).is_ok()
            && !exceeds(self.lane.buffer.len() - start, self.packet_size_max)
    }
}

#[inline]
fn exceeds(size: usize, maximum: u32) -> bool {
    u32::try_from(size).map_or(true, |size| size > maximum)
}
