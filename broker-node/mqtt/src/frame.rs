//! The fixed header (MQTT 2.1), and the way into and out of all packets.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{DecodeError, EncodeError, Fault};
use crate::packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, PacketType, Publish, SubAck, Subscribe, UnsubAck,
    Unsubscribe, peek_version,
};
use crate::version::Version;
use crate::wire::{Reader, VARINT_MAX, parse_varint, put_prefixed, varint_len};

/// The longest packet that the fixed header can announce, in bytes, itself included.
pub const PACKET_SIZE_MAX: u32 = VARINT_MAX + 5;

/// What the bytes at the start of a buffer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// The packet is not complete: at least so many bytes more, never zero.
    Need(usize),
    /// A packet of so many bytes, fixed header included, is complete.
    Frame(usize),
}

/// Looks at the fixed header at the start of `buf`, before the rest of the packet is there.
///
/// `packet_size_max` counts bytes of the whole packet, as Maximum Packet Size does (3.1.2.11.4). A packet above it
/// is refused as soon as its length is read, so a caller that buffers what [`Peek::Need`] asks never holds more.
///
/// # Errors
/// [`Fault::PacketType`], [`Fault::VariableByteInteger`], [`Fault::PacketTooLarge`].
#[inline]
pub fn peek(buf: &[u8], packet_size_max: u32) -> Result<Peek, DecodeError> {
    let Some((&first, rest)) = buf.split_first() else { return Ok(Peek::Need(2)) };
    PacketType::of(first).ok_or(Fault::PacketType)?;
    let Some((remaining, len)) = parse_varint(rest).map_err(|()| Fault::VariableByteInteger)? else {
        return Ok(Peek::Need(1));
    };
    let total = 1 + len + remaining as usize;
    if total > packet_size_max as usize {
        return Err(Fault::PacketTooLarge.into());
    }
    match total.checked_sub(buf.len()) {
        None | Some(0) => Ok(Peek::Frame(total)),
        Some(missing) => Ok(Peek::Need(missing)),
    }
}

/// Reads one whole packet, as [`peek`] measured it. What the packet holds are slices of `frame`.
///
/// `version` is that of the connection; CONNECT names its own and the argument is ignored.
///
/// # Errors
/// The first rule of the standard that the frame breaks.
#[expect(clippy::needless_pass_by_value, reason = "the frame goes into its packet")]
pub fn decode(frame: Bytes, version: Version) -> Result<Packet, DecodeError> {
    let header = Header::read(&frame)?;
    let mut reader = Reader::new(&frame, header.len);
    let version = match header.kind {
        PacketType::Connect => peek_version(&mut reader)?,
        _ => version,
    };
    header.check(version)?;
    // Handed on as it is: unwrapping and wrapping it again would copy the packet on the hottest path.
    let packet = decode_body(&header, &mut reader, version);
    if packet.is_ok() {
        reader.finish()?;
    }
    packet
}

impl Version {
    /// The version that a whole CONNECT frame asks for, readable also where the rest of it is malformed: an answer
    /// must be written in it. `None` if it isn't a CONNECT or the version is unknown.
    pub fn of_connect(frame: &Bytes) -> Option<Version> {
        let header = Header::read(frame).ok()?;
        if header.kind != PacketType::Connect {
            return None;
        }
        peek_version(&mut Reader::new(frame, header.len)).ok()
    }
}

struct Header {
    kind: PacketType,
    flags: u8,
    /// Bytes of the fixed header.
    len: usize,
    /// Whether Remaining Length has its shortest form.
    minimal: bool,
}

