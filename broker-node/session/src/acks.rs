//! Acknowledgements that are owed to the client, in the order of its PUBLISH packets.

use std::collections::VecDeque;

use revoq_mqtt::{PacketId, ReasonCode};

/// Names a QoS 1 PUBLISH for which the client waits. The driver hands it back when the router has the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublishToken(pub(crate) u64);

/// PUBACKs leave in the order in which the PUBLISH packets came ([MQTT-4.6.0-2]), whatever the order of answers.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    waiting: VecDeque<Waiting>,
    /// The token of the front of `waiting`; each entry behind it has the next number.
    first: u64,
}

#[derive(Debug)]
struct Waiting {
    packet_id: PacketId,
    answer: Option<ReasonCode>,
}

impl Acks {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes on a PUBLISH that is to be acknowledged.
    pub(crate) fn owe(&mut self, packet_id: PacketId) -> PublishToken {
        let token = PublishToken(self.first + self.waiting.len() as u64);
        self.waiting.push_back(Waiting { packet_id, answer: None });
        token
    }

    /// Records the answer to one PUBLISH. A token that is not waiting any more is ignored.
    pub(crate) fn answer(&mut self, token: PublishToken, reason: ReasonCode) {
        let waiting = token.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(waiting) = waiting.and_then(|index| self.waiting.get_mut(index)) {
            waiting.answer = Some(reason);
        }
    }

    /// The next acknowledgement that may be sent.
    pub(crate) fn next(&mut self) -> Option<(PacketId, ReasonCode)> {
        let Waiting { packet_id, answer } = self.waiting.front()?;
        let due = (*packet_id, (*answer)?);
        self.waiting.pop_front();
        self.first += 1;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).expect("not zero")
    }

    #[test]
    fn leaves_in_the_order_of_arrival() {
        let mut acks = Acks::default();
        let (one, two, three) = (acks.owe(id(7)), acks.owe(id(5)), acks.owe(id(6)));
        acks.answer(two, ReasonCode::Success);
        assert_eq!(acks.next(), None);
        acks.answer(one, ReasonCode::NoMatchingSubscribers);
        assert_eq!(acks.next(), Some((id(7), ReasonCode::NoMatchingSubscribers)));
        assert_eq!(acks.next(), Some((id(5), ReasonCode::Success)));
        assert_eq!(acks.next(), None);
        acks.answer(one, ReasonCode::Success);
        acks.answer(three, ReasonCode::Success);
        assert_eq!(acks.next(), Some((id(6), ReasonCode::Success)));
        assert_eq!(acks.len(), 0);
    }
}
