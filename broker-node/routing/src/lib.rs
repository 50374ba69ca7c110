//! Topic filters to targets: exact table and trie. Topic filters to retained messages: another trie.
//!
//! [`Table`] answers which subscriptions match a topic. Filters without wildcards, which most devices use, are found
//! by one look-up in a hash table; the others stand in a trie over topic levels. Neither walks recursively, so
//! that no filter is too deep for a stack, and both give memory back when filters go. [`Retained`] answers which topics
//! match a filter, page by page, and [`Shared`]
//! who of each group of a shared subscription gets a message.

mod exact;
mod hash;
mod level;
mod retained;
mod shared;
mod strategy;
mod table;
mod targets;
mod trie;

pub use hash::HashKeys;
pub use retained::{RETAINED_LEVELS_MAX, Retained};
pub use shared::Shared;
pub use strategy::{Draw, Strategy, stable_hash};
pub use table::Table;
