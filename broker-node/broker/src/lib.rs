//! The broker node: what faces devices. It signs nothing, writes no disk, and holds nothing that may not be lost.
//!
//! ```text
//!             control plane ── events, grants ──▶ watch driver (thread of its own)
//!                   ▲                                │ 1. view  2. sweep  3. acknowledge  4. wake
//!     look-ups,     │                                ▼
//!     certificate   │        ┌──────── Node: view, freshness, registry, sessions, router ───────┐
//!                   │        │                                                                │
//!   device ── TLS ──┴─▶ listener ─▶ connection task: handshake, CONNECT, register, decide, claim, run, close
//! ```
//!
//! The order of two pairs of steps carries the guarantee. A connection is *registered, then decided*; an event is
//! *applied to the view, then swept for*. Whichever comes first, one of the two sees the other. The gate of a
//! connection is looked at before each packet in and each write out, so what is shut lets nothing through, however
//! long closing takes.

mod admission;
mod broker;
mod cache;
mod clock;
mod config;
mod connection;
mod control;
mod error;
mod gate;
mod http;
mod identity;
mod listener;
mod lookup;
mod metrics;
mod node;
mod proxy;
mod quic;
mod registry;
mod retained;
mod router;
mod scram;
mod sessions;
mod sockets;
mod sys;
mod tls;
mod usage;
mod websocket;

pub use broker::{Broker, NotReady};
pub use config::{Config, IdentityFiles, Limits, Listener, ListenerKind};
pub use error::Error;
pub use node::Sweep;
