//! What the driver answers to outputs.

use revoq_mqtt::{PacketId, ReasonCode};

use super::connected::Connected;
use super::{Core, Session};
use crate::{CloseReason, Error, Output, PublishToken, StreamId, Tick};

impl Session {
    /// The router has a message, or refuses it: the PUBLISH of `token` is acknowledged, by PUBACK or PUBREC, with a code of
    /// MQTT 5.0 section 3.4.2.1: success, no matching subscribers, or an error, with which the exchange ends. A client of
    /// MQTT 3.1.1 cannot be told the code ([MQTT-3.3.5-2] there).
    pub fn handle_published(&mut self, now: Tick, token: PublishToken, reason: ReasonCode) {
        // What came before the last packet of the connection is carried out after its end. The client is not told any more; it
        // sends the message again, and then that is not published a second time.
        if let Some(Output::Closed(CloseReason { session: Some(session), .. })) = self.core.outputs.back_mut()
        {
            return session.answer(token, reason);
        }
        self.on(token.stream, now, |connected, core| connected.published(core, token, reason));
    }

    /// The router has, or has not, taken the filters of [`Output::Subscribe`]: a code for each.
    pub fn handle_subscribed(
        &mut self,
        now: Tick,
        stream: StreamId,
        packet_id: PacketId,
        reasons: Vec<ReasonCode>,
    ) {
        self.on(stream, now, |connected, core| connected.subscribed(core, packet_id, reasons));
    }

    /// The router has removed the filters of [`Output::Unsubscribe`]: a code for each.
    pub fn handle_unsubscribed(
        &mut self,
        now: Tick,
        stream: StreamId,
        packet_id: PacketId,
        reasons: Vec<ReasonCode>,
    ) {
        self.on(stream, now, |connected, core| connected.unsubscribed(core, packet_id, reasons));
    }

    /// An answer, which is for one stream.
    #[inline]
    fn on(
        &mut self,
        stream: StreamId,
        now: Tick,
        step: impl FnOnce(&mut Connected, &mut Core) -> Result<(), Error>,
    ) {
        if self.view(stream) {
            self.connected(now, step);
            self.unview();
        }
    }
}
