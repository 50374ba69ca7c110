use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use crate::wire::VARINT_MAX;

/// Packet Identifier: never zero ([MQTT-2.2.1-3]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The first identifier that a sender uses.
    pub const FIRST: PacketId = PacketId(NonZeroU16::MIN);

    /// `None` for zero.
    #[inline]
    pub const fn new(id: u16) -> Option<PacketId> {
        match NonZeroU16::new(id) {
            Some(id) => Some(PacketId(id)),
            None => None,
        }
    }

    /// The number on the wire.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The identifier after this one; 1 follows 65,535.
    #[inline]
    pub const fn next(self) -> PacketId {
        match self.0.checked_add(1) {
            Some(id) => PacketId(id),
            None => PacketId::FIRST,
        }
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Subscription Identifier: 1 to 268,435,455 (MQTT 3.8.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// `None` for zero and for what a Variable Byte Integer can't hold.
    #[inline]
    pub const fn new(id: u32) -> Option<SubscriptionId> {
        match NonZeroU32::new(id) {
            Some(id) if id.get() <= VARINT_MAX => Some(SubscriptionId(id)),
            _ => None,
        }
    }

    /// The number on the wire.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// Topic Alias: never zero ([MQTT-3.3.2-8]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicAlias(NonZeroU16);

impl TopicAlias {
    /// `None` for zero.
    #[inline]
    pub const fn new(alias: u16) -> Option<TopicAlias> {
        match NonZeroU16::new(alias) {
            Some(alias) => Some(TopicAlias(alias)),
            None => None,
        }
    }

    /// The number on the wire.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}
