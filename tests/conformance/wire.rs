//! Packets by hand: where the bytes are the point, the codec that is tested must not write them.

use revoq_mqtt::Version;

/// A packet: first byte, Remaining Length, fields.
pub(crate) fn frame(first: u8, fields: &[&[u8]]) -> Vec<u8> {
    let body = fields.concat();
    let mut out = vec![first];
    out.extend(varint(body.len()));
    out.extend(body);
    out
}

/// A Variable Byte Integer.
pub(crate) fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = u8::try_from(value % 128).expect("below 128");
        value /= 128;
        out.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return out;
        }
    }
}

/// A string or binary data with its length.
pub(crate) fn text(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let length = u16::try_from(content.len()).expect("a string of at most 65,535 bytes");
    [&length.to_be_bytes(), content].concat()
}

/// Properties with their length.
pub(crate) fn properties(list: &[&[u8]]) -> Vec<u8> {
    let body = list.concat();
    [varint(body.len()), body].concat()
}

/// A User Property.
pub(crate) fn user(name: &str, value: &str) -> Vec<u8> {
    [vec![0x26], text(name), text(value)].concat()
}

/// Properties where the version has them.
pub(crate) fn none(version: Version) -> &'static [u8] {
    if version.is_v5() { &[0] } else { &[] }
}

/// CONNECT from its parts: flags, and what follows the properties.
pub(crate) fn connect(version: Version, flags: u8, payload: &[&[u8]]) -> Vec<u8> {
    connect_as(version.name(), version.level(), flags, none(version), payload)
}

/// CONNECT with a keep-alive of a minute.
pub(crate) fn connect_as(name: &str, level: u8, flags: u8, properties: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    frame(0x10, &[&text(name), &[level, flags, 0, 60], properties, &payload.concat()])
}

/// PUBLISH of QoS 0.
pub(crate) fn publish(version: Version, topic: impl AsRef<[u8]>, payload: &str) -> Vec<u8> {
    frame(0x30, &[&text(topic), none(version), payload.as_bytes()])
}

/// SUBSCRIBE with packet identifier 1.
pub(crate) fn subscribe(version: Version, filter: impl AsRef<[u8]>, options: u8) -> Vec<u8> {
    frame(0x82, &[&[0, 1], none(version), &text(filter), &[options]])
}

/// UNSUBSCRIBE with packet identifier 1.
pub(crate) fn unsubscribe(version: Version, filter: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0xA2, &[&[0, 1], none(version), &text(filter)])
}
