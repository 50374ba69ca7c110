//! Groups of replicas over real gRPC and a real `RocksDB` each.

mod common;
mod disk;
mod divergence;
mod groups;
mod membership;
mod replicas;
