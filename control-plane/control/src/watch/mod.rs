//! The watch: what brokers know, and how they learn it.
//!
//! Each replica serves its brokers from its own applied state. [`Feed`] is a bounded ring of events, encoded
//! once and shared; a watcher is a cursor into it, not a queue. A watcher whose cursor has left the ring reads
//! the stored change rows; one that is older than those, or meets an event too large for a message, is given a
//! fresh snapshot. So a broker that reads slowly costs a cursor and one message, whatever happens meanwhile.
//!
//! ```text
//!   Machine::publish ──▶ Feed ──▶ outbound (one a broker) ──▶ broker
//!                                    ▲ grants, queries           │ renewals, acks, usage, answers
//!                                 Watcher ◀── inbound ◀──────────┘
//! ```
mod events;
mod feed;
mod inbound;
mod links;
mod outbound;
mod patience;
mod queries;
mod snapshot;
mod source;
mod usage;
mod watcher;
mod watchers;

#[cfg(test)]
mod many_test;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod stream_test;

pub(crate) use events::events;
pub(crate) use feed::{EVENT_BYTES_MAX, Feed, FeedEvent, RING_BYTES_MAX};
pub(crate) use inbound::inbound;
pub(crate) use links::{Links, Stored};
pub(crate) use outbound::outbound;
pub(crate) use patience::patience;
pub(crate) use snapshot::Snapshot;
pub(crate) use source::{ChangeRows, Rows};
pub(crate) use usage::Usage;
pub(crate) use watcher::Watcher;
pub(crate) use watchers::Watchers;
