//! From CONNECT to CONNACK.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytes::Bytes;
use revoq_mqtt::{
    Authentication, ClientId, ConnAck, ConnAckProperties, Connect, DecodeError, Fault, Packet, PacketType,
    Publish, QoS, ReasonCode, Text, Version, Will, decode,
};

use super::authenticate::{Authenticated, Exchange};
use super::connected::Connected;
use super::{Core, State};
use crate::{Accept, Admission, Cause, Config, ConnectRequest, Error, Message, Output, SessionState, Tick};

/// A client whose CONNECT is well-formed and on which the driver is to decide.
#[derive(Debug)]
pub(super) struct Candidate {
    version: Version,
    client_id: ClientId,
    keepalive_s: u16,
    session_expiry: SessionExpiry,
    receive_max: u16,
    topic_alias_max: u16,
    packet_size_max: u32,
    problem_information: bool,
    response_information: bool,
    /// How it authenticated, and the last word for it.
    pub(super) authentication: Option<Authentication>,
    will: Option<Arc<Message>>,
    will_delay_s: u32,
}

/// Session Expiry Interval in seconds; before MQTT 5.0 Clean Session stands for it.
#[derive(Clone, Copy, Debug)]
struct SessionExpiry {
    asked_s: u32,
    granted_s: u32,
}

impl SessionExpiry {
    fn of(connect: &Connect, config: &Config) -> SessionExpiry {
        let asked_s = match connect.version {
            Version::V5 => connect.properties.session_expiry_s.unwrap_or(0),
            _ if connect.clean_start => 0,
            _ => u32::MAX,
        };
        SessionExpiry { asked_s, granted_s: asked_s.min(config.session_expiry_s_max) }
    }
}

/// Takes the first packet, which has the type of a CONNECT. Where it begins an exchange, that is over by `deadline`.
pub(super) fn receive(core: &mut Core, frame: Bytes, deadline: Tick) -> Result<State, Cause> {
    let version = Version::of_connect(&frame);
    let connect = match decode(frame, Version::V311) {
        Ok(Packet::Connect(connect)) => connect,
        Ok(_) => return Err(Cause::Failed(Error::ConnectExpected)),
        Err(error) => return Err(refuse_malformed(core, version, error)),
    };
    if let Some(reason) = objection(&connect, &core.config) {
        core.outbound.open(connect.version, packet_size_max(&connect));
        return Err(refuse(core, reason, None));
    }
    let authentication = connect.properties.authentication.clone();
    let (candidate, request) = accept(*connect, core);
    let request = Box::new(request);
    if let Some(first) = authentication {
        let exchange = Exchange::begin(core, candidate, request, &first, deadline);
        return Ok(State::Authenticating(Box::new(exchange)));
    }
    core.outputs.push_back(Output::Connect(request));
    Ok(State::AwaitingAdmission(Box::new(candidate)))
}

/// What speaks against a CONNECT without asking anybody.
fn objection(connect: &Connect, config: &Config) -> Option<ReasonCode> {
    let v5 = connect.version.is_v5();
    let nameless = connect.client_id.is_empty();
    // [MQTT-3.1.3-8] of 3.1.1; MQTT 3.1 asks for a name always.
    let unnameable = match connect.version {
        Version::V31 => nameless,
        Version::V311 => nameless && !connect.clean_start,
        Version::V5 => false,
    };
    if unnameable || connect.client_id.len() > config.client_id_bytes_max {
        return Some(ReasonCode::ClientIdentifierNotValid);
    }
    let served = |first: &Authentication| config.authentication_methods.contains(&first.method.as_str());
    if !connect.properties.authentication.as_ref().is_none_or(served) {
        return Some(ReasonCode::BadAuthenticationMethod);
    }
    let will = connect.will.as_ref()?;
    if will.topic.levels().nth(config.topic_levels_max).is_some() {
        return Some(ReasonCode::TopicNameInvalid);
    }
    if !v5 {
        return None;
    }
    if will.qos > config.qos_max {
        return Some(ReasonCode::QosNotSupported);
    }
    (will.retain && !config.retain_available).then_some(ReasonCode::RetainNotSupported)
}

