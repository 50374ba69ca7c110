//! Packets written by hand, field by field.

use bytes::{BufMut, Bytes, BytesMut};
use revoq_mqtt::{DecodeError, Fault, Packet, Version, decode, encode};

/// A whole packet: first byte, Remaining Length, body.
pub(crate) fn frame(first: u8, body: &[&[u8]]) -> Bytes {
    let body = body.concat();
    let mut out = BytesMut::new();
    out.put_u8(first);
    out.put_slice(&varint(body.len()));
    out.put_slice(&body);
    out.freeze()
}

/// A length-prefixed string.
pub(crate) fn s(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let len = u16::try_from(text.len()).expect("a short string");
    [&len.to_be_bytes(), text].concat()
}

/// Property Length and properties.
pub(crate) fn props(properties: &[&[u8]]) -> Vec<u8> {
    let properties = properties.concat();
    [varint(properties.len()), properties].concat()
}

/// An identifier and its value.
pub(crate) fn prop(id: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&[id], value.as_ref()].concat()
}

/// A User Property.
pub(crate) fn user(name: &str, value: &str) -> Vec<u8> {
    [vec![0x26], s(name), s(value)].concat()
}

pub(crate) fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7F).expect("seven bits");
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// The frame breaks this rule.
#[track_caller]
pub(crate) fn refused(name: &str, frame: Bytes, version: Version, fault: Fault) {
    let expected = Err(DecodeError { reason: fault.reason(), fault });
    assert_eq!(decode(frame, version), expected, "{name}");
}

/// The frame is legal.
#[track_caller]
pub(crate) fn accepted(name: &str, frame: Bytes, version: Version) -> Packet {
    match decode(frame, version) {
        Ok(packet) => packet,
        Err(error) => panic!("{name}: {error}"),
    }
}

/// The frame means this packet, and the packet is written as this frame.
#[track_caller]
pub(crate) fn both_ways(name: &str, frame: Bytes, version: Version, packet: &Packet) {
    let mut out = BytesMut::new();
    encode(packet, version, &mut out).expect(name);
    assert_eq!(out, frame, "{name}: encoded");
    assert_eq!(decode(frame, version).as_ref(), Ok(packet), "{name}: decoded");
}
