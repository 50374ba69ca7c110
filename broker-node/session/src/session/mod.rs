//! The state machine of one connection.

mod answers;
mod authenticate;
mod connect;
mod connected;
mod end;
mod publish;
mod streams;
mod subscribe;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use revoq_mqtt::{
    ClientId, PACKET_SIZE_MAX, PacketType, Peek, ReasonCode, TopicFilter, Version, decode, peek,
};

use crate::outbound::Outbound;
use crate::{Admission, Cause, CloseReason, Config, Counters, Delivery, Error, Output, StreamId, Tick};
use connected::Connected;

/// Outputs that a call of `handle_bytes` leaves for the driver at most: the contract makes it call again.
const OUTPUTS_MAX: usize = 64;
/// `outputs` keeps this capacity when it has run empty; what is beyond goes back to the allocator.
const OUTPUTS_KEPT: usize = 8;

/// The MQTT protocol of one connection, as a plain value without input and output.
///
/// ```text
///                    CONNECT              Accept / CONNACK 0
///  AwaitingConnect ──────────▶ AwaitingAdmission ──────────▶ Connected
///        │                            │                          │
///        │ no CONNECT in time,        │ Refuse / CONNACK         │ DISCONNECT, fault, keep-alive,
///        │ other packet, fault        │ cut, end of stream       │ cut, end of stream, full queue
///        ▼                            ▼                          ▼
///        └───────────────────────▶ Closed ◀──────────────────────┘   Output::Closed, once
/// ```
///
/// A CONNECT with an authentication method leads to `Authenticating` first, where AUTH goes back and forth, and from there to
/// `AwaitingAdmission` or `Closed`.
///
/// # Contract
///
/// The driver owns the socket, the clock and everything that sessions share. `handle_*` methods take what
/// happened, at a time that never goes back. After one or more of them the driver drains in this order:
///
/// 1. [`poll_output`](Session::poll_output) until `None`, doing what each [`Output`] says. Answers may be given at
///    once or later.
/// 2. [`handle_bytes`](Session::handle_bytes) again with the same buffer, and back to 1, until a round gives no
///    output: an answer may have been what the next packet waited for.
/// 3. [`write_buffer`](Session::write_buffer), when everything taken before is written. The driver takes all of it or
///    nothing, for instance with `split()`: [`handle_cut`](Session::handle_cut) discards what stands there (the driver
///    [puts back](Session::put_back) what has not begun to leave), and nothing may follow half a packet. After each complete write it looks again, because queued messages move up.
/// 4. [`next_timeout`](Session::next_timeout): [`handle_timeout`](Session::handle_timeout) is due then. Calling it
///    early does no harm; calling it with bytes of the client unread may end a session that is alive.
///
/// Data streams, where the transport has any, are handled likewise, one after the other, by the methods that name a stream:
/// [`open_stream`](Session::open_stream) to [`close_stream`](Session::close_stream). Each has a write buffer, a queue, a
/// quota in both directions and topic aliases of its own; everything else is the session's.
///
/// The socket is read only while [`wants_bytes`](Session::wants_bytes) says so; that is the back-pressure
/// towards the client. After [`Output::Closed`] every input is ignored.
///
/// # What is served
///
/// MQTT 3.1, 3.1.1 and 5.0 with QoS 0, 1 and 2. A session may outlive its connection: [`CloseReason`](crate::CloseReason)
/// hands its state out, [`Accept`](crate::Accept) of the next connection takes it. CONNACK of 5.0 says what is not
/// served, as [`Config`] has it. A will above Maximum QoS from an older client, which cannot be told, is published with that.
#[derive(Debug)]
pub struct Session {
    core: Core,
    state: State,
}

/// What every state needs.
#[derive(Debug)]
struct Core {
    config: Arc<Config>,
    now: Tick,
    outputs: VecDeque<Output>,
    outbound: Outbound,
}

#[derive(Debug)]
enum State {
    AwaitingConnect { since: Tick },
    Authenticating(Box<authenticate::Exchange>),
    AwaitingAdmission(Box<connect::Candidate>),
    Connected(Box<Connected>),
    Closed,
}

impl Session {
    /// A session for a connection that was opened at `now`.
    #[must_use]
    pub fn new(config: Arc<Config>, now: Tick) -> Session {
        let core = Core { config, now, outputs: VecDeque::new(), outbound: Outbound::default() };
        Session { core, state: State::AwaitingConnect { since: now } }
    }

