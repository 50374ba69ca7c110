//! The control plane over real connections, with real replicas: in this process, or as processes of their own.

mod door;
mod ends;
mod failover;
mod fences;
mod replicas;
mod support;
mod watches;
