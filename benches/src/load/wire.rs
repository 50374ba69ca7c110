//! What these clients read and write of MQTT 3.1.1. PUBLISH is the hot one: it is encoded once and stamped for each
//! message, and read in place.

use anyhow::{Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use revoq_mqtt::{
    Packet, PacketId, PacketType, Peek, Publish, PublishProperties, QoS, Topic, Version, encode, peek,
};

/// Bytes at the start of each payload: publisher, sequence, time.
pub(super) const STAMP: usize = 4 + 8 + 8;
const PACKET_MAX: u32 = 1024 * 1024;

/// A packet, as far as these clients look at it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Publish {
        qos: u8,
        packet_id: u16,
        payload: &'a [u8],
    },
    /// PUBACK, PUBREC, PUBREL, PUBCOMP.
    Ack {
        kind: PacketType,
        packet_id: u16,
    },
    Other(PacketType),
}

/// The first packet of `buffer` and its length; `None` while it is not whole.
pub(super) fn frame(buffer: &[u8]) -> Result<Option<(Frame<'_>, usize)>> {
    let Peek::Frame(size) = peek(buffer, PACKET_MAX)? else { return Ok(None) };
    let Some(kind) = PacketType::of(buffer[0]) else { bail!("no packet type: {:#x}", buffer[0]) };
    let packet = &buffer[..size];
    // The fixed header ends with the first byte of Remaining Length that has no successor.
    let head = 2 + packet[1..].iter().take_while(|byte| **byte & 0x80 != 0).count();
    let body = &packet[head..];
    let frame = match kind {
        PacketType::Publish => publish(packet[0] >> 1 & 3, body)?,
        PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => {
            ensure!(body.len() == 2, "{kind:?} of {} bytes", body.len());
            Frame::Ack { kind, packet_id: u16::from_be_bytes([body[0], body[1]]) }
        }
        other => Frame::Other(other),
    };
    Ok(Some((frame, size)))
}

fn publish(qos: u8, body: &[u8]) -> Result<Frame<'_>> {
    let cut = || anyhow::anyhow!("a PUBLISH is cut short");
    let (length, rest) = body.split_first_chunk().ok_or_else(cut)?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*length))..).ok_or_else(cut)?;
    if qos == 0 {
        return Ok(Frame::Publish { qos, packet_id: 0, payload: rest });
    }
    let (packet_id, payload) = rest.split_first_chunk().ok_or_else(cut)?;
    Ok(Frame::Publish { qos, packet_id: u16::from_be_bytes(*packet_id), payload })
}

/// Appends an acknowledgement.
pub(super) fn put_ack(kind: PacketType, packet_id: u16, out: &mut Vec<u8>) {
    let flags = if kind == PacketType::PubRel { 2 } else { 0 };
    let [high, low] = packet_id.to_be_bytes();
    out.extend_from_slice(&[(kind as u8) << 4 | flags, 2, high, low]);
}

/// Appends a packet that is not hot.
pub(super) fn put(packet: &Packet, out: &mut Vec<u8>) -> Result<()> {
    let mut encoded = BytesMut::new();
    encode(packet, Version::V311, &mut encoded)?;
    out.extend_from_slice(&encoded);
    Ok(())
}

/// What a payload says of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) publisher: u32,
    /// From 0.
    pub(super) sequence: u64,
    /// On [`crate::clock::now_ns`].
    pub(super) sent_ns: u64,
}

impl Stamp {
    pub(super) fn read(payload: &[u8]) -> Result<Stamp> {
        let stamp = payload.split_first_chunk().and_then(|(publisher, rest)| {
            let (sequence, rest) = rest.split_first_chunk()?;
            let (sent, _) = rest.split_first_chunk()?;
            Some(Stamp {
                publisher: u32::from_be_bytes(*publisher),
                sequence: u64::from_be_bytes(*sequence),
                sent_ns: u64::from_be_bytes(*sent),
            })
        });
        stamp.ok_or_else(|| anyhow::anyhow!("a payload of {} bytes is not ours", payload.len()))
    }

