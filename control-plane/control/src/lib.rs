//! The control plane: operations, issuing, watch, leases and the fence.

mod clock;
mod error;
mod seal;
mod tickets;

pub use clock::Clock;
pub use error::Error;
pub use seal::{KEY_ENCRYPTION_KEY_LEN, KeyEncryptionKey, Seal};
pub use tickets::{fresh_ticket_keys, open_ticket_keys};
