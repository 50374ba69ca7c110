//! Enhanced authentication (MQTT 5.0 section 4.12): the exchange before CONNACK, and that of a client which is let in
//! and authenticates again. What is in the data is the driver's to say.

use bytes::Bytes;
use revoq_mqtt::{Auth, Authentication, Packet, PacketType, ReasonCode, Text, Version, decode};

use super::connect::Candidate;
use super::connected::Connected;
use super::{Core, Session, State};
use crate::{AuthenticationAnswer, AuthenticationRequest, Cause, ConnectRequest, Error, Output, Tick};

/// Who is to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Client,
    Driver,
}

/// A client that authenticates, and is then decided about.
#[derive(Debug)]
pub(super) struct Exchange {
    candidate: Candidate,
    request: Box<ConnectRequest>,
    method: Text,
    turn: Turn,
    /// The same as of CONNECT.
    deadline: Tick,
}

impl Exchange {
    /// CONNECT named a method that is served.
    pub(super) fn begin(
        core: &mut Core,
        candidate: Candidate,
        request: Box<ConnectRequest>,
        first: &Authentication,
        deadline: Tick,
    ) -> Exchange {
        candidate.open(core);
        let method = first.method.detached();
        core.ask(&method, first.data.as_ref(), true);
        Exchange { candidate, request, method, turn: Turn::Driver, deadline }
    }

    pub(super) fn deadline(&self) -> Tick {
        self.deadline
    }

    /// Whether the client's next packet can be used now.
    pub(super) fn wants_bytes(&self) -> bool {
        self.turn == Turn::Client
    }

    /// Before CONNACK a client may send AUTH and DISCONNECT ([MQTT-3.1.2-30]).
    pub(super) fn handle_frame(&mut self, core: &mut Core, frame: Bytes) -> Result<(), Cause> {
        match decode(frame, Version::V5).map_err(|error| Cause::Failed(error.into()))? {
            Packet::Auth(auth) => self.handle_auth(core, &auth).map_err(Cause::Failed),
            Packet::Disconnect(disconnect) => Err(Cause::Disconnected(disconnect.reason)),
            other => Err(Cause::Failed(Error::Unexpected(other.packet_type()))),
        }
    }

    fn handle_auth(&mut self, core: &mut Core, auth: &Auth) -> Result<(), Error> {
        let sent = of_method(auth, &self.method)?;
        if auth.reason != ReasonCode::ContinueAuthentication {
            return Err(Error::Unexpected(PacketType::Auth));
        }
        self.turn = Turn::Driver;
        core.ask(&self.method, sent.data.as_ref(), false);
        Ok(())
    }

    /// Takes what the driver made of the client's last word.
    pub(super) fn answer(
        mut self: Box<Self>,
        core: &mut Core,
        answer: AuthenticationAnswer,
    ) -> Result<State, Cause> {
        match answer {
            AuthenticationAnswer::Continue(data) => {
                let challenge = auth(ReasonCode::ContinueAuthentication, &self.method, Some(data));
                if let Err(error) = core.outbound.answer(&challenge) {
                    self.end(core, &Cause::Failed(error.clone()));
                    return Err(Cause::Failed(error));
                }
                self.turn = Turn::Client;
                Ok(State::Authenticating(self))
            }
            AuthenticationAnswer::Success(data) => {
                let Exchange { mut candidate, request, method, .. } = *self;
                candidate.authentication = Some(Authentication { method, data });
                core.outputs.push_back(Output::Connect(request));
                Ok(State::AwaitingAdmission(Box::new(candidate)))
            }
            AuthenticationAnswer::Failure(reason) => Err(self.candidate.refuse(core, reason, None)),
        }
    }

    /// It ends on the way: the client is refused ([MQTT-4.12.0-4]), unless it went by itself.
    pub(super) fn end(&self, core: &mut Core, cause: &Cause) {
        let (reason, text) = match cause {
            Cause::Cut(reason) => (*reason, None),
            Cause::Failed(error) => (error.reason_code(), super::end::reason_string(error)),
            Cause::Disconnected(_) | Cause::ConnectionLost | Cause::Refused(_) => return,
        };
        self.candidate.refuse(core, reason, text.as_deref());
    }
}

