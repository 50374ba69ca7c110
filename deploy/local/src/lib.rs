//! Replicas and brokers in one process on loopback.
