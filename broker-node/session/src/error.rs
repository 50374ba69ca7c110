//! What ends a session by someone's fault, and the reason code that the client is told.

use revoq_mqtt::{DecodeError, EncodeError, PacketType, QoS, ReasonCode};

/// A fault that ends a session. [`Error::reason_code`] is the only mapping from faults to MQTT reason codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client sent bytes that are no packet of its version.
    #[error("malformed packet")]
    Decode(#[from] DecodeError),
    /// AUTH named another authentication method than CONNECT, or none.
    #[error("AUTH has not the authentication method of CONNECT")]
    AuthenticationMethod,
    /// A client that is let in and authenticated again did not succeed.
    #[error("the client did not authenticate again")]
    NotAuthenticated(ReasonCode),
    /// The client did not authenticate in time.
    #[error("not authenticated within {0} ms")]
    AuthenticationTimeout(u64),
    /// The client's first packet was not CONNECT.
    #[error("the first packet is not CONNECT")]
    ConnectExpected,
    /// The client sent no whole CONNECT in time.
    #[error("no CONNECT within {0} ms")]
    ConnectTimeout(u64),
    /// The client sent nothing for one and a half times its keep-alive.
    #[error("nothing received for {0} ms")]
    KeepAliveTimeout(u64),
    /// The client sent a packet that only servers send, or that has no place in the exchange.
    #[error("unexpected {0:?}")]
    Unexpected(PacketType),
    /// The client sent on a data stream what has its place on the control stream.
    #[error("{0:?} on a data stream")]
    NotOnDataStream(PacketType),
    /// The client sent more PUBLISH packets of QoS 1 and 2 than Receive Maximum allows.
    #[error("more than {0} unacknowledged PUBLISH packets")]
    ReceiveMaximumExceeded(u16),
    /// The client used a topic alias above Topic Alias Maximum.
    #[error("topic alias {alias} is above {maximum}")]
    TopicAliasInvalid {
        /// What the PUBLISH said.
        alias: u16,
        /// What CONNACK announced.
        maximum: u16,
    },
    /// The client used a topic alias that it has not set.
    #[error("topic alias {0} is not set")]
    TopicAliasUnknown(u16),
    /// The client published with a QoS above Maximum QoS.
    #[error("QoS above {} is not supported", *maximum as u8)]
    QosNotSupported {
        /// What CONNACK announced.
        maximum: QoS,
    },
    /// The client published with RETAIN, and CONNACK said that this is not available.
    #[error("retained messages are not supported")]
    RetainNotSupported,
    /// The client published to a topic with too many levels.
    #[error("more than {0} topic levels")]
    TopicTooDeep(usize),
    /// The client published with QoS 0 what it said to be UTF-8 and is not.
    #[error("the payload is not UTF-8")]
    PayloadFormat,
    /// The client's PUBLISH carried a Subscription Identifier ([MQTT-3.3.4-6]).
    #[error("PUBLISH from a client with a subscription identifier")]
    SubscriptionIdFromClient,
    /// The client's DISCONNECT asked for a session expiry that its CONNECT had not.
    #[error("DISCONNECT sets a session expiry interval and CONNECT had none")]
    SessionExpirySet,
    /// The client reads more slowly than messages for it arrive.
    #[error("more than {messages} messages or {bytes} bytes are queued")]
    QueueFull {
        /// The limit in messages.
        messages: usize,
        /// The limit in bytes.
        bytes: usize,
    },
    /// The client's Maximum Packet Size leaves no room for an answer that must be sent.
    #[error("an answer of {size} bytes is larger than the client's Maximum Packet Size {maximum}")]
    ClientPacketSize {
        /// Bytes of the answer.
        size: usize,
        /// What CONNECT said.
        maximum: u32,
    },
    /// The driver broke the contract of [`Session`](crate::Session).
    #[error("the driver {0}")]
    Driver(&'static str),
    /// A packet of ours cannot be encoded.
    #[error("cannot encode a packet")]
    Encode(#[from] EncodeError),
}

impl Error {
    /// What a DISCONNECT (or a CONNACK, if it is not yet sent) tells an MQTT 5.0 client.
    #[must_use]
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Error::Decode(error) => error.reason,
            Error::NotAuthenticated(reason) => *reason,
            Error::AuthenticationTimeout(_) => ReasonCode::NotAuthorized,
            Error::ConnectExpected
            | Error::AuthenticationMethod
            | Error::Unexpected(_)
            | Error::NotOnDataStream(_)
            | Error::TopicAliasUnknown(_)
            | Error::SubscriptionIdFromClient
            | Error::SessionExpirySet => ReasonCode::ProtocolError,
            Error::ConnectTimeout(_) => ReasonCode::MaximumConnectTime,
            Error::KeepAliveTimeout(_) => ReasonCode::KeepAliveTimeout,
            Error::ReceiveMaximumExceeded(_) => ReasonCode::ReceiveMaximumExceeded,
            Error::TopicAliasInvalid { .. } => ReasonCode::TopicAliasInvalid,
            Error::QosNotSupported { .. } => ReasonCode::QosNotSupported,
            Error::RetainNotSupported => ReasonCode::RetainNotSupported,
            Error::TopicTooDeep(_) => ReasonCode::TopicNameInvalid,
            Error::PayloadFormat => ReasonCode::PayloadFormatInvalid,
            Error::QueueFull { .. } => ReasonCode::QuotaExceeded,
            Error::ClientPacketSize { .. } => ReasonCode::PacketTooLarge,
            Error::Driver(_) | Error::Encode(_) => ReasonCode::ImplementationSpecificError,
        }
    }
}
