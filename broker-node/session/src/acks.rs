//! Acknowledgements that are owed to the client, in the order of its PUBLISH packets.

use std::collections::{BTreeSet, VecDeque};

use revoq_mqtt::{Ack, Packet, PacketId, ReasonCode};

use crate::StreamId;

/// Names a PUBLISH of QoS 1 or 2 for which the client waits. The driver hands it back when the router has the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublishToken {
    pub(crate) stream: StreamId,
    number: u64,
}

/// PUBACK and PUBREC leave in the order in which the PUBLISH packets came ([MQTT-4.6.0-2], [MQTT-4.6.0-3]), whatever
/// the order of answers.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    /// On which the PUBLISH packets come: each stream has packet identifiers of its own.
    stream: StreamId,
    waiting: VecDeque<Waiting>,
    /// The token of the front of `waiting`; each entry behind it has the next number.
    first: u64,
    /// Entries of `waiting` that end in PUBACK.
    pubacks: usize,
    /// QoS 2: a message of that identifier is here, and PUBREL is not. As many as there are identifiers, 65,535.
    received: BTreeSet<PacketId>,
}

/// Which packet acknowledges a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckKind {
    PubAck,
    PubRec,
}

#[derive(Debug)]
struct Waiting {
    kind: AckKind,
    packet_id: PacketId,
    answer: Option<ReasonCode>,
}

impl Acks {
    pub(crate) fn of(stream: StreamId) -> Acks {
        Acks { stream, ..Acks::default() }
    }

    pub(crate) fn stream(&self) -> StreamId {
        self.stream
    }

    /// PUBLISH packets that wait for the router.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// PUBLISH packets that count against Receive Maximum: without PUBACK, or without PUBCOMP (section 4.9).
    #[inline]
    pub(crate) fn unfinished(&self) -> usize {
        self.received.len() + self.pubacks
    }

    /// Whether a QoS 2 message of that identifier is here already ([MQTT-4.3.3-10]).
    #[inline]
    pub(crate) fn is_received(&self, packet_id: PacketId) -> bool {
        self.received.contains(&packet_id)
    }

    /// Takes on a PUBLISH that is to be acknowledged.
    pub(crate) fn owe(&mut self, kind: AckKind, packet_id: PacketId) -> PublishToken {
        match kind {
            AckKind::PubAck => self.pubacks += 1,
            AckKind::PubRec => _ = self.received.insert(packet_id),
        }
        let token = PublishToken { stream: self.stream, number: self.first + self.waiting.len() as u64 };
        self.waiting.push_back(Waiting { kind, packet_id, answer: None });
        token
    }

    /// A QoS 2 message came again: it is acknowledged again, in its turn, and not published.
    pub(crate) fn owe_again(&mut self, packet_id: PacketId) {
        let answer = Some(ReasonCode::Success);
        self.waiting.push_back(Waiting { kind: AckKind::PubRec, packet_id, answer });
    }

    /// Records the answer to one PUBLISH. A token that is not waiting any more is ignored.
    pub(crate) fn answer(&mut self, token: PublishToken, reason: ReasonCode) {
        let waiting = token.number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(waiting) = waiting.and_then(|index| self.waiting.get_mut(index)) {
            waiting.answer = Some(reason);
        }
    }

    /// The next acknowledgement that may be sent.
    pub(crate) fn next(&mut self) -> Option<Packet> {
        let Waiting { kind, packet_id, answer } = *self.waiting.front()?;
        let ack = Ack::new(packet_id, answer?);
        self.waiting.pop_front();
        self.first += 1;
        Some(match kind {
            AckKind::PubAck => {
                self.pubacks -= 1;
                Packet::PubAck(ack)
            }
            AckKind::PubRec => {
                if ack.reason.is_error() {
                    self.received.remove(&packet_id);
                }
                Packet::PubRec(ack)
            }
        })
    }

    /// For a session that goes on.
    pub(crate) fn resume(received: BTreeSet<PacketId>) -> Acks {
        Acks { received, ..Acks::default() }
    }

    /// The QoS 2 messages that the router has: the client sends the others again.
    pub(crate) fn into_received(mut self) -> BTreeSet<PacketId> {
        for waiting in self.waiting.iter().filter(|waiting| waiting.answer.is_none_or(ReasonCode::is_error)) {
            self.received.remove(&waiting.packet_id);
        }
        self.received
    }

    /// PUBREL came: the identifier is free. `None`: nothing of it is here. False: its PUBREC is still owed.
    pub(crate) fn release(&mut self, packet_id: PacketId) -> Option<bool> {
        let owed = |waiting: &Waiting| waiting.kind == AckKind::PubRec && waiting.packet_id == packet_id;
        if !self.received.contains(&packet_id) {
            return None;
        }
        let free = !self.waiting.iter().any(owed);
        if free {
            self.received.remove(&packet_id);
        }
        Some(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).expect("not zero")
    }

    fn puback(value: u16, reason: ReasonCode) -> Option<Packet> {
        Some(Packet::PubAck(Ack::new(id(value), reason)))
    }

    fn pubrec(value: u16, reason: ReasonCode) -> Option<Packet> {
        Some(Packet::PubRec(Ack::new(id(value), reason)))
    }

    #[test]
    fn leaves_in_the_order_of_arrival() {
        let mut acks = Acks::default();
        let one = acks.owe(AckKind::PubAck, id(7));
        let two = acks.owe(AckKind::PubRec, id(5));
        let three = acks.owe(AckKind::PubAck, id(6));
        acks.answer(two, ReasonCode::Success);
        assert_eq!(acks.next(), None);
        acks.answer(one, ReasonCode::NoMatchingSubscribers);
        assert_eq!(acks.next(), puback(7, ReasonCode::NoMatchingSubscribers));
        assert_eq!(acks.next(), pubrec(5, ReasonCode::Success));
        assert_eq!(acks.next(), None);
        acks.answer(one, ReasonCode::Success);
        acks.answer(three, ReasonCode::Success);
        assert_eq!(acks.next(), puback(6, ReasonCode::Success));
        assert_eq!((acks.len(), acks.unfinished()), (0, 1), "5 waits for its PUBREL");
    }

    #[test]
    fn an_identifier_of_qos_2_is_taken_until_pubrel() {
        let mut acks = Acks::default();
        let token = acks.owe(AckKind::PubRec, id(1));
        assert!(acks.is_received(id(1)));
        assert_eq!(acks.release(id(1)), Some(false), "PUBREC is still owed");
        acks.answer(token, ReasonCode::Success);
        assert_eq!(acks.next(), pubrec(1, ReasonCode::Success));
        acks.owe_again(id(1));
        assert_eq!(acks.unfinished(), 1, "it counts once");
        assert_eq!(acks.next(), pubrec(1, ReasonCode::Success));
        assert_eq!(acks.release(id(1)), Some(true));
        assert_eq!(acks.release(id(1)), None);
        assert_eq!(acks.unfinished(), 0);
    }

    #[test]
    fn a_refusal_frees_the_identifier() {
        let mut acks = Acks::default();
        let token = acks.owe(AckKind::PubRec, id(1));
        acks.answer(token, ReasonCode::QuotaExceeded);
        assert_eq!(acks.next(), pubrec(1, ReasonCode::QuotaExceeded));
        assert!(!acks.is_received(id(1)));
    }
}
