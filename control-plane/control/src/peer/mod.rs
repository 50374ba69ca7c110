//! Replica to replica: what they tell each other about brokers.
//!
//! The leader keeps the leases. Each other replica holds one [`Liaison`] stream to it, on which it passes on what
//! its brokers say and gets their grants. When the leadership moves it begins anew and tells the new leader all
//! that the last one may have known.
mod grants;
mod liaison;
mod outbox;
mod peers;
mod service;

pub(crate) use liaison::Liaison;
pub(crate) use peers::Peers;
pub(crate) use service::PeerService;