/// Copies what outlives the frame, so that an idle session doesn't hold on to a read buffer.
fn accept(connect: Connect, core: &Core) -> (Candidate, ConnectRequest) {
    let properties = &connect.properties;
    let will =
        connect.will.as_ref().map(|will| Arc::new(will_message(will, core.config.qos_max).copied(core.now)));
    let client_id = connect.client_id.detached();
    let candidate = Candidate {
        version: connect.version,
        client_id: client_id.clone(),
        keepalive_s: connect.keepalive_s,
        session_expiry: SessionExpiry::of(&connect, &core.config),
        receive_max: properties.receive_max.map_or(u16::MAX, NonZeroU16::get),
        topic_alias_max: properties.topic_alias_max,
        packet_size_max: packet_size_max(&connect),
        problem_information: properties.request_problem_information,
        response_information: properties.request_response_information,
        authentication: None,
        will: will.clone(),
        will_delay_s: connect.will.as_ref().map_or(0, |will| will.delay_s),
    };
    let request = ConnectRequest {
        client_id: (!client_id.is_empty()).then_some(client_id),
        version: connect.version,
        clean_start: connect.clean_start,
        session_expiry_s: candidate.session_expiry.granted_s,
        username: connect.username,
        password: connect.password,
        keepalive_s: connect.keepalive_s,
        will,
    };
    (candidate, request)
}

fn packet_size_max(connect: &Connect) -> u32 {
    connect.properties.packet_size_max.map_or(u32::MAX, NonZeroU32::get)
}

fn will_message(will: &Will, qos_max: QoS) -> Message {
    let publish = Publish {
        dup: false,
        qos: will.qos.min(qos_max),
        retain: will.retain,
        topic: will.topic.clone(),
        packet_id: None,
        properties: will.properties.clone(),
        payload: will.payload.clone(),
    };
    Message::new(publish, Tick::default())
}

/// Older clients are only told of a version that we don't speak ([MQTT-3.1.2-2] of 3.1.1). Whoever names another protocol
/// is none of ours and gets no CONNACK ([MQTT-3.1.4-1] of 3.1.1).
fn refuse_malformed(core: &mut Core, version: Option<Version>, error: DecodeError) -> Cause {
    let unsupported = matches!(error.fault, Fault::ProtocolVersion { .. });
    if unsupported || version == Some(Version::V5) {
        core.outbound.open(version.unwrap_or(Version::V311), u32::MAX);
        // What doesn't fit need not be sent: the connection closes either way.
        let _ = core.outbound.answer(&Packet::ConnAck(ConnAck::new(connack_code(error.reason))));
    }
    Cause::Failed(error.into())
}

/// Answers CONNECT with a refusal.
pub(super) fn refuse(core: &mut Core, reason: ReasonCode, text: Option<Text>) -> Cause {
    let reason = connack_code(reason);
    let mut connack = ConnAck::new(reason);
    connack.properties.reason_string = text;
    connack.properties.server_reference = core.config.reference(reason);
    if core.outbound.answer(&Packet::ConnAck(connack)).is_err() {
        // Without the text it may fit; if not, the connection closes without an answer.
        let _ = core.outbound.answer(&Packet::ConnAck(ConnAck::new(reason)));
    }
    Cause::Refused(reason)
}

/// The nearest code that CONNACK may carry as a refusal.
fn connack_code(reason: ReasonCode) -> ReasonCode {
    match reason {
        ReasonCode::AdministrativeAction => ReasonCode::NotAuthorized,
        ReasonCode::ServerShuttingDown => ReasonCode::ServerUnavailable,
        reason if reason.is_error() && reason.belongs_to(PacketType::ConnAck) => reason,
        _ => ReasonCode::UnspecifiedError,
    }
}

impl Candidate {
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Answers CONNECT. A session that cannot go on after all comes back with the error.
    pub(super) fn admit(
        self,
        core: &mut Core,
        admission: Admission,
    ) -> Result<Connected, (Cause, Option<Box<SessionState>>)> {
        let mut accept = match admission {
            Admission::Accept(accept) => accept,
            Admission::Refuse { reason, text } => {
                return Err((self.refuse(core, reason, text.as_deref()), None));
            }
        };
        let session = accept.session.take();
        let keepalive_s = self.server_keepalive(&accept, &core.config);
        let assigned = accept.client_id.filter(|_| self.client_id.is_empty());
        match self.answer(core, assigned.clone(), keepalive_s, session.is_some()) {
            Ok(()) => Ok(self.connected(core, assigned, keepalive_s, session)),
            Err(error) => Err((Cause::Failed(error), session)),
        }
    }

