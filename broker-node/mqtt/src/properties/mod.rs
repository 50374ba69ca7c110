//! Properties of MQTT 5.0 (2.2.2): identifiers, reading, writing, and the ones that are kept as bytes.

mod forwarded;
mod reader;
mod user;
mod writer;

pub use forwarded::{Forwarded, ForwardedProperty, PayloadFormat};
pub use user::UserProperties;

pub(crate) use reader::{PropertyReader, Runs};
pub(crate) use writer::PropertyWriter;

macro_rules! identifiers {
    ($($name:ident = $id:literal,)*) => {
        /// Property identifiers (2.2.2.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Id { $($name = $id,)* }

        impl Id {
            pub(crate) const fn from_u8(id: u8) -> Option<Id> {
                match id { $($id => Some(Id::$name),)* _ => None }
            }
        }
    };
}

identifiers! {
    PayloadFormatIndicator = 0x01,
    MessageExpiryInterval = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionIdentifier = 0x0B,
    SessionExpiryInterval = 0x11,
    AssignedClientIdentifier = 0x12,
    ServerKeepAlive = 0x13,
    AuthenticationMethod = 0x15,
    AuthenticationData = 0x16,
    RequestProblemInformation = 0x17,
    WillDelayInterval = 0x18,
    RequestResponseInformation = 0x19,
    ResponseInformation = 0x1A,
    ServerReference = 0x1C,
    ReasonString = 0x1F,
    ReceiveMaximum = 0x21,
    TopicAliasMaximum = 0x22,
    TopicAlias = 0x23,
    MaximumQoS = 0x24,
    RetainAvailable = 0x25,
    UserProperty = 0x26,
    MaximumPacketSize = 0x27,
    WildcardSubscriptionAvailable = 0x28,
    SubscriptionIdentifierAvailable = 0x29,
    SharedSubscriptionAvailable = 0x2A,
}

impl Id {
    /// Only these two may stand more than once in a packet; where one may not, its packet checks.
    const fn repeats(self) -> bool {
        matches!(self, Id::UserProperty | Id::SubscriptionIdentifier)
    }
}
