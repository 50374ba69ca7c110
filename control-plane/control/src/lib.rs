//! The control plane: operations, issuing, watch, leases and the fence.
//!
//! ```text
//!   listener ─▶ server ─▶ access (who, and may they?) ─┬─▶ api/*: operations ─▶ Plane: propose, read
//!   (TLS)                                              ├─▶ Node.Watch ───────▶ Plane: feed, leases, queries
//!                                                      └─▶ Raft, Peer: replica to replica
//! ```
//!
//! [`Replica`] puts it together. What signs (`signer`) never faces devices.

mod access;
mod api;
mod clock;
mod config;
mod counts;
mod data;
mod dial;
mod error;
mod fences;
mod founding;
mod health;
mod http;
mod join;
mod lease;
mod listener;
mod machine;
mod membership;
mod metrics;
mod peer;
mod plane;
mod replica;
mod roles;
mod seal;
mod server;
mod sessions;
mod signer;
mod status;
mod stored;
mod tickets;
mod tls;
mod watch;

pub use clock::Clock;
pub use config::{Args, Config, ENVIRONMENT_PREFIX, Join, Limits, Timings};
pub use error::Error;
pub use replica::Replica;
pub use revoq_consensus::Status;
pub use revoq_credentials::NodeKind;
pub use seal::{KEY_ENCRYPTION_KEY_LEN, KeyEncryptionKey, Seal};
pub use tickets::{fresh_ticket_keys, open_ticket_keys};
