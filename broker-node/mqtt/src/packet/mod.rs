//! The control packets (MQTT 3): one file a packet or family, its type, reading and writing side by side.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod publish;
mod suback;
mod subscribe;
mod will;

pub use ack::{Ack, AckProperties};
pub use auth::{Auth, Authentication};
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties};
pub use disconnect::Disconnect;
pub use publish::{Publish, PublishProperties};
pub use suback::{SubAck, UnsubAck};
pub use subscribe::{RetainHandling, Subscribe, SubscribeOptions, Subscription, Unsubscribe};
pub use will::Will;

pub(crate) use connect::peek_version;
pub(crate) use publish::{bounded, first_byte};

/// A control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// 3.1: the client's first packet.
    Connect(Box<Connect>),
    /// 3.2: the server's answer to CONNECT.
    ConnAck(ConnAck),
    /// 3.3: a message.
    Publish(Publish),
    /// 3.4: answers a PUBLISH of QoS 1.
    PubAck(Ack),
    /// 3.5: QoS 2, received.
    PubRec(Ack),
    /// 3.6: QoS 2, release.
    PubRel(Ack),
    /// 3.7: QoS 2, complete.
    PubComp(Ack),
    /// 3.8: asks for topics.
    Subscribe(Subscribe),
    /// 3.9: answers SUBSCRIBE.
    SubAck(SubAck),
    /// 3.10: gives topics up.
    Unsubscribe(Unsubscribe),
    /// 3.11: answers UNSUBSCRIBE.
    UnsubAck(UnsubAck),
    /// 3.12: are you there?
    PingReq,
    /// 3.13: yes.
    PingResp,
    /// 3.14: the last packet.
    Disconnect(Disconnect),
    /// 3.15: enhanced authentication; version 5 only.
    Auth(Auth),
}

impl Packet {
    /// The type in its fixed header.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Packet::Connect(_) => PacketType::Connect,
            Packet::ConnAck(_) => PacketType::ConnAck,
            Packet::Publish(_) => PacketType::Publish,
            Packet::PubAck(_) => PacketType::PubAck,
            Packet::PubRec(_) => PacketType::PubRec,
            Packet::PubRel(_) => PacketType::PubRel,
            Packet::PubComp(_) => PacketType::PubComp,
            Packet::Subscribe(_) => PacketType::Subscribe,
            Packet::SubAck(_) => PacketType::SubAck,
            Packet::Unsubscribe(_) => PacketType::Unsubscribe,
            Packet::UnsubAck(_) => PacketType::UnsubAck,
            Packet::PingReq => PacketType::PingReq,
            Packet::PingResp => PacketType::PingResp,
            Packet::Disconnect(_) => PacketType::Disconnect,
            Packet::Auth(_) => PacketType::Auth,
        }
    }
}

/// Control packet types (2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the standard's, explained at Packet")]
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// The type that the first byte of a packet names; `None` for the reserved type 0.
    pub const fn of(first: u8) -> Option<PacketType> {
        Some(match first >> 4 {
            1 => PacketType::Connect,
            2 => PacketType::ConnAck,
            3 => PacketType::Publish,
            4 => PacketType::PubAck,
            5 => PacketType::PubRec,
            6 => PacketType::PubRel,
            7 => PacketType::PubComp,
            8 => PacketType::Subscribe,
            9 => PacketType::SubAck,
            10 => PacketType::Unsubscribe,
            11 => PacketType::UnsubAck,
            12 => PacketType::PingReq,
            13 => PacketType::PingResp,
            14 => PacketType::Disconnect,
            15 => PacketType::Auth,
            _ => return None,
        })
    }

    /// The flags that the fixed header must show ([MQTT-2.1.3-1]); PUBLISH has its own.
    pub(crate) const fn flags(self) -> u8 {
        match self {
            PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
            _ => 0,
        }
    }
}
