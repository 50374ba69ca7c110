//! What a publisher and a subscriber keep in mind.

use anyhow::{Context, Result, bail};
use revoq_mqtt::{PacketType, QoS};

use super::order::Stream;
use super::wire::{Frame, Stamp, Template, put_ack};

/// One publisher.
pub(super) struct Publisher {
    template: Template,
    qos: QoS,
    pub(super) sent: u64,
    /// By PUBACK or PUBCOMP, or written off.
    acknowledged: u64,
    written_off: u64,
}

impl Publisher {
    pub(super) fn new(topic: &str, qos: QoS, payload: usize) -> Result<Publisher> {
        let template = Template::new(topic.parse()?, qos, payload)?;
        Ok(Publisher { template, qos, sent: 0, acknowledged: 0, written_off: 0 })
    }

    /// Appends the next message.
    pub(super) fn put(&mut self, publisher: usize, sent_ns: u64, out: &mut Vec<u8>) {
        let publisher = u32::try_from(publisher).expect("there are not so many");
        self.template.put(Stamp { publisher, sequence: self.sent, sent_ns }, out);
        self.sent += 1;
    }

    pub(super) fn take(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<()> {
        match *frame {
            Frame::Ack { kind: PacketType::PubAck | PacketType::PubComp, .. } => {
                self.acknowledged = (self.acknowledged + 1).min(self.sent);
            }
            Frame::Ack { kind: PacketType::PubRec, packet_id } => put_ack(PacketType::PubRel, packet_id, out),
            ref other => bail!("a publisher does not expect {other:?}"),
        }
        Ok(())
    }

    /// Messages that the server still has to acknowledge.
    pub(super) fn unacknowledged(&self) -> u64 {
        if self.qos == QoS::AtMostOnce { 0 } else { self.sent - self.acknowledged }
    }

    /// Waits for no acknowledgement any more.
    pub(super) fn write_off(&mut self) {
        self.written_off += self.unacknowledged();
        self.acknowledged = self.sent;
    }

    /// Messages whose acknowledgement did not come.
    pub(super) fn never_acknowledged(&self) -> u64 {
        self.written_off + self.unacknowledged()
    }
}

/// One subscriber.
pub(super) struct Subscriber {
    /// The publisher of the first stream; those of the others follow.
    first: usize,
    streams: Vec<Stream>,
}

impl Subscriber {
    pub(super) fn new(first: usize, publishers: usize) -> Subscriber {
        Subscriber { first, streams: (0..publishers).map(|_| Stream::default()).collect() }
    }

    /// What it has of a publisher.
    pub(super) fn of(&self, publisher: usize) -> Option<&Stream> {
        self.streams.get(publisher.checked_sub(self.first)?)
    }

    pub(super) fn take(&mut self, stamp: Stamp) -> Result<()> {
        let index =
            usize::try_from(stamp.publisher).ok().and_then(|publisher| publisher.checked_sub(self.first));
        let stream = index.and_then(|index| self.streams.get_mut(index));
        stream
            .with_context(|| format!("a message of publisher {} is not for it", stamp.publisher))?
            .take(stamp.sequence);
        Ok(())
    }

    pub(super) fn write_off(&mut self, publisher: usize, sent: u64) {
        let stream = publisher.checked_sub(self.first).and_then(|index| self.streams.get_mut(index));
        if let Some(stream) = stream {
            stream.write_off(sent);
        }
    }

    /// Acknowledges what is to be acknowledged.
    pub(super) fn answer(frame: &Frame<'_>, out: &mut Vec<u8>) {
        match *frame {
            Frame::Publish { qos: 1, packet_id, .. } => put_ack(PacketType::PubAck, packet_id, out),
            Frame::Publish { qos: 2, packet_id, .. } => put_ack(PacketType::PubRec, packet_id, out),
            Frame::Ack { kind: PacketType::PubRel, packet_id } => {
                put_ack(PacketType::PubComp, packet_id, out);
            }
            _ => {}
        }
    }
}

/// The stamp of a message.
pub(super) fn stamped(frame: &Frame<'_>) -> Result<Option<Stamp>> {
    match frame {
        Frame::Publish { payload, .. } => Stamp::read(payload).map(Some),
        Frame::Ack { kind: PacketType::PubRel, .. } => Ok(None),
        other => bail!("a subscriber does not expect {other:?}"),
    }
}
