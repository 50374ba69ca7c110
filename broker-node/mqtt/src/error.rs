use std::fmt;

use crate::reason::ReasonCode;

/// Why bytes from a peer are not a packet, and the code that tells it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// What a version 5 CONNACK or DISCONNECT answers (MQTT 4.13); older peers are only closed.
    pub reason: ReasonCode,
    /// The rule that was broken.
    pub fault: Fault,
}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> DecodeError {
        DecodeError { reason: fault.reason(), fault }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.fault)
    }
}

impl std::error::Error for DecodeError {}

/// The rule that a peer's bytes broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Packet type 0, or AUTH before version 5 (2.1.2).
    #[error("reserved packet type")]
    PacketType,
    /// Flags of the fixed header other than those listed ([MQTT-2.1.3-1]).
    #[error("reserved flags of the fixed header")]
    FixedHeaderFlags,
    /// A Variable Byte Integer of more than four bytes, or longer than needed ([MQTT-1.5.5-1]).
    #[error("a variable byte integer that is too long")]
    VariableByteInteger,
    /// The packet exceeds the receiver's maximum packet size ([MQTT-3.2.2-15], [MQTT-3.1.2-24]).
    #[error("the packet is larger than the maximum")]
    PacketTooLarge,
    /// A field reaches beyond the packet (1.2, Malformed Packet).
    #[error("a field reaches beyond the end of the packet")]
    Truncated,
    /// Bytes that belong to no field (1.2, Malformed Packet).
    #[error("bytes after the last field")]
    TrailingBytes,
    /// A string that is not well-formed UTF-8 ([MQTT-1.5.4-1]).
    #[error("a string that is not UTF-8")]
    Utf8,
    /// A string that contains U+0000 ([MQTT-1.5.4-2]).
    #[error("a string that contains U+0000")]
    NullCharacter,
    /// More bytes than the two-byte length of a string can count (1.5.4).
    #[error("a string longer than 65,535 bytes")]
    StringTooLong,
    /// Packet Identifier zero ([MQTT-2.2.1-3]).
    #[error("packet identifier zero")]
    PacketId,
    /// A property that is unknown or not one of this packet's (2.2.2.2).
    #[error("a property that this packet may not carry")]
    Property,
    /// A property that may stand once only (3.x.2.x, each property).
    #[error("a property given more than once")]
    PropertyRepeated,
    /// A property's value out of its range (3.x.2.x, each property).
    #[error("a property with a value out of range")]
    PropertyValue,
    /// Authentication Data without Authentication Method (3.1.2.11.10), or AUTH without one (3.15.2.2.2).
    #[error("the authentication method is missing")]
    AuthenticationMethod,
    /// A protocol name other than `MQTT` and `MQIsdp` ([MQTT-3.1.2-1]).
    #[error("unknown protocol name")]
    ProtocolName,
    /// A protocol level that is not supported ([MQTT-3.1.2-2]).
    #[error("protocol level {level} is not supported")]
    ProtocolVersion {
        /// The level on the wire.
        level: u8,
    },
    /// The reserved bit of the Connect Flags ([MQTT-3.1.2-3]).
    #[error("the reserved connect flag is set")]
    ConnectFlags,
    /// Will QoS or Will Retain without a will, or Will QoS 3 ([MQTT-3.1.2-11], [MQTT-3.1.2-12], [MQTT-3.1.2-13]).
    #[error("will flags that contradict each other")]
    WillFlags,
    /// Password without User Name before version 5 (MQTT 3.1.1 [MQTT-3.1.2-22]).
    #[error("a password without a user name")]
    PasswordWithoutUserName,
    /// Reserved Connect Acknowledge Flags ([MQTT-3.2.2-1]).
    #[error("reserved connect acknowledge flags")]
    ConnAckFlags,
    /// Session Present in a refusal ([MQTT-3.2.2-6]).
    #[error("session present in a refusal")]
    SessionPresent,
    /// A reason code that is unknown or not one of this packet's (2.4).
    #[error("a reason code that this packet may not carry")]
    ReasonCode,
    /// QoS 3 ([MQTT-3.3.1-4]).
    #[error("QoS 3")]
    Qos,
    /// DUP with QoS 0 ([MQTT-3.3.1-2]).
    #[error("DUP with QoS 0")]
    Dup,
    /// An empty topic name ([MQTT-4.7.3-1]) that no Topic Alias stands for (3.3.2.1).
    #[error("an empty topic name")]
    TopicEmpty,
    /// A wildcard in a topic name ([MQTT-3.3.2-2], [MQTT-3.3.2-14], [MQTT-4.7.1-1]).
    #[error("a wildcard in a topic name")]
    TopicWildcard,
    /// Topic Alias zero ([MQTT-3.3.2-8]).
    #[error("topic alias zero")]
    TopicAlias,
    /// An empty topic filter ([MQTT-4.7.3-1]).
    #[error("an empty topic filter")]
    FilterEmpty,
    /// A wildcard that does not fill its level, or `#` before the last ([MQTT-4.7.1-1], [MQTT-4.7.1-2]).
    #[error("a misplaced wildcard in a topic filter")]
    FilterWildcard,
    /// `$share/` with an empty name, one that holds a wildcard, or no filter ([MQTT-4.8.2-1], [MQTT-4.8.2-2]).
    #[error("a malformed shared subscription")]
    Share,
    /// Reserved bits of the Subscription Options ([MQTT-3.8.3-5]).
    #[error("reserved subscription options")]
    SubscriptionOptions,
    /// Retain Handling 3 (3.8.3.1).
    #[error("retain handling 3")]
    RetainHandling,
    /// No Local on a shared subscription ([MQTT-3.8.3-4]).
    #[error("no local on a shared subscription")]
    NoLocalShared,
    /// A payload without an entry ([MQTT-3.8.3-2], [MQTT-3.10.3-2]).
    #[error("a payload without an entry")]
    Empty,
}

impl Fault {
    /// The code that answers this fault (MQTT 4.13.1).
    pub const fn reason(self) -> ReasonCode {
        match self {
            Fault::PacketTooLarge => ReasonCode::PacketTooLarge,
            Fault::ProtocolName | Fault::ProtocolVersion { .. } => ReasonCode::UnsupportedProtocolVersion,
            Fault::TopicAlias => ReasonCode::TopicAliasInvalid,
            Fault::TopicWildcard => ReasonCode::TopicNameInvalid,
            Fault::FilterEmpty | Fault::FilterWildcard | Fault::Share => ReasonCode::TopicFilterInvalid,
            Fault::PropertyRepeated
            | Fault::PropertyValue
            | Fault::AuthenticationMethod
            | Fault::SessionPresent
            | Fault::ReasonCode
            | Fault::TopicEmpty
            | Fault::RetainHandling
            | Fault::NoLocalShared
            | Fault::Empty => ReasonCode::ProtocolError,
            _ => ReasonCode::MalformedPacket,
        }
    }
}

/// Why a packet cannot be put on the wire: the caller's fault, never the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field of more than 65,535 bytes (1.5.4, 1.5.6).
    #[error("a field longer than 65,535 bytes")]
    FieldTooLong,
    /// More than 268,435,455 bytes after the fixed header (2.1.4).
    #[error("the packet is longer than the remaining length can count")]
    PacketTooLarge,
    /// The packet or its form does not exist in that version.
    #[error("{0} does not exist in this protocol version")]
    Version(&'static str),
    /// Fields that the standard does not allow together.
    #[error("{0}")]
    Contradiction(&'static str),
}