    /// Takes whole packets from the front of `buf`, as far as [`wants_bytes`](Session::wants_bytes) allows and for
    /// a bounded number of outputs, and leaves the rest.
    pub fn handle_bytes(&mut self, now: Tick, buf: &mut BytesMut) {
        self.core.advance(now);
        if let State::Connected(connected) = &mut self.state {
            connected.note_arrival(now, buf.len());
        }
        while self.wants_bytes() && self.core.outputs.len() < OUTPUTS_MAX {
            // PINGRESP tells the client that what it sent before has been handled.
            let is_ping =
                buf.first().is_some_and(|&first| PacketType::of(first) == Some(PacketType::PingReq));
            if is_ping && !self.core.outputs.is_empty() {
                break;
            }
            let cause = match self.take_frame(buf) {
                Ok(Some(frame)) => self.handle_frame(frame).err(),
                Ok(None) => break,
                Err(error) => Some(Cause::Failed(error)),
            };
            if let Some(cause) = cause {
                self.end(cause);
            }
        }
        match &mut self.state {
            State::Connected(connected) => connected.unread = buf.len(),
            State::Closed => buf.clear(),
            State::AwaitingConnect { .. } | State::Authenticating(_) | State::AwaitingAdmission(_) => {}
        }
    }

    /// Takes the verdict on [`Output::Connect`].
    pub fn handle_admission(&mut self, now: Tick, admission: Admission) {
        self.core.advance(now);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::AwaitingAdmission(candidate) => match candidate.admit(&mut self.core, admission) {
                Ok(connected) => self.state = State::Connected(Box::new(connected)),
                Err((cause, session)) => self.core.close(cause, session),
            },
            state => self.state = state,
        }
    }

    /// A message for this client: it is written, queued or, by the limits of [`Config`], dropped. Where the stream of its
    /// subscription is closed, it goes over the control stream.
    #[inline]
    pub fn handle_delivery(&mut self, now: Tick, delivery: &Delivery) {
        let is_data = delivery.stream != StreamId::CONTROL && self.view(delivery.stream);
        self.connected(now, |_, core| core.outbound.deliver(now, delivery, &core.config));
        if is_data {
            self.unview();
        }
    }

    /// The time of [`next_timeout`](Session::next_timeout) has come, or perhaps not yet.
    pub fn handle_timeout(&mut self, now: Tick) {
        self.core.advance(now);
        let result = match &mut self.state {
            State::AwaitingConnect { since } if now >= *since + self.core.config.connect_timeout_ms => {
                Err(Error::ConnectTimeout(self.core.config.connect_timeout_ms))
            }
            State::Authenticating(exchange) if now >= exchange.deadline() => {
                Err(Error::AuthenticationTimeout(self.core.config.connect_timeout_ms))
            }
            State::Connected(connected) => {
                connected.check_keepalive(&self.core).and(connected.check_authentication(&self.core))
            }
            _ => Ok(()),
        };
        if let Err(error) = result {
            self.end(Cause::Failed(error));
        }
    }

    /// Ends the session from our side: 0x98 (administrative action), 0x87 (not authorized), 0x8E (taken over), 0x8B
    /// and the like. Nothing else leaves any more, neither towards the client nor towards the router. A client whose
    /// CONNACK still stands in the write buffer is refused in another one ([MQTT-3.2.0-1]), and its will is void.
    pub fn handle_cut(&mut self, now: Tick, reason: ReasonCode) {
        self.core.advance(now);
        let unanswered = self.core.outbound.begins_with(PacketType::ConnAck);
        if matches!(self.state, State::Closed) {
            return;
        }
        self.core.outputs.clear();
        self.core.outbound.discard();
        if !unanswered {
            return self.end(Cause::Cut(reason));
        }
        if let State::Connected(connected) = std::mem::replace(&mut self.state, State::Closed) {
            let session = connected.into_state(&mut self.core);
            connect::refuse(&mut self.core, reason, None);
            self.core.close(Cause::Cut(reason), Some(session));
        }
    }

    /// Takes back what the driver took from the [`write_buffer`](Session::write_buffer) and of which nothing has left.
    pub fn put_back(&mut self, bytes: BytesMut) {
        self.core.outbound.put_back(bytes);
    }

    /// The client closed the connection, or it broke.
    pub fn handle_eof(&mut self, now: Tick) {
        self.core.advance(now);
        self.end(Cause::ConnectionLost);
    }

    /// What the driver is to do next.
    #[inline]
    pub fn poll_output(&mut self) -> Option<Output> {
        let mut output = self.core.outputs.pop_front();
        match &mut output {
            Some(Output::Closed(CloseReason { session: Some(session), .. })) => session.settle(),
            Some(_) => {}
            None => self.core.outputs.shrink_to(OUTPUTS_KEPT),
        }
        output
    }

    /// When [`handle_timeout`](Session::handle_timeout) is due, if ever.
    #[must_use]
    #[inline]
    pub fn next_timeout(&self) -> Option<Tick> {
        match &self.state {
            State::AwaitingConnect { since } => Some(*since + self.core.config.connect_timeout_ms),
            State::Connected(connected) => {
                let paused = connected.paused_until(self.core.now);
                let authentication = connected.authentication_deadline();
                connected.keepalive_deadline().into_iter().chain(paused).chain(authentication).min()
            }
            State::Authenticating(exchange) => Some(exchange.deadline()),
            State::AwaitingAdmission(_) | State::Closed => None,
        }
    }

    /// Bytes for the client; queued messages move up first. See the contract for how to take them.
    #[inline]
    pub fn write_buffer(&mut self) -> &mut BytesMut {
        if let State::Connected(_) = self.state {
            self.core.outbound.fill(self.core.now, &self.core.config);
        }
        self.core.outbound.buffer()
    }

    /// Whether the client's next bytes can be used now: not while an answer is owed to the session that must come
    /// first, not while the client leaves too many answers unread or publishes faster than it may, and not after the end.
    #[must_use]
    #[inline]
    pub fn wants_bytes(&self) -> bool {
        match &self.state {
            State::AwaitingConnect { .. } => true,
            State::Authenticating(exchange) => exchange.wants_bytes(),
            State::Connected(connected) => {
                !connected.awaits_driver(&self.core.config)
                    && connected.paused_until(self.core.now).is_none()
                    && self.core.outbound.has_room_for_answers(&self.core.config)
            }
            State::AwaitingAdmission(_) | State::Closed => false,
        }
    }

    /// Whether a delivery would be written at once, or nearly so: what can wait outside, as retained messages can, should
    /// come no sooner.
    #[must_use]
    #[inline]
    pub fn wants_deliveries(&self) -> bool {
        matches!(self.state, State::Connected(_)) && self.core.outbound.is_flowing(&self.core.config)
    }

    /// Whether [`Output::Closed`] was given.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// The protocol version, once CONNECT named it.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match &self.state {
            State::AwaitingAdmission(candidate) => Some(candidate.version()),
            State::Connected(connected) => Some(connected.version),
            State::Authenticating(_) => Some(Version::V5),
            State::AwaitingConnect { .. } | State::Closed => None,
        }
    }

    /// The client identifier, asked for or assigned, of a session that was let in.
    #[must_use]
    pub fn client_id(&self) -> Option<&ClientId> {
        match &self.state {
            State::Connected(connected) => Some(&connected.client_id),
            _ => None,
        }
    }

    /// The filters to which the client is subscribed, in order of their bytes. Empty after the end.
    pub fn subscriptions(&self) -> impl Iterator<Item = &TopicFilter> {
        let connected = match &self.state {
            State::Connected(connected) => Some(connected),
            _ => None,
        };
        connected.into_iter().flat_map(|connected| &connected.subscriptions)
    }

    /// What the client did not get since the last call.
    #[inline]
    pub fn take_counters(&mut self) -> Counters {
        self.core.outbound.take_counters()
    }

    #[inline]
    fn connected(&mut self, now: Tick, step: impl FnOnce(&mut Connected, &mut Core) -> Result<(), Error>) {
        self.core.advance(now);
        if let State::Connected(connected) = &mut self.state
            && let Err(error) = step(connected, &mut self.core)
        {
            self.end(Cause::Failed(error));
        }
    }

    /// Splits the first packet off, if it is whole.
    fn take_frame(&self, buf: &mut BytesMut) -> Result<Option<Bytes>, Error> {
        let size_max = match &self.state {
            State::AwaitingConnect { .. } => {
                if buf.first().is_some_and(|&first| PacketType::of(first) != Some(PacketType::Connect)) {
                    return Err(Error::ConnectExpected);
                }
                self.core.config.connect_size_max
            }
            State::Authenticating(_) => self.core.config.connect_size_max,
            _ => self.core.config.packet_size_max,
        };
        match peek(buf, size_max.min(PACKET_SIZE_MAX))? {
            Peek::Frame(total) => Ok(Some(buf.split_to(total).freeze())),
            Peek::Need(_) => Ok(None),
        }
    }

    fn handle_frame(&mut self, frame: Bytes) -> Result<(), Cause> {
        match &mut self.state {
            State::AwaitingConnect { since } => {
                let deadline = *since + self.core.config.connect_timeout_ms;
                self.state = connect::receive(&mut self.core, frame, deadline)?;
                Ok(())
            }
            State::Authenticating(exchange) => exchange.handle_frame(&mut self.core, frame),
            State::Connected(connected) => {
                let bytes = frame.len();
                let packet = decode(frame, connected.version).map_err(|error| Cause::Failed(error.into()))?;
                connected.check_place(&packet)?;
                connected.meter(&mut self.core, &packet, bytes);
                connected.handle_packet(&mut self.core, packet)
            }
            State::AwaitingAdmission(_) | State::Closed => Ok(()),
        }
    }

    fn end(&mut self, cause: Cause) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => {}
            State::Connected(mut connected) => {
                connected.unview(&mut self.core);
                connected.end(&mut self.core, cause);
            }
            State::AwaitingConnect { .. } => self.core.close(cause, None),
            State::Authenticating(exchange) => {
                exchange.end(&mut self.core, &cause);
                self.core.close(cause, None);
            }
            State::AwaitingAdmission(candidate) => {
                if let Cause::Cut(reason) = cause {
                    candidate.refuse(&mut self.core, reason, None);
                }
                self.core.close(cause, None);
            }
        }
    }
}

impl Core {
    /// Time never goes back, whatever the caller says.
    #[inline]
    fn advance(&mut self, now: Tick) {
        self.now = self.now.max(now);
    }
}
