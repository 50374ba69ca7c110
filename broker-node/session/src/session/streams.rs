//! Data streams: what each has of its own, and how it is put into the place of the control stream's.
//!
//! Everything else of a session speaks of the stream that is in view. Between two calls that is the control stream.

use bytes::BytesMut;
use revoq_mqtt::{Packet, PacketType};

use super::connected::Connected;
use super::{Core, Session, State};
use crate::acks::Acks;
use crate::aliases::Aliases;
use crate::outbound::Lane;
use crate::{Cause, DATA_STREAMS_MAX, Error, StreamId, Tick};

/// The data streams of a connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Vec<DataStream>,
    /// Which of them is in view: here is then what belongs to the control stream.
    in_view: Option<usize>,
}

#[derive(Debug)]
struct DataStream {
    id: StreamId,
    acks: Acks,
    aliases: Aliases,
    unread: usize,
    lane: Lane,
}

impl Session {
    /// The client opened a data stream; its number. `None`: there are [`DATA_STREAMS_MAX`] of them, or the client is not let in.
    pub fn open_stream(&mut self) -> Option<StreamId> {
        let State::Connected(connected) = &mut self.state else { return None };
        connected.open(&mut self.core)
    }

    /// [`handle_bytes`](Session::handle_bytes) of a data stream. Packets that have their place on the control stream end the
    /// session with 0x82, which is said there.
    pub fn handle_stream_bytes(&mut self, now: Tick, stream: StreamId, buf: &mut BytesMut) {
        if self.view(stream) {
            self.handle_bytes(now, buf);
            self.unview();
        } else {
            buf.clear();
        }
    }

    /// [`wants_bytes`](Session::wants_bytes) of a data stream.
    pub fn wants_stream_bytes(&mut self, stream: StreamId) -> bool {
        let wants = self.view(stream) && self.wants_bytes();
        self.unview();
        wants
    }

    /// [`wants_deliveries`](Session::wants_deliveries) of a data stream, or of the control stream where that is closed.
    pub fn wants_stream_deliveries(&mut self, stream: StreamId) -> bool {
        self.view(stream);
        let wants = self.wants_deliveries();
        self.unview();
        wants
    }

    /// All that stands in the [`write_buffer`](Session::write_buffer) of a data stream.
    pub fn take_stream_bytes(&mut self, stream: StreamId) -> BytesMut {
        let bytes = if self.view(stream) { std::mem::take(self.write_buffer()) } else { BytesMut::new() };
        self.unview();
        bytes
    }

    /// The client closed a data stream, or it broke; what is left for it are answers. Messages for its subscriptions go over
    /// the control stream from now on, those too that it did not acknowledge: these come again there. The exchanges that the
    /// client began on it are forgotten.
    pub fn close_stream(&mut self, now: Tick, stream: StreamId) -> BytesMut {
        let mut rest = BytesMut::new();
        self.connected(now, |connected, core| {
            if let Some(bytes) = connected.close(core, stream) {
                rest = bytes;
                core.outbound.check_queue(&core.config)?;
            }
            Ok(())
        });
        rest
    }

    /// Puts a stream into view. False, and the control stream stays there, if it is not open.
    #[inline]
    pub(super) fn view(&mut self, stream: StreamId) -> bool {
        if stream == StreamId::CONTROL {
            return true;
        }
        let State::Connected(connected) = &mut self.state else { return false };
        connected.view(&mut self.core, stream)
    }

    /// Puts the control stream into view again.
    #[inline]
    pub(super) fn unview(&mut self) {
        if let State::Connected(connected) = &mut self.state {
            connected.unview(&mut self.core);
        }
    }
}

impl Connected {
    fn open(&mut self, core: &mut Core) -> Option<StreamId> {
        let streams = self.streams.get_or_insert_default();
        if streams.open.len() >= DATA_STREAMS_MAX {
            return None;
        }
        core.outbound.share();
        // Zero is the control stream.
        self.streams_opened = self.streams_opened.checked_add(1).unwrap_or(1);
        let id = StreamId(self.streams_opened);
        streams.open.push(DataStream {
            id,
            acks: Acks::of(id),
            aliases: Aliases::default(),
            unread: 0,
            lane: Lane::of(id),
        });
        Some(id)
    }

    fn view(&mut self, core: &mut Core, stream: StreamId) -> bool {
        let Some(streams) = &mut self.streams else { return false };
        let Some(index) = streams.open.iter().position(|open| open.id == stream) else { return false };
        streams.in_view = Some(index);
        self.swap(core, index);
        true
    }

    #[inline]
    pub(super) fn unview(&mut self, core: &mut Core) {
        if let Some(streams) = &mut self.streams
            && let Some(index) = streams.in_view.take()
        {
            self.swap(core, index);
        }
    }

    fn swap(&mut self, core: &mut Core, index: usize) {
        let Some(other) = self.streams.as_mut().and_then(|streams| streams.open.get_mut(index)) else {
            return;
        };
        std::mem::swap(&mut self.acks, &mut other.acks);
        std::mem::swap(&mut self.aliases, &mut other.aliases);
        std::mem::swap(&mut self.unread, &mut other.unread);
        core.outbound.swap(&mut other.lane);
    }

    fn close(&mut self, core: &mut Core, stream: StreamId) -> Option<BytesMut> {
        let open = &mut self.streams.as_mut()?.open;
        let index = open.iter().position(|open| open.id == stream)?;
        let DataStream { lane, .. } = open.remove(index);
        self.requests.forget(stream);
        Some(core.outbound.take_over(lane))
    }

    /// All of them end with the connection; what they owe to the client comes back.
    pub(super) fn close_all(&mut self, core: &mut Core) -> Vec<Acks> {
        let Some(streams) = self.streams.take() else { return Vec::new() };
        let close = |DataStream { lane, acks, .. }: DataStream| {
            core.outbound.take_over(lane);
            acks
        };
        streams.open.into_iter().map(close).collect()
    }

    /// Whether the packet has its place on the stream that is in view: all have on the control stream.
    #[inline]
    pub(super) fn check_place(&self, packet: &Packet) -> Result<(), Cause> {
        if self.streams.as_ref().is_none_or(|streams| streams.in_view.is_none()) {
            return Ok(());
        }
        let kind = packet.packet_type();
        match kind {
            PacketType::Publish
            | PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp
            | PacketType::Subscribe
            | PacketType::Unsubscribe => Ok(()),
            _ => Err(Cause::Failed(Error::NotOnDataStream(kind))),
        }
    }
}
