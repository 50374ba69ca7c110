//! Packet identifiers of what was sent to the client and is not acknowledged by it.

use std::collections::VecDeque;

use revoq_mqtt::{PacketId, QoS};

use crate::{Delivery, StreamId};

/// Packets in flight on each stream once there are several: together they find identifiers, 65,535 for 33 streams.
const SHARED_SIZE_MAX: u16 = 1_985;

/// So many identifiers are free before one of them is used again.
const RESTING: usize = 8;

/// What ends the flight of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "these are the names of the packets")]
pub(crate) enum Awaited {
    /// A QoS 1 PUBLISH was sent.
    PubAck,
    /// A QoS 2 PUBLISH was sent.
    PubRec,
    /// PUBREL was sent.
    PubComp,
}

/// The send quota of MQTT 5.0 section 4.9 and the packet identifiers that it hands out.
///
/// Identifier n lives in slot n - 1. A freed one is reused last, and not before others are free too, so that a late or
/// repeated acknowledgement seldom meets a new packet; sending and acknowledging take constant time in any order. A window of
/// a session that outlives its connection keeps what it sent, for the next connection.
///
/// Streams share the identifiers, so that one can take over what another sent. Each has a quota of its own, and what was sent
/// on one is acknowledged there alone: all methods speak of the stream that [`Window::swap`] put into view.
#[derive(Debug, Default)]
pub(crate) struct Window {
    slots: Vec<Option<Awaited>>,
    free: VecDeque<PacketId>,
    size_max: u16,
    /// Beside `slots`; empty where nothing is kept.
    kept: Vec<Option<Kept>>,
    /// What an earlier connection sent and this one did not yet, in order.
    unsent: VecDeque<PacketId>,
    next: u64,
    /// Beside `slots`: on which stream each was sent. Empty as long as there is one alone.
    streams: Vec<StreamId>,
    flight: Flight,
}

/// What is in flight on one stream.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    stream: StreamId,
    packets: usize,
}

impl Flight {
    pub(crate) fn of(stream: StreamId) -> Flight {
        Flight { stream, packets: 0 }
    }
}

/// What is sent again on the next connection.
#[derive(Debug)]
struct Kept {
    /// The order of PUBLISH and PUBREL packets ([MQTT-4.6.0-1], [MQTT-4.6.0-4]).
    sequence: u64,
    /// None once the client has it.
    delivery: Option<Delivery>,
}

impl Window {
    /// For a new connection: what is in flight is to be sent again, in order ([MQTT-4.4.0-1]).
    pub(crate) fn reopen(&mut self, size_max: u16) {
        self.size_max = size_max;
        let mut unsent: Vec<(u64, PacketId)> = Vec::new();
        for (at, kept) in self.kept.iter().enumerate() {
            if let Some(kept) = kept {
                unsent.push((kept.sequence, identifier(at).expect("it has one")));
            }
        }
        unsent.sort_unstable_by_key(|(sequence, _)| *sequence);
        self.unsent = unsent.into_iter().map(|(_, packet_id)| packet_id).collect();
        self.streams = Vec::new();
        let packets = self.slots.len() - self.free.len() - self.unsent.len();
        self.flight = Flight { stream: StreamId::CONTROL, packets };
    }

    /// There are several streams from now on.
    pub(crate) fn share(&mut self) {
        self.size_max = self.size_max.min(SHARED_SIZE_MAX);
    }

    /// Puts another stream into view.
    pub(crate) fn swap(&mut self, flight: &mut Flight) {
        std::mem::swap(&mut self.flight, flight);
    }

    /// A stream is closed: what was sent on it and is kept is to be sent again, on the control stream, in order.
    pub(crate) fn hand_over(&mut self, closed: StreamId) {
        let mut unsent: Vec<(u64, PacketId)> = Vec::new();
        for (at, stream) in self.streams.iter_mut().enumerate().filter(|(_, stream)| **stream == closed) {
            *stream = StreamId::CONTROL;
            if let Some(Some(kept)) = self.kept.get(at) {
                unsent.push((kept.sequence, identifier(at).expect("it has one")));
            }
        }
        unsent.sort_unstable_by_key(|(sequence, _)| *sequence);
        self.unsent.extend(unsent.into_iter().map(|(_, packet_id)| packet_id));
    }

    /// Whether everything that an earlier connection or stream sent has been sent again: before that the control stream
    /// takes nothing new.
    pub(crate) fn is_resent(&self) -> bool {
        self.unsent.is_empty() || self.flight.stream != StreamId::CONTROL
    }

