//! What a session asks of its driver, and what the driver answers.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use revoq_mqtt::{ClientId, PacketId, ReasonCode, Text, TopicFilter, Version};

use crate::{Delivery, Error, Message, PublishToken, SessionState, StreamId, SubscriptionTerms};

/// What the driver is to do, in this order.
#[derive(Debug)]
pub enum Output {
    /// Say what is to be made of a client's word in enhanced authentication, and call
    /// [`Session::handle_authentication`](crate::Session::handle_authentication). Before the client is let in nothing else
    /// is read from it meanwhile.
    Authenticate(Box<AuthenticationRequest>),
    /// Decide about a client and call [`Session::handle_admission`](crate::Session::handle_admission). Nothing
    /// else is read from the client before that.
    Connect(Box<ConnectRequest>),
    /// Route a message. With a token (QoS 1 and 2), call
    /// [`Session::handle_published`](crate::Session::handle_published) when the router has it, or
    /// has refused it.
    Publish {
        /// The message, ready to be shared.
        message: Arc<Message>,
        /// Present when the client waits for an acknowledgement.
        token: Option<PublishToken>,
    },
    /// Add subscriptions and call [`Session::handle_subscribed`](crate::Session::handle_subscribed) with a reason
    /// code for each filter: the granted QoS, or why not. Filters that the session refuses itself are not here;
    /// if none is left, there is no output.
    Subscribe {
        /// On which the client asks; names the request in the answer, ...
        stream: StreamId,
        /// ... as this does.
        packet_id: PacketId,
        /// In the order of the SUBSCRIBE. One that the client already has is to be replaced.
        filters: Vec<(TopicFilter, SubscriptionTerms)>,
    },
    /// Remove subscriptions and call [`Session::handle_unsubscribed`](crate::Session::handle_unsubscribed) with a
    /// reason code for each filter.
    Unsubscribe {
        /// On which the client asks; names the request in the answer, ...
        stream: StreamId,
        /// ... as this does.
        packet_id: PacketId,
        /// In the order of the UNSUBSCRIBE.
        filters: Vec<TopicFilter>,
    },
    /// The last output: write what [`Session::write_buffer`](crate::Session::write_buffer) holds, close the
    /// connection, take the session out of the router and publish the will.
    Closed(CloseReason),
}

/// Who wants to connect, and as what.
#[derive(Clone)]
pub struct ConnectRequest {
    /// `None` when the client leaves it to the server: the answer then names one.
    pub client_id: Option<ClientId>,
    /// The protocol version of the client.
    pub version: Version,
    /// Clean Start, in MQTT 3.1 and 3.1.1 Clean Session.
    pub clean_start: bool,
    /// Seconds for which the session is to be kept once its connection has ended, as far as
    /// [`Config::session_expiry_s_max`](crate::Config::session_expiry_s_max) allows; `u32::MAX` is for ever. Without
    /// Clean Session of MQTT 3.1 and 3.1.1 the client asks for that.
    pub session_expiry_s: u32,
    /// User Name.
    pub username: Option<Text>,
    /// Password; in MQTT 5.0 it may come without a user name.
    pub password: Option<Bytes>,
    /// Keep-alive in seconds that the client asked for; 0 is none.
    pub keepalive_s: u16,
    /// The will, which [`CloseReason`] hands back if it is to be published.
    pub will: Option<Arc<Message>>,
}

impl fmt::Debug for ConnectRequest {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("client_id", &self.client_id)
            .field("version", &self.version)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// A client's word in enhanced authentication (section 4.12).
#[derive(Clone, PartialEq, Eq)]
pub struct AuthenticationRequest {
    /// One of [`Config::authentication_methods`](crate::Config::authentication_methods): that of CONNECT.
    pub method: Text,
    /// Authentication Data; empty where there is none.
    pub data: Bytes,
    /// It is the first word of an exchange: that of CONNECT, or of a client that is let in and authenticates again.
    pub begins: bool,
}

impl fmt::Debug for AuthenticationRequest {
    /// Without the data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticationRequest")
            .field("method", &self.method)
            .field("begins", &self.begins)
            .finish_non_exhaustive()
    }
}

/// What is made of an [`AuthenticationRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthenticationAnswer {
    /// The client is to say more: it is sent this.
    Continue(Bytes),
    /// The client is who it says; this goes with CONNACK, or with the AUTH that ends the exchange. Before CONNACK
    /// [`Output::Connect`] follows.
    Success(Option<Bytes>),
    /// It is not: CONNACK or DISCONNECT has this reason.
    Failure(ReasonCode),
}

/// The driver's verdict on a [`ConnectRequest`].
#[derive(Debug)]
pub enum Admission {
    /// Let the client in.
    Accept(Accept),
    /// Answer with a refusal and close.
    Refuse {
        /// Mapped to a return code for MQTT 3.1 and 3.1.1.
        reason: ReasonCode,
        /// For the person at the client's end; sent to MQTT 5.0 clients that want problem information.
        text: Option<String>,
    },
}

/// What is decided about a client that is let in.
#[derive(Debug, Default)]
pub struct Accept {
    /// The generated identifier; required when [`ConnectRequest::client_id`] was `None`, else ignored.
    pub client_id: Option<ClientId>,
    /// Seconds of keep-alive in place of what the client asked for. Sent to MQTT 5.0 clients, and without effect
    /// on older ones, which cannot be told.
    pub keepalive_s: Option<u16>,
    /// What [`CloseReason::session`] of an earlier connection handed out: the session goes on, and the client is told so
    /// (Session Present). Never with [`ConnectRequest::clean_start`] ([MQTT-3.1.2-4]).
    pub session: Option<Box<SessionState>>,
}

/// How a connection ended.
#[derive(Debug)]
pub struct CloseReason {
    /// Who ended it and why.
    pub cause: Cause,
    /// The will, if it is to be published; its age counts from the end of the connection. After [`Cause::Cut`] it is
    /// the driver's choice whether to publish it.
    pub will: Option<Arc<Message>>,
    /// Seconds after which the will is due, unless the session goes on before ([MQTT-3.1.3-9]) or ends before (section
    /// 3.1.3.2.2). Never more than the session is kept for.
    pub will_delay_s: u32,
    /// What is to be kept of the session; `None` if it ends with the connection. What was to be delivered to the client and
    /// was not is to be given to it as well.
    pub session: Option<Box<SessionState>>,
    /// Messages of shared subscriptions that other members are to get: where the session ends.
    pub transferable: Vec<Delivery>,
}

/// Who ended a session and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The client, by DISCONNECT with this reason.
    Disconnected(ReasonCode),
    /// The connection ended without a DISCONNECT.
    ConnectionLost,
    /// The client was refused in CONNACK with this reason.
    Refused(ReasonCode),
    /// The driver, by [`Session::handle_cut`](crate::Session::handle_cut).
    Cut(ReasonCode),
    /// A fault, almost always the client's.
    Failed(Error),
}
