//! Micro-benchmarks and the load generator revoq-bench.