    /// Packets that were sent on this connection and stream, and that are not acknowledged.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.flight.packets
    }

    /// Whether a message may be sent that was not sent before.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        let has_identifier = !self.free.is_empty() || self.slots.len() < usize::from(u16::MAX);
        self.is_resent() && self.has_quota() && has_identifier
    }

    fn has_quota(&self) -> bool {
        self.flight.packets < usize::from(self.size_max)
    }

    #[inline]
    fn is_in_view(&self, slot: usize) -> bool {
        self.streams.get(slot).copied().unwrap_or_default() == self.flight.stream
    }

    /// A fresh identifier for a packet that waits for `awaited`; `None` while the window is shut.
    #[inline]
    pub(crate) fn send(&mut self, awaited: Awaited) -> Option<PacketId> {
        if !self.is_open() {
            return None;
        }
        let packet_id = match identifier(self.slots.len()).filter(|_| self.free.len() < RESTING) {
            Some(fresh) => {
                self.slots.push(Some(awaited));
                fresh
            }
            None => {
                let freed = self.free.pop_front()?;
                self.slots[slot(freed)] = Some(awaited);
                freed
            }
        };
        if self.flight.stream != StreamId::CONTROL || !self.streams.is_empty() {
            self.streams.resize(self.slots.len(), StreamId::CONTROL);
            self.streams[slot(packet_id)] = self.flight.stream;
        }
        self.flight.packets += 1;
        Some(packet_id)
    }

    /// Keeps what was sent by `packet_id` until the client has it.
    pub(crate) fn keep(&mut self, packet_id: PacketId, delivery: Delivery) {
        if self.kept.len() < self.slots.len() {
            self.kept.resize_with(self.slots.len(), || None);
        }
        self.kept[slot(packet_id)] = Some(Kept { sequence: self.next, delivery: Some(delivery) });
        self.next += 1;
    }

    /// The next packet to be sent again, as far as the window is open: a PUBLISH, or without a message a PUBREL, which
    /// needs no quota.
    pub(crate) fn resend(&mut self) -> Option<(PacketId, Option<Delivery>)> {
        if self.is_resent() {
            return None;
        }
        let packet_id = *self.unsent.front()?;
        let delivery = self.kept[slot(packet_id)].as_ref().and_then(|kept| kept.delivery.clone());
        if delivery.is_some() && !self.has_quota() {
            return None;
        }
        self.unsent.pop_front();
        self.flight.packets += 1;
        Some((packet_id, delivery))
    }

    /// What was sent and could be given to another member of a group: QoS 1 is delivered at least once, QoS 2 not again.
    pub(crate) fn into_transferable(self) -> impl Iterator<Item = Delivery> {
        let deliveries = self.kept.into_iter().flatten().filter_map(|kept| kept.delivery);
        deliveries.filter(|delivery| delivery.is_transferable() && delivery.qos() == QoS::AtLeastOnce)
    }

    /// What is awaited for `packet_id`.
    #[inline]
    pub(crate) fn awaited(&self, packet_id: PacketId) -> Option<Awaited> {
        let slot = slot(packet_id);
        self.slots.get(slot).copied().flatten().filter(|_| self.is_in_view(slot))
    }

    /// The client has a QoS 2 message: from now on PUBCOMP is awaited ([MQTT-4.3.3-4]). False when PUBREC was not.
    pub(crate) fn received(&mut self, packet_id: PacketId) -> bool {
        let slot_of = slot(packet_id);
        if self.awaited(packet_id) != Some(Awaited::PubRec) {
            return false;
        }
        self.slots[slot_of] = Some(Awaited::PubComp);
        if let Some(Some(kept)) = self.kept.get_mut(slot_of) {
            *kept = Kept { sequence: self.next, delivery: None };
            self.next += 1;
        }
        self.flight.packets += usize::from(self.forget_unsent(packet_id));
        true
    }

    /// Ends the flight of `packet_id`; false when nothing of that identifier waits for `awaited`.
    #[inline]
    pub(crate) fn acknowledge(&mut self, packet_id: PacketId, awaited: Awaited) -> bool {
        let slot_of = slot(packet_id);
        if self.awaited(packet_id) != Some(awaited) {
            return false;
        }
        self.slots[slot_of] = None;
        if let Some(kept) = self.kept.get_mut(slot_of) {
            *kept = None;
        }
        self.flight.packets -= usize::from(!self.forget_unsent(packet_id));
        self.free.push_back(packet_id);
        true
    }

    /// An acknowledgement of what an earlier connection or stream sent, before this one has sent it again. False: it was sent.
    fn forget_unsent(&mut self, packet_id: PacketId) -> bool {
        let before = self.unsent.len();
        if before > 0 {
            self.unsent.retain(|unsent| *unsent != packet_id);
        }
        self.unsent.len() < before
    }
}

