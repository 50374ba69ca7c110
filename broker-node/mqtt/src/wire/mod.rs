//! The data types of MQTT 1.5: reading them from a frame and writing them to a buffer.

mod reader;
mod writer;

pub(crate) use reader::Reader;
pub(crate) use writer::{put_binary, put_prefixed, put_string, put_varint, varint_len};

/// The largest Variable Byte Integer (1.5.5).
pub(crate) const VARINT_MAX: u32 = 268_435_455;

/// A Variable Byte Integer at the start of `bytes`: its value and its length in bytes.
///
/// `Ok(None)` when it is cut off, `Err(())` when a fourth byte asks for a fifth.
#[inline]
pub(crate) fn parse_varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, ()> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(()) }
}
