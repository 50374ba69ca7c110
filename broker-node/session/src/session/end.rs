//! How sessions end: the last packet, the will, the last output.

use std::sync::Arc;

use revoq_mqtt::{Disconnect, Packet, PacketType, ReasonCode};

use super::Core;
use super::connected::Connected;
use crate::{Cause, CloseReason, Error, Output, SessionState};

impl Connected {
    pub(super) fn end(mut self, core: &mut Core, cause: Cause) {
        if self.version.is_v5() {
            self.say_goodbye(core, &cause);
        }
        // [MQTT-3.14.4-3]: only a normal disconnection makes the will void.
        let normal = cause == Cause::Disconnected(ReasonCode::Success);
        let will = self.will.take().filter(|_| !normal).map(|will| Arc::new(will.copied(core.now)));
        let will_delay_s = self.will_delay_s.min(self.session_expiry_s);
        let state = self.into_state(core);
        let (session, transferable) = match state.expiry_s {
            0 => (None, state.into_transferable().collect()),
            _ => (Some(state), Vec::new()),
        };
        core.outputs.push_back(Output::Closed(CloseReason {
            cause,
            will,
            will_delay_s,
            session,
            transferable,
        }));
    }

    pub(super) fn into_state(mut self, core: &mut Core) -> Box<SessionState> {
        let stream_acks = self.close_all(core);
        let (window, queue) = core.outbound.take();
        let (expiry_s, streams_opened) = (self.session_expiry_s, self.streams_opened);
        let (subscriptions, acks) = (self.subscriptions, self.acks);
        Box::new(SessionState { expiry_s, streams_opened, subscriptions, acks, stream_acks, window, queue })
    }

    /// A server speaks last only when the client did not ([MQTT-3.14.4-1], 4.13.1).
    fn say_goodbye(&self, core: &mut Core, cause: &Cause) {
        let (reason, text) = match cause {
            // paho-mqtt (1.6.1 to 2.1.0) reads the code only where a text follows.
            Cause::Cut(reason) => (*reason, Some(reason.name().to_owned())),
            Cause::Failed(error) => (error.reason_code(), reason_string(error)),
            Cause::Disconnected(_) | Cause::ConnectionLost | Cause::Refused(_) => return,
        };
        let legal = reason.is_error() && reason.belongs_to(PacketType::Disconnect);
        let reason = if legal { reason } else { ReasonCode::UnspecifiedError };
        let mut disconnect = Disconnect::new(reason);
        disconnect.server_reference = core.config.reference(reason);
        disconnect.properties.reason_string =
            text.filter(|_| self.problem_information).and_then(|text| text.parse().ok());
        if core.outbound.answer(&Packet::Disconnect(disconnect)).is_err() {
            // Without the text it may fit; if not, the connection closes without a word.
            let _ = core.outbound.answer(&Packet::Disconnect(Disconnect::new(reason)));
        }
    }
}

impl Core {
    /// The end of a client that was not let in, or does not know that it was.
    pub(super) fn close(&mut self, cause: Cause, session: Option<Box<SessionState>>) {
        let session = session.filter(|session| session.expiry_s > 0);
        let (will, will_delay_s, transferable) = (None, 0, Vec::new());
        self.outputs.push_back(Output::Closed(CloseReason {
            cause,
            will,
            will_delay_s,
            session,
            transferable,
        }));
    }
}

/// What a person at the client's end may read. What is wrong inside of us is not theirs.
pub(super) fn reason_string(error: &Error) -> Option<String> {
    match error {
        Error::Decode(error) => Some(error.fault.to_string()),
        Error::Driver(_) | Error::Encode(_) => None,
        error => Some(error.to_string()),
    }
}
