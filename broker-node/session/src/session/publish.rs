//! PUBLISH from the client, and its acknowledgement.

use std::sync::Arc;

use revoq_mqtt::{PayloadFormat, Publish, QoS, ReasonCode, Topic};

use super::Core;
use super::connected::Connected;
use crate::acks::AckKind;
use crate::{Config, Error, Message, Output, PublishToken};

impl Connected {
    pub(super) fn handle_publish(&mut self, core: &mut Core, mut publish: Publish) -> Result<(), Error> {
        self.check_publish(&publish, &core.config)?;
        self.aliases.resolve(&mut publish, core.config.topic_alias_max)?;
        check_depth(&publish.topic, &core.config)?;
        if core.config.payload_format_checked && !is_as_said(&publish) {
            return self.refuse_payload(core, &publish);
        }
        let token = match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => Some(self.acks.owe(AckKind::PubAck, packet_id)),
            (QoS::ExactlyOnce, Some(packet_id)) if self.acks.is_received(packet_id) => {
                self.acks.owe_again(packet_id);
                return self.acknowledge(core);
            }
            (QoS::ExactlyOnce, Some(packet_id)) => Some(self.acks.owe(AckKind::PubRec, packet_id)),
            _ => None,
        };
        let message = Arc::new(Message::new(publish, core.now));
        core.outputs.push_back(Output::Publish { message, token });
        Ok(())
    }

    /// The payload is not what its Payload Format Indicator says (section 3.3.2.3.2).
    fn refuse_payload(&mut self, core: &mut Core, publish: &Publish) -> Result<(), Error> {
        let kind = match publish.qos {
            QoS::AtMostOnce => return Err(Error::PayloadFormat),
            QoS::AtLeastOnce => AckKind::PubAck,
            QoS::ExactlyOnce => AckKind::PubRec,
        };
        let token = self.acks.owe(kind, publish.packet_id.expect("a packet with QoS 1 or 2 has one"));
        self.published(core, token, ReasonCode::PayloadFormatInvalid)
    }

    /// Acknowledges one PUBLISH, and those behind it that waited for their turn.
    pub(super) fn published(
        &mut self,
        core: &mut Core,
        token: PublishToken,
        reason: ReasonCode,
    ) -> Result<(), Error> {
        self.acks.answer(token, reason);
        self.acknowledge(core)
    }

    fn acknowledge(&mut self, core: &mut Core) -> Result<(), Error> {
        while let Some(ack) = self.acks.next() {
            core.outbound.answer(&ack)?;
        }
        Ok(())
    }

    fn check_publish(&self, publish: &Publish, config: &Config) -> Result<(), Error> {
        if publish.qos > config.qos_max {
            return Err(Error::QosNotSupported { maximum: config.qos_max });
        }
        if !self.version.is_v5() {
            return Ok(());
        }
        if publish.retain && !config.retain_available {
            return Err(Error::RetainNotSupported);
        }
        if !publish.properties.subscription_ids.is_empty() {
            return Err(Error::SubscriptionIdFromClient);
        }
        let again = publish.packet_id.is_some_and(|packet_id| self.acks.is_received(packet_id));
        let counts = publish.qos != QoS::AtMostOnce && !again;
        if counts && self.acks.unfinished() >= usize::from(config.receive_max) {
            return Err(Error::ReceiveMaximumExceeded(config.receive_max));
        }
        Ok(())
    }
}

fn is_as_said(publish: &Publish) -> bool {
    publish.properties.forwarded.payload_format() == PayloadFormat::Bytes
        || std::str::from_utf8(&publish.payload).is_ok()
}

fn check_depth(topic: &Topic, config: &Config) -> Result<(), Error> {
    let levels = topic.as_bytes().iter().filter(|&&byte| byte == b'/').count() + 1;
    if levels > config.topic_levels_max { Err(Error::TopicTooDeep(config.topic_levels_max)) } else { Ok(()) }
}
