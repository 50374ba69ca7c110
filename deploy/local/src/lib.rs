//! Replicas and brokers in one process on loopback.
//!
//! One replica and one broker is the embedded default that needs no other service; three replicas and two brokers
//! are the quick start. Tests and benches start their clusters with this crate too. Everything is kept below one
//! folder: `replica-<n>/` for each replica, and `local.toml`, the addresses, so that a restart finds the cluster
//! where it was. Brokers keep nothing and join again at each start.

mod cluster;
mod layout;

pub use cluster::{Cluster, Options};
pub use layout::{BrokerAddresses, Layout, Ports, ReplicaAddresses};
