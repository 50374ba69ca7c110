//! Replicated groups: openraft over gRPC, log and state machine in RocksDB.
