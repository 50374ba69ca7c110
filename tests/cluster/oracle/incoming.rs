//! What a client does about the packets that come.

use anyhow::{Context, Result, bail, ensure};
use revoq_mqtt::{Ack, Packet, Publish, QoS, ReasonCode, Version};

use super::client::{Client, Flight};

impl Client {
    pub(super) async fn handle(&mut self, packet: Packet) -> Result<()> {
        match packet {
            Packet::Publish(publish) => self.handle_publish(publish).await,
            Packet::PubRel(ack) => self.handle_pubrel(&ack).await,
            Packet::PubRec(ack) => self.handle_pubrec(&ack).await,
            Packet::PubAck(ack) => self.end_flight(&ack, QoS::AtLeastOnce),
            Packet::PubComp(ack) => self.end_flight(&ack, QoS::ExactlyOnce),
            Packet::SubAck(ack) => {
                ensure!(ack.reasons.iter().all(|reason| !reason.is_error()), "{ack:?}");
                self.answers += 1;
                Ok(())
            }
            Packet::UnsubAck(_) | Packet::PingResp => {
                self.answers += 1;
                Ok(())
            }
            other => bail!("the broker says {other:?} to {}", self.client_id),
        }
    }

    async fn handle_publish(&mut self, mut publish: Publish) -> Result<()> {
        self.resolve(&mut publish)?;
        let Some(key) = self.book.lock().recognise(self.number, &publish.topic, &publish.payload) else {
            return Ok(());
        };
        let Some(packet_id) = publish.packet_id else {
            self.book.lock().receives(self.number, key, &publish);
            return Ok(());
        };
        self.open.insert(packet_id);
        if self.part.version == Version::V5 && self.open.len() > usize::from(self.part.receive_max) {
            self.book.lock().fault(self.number, "more PUBLISH packets than Receive Maximum");
        }
        let before = match publish.qos {
            QoS::ExactlyOnce => self.taken.get(&packet_id).map(|(key, _)| *key),
            _ => self.withheld.get(&packet_id).copied(),
        };
        if before.is_some_and(|before| before != key || !publish.dup) {
            self.book
                .lock()
                .fault(self.number, format_args!("identifier {packet_id} was not free for {key}"));
        }
        let ack = Ack::new(packet_id, ReasonCode::Success);
        if publish.qos == QoS::ExactlyOnce {
            if before.is_none() {
                let receipt = self.book.lock().receives(self.number, key, &publish);
                self.taken.insert(packet_id, (key, receipt));
            }
            return if self.acknowledges { self.send(&[Packet::PubRec(ack)]).await } else { Ok(()) };
        }
        let receipt = self.book.lock().receives(self.number, key, &publish);
        if !self.acknowledges {
            self.withheld.insert(packet_id, key);
            return Ok(());
        }
        self.withheld.remove(&packet_id);
        self.open.remove(&packet_id);
        self.complete(receipt);
        self.send(&[Packet::PubAck(ack)]).await
    }

    fn complete(&self, receipt: usize) {
        self.book.lock().records[self.number].receipts[receipt].is_complete = true;
    }

    fn resolve(&mut self, publish: &mut Publish) -> Result<()> {
        let Some(alias) = publish.properties.topic_alias else { return Ok(()) };
        ensure!(
            alias.get() <= self.part.topic_alias_max,
            "topic alias {} for {}",
            alias.get(),
            self.client_id
        );
        if publish.topic.is_empty() {
            publish.topic = self.aliases.get(&alias.get()).context("a topic alias that is not set")?.clone();
        } else {
            self.aliases.insert(alias.get(), publish.topic.clone());
        }
        Ok(())
    }

    async fn handle_pubrel(&mut self, ack: &Ack) -> Result<()> {
        if !self.acknowledges {
            return Ok(());
        }
        if let Some((_, receipt)) = self.taken.remove(&ack.packet_id) {
            self.complete(receipt);
        }
        self.open.remove(&ack.packet_id);
        self.send(&[Packet::PubComp(Ack::new(ack.packet_id, ReasonCode::Success))]).await
    }

    async fn handle_pubrec(&mut self, ack: &Ack) -> Result<()> {
        let mine = |flight: &&mut Flight| {
            flight.packet_id == ack.packet_id && flight.publish.qos == QoS::ExactlyOnce
        };
        let Some(flight) = self.flights.iter_mut().find(mine).filter(|_| !ack.reason.is_error()) else {
            self.book.lock().fault(self.number, format_args!("{ack:?} of nothing, or a refusal"));
            return Ok(());
        };
        flight.is_received = true;
        self.book.lock().acknowledged(flight.key);
        if !self.acknowledges {
            return Ok(());
        }
        self.send(&[Packet::PubRel(Ack::new(ack.packet_id, ReasonCode::Success))]).await
    }

    /// PUBACK or PUBCOMP.
    fn end_flight(&mut self, ack: &Ack, qos: QoS) -> Result<()> {
        let mine = |flight: &Flight| {
            let in_turn = qos == QoS::AtLeastOnce || flight.is_received;
            flight.packet_id == ack.packet_id && flight.publish.qos == qos && in_turn
        };
        let mut book = self.book.lock();
        // The answer to a PUBREL that is sent again may be that the exchange is at its end already.
        let well = !ack.reason.is_error()
            || (qos == QoS::ExactlyOnce && ack.reason == ReasonCode::PacketIdentifierNotFound);
        match self.flights.iter().position(mine).filter(|_| well) {
            Some(at) => book.acknowledged(self.flights.remove(at).key),
            None => book.fault(self.number, format_args!("{ack:?} of nothing, or a refusal")),
        }
        Ok(())
    }
}