impl Header {
    fn read(frame: &Bytes) -> Result<Header, Fault> {
        let (&first, rest) = frame.split_first().ok_or(Fault::Truncated)?;
        let kind = PacketType::of(first).ok_or(Fault::PacketType)?;
        let parsed = parse_varint(rest).map_err(|()| Fault::VariableByteInteger)?;
        let (remaining, bytes) = parsed.ok_or(Fault::Truncated)?;
        let len = 1 + bytes;
        match frame.len().cmp(&(len + remaining as usize)) {
            std::cmp::Ordering::Less => Err(Fault::Truncated),
            std::cmp::Ordering::Equal => {
                Ok(Header { kind, flags: first & 0x0F, len, minimal: bytes == varint_len(remaining) })
            }
            std::cmp::Ordering::Greater => Err(Fault::TrailingBytes),
        }
    }

    /// The flags are fixed since 3.1.1; 3.1 calls them unused, and clients of its time set DUP. The shortest form
    /// of Remaining Length is a rule of version 5 only.
    fn check(&self, version: Version) -> Result<(), Fault> {
        if version.is_v5() && !self.minimal {
            return Err(Fault::VariableByteInteger);
        }
        let free = self.kind == PacketType::Publish || version == Version::V31;
        if !free && self.flags != self.kind.flags() {
            return Err(Fault::FixedHeaderFlags);
        }
        Ok(())
    }
}

fn decode_body(header: &Header, reader: &mut Reader<'_>, version: Version) -> Result<Packet, DecodeError> {
    let kind = header.kind;
    Ok(match kind {
        PacketType::Connect => Packet::Connect(Box::new(Connect::read(version, reader)?)),
        PacketType::ConnAck => Packet::ConnAck(ConnAck::read(reader, version)?),
        PacketType::Publish => Packet::Publish(Publish::read(header.flags, reader, version)?),
        PacketType::PubAck => Packet::PubAck(Ack::read(kind, reader, version)?),
        PacketType::PubRec => Packet::PubRec(Ack::read(kind, reader, version)?),
        PacketType::PubRel => Packet::PubRel(Ack::read(kind, reader, version)?),
        PacketType::PubComp => Packet::PubComp(Ack::read(kind, reader, version)?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::read(reader, version)?),
        PacketType::SubAck => Packet::SubAck(SubAck::read(reader, version)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::read(reader, version)?),
        PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::read(reader, version)?),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => Packet::Disconnect(Disconnect::read(reader, version)?),
        PacketType::Auth if version.is_v5() => Packet::Auth(Auth::read(reader)?),
        PacketType::Auth => return Err(Fault::PacketType.into()),
    })
}

/// Appends a packet to `out`; on an error `out` is as it was.
///
/// What the version cannot say is left out: properties and reason codes before version 5. CONNECT goes by its own
/// version.
///
/// # Errors
/// Fields too long, or a combination that the standard forbids.
pub fn encode(packet: &Packet, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
    let start = out.len();
    let result = match packet {
        Packet::Publish(publish) => publish.write(version, out),
        Packet::Auth(_) if !version.is_v5() => Err(EncodeError::Version("AUTH")),
        _ => {
            let kind = packet.packet_type();
            out.put_u8((kind as u8) << 4 | kind.flags());
            put_prefixed(out, |out| encode_body(packet, version, out))
        }
    };
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn encode_body(packet: &Packet, version: Version, out: &mut BytesMut) -> Result<(), EncodeError> {
    let kind = packet.packet_type();
    match packet {
        Packet::Connect(connect) => connect.write(out),
        Packet::ConnAck(connack) => connack.write(version, out),
        Packet::Publish(publish) => publish.write(version, out),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack.write(kind, version, out)
        }
        Packet::Subscribe(subscribe) => subscribe.write(version, out),
        Packet::SubAck(suback) => suback.write(version, out),
        Packet::Unsubscribe(unsubscribe) => unsubscribe.write(version, out),
        Packet::UnsubAck(unsuback) => unsuback.write(version, out),
        Packet::PingReq | Packet::PingResp => Ok(()),
        Packet::Disconnect(disconnect) => disconnect.write(version, out),
        Packet::Auth(auth) => auth.write(out),
    }
}
