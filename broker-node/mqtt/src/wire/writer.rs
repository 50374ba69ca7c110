use bytes::{BufMut, BytesMut};

use super::VARINT_MAX;
use crate::error::EncodeError;

/// Bytes that `value` takes as a Variable Byte Integer.
pub(crate) const fn varint_len(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Appends a Variable Byte Integer; `value` is at most [`VARINT_MAX`].
pub(crate) fn put_varint(out: &mut BytesMut, value: u32) {
    let (bytes, len) = varint(value);
    out.put_slice(&bytes[..len]);
}

/// Appends length and contents.
pub(crate) fn put_binary(out: &mut BytesMut, bytes: &[u8]) -> Result<(), EncodeError> {
    let len = u16::try_from(bytes.len()).map_err(|_| EncodeError::FieldTooLong)?;
    out.put_u16(len);
    out.put_slice(bytes);
    Ok(())
}

/// Appends a string whose type bounds its length.
pub(crate) fn put_string(out: &mut BytesMut, string: &impl AsRef<[u8]>) {
    put_binary(out, string.as_ref()).expect("string types are bounded");
}

/// Appends what `body` writes, with its length before it as a Variable Byte Integer.
///
/// The body is written behind a prefix of one byte, which is enough for nearly all packets that go through here, and moved
/// where it is not: cheaper than measuring first. After an error what is behind the start is of no use.
pub(crate) fn put_prefixed(
    out: &mut BytesMut,
    body: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.put_u8(0);
    body(out)?;
    let end = out.len();
    let value = u32::try_from(end - start - 1).ok().filter(|&len| len <= VARINT_MAX);
    let (prefix, prefix_len) = varint(value.ok_or(EncodeError::PacketTooLarge)?);
    if prefix_len > 1 {
        out.put_bytes(0, prefix_len - 1);
        out.copy_within(start + 1..end, start + prefix_len);
    }
    out[start..start + prefix_len].copy_from_slice(&prefix[..prefix_len]);
    Ok(())
}

fn varint(mut value: u32) -> ([u8; 4], usize) {
    debug_assert!(value <= VARINT_MAX);
    let mut bytes = [0; 4];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            return (bytes, index + 1);
        }
        *byte |= 0x80;
    }
    (bytes, 4)
}
