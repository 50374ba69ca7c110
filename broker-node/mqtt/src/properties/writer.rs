use bytes::{BufMut, Bytes, BytesMut};

use super::Id;
use crate::error::EncodeError;
use crate::ids::SubscriptionId;
use crate::wire::{put_binary, put_string, put_varint};

/// Appends properties. Absent ones, and those at the value that absence means, are left out.
pub(crate) struct PropertyWriter<'a> {
    out: &'a mut BytesMut,
}

impl<'a> PropertyWriter<'a> {
    pub(crate) fn new(out: &'a mut BytesMut) -> PropertyWriter<'a> {
        PropertyWriter { out }
    }

    /// A yes-or-no property that means `default` when it is absent.
    pub(crate) fn flag(&mut self, id: Id, value: bool, default: bool) {
        if value != default {
            self.out.put_slice(&[id as u8, u8::from(value)]);
        }
    }

    pub(crate) fn u8(&mut self, id: Id, value: Option<u8>) {
        if let Some(value) = value {
            self.out.put_slice(&[id as u8, value]);
        }
    }

    pub(crate) fn u16(&mut self, id: Id, value: Option<u16>) {
        if let Some(value) = value {
            self.out.put_u8(id as u8);
            self.out.put_u16(value);
        }
    }

    pub(crate) fn u32(&mut self, id: Id, value: Option<u32>) {
        if let Some(value) = value {
            self.out.put_u8(id as u8);
            self.out.put_u32(value);
        }
    }

    pub(crate) fn subscription_id(&mut self, id: SubscriptionId) {
        self.out.put_u8(Id::SubscriptionIdentifier as u8);
        put_varint(self.out, id.get());
    }

    pub(crate) fn string(&mut self, id: Id, value: Option<&impl AsRef<[u8]>>) {
        if let Some(value) = value {
            self.out.put_u8(id as u8);
            put_string(self.out, value);
        }
    }

    pub(crate) fn binary(&mut self, id: Id, value: Option<&Bytes>) -> Result<(), EncodeError> {
        if let Some(value) = value {
            self.out.put_u8(id as u8);
            put_binary(self.out, value)?;
        }
        Ok(())
    }

    /// Whole properties, as they were read.
    pub(crate) fn raw(&mut self, properties: &[u8]) {
        self.out.put_slice(properties);
    }
}
