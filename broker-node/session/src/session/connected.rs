//! A session that is let in: timers, and which packet goes where.

use std::collections::BTreeSet;
use std::sync::Arc;

use revoq_mqtt::{Ack, ClientId, Disconnect, Packet, PacketType, ReasonCode, TopicFilter, Version};

use super::Core;
use super::authenticate::Authenticated;
use super::streams::Streams;
use super::subscribe::Requests;
use crate::acks::Acks;
use crate::aliases::Aliases;
use crate::{Cause, Config, Error, Message, Rate, Tick};

#[derive(Debug)]
pub(super) struct Connected {
    pub(super) version: Version,
    pub(super) client_id: ClientId,
    /// Absent without an authentication method.
    pub(super) authenticated: Option<Box<Authenticated>>,
    /// One and a half times the keep-alive ([MQTT-3.1.2-22]); 0 is none.
    pub(super) keepalive_ms: u64,
    pub(super) problem_information: bool,
    /// As it was granted; DISCONNECT may change it, ...
    pub(super) session_expiry_s: u32,
    /// ... unless CONNECT asked for 0.
    pub(super) is_to_last: bool,
    pub(super) will: Option<Arc<Message>>,
    pub(super) will_delay_s: u32,
    /// When the client was last heard.
    pub(super) heard: Tick,
    /// Bytes that were left in the driver's buffer last time: more than those are news from the client.
    pub(super) unread: usize,
    pub(super) aliases: Aliases,
    pub(super) acks: Acks,
    /// Of PUBLISH packets, and of their bytes.
    pub(super) published: [Rate; 2],
    pub(super) requests: Requests,
    pub(super) subscriptions: BTreeSet<TopicFilter>,
    /// From the first data stream on.
    pub(super) streams: Option<Box<Streams>>,
    /// Data streams that the session ever had.
    pub(super) streams_opened: u32,
}

impl Connected {
    pub(super) fn new(version: Version, client_id: ClientId, now: Tick) -> Connected {
        Connected {
            version,
            client_id,
            authenticated: None,
            keepalive_ms: 0,
            problem_information: true,
            session_expiry_s: 0,
            is_to_last: false,
            will: None,
            will_delay_s: 0,
            heard: now,
            unread: 0,
            aliases: Aliases::default(),
            acks: Acks::default(),
            published: Default::default(),
            requests: Requests::default(),
            subscriptions: BTreeSet::new(),
            streams: None,
            streams_opened: 0,
        }
    }

    /// A packet of so many bytes came; PUBLISH packets are metered.
    pub(super) fn meter(&mut self, core: &mut Core, packet: &Packet, bytes: usize) {
        if let Packet::Publish(_) = packet {
            let [messages, volume] = &mut self.published;
            messages.charge(core.now, 1, core.config.publish_rate_max);
            volume.charge(core.now, bytes as u64, core.config.publish_bytes_rate_max);
            if self.paused_until(core.now).is_some() {
                core.outbound.count_pause();
            }
        }
    }

    /// Until when the client is not read because it published faster than it may.
    pub(super) fn paused_until(&self, now: Tick) -> Option<Tick> {
        self.published.iter().filter_map(|rate| rate.paused_until(now)).max()
    }

    /// Whether no packet can be taken before the driver answers. An MQTT 5.0 client is told its Receive Maximum
    /// and ends its session by passing it, so only older ones are held back.
    #[inline]
    pub(super) fn awaits_driver(&self, config: &Config) -> bool {
        let published = self.acks.len() >= usize::from(config.receive_max) && !self.version.is_v5();
        published || self.requests.len() >= config.requests_max
    }

    /// Part of a packet shows life too, or a long packet on a slow link would end a short keep-alive.
    #[inline]
    pub(super) fn note_arrival(&mut self, now: Tick, buffered: usize) {
        if buffered > self.unread {
            self.heard = now;
        }
    }

    #[inline]
    pub(super) fn keepalive_deadline(&self) -> Option<Tick> {
        (self.keepalive_ms > 0).then(|| self.heard + self.keepalive_ms)
    }

    /// While we don't read because of our own side, the client's silence proves nothing.
    pub(super) fn check_keepalive(&mut self, core: &Core) -> Result<(), Error> {
        if self.awaits_driver(&core.config) || self.paused_until(core.now).is_some() {
            self.heard = core.now;
        }
        match self.keepalive_deadline() {
            Some(deadline) if core.now >= deadline => Err(Error::KeepAliveTimeout(self.keepalive_ms)),
            _ => Ok(()),
        }
    }

    pub(super) fn handle_packet(&mut self, core: &mut Core, packet: Packet) -> Result<(), Cause> {
        self.heard = core.now;
        let result = match packet {
            Packet::Publish(publish) => self.handle_publish(core, publish),
            Packet::PubAck(ack) => core.outbound.acknowledge(ack.packet_id),
            Packet::PubRec(ack) => core.outbound.received(&ack),
            Packet::PubComp(ack) => core.outbound.complete(ack.packet_id),
            Packet::PubRel(ack) => self.handle_pubrel(core, &ack),
            Packet::Subscribe(subscribe) => self.handle_subscribe(core, subscribe),
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(core, unsubscribe),
            Packet::PingReq => core.outbound.answer(&Packet::PingResp),
            Packet::Auth(auth) => self.handle_auth(core, &auth),
            Packet::Disconnect(disconnect) => return Err(self.handle_disconnect(core, &disconnect)),
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => Err(Error::Unexpected(packet.packet_type())),
        };
        result.map_err(Cause::Failed)
    }

    /// The end of a QoS 2 exchange; it may be one of an earlier session.
    fn handle_pubrel(&mut self, core: &mut Core, ack: &Ack) -> Result<(), Error> {
        let reason = match self.acks.release(ack.packet_id) {
            Some(false) => return Err(Error::Unexpected(PacketType::PubRel)),
            None if self.version.is_v5() => ReasonCode::PacketIdentifierNotFound,
            Some(true) | None => ReasonCode::Success,
        };
        core.outbound.answer(&Packet::PubComp(Ack::new(ack.packet_id, reason)))
    }

    fn handle_disconnect(&mut self, core: &Core, disconnect: &Disconnect) -> Cause {
        if let Some(expiry_s) = disconnect.session_expiry_s {
            // A session that was to end with the connection can't be made to last (3.14.2.2.2).
            if !self.is_to_last && expiry_s > 0 {
                return Cause::Failed(Error::SessionExpirySet);
            }
            self.session_expiry_s = expiry_s.min(core.config.session_expiry_s_max);
        }
        Cause::Disconnected(disconnect.reason)
    }
}