/// Of a client that is let in and authenticated by a method.
#[derive(Debug)]
pub(super) struct Authenticated {
    method: Text,
    /// While it authenticates again: whose turn it is, and until when.
    under_way: Option<(Turn, Tick)>,
}

impl Authenticated {
    pub(super) fn by(method: Text) -> Authenticated {
        Authenticated { method, under_way: None }
    }
}

impl Connected {
    /// When a client that authenticates again must be done.
    pub(super) fn authentication_deadline(&self) -> Option<Tick> {
        let (_, deadline) = self.authenticated.as_ref()?.under_way?;
        Some(deadline)
    }

    pub(super) fn check_authentication(&self, core: &Core) -> Result<(), Error> {
        match self.authentication_deadline() {
            Some(deadline) if core.now >= deadline => {
                Err(Error::AuthenticationTimeout(core.config.connect_timeout_ms))
            }
            _ => Ok(()),
        }
    }

    /// The client begins to authenticate again, or goes on with it (section 4.12.1). Everything else goes on meanwhile.
    pub(super) fn handle_auth(&mut self, core: &mut Core, auth: &Auth) -> Result<(), Error> {
        let unexpected = Error::Unexpected(PacketType::Auth);
        let Some(known) = &mut self.authenticated else { return Err(unexpected) };
        let sent = of_method(auth, &known.method)?;
        let (begins, deadline) = match (auth.reason, known.under_way) {
            (ReasonCode::ReAuthenticate, None) => (true, core.now + core.config.connect_timeout_ms),
            (ReasonCode::ContinueAuthentication, Some((Turn::Client, deadline))) => (false, deadline),
            _ => return Err(unexpected),
        };
        known.under_way = Some((Turn::Driver, deadline));
        core.ask(&known.method, sent.data.as_ref(), begins);
        Ok(())
    }

    /// Takes what the driver made of the client's last word.
    pub(super) fn authenticate(
        &mut self,
        core: &mut Core,
        answer: AuthenticationAnswer,
    ) -> Result<(), Error> {
        let Some(known) = &mut self.authenticated else { return Ok(()) };
        let Some((Turn::Driver, deadline)) = known.under_way else { return Ok(()) };
        let packet = match answer {
            AuthenticationAnswer::Continue(data) => {
                known.under_way = Some((Turn::Client, deadline));
                auth(ReasonCode::ContinueAuthentication, &known.method, Some(data))
            }
            AuthenticationAnswer::Success(data) => {
                known.under_way = None;
                auth(ReasonCode::Success, &known.method, data)
            }
            AuthenticationAnswer::Failure(reason) => return Err(Error::NotAuthenticated(reason)),
        };
        core.outbound.answer(&packet)
    }
}

impl Session {
    /// Takes what is made of [`Output::Authenticate`].
    pub fn handle_authentication(&mut self, now: Tick, answer: AuthenticationAnswer) {
        if !matches!(self.state, State::Authenticating(_)) {
            return self.connected(now, |connected, core| connected.authenticate(core, answer));
        }
        self.core.advance(now);
        if let State::Authenticating(exchange) = std::mem::replace(&mut self.state, State::Closed) {
            match exchange.answer(&mut self.core, answer) {
                Ok(state) => self.state = state,
                Err(cause) => self.core.close(cause, None),
            }
        }
    }
}

impl Core {
    fn ask(&mut self, method: &Text, data: Option<&Bytes>, begins: bool) {
        // Of its own: the slice would keep what it came in.
        let data = data.map_or_else(Bytes::new, |data| Bytes::copy_from_slice(data));
        let request = AuthenticationRequest { method: method.clone(), data, begins };
        self.outputs.push_back(Output::Authenticate(Box::new(request)));
    }
}

/// The method of CONNECT is that of every AUTH ([MQTT-4.12.0-5], [MQTT-4.12.1-1]).
fn of_method<'a>(auth: &'a Auth, method: &Text) -> Result<&'a Authentication, Error> {
    auth.authentication.as_ref().filter(|sent| sent.method == *method).ok_or(Error::AuthenticationMethod)
}

fn auth(reason: ReasonCode, method: &Text, data: Option<Bytes>) -> Packet {
    let authentication = Some(Authentication { method: method.clone(), data });
    Packet::Auth(Auth { reason, authentication, properties: Default::default() })
}