fn slot(packet_id: PacketId) -> usize {
    usize::from(packet_id.get()) - 1
}

fn identifier(slot: usize) -> Option<PacketId> {
    u16::try_from(slot + 1).ok().and_then(PacketId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(size_max: u16) -> Window {
        let mut window = Window::default();
        window.reopen(size_max);
        window
    }

    #[test]
    fn hands_out_identifiers_up_to_its_size() {
        let mut window = window(2);
        let one = window.send(Awaited::PubAck).expect("open");
        let two = window.send(Awaited::PubAck).expect("open");
        assert_eq!((one.get(), two.get(), window.in_flight()), (1, 2, 2));
        assert_eq!(window.send(Awaited::PubAck), None);
        assert!(window.acknowledge(two, Awaited::PubAck));
        assert!(!window.acknowledge(two, Awaited::PubAck), "only once");
        assert!(window.acknowledge(one, Awaited::PubAck));
        for _ in 2..RESTING {
            let fresh = window.send(Awaited::PubAck).expect("open");
            assert!(fresh.get() > 2 && window.acknowledge(fresh, Awaited::PubAck));
        }
        assert_eq!(window.send(Awaited::PubAck), Some(two), "the one that is free for longest");
    }

    #[test]
    fn an_identifier_rests_before_it_is_used_again() {
        let mut window = window(1);
        let mut used = Vec::new();
        for _ in 0..20 {
            let packet_id = window.send(Awaited::PubAck).expect("open");
            assert!(window.acknowledge(packet_id, Awaited::PubAck));
            used.push(packet_id.get());
        }
        assert_eq!(used, [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4]);
    }

    #[test]
    fn uses_every_identifier_and_never_zero() {
        let mut window = window(u16::MAX);
        for expected in 1..=u16::MAX {
            assert_eq!(window.send(Awaited::PubAck).map(PacketId::get), Some(expected));
        }
        assert!(!window.is_open());
        assert_eq!(window.send(Awaited::PubAck), None);
        let last = PacketId::new(u16::MAX).expect("not zero");
        assert!(window.acknowledge(last, Awaited::PubAck));
        assert_eq!(window.send(Awaited::PubAck), Some(last), "no other is left");
    }

    #[test]
    fn an_identifier_of_qos_2_is_free_after_pubcomp() {
        let mut window = window(1);
        let one = window.send(Awaited::PubRec).expect("open");
        assert!(!window.acknowledge(one, Awaited::PubComp), "not yet");
        assert!(window.received(one));
        assert!(!window.received(one), "only once");
        assert_eq!((window.awaited(one), window.is_open()), (Some(Awaited::PubComp), false));
        assert!(window.acknowledge(one, Awaited::PubComp));
        assert_eq!((window.awaited(one), window.is_open()), (None, true));
    }

    #[test]
    fn ignores_identifiers_that_were_never_sent() {
        let mut window = window(4);
        assert!(!window.acknowledge(PacketId::new(9).expect("not zero"), Awaited::PubAck));
        assert_eq!(window.in_flight(), 0);
    }

    #[test]
    fn each_stream_has_its_quota_and_its_acknowledgements() {
        let (mut window, mut other) = (window(2), Flight::of(StreamId(1)));
        window.share();
        let one = window.send(Awaited::PubAck).expect("open");
        window.swap(&mut other);
        let two = window.send(Awaited::PubAck).expect("open");
        let three = window.send(Awaited::PubRec).expect("open");
        assert_eq!((one.get(), two.get(), three.get()), (1, 2, 3), "no identifier is there twice");
        assert!(!window.is_open(), "two are in flight here");
        assert!(!window.acknowledge(one, Awaited::PubAck), "it was sent on another stream");
        window.swap(&mut other);
        assert!(window.is_open() && !window.received(three));
        assert!(window.acknowledge(one, Awaited::PubAck));
        assert_eq!(window.in_flight(), 0);
        window.swap(&mut other);
        assert!(window.acknowledge(two, Awaited::PubAck) && window.received(three));
        assert_eq!((window.in_flight(), window.awaited(three)), (1, Some(Awaited::PubComp)));
    }
}
