//! MQTT 3.1, 3.1.1 and 5.0: bytes to packets and back, topics and filters.
//!
//! The codec is strict: what the standards call malformed is refused with the reason code and the
//! numbered statement ([`DecodeError`]). It does no input or output and copies no payload: [`peek`]
//! says how long the next packet is before it is buffered, [`decode`] slices the frame, [`encode`]
//! appends to a buffer, and [`EncodedPublish`] is encoded once for all receivers of one kind.
//!
//! Rules that depend on who sends, on what was agreed in CONNECT, or on earlier packets are not the
//! codec's: a client's PUBLISH with a Subscription Identifier decodes here and is refused by the session.
//!
//! Statement numbers `[MQTT-x.x.x-n]` are those of MQTT 5.0 unless 3.1.1 is named.

mod encoded;
mod error;
mod frame;
mod ids;
mod packet;
mod properties;
mod qos;
mod reason;
mod text;
mod topic;
mod version;
mod wire;

pub use encoded::{EncodedPublish, Recipient};
pub use error::{DecodeError, EncodeError, Fault};
pub use frame::{PACKET_SIZE_MAX, Peek, decode, encode, peek};
pub use ids::{PacketId, SubscriptionId, TopicAlias};
pub use packet::{
    Ack, AckProperties, Auth, Authentication, ConnAck, ConnAckProperties, Connect, ConnectProperties,
    Disconnect, Packet, PacketType, Publish, PublishProperties, RetainHandling, SubAck, Subscribe,
    SubscribeOptions, Subscription, UnsubAck, Unsubscribe, Will,
};
pub use properties::{Forwarded, ForwardedProperty, PayloadFormat, UserProperties};
pub use qos::QoS;
pub use reason::{ConnectReturnCode, ReasonCode};
pub use text::{ClientId, Text};
pub use topic::{Level, Topic, TopicFilter, matches};
pub use version::Version;
