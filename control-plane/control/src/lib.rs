//! The control plane: operations, issuing, watch, leases and the fence.

mod clock;
mod config;
mod data;
mod dial;
mod error;
mod listener;
mod metrics;
mod roles;
mod seal;
mod signer;
mod status;
mod tickets;
mod tls;

pub use clock::Clock;
pub use config::{Args, Config, ENVIRONMENT_PREFIX, Join, Limits, Timings};
pub use error::Error;
pub use seal::{KEY_ENCRYPTION_KEY_LEN, KeyEncryptionKey, Seal};
pub use tickets::{fresh_ticket_keys, open_ticket_keys};