    fn bytes(self) -> [u8; STAMP] {
        let mut bytes = [0; STAMP];
        bytes[..4].copy_from_slice(&self.publisher.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[12..].copy_from_slice(&self.sent_ns.to_be_bytes());
        bytes
    }
}

/// The PUBLISH of a publisher.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    payload_at: usize,
    qos: QoS,
}

impl Template {
    pub(super) fn new(topic: Topic, qos: QoS, payload: usize) -> Result<Template> {
        ensure!(payload >= STAMP, "a payload has at least {STAMP} bytes");
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic,
            packet_id: (qos != QoS::AtMostOnce).then_some(PacketId::FIRST),
            properties: PublishProperties::default(),
            payload: Bytes::from(vec![b'x'; payload]),
        };
        let mut bytes = Vec::new();
        put(&Packet::Publish(publish), &mut bytes)?;
        let payload_at = bytes.len() - payload;
        Ok(Template { bytes, payload_at, qos })
    }

    /// Appends a message. The packet identifier follows from the sequence: a window is much smaller than 65,535.
    pub(super) fn put(&self, stamp: Stamp, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let payload_at = start + self.payload_at;
        if self.qos != QoS::AtMostOnce {
            let packet_id = u16::try_from(stamp.sequence % 65_535 + 1).expect("it is at most 65,535");
            out[payload_at - 2..payload_at].copy_from_slice(&packet_id.to_be_bytes());
        }
        out[payload_at..payload_at + STAMP].copy_from_slice(&stamp.bytes());
    }
}

#[cfg(test)]
mod tests {
    use revoq_mqtt::{Ack, ReasonCode, decode};

    use super::*;

    fn template(qos: QoS) -> Template {
        Template::new("a/b".parse().expect("a topic"), qos, 200).expect("large enough")
    }

    #[test]
    fn a_message_is_what_the_codec_reads_and_what_is_read_here() {
        for (qos, packet_id) in [(QoS::AtMostOnce, 0), (QoS::AtLeastOnce, 1), (QoS::ExactlyOnce, 1)] {
            let stamp = Stamp { publisher: 7, sequence: 65_535, sent_ns: 1 << 60 };
            let mut out = vec![];
            template(qos).put(stamp, &mut out);
            let packet = decode(Bytes::from(out.clone()), Version::V311).expect("well-formed");
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            assert_eq!((publish.qos, publish.packet_id.map_or(0, PacketId::get)), (qos, packet_id));
            assert_eq!(Stamp::read(&publish.payload).expect("ours"), stamp);
            out.push(0xD0);
            let (frame, size) = frame(&out).expect("well-formed").expect("whole");
            let expected = Frame::Publish { qos: qos as u8, packet_id, payload: &publish.payload };
            assert_eq!((frame, size), (expected, out.len() - 1));
        }
    }

    #[test]
    fn acknowledgements_are_those_of_the_codec() {
        for kind in [PacketType::PubAck, PacketType::PubRec, PacketType::PubRel, PacketType::PubComp] {
            let mut out = vec![];
            put_ack(kind, 258, &mut out);
            let ack = Ack::new(PacketId::new(258).expect("not zero"), ReasonCode::Success);
            let expected = match kind {
                PacketType::PubAck => Packet::PubAck(ack),
                PacketType::PubRec => Packet::PubRec(ack),
                PacketType::PubRel => Packet::PubRel(ack),
                _ => Packet::PubComp(ack),
            };
            assert_eq!(decode(Bytes::from(out.clone()), Version::V311).expect("well-formed"), expected);
            assert_eq!(frame(&out).expect("well-formed"), Some((Frame::Ack { kind, packet_id: 258 }, 4)));
        }
    }

    #[test]
    fn half_a_packet_waits() {
        let mut out = vec![];
        template(QoS::AtLeastOnce).put(Stamp { publisher: 0, sequence: 0, sent_ns: 0 }, &mut out);
        for size in 0..out.len() {
            assert_eq!(frame(&out[..size]).expect("well-formed so far"), None, "{size}");
        }
    }
}