    fn answer(
        &self,
        core: &mut Core,
        assigned: Option<ClientId>,
        keepalive_s: Option<u16>,
        session_present: bool,
    ) -> Result<(), Error> {
        if self.client_id.is_empty() && assigned.is_none() {
            self.refuse(core, ReasonCode::ImplementationSpecificError, None);
            return Err(Error::Driver("assigned no client identifier"));
        }
        let properties = Box::new(self.properties(assigned, keepalive_s, &core.config));
        self.open(core);
        core.outbound.answer(&Packet::ConnAck(ConnAck {
            session_present,
            reason: ReasonCode::Success,
            properties,
        }))
    }

    fn connected(
        self,
        core: &mut Core,
        assigned: Option<ClientId>,
        keepalive_s: Option<u16>,
        session: Option<Box<SessionState>>,
    ) -> Connected {
        let window = self.receive_max.min(core.config.inflight_max);
        let aliases = self.topic_alias_max.min(core.config.outbound_topic_alias_max);
        let state = session.map_or_else(SessionState::default, |state| *state);
        let keeps = self.session_expiry.granted_s > 0;
        core.outbound.admit((state.window, state.queue), window, aliases, keeps);
        Connected {
            keepalive_ms: u64::from(keepalive_s.unwrap_or(self.keepalive_s)) * 1500,
            problem_information: self.problem_information,
            session_expiry_s: self.session_expiry.granted_s,
            is_to_last: self.session_expiry.asked_s > 0,
            authenticated: self.authentication.map(|by| Box::new(Authenticated::by(by.method))),
            will: self.will,
            will_delay_s: self.will_delay_s,
            acks: state.acks,
            subscriptions: state.subscriptions,
            streams_opened: state.streams_opened,
            ..Connected::new(self.version, assigned.unwrap_or(self.client_id), core.now)
        }
    }

    /// What is written is for this client from now on.
    pub(super) fn open(&self, core: &mut Core) {
        core.outbound.open(self.version, self.packet_size_max);
    }

    /// Refuses a client on which the driver was to decide.
    pub(super) fn refuse(&self, core: &mut Core, reason: ReasonCode, text: Option<&str>) -> Cause {
        self.open(core);
        let text = text.filter(|_| self.problem_information).and_then(|text| text.parse().ok());
        refuse(core, reason, text)
    }

    /// The keep-alive in place of the client's, if any. Older clients can't be told, so theirs stands.
    fn server_keepalive(&self, accept: &Accept, config: &Config) -> Option<u16> {
        if !self.version.is_v5() {
            return None;
        }
        let wanted = accept.keepalive_s.unwrap_or(self.keepalive_s);
        let granted = match config.keepalive_s_max {
            Some(maximum) if wanted == 0 || wanted > maximum => maximum,
            _ => wanted,
        };
        (granted != self.keepalive_s).then_some(granted)
    }

    fn properties(
        &self,
        assigned_client_id: Option<ClientId>,
        server_keepalive_s: Option<u16>,
        config: &Config,
    ) -> ConnAckProperties {
        let expiry = self.session_expiry;
        ConnAckProperties {
            // Absent would mean that the client's wish is granted.
            session_expiry_s: (expiry.granted_s != expiry.asked_s).then_some(expiry.granted_s),
            receive_max: NonZeroU16::new(config.receive_max),
            qos_max: config.qos_max,
            retain_available: config.retain_available,
            packet_size_max: NonZeroU32::new(config.packet_size_max),
            assigned_client_id,
            topic_alias_max: config.topic_alias_max,
            shared_subscription_available: config.shared_subscription_available,
            wildcard_subscription_available: config.wildcard_subscription_available,
            subscription_id_available: config.subscription_id_available,
            server_keepalive_s,
            // [MQTT-3.1.2-28].
            response_information: config.response_information.clone().filter(|_| self.response_information),
            authentication: self.authentication.clone(),
            ..ConnAckProperties::default()
        }
    }
}
