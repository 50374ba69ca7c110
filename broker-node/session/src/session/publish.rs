//! PUBLISH from the client, and its acknowledgement.

use std::sync::Arc;

use revoq_mqtt::{Ack, Packet, Publish, QoS, ReasonCode, Topic};

use super::connected::Connected;
use super::{Core, QOS_MAX};
use crate::{Config, Error, Message, Output, PublishToken};

impl Connected {
    pub(super) fn handle_publish(&mut self, core: &mut Core, mut publish: Publish) -> Result<(), Error> {
        self.check_publish(&publish, &core.config)?;
        self.aliases.resolve(&mut publish, core.config.topic_alias_max)?;
        check_depth(&publish.topic, &core.config)?;
        let token = match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => Some(self.acks.owe(packet_id)),
            _ => None,
        };
        let message = Arc::new(Message::new(publish, core.now));
        core.outputs.push_back(Output::Publish { message, token });
        Ok(())
    }

    /// Acknowledges one PUBLISH, and those behind it that waited for their turn.
    pub(super) fn published(
        &mut self,
        core: &mut Core,
        token: PublishToken,
        reason: ReasonCode,
    ) -> Result<(), Error> {
        self.acks.answer(token, reason);
        while let Some((packet_id, reason)) = self.acks.next() {
            core.outbound.answer(&Packet::PubAck(Ack::new(packet_id, reason)))?;
        }
        Ok(())
    }

    fn check_publish(&self, publish: &Publish, config: &Config) -> Result<(), Error> {
        if publish.qos > QOS_MAX {
            return Err(Error::QosNotSupported);
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
        if publish.qos == QoS::AtLeastOnce && self.acks.len() >= usize::from(config.receive_max) {
            return Err(Error::ReceiveMaximumExceeded(config.receive_max));
        }
        Ok(())
    }
}

fn check_depth(topic: &Topic, config: &Config) -> Result<(), Error> {
    let levels = topic.as_bytes().iter().filter(|&&byte| byte == b'/').count() + 1;
    if levels > config.topic_levels_max { Err(Error::TopicTooDeep(config.topic_levels_max)) } else { Ok(()) }
}
