//! Packet identifiers of what was sent to the client and is not acknowledged by it.

use std::collections::VecDeque;

use revoq_mqtt::PacketId;

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
/// Identifier n lives in slot n - 1. A freed one is reused last, so that a late or repeated acknowledgement seldom
/// meets a new packet; sending and acknowledging take constant time in any order.
#[derive(Debug, Default)]
pub(crate) struct Window {
    slots: Vec<Option<Awaited>>,
    free: VecDeque<PacketId>,
    size_max: u16,
}

impl Window {
    pub(crate) fn new(size_max: u16) -> Window {
        Window { size_max, ..Window::default() }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.in_flight() < usize::from(self.size_max)
    }

    /// A fresh identifier for a packet that waits for `awaited`; `None` while the window is shut.
    pub(crate) fn send(&mut self, awaited: Awaited) -> Option<PacketId> {
        if let Some(packet_id) = self.free.pop_front() {
            self.slots[slot(packet_id)] = Some(awaited);
            return Some(packet_id);
        }
        if !self.is_open() {
            return None;
        }
        let packet_id = u16::try_from(self.slots.len() + 1).ok().and_then(PacketId::new)?;
        self.slots.push(Some(awaited));
        Some(packet_id)
    }

    /// What is awaited for `packet_id`.
    pub(crate) fn awaited(&self, packet_id: PacketId) -> Option<Awaited> {
        self.slots.get(slot(packet_id)).copied().flatten()
    }

    /// The client has a QoS 2 message: from now on PUBCOMP is awaited ([MQTT-4.3.3-4]). False when PUBREC was not.
    pub(crate) fn received(&mut self, packet_id: PacketId) -> bool {
        let slot = self.slots.get_mut(slot(packet_id)).filter(|slot| **slot == Some(Awaited::PubRec));
        slot.map(|slot| *slot = Some(Awaited::PubComp)).is_some()
    }

    /// Ends the flight of `packet_id`; false when nothing of that identifier waits for `awaited`.
    pub(crate) fn acknowledge(&mut self, packet_id: PacketId, awaited: Awaited) -> bool {
        match self.slots.get_mut(slot(packet_id)) {
            Some(entry) if *entry == Some(awaited) => *entry = None,
            _ => return false,
        }
        self.free.push_back(packet_id);
        true
    }
}

fn slot(packet_id: PacketId) -> usize {
    usize::from(packet_id.get()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_identifiers_up_to_its_size() {
        let mut window = Window::new(2);
        let one = window.send(Awaited::PubAck).expect("open");
        let two = window.send(Awaited::PubAck).expect("open");
        assert_eq!((one.get(), two.get(), window.in_flight()), (1, 2, 2));
        assert_eq!(window.send(Awaited::PubAck), None);
        assert!(window.acknowledge(two, Awaited::PubAck));
        assert!(!window.acknowledge(two, Awaited::PubAck), "only once");
        assert!(window.acknowledge(one, Awaited::PubAck));
        assert_eq!(window.send(Awaited::PubAck), Some(two), "the one that is free for longest");
    }

    #[test]
    fn uses_every_identifier_and_never_zero() {
        let mut window = Window::new(u16::MAX);
        for expected in 1..=u16::MAX {
            assert_eq!(window.send(Awaited::PubAck).map(PacketId::get), Some(expected));
        }
        assert!(!window.is_open());
        assert_eq!(window.send(Awaited::PubAck), None);
    }

    #[test]
    fn an_identifier_of_qos_2_is_free_after_pubcomp() {
        let mut window = Window::new(1);
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
        let mut window = Window::new(4);
        assert!(!window.acknowledge(PacketId::new(9).expect("not zero"), Awaited::PubAck));
        assert_eq!(window.in_flight(), 0);
    }
}
