use std::ops::Range;

use bytes::Bytes;

use super::parse_varint;
use crate::error::Fault;
use crate::ids::PacketId;
use crate::wire::varint_len;

/// A cursor over a part of a frame. What it hands out are slices of the frame.
pub(crate) struct Reader<'a> {
    frame: &'a Bytes,
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(frame: &'a Bytes, at: usize) -> Reader<'a> {
        Reader { frame, at, end: frame.len() }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn frame(&self) -> &'a Bytes {
        self.frame
    }

    #[inline]
    pub(crate) fn remaining(&self) -> usize {
        self.end - self.at
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// [`Fault::TrailingBytes`] unless all was read.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        if self.is_empty() { Ok(()) } else { Err(Fault::TrailingBytes) }
    }

    /// The next `len` bytes as a reader of their own.
    #[inline]
    pub(crate) fn split(&mut self, len: usize) -> Result<Reader<'a>, Fault> {
        let range = self.advance(len)?;
        Ok(Reader { frame: self.frame, at: range.start, end: range.end })
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        let range = self.advance(1)?;
        Ok(self.frame[range.start])
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        let range = self.advance(2)?;
        Ok(u16::from_be_bytes([self.frame[range.start], self.frame[range.start + 1]]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        let range = self.advance(4)?;
        let bytes = self.frame[range].try_into().expect("four bytes");
        Ok(u32::from_be_bytes(bytes))
    }

    /// A Variable Byte Integer in its shortest form ([MQTT-1.5.5-1]).
    pub(crate) fn varint(&mut self) -> Result<u32, Fault> {
        match parse_varint(&self.frame[self.at..self.end]) {
            Ok(Some((value, len))) if len == varint_len(value) => {
                self.at += len;
                Ok(value)
            }
            Ok(None) => Err(Fault::Truncated),
            Ok(Some(_)) | Err(()) => Err(Fault::VariableByteInteger),
        }
    }

    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, Fault> {
        PacketId::new(self.u16()?).ok_or(Fault::PacketId)
    }

    /// Binary Data (1.5.6).
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<Bytes, Fault> {
        let range = self.prefixed()?;
        Ok(self.frame.slice(range))
    }

    /// A string type, checked.
    #[inline]
    pub(crate) fn string<T: TryFrom<Bytes, Error = Fault>>(&mut self) -> Result<T, Fault> {
        T::try_from(self.binary()?)
    }

    /// The contents of a length-prefixed field, not shared.
    #[inline]
    pub(crate) fn raw(&mut self) -> Result<&'a [u8], Fault> {
        let range = self.prefixed()?;
        Ok(&self.frame[range])
    }

    /// All that is left.
    #[inline]
    pub(crate) fn rest(&mut self) -> Bytes {
        let rest = self.frame.slice(self.at..self.end);
        self.at = self.end;
        rest
    }

    fn prefixed(&mut self) -> Result<Range<usize>, Fault> {
        let len = self.u16()?;
        self.advance(usize::from(len))
    }

    fn advance(&mut self, len: usize) -> Result<Range<usize>, Fault> {
        if len > self.remaining() {
            return Err(Fault::Truncated);
        }
        let start = self.at;
        self.at += len;
        Ok(start..self.at)
    }
}
