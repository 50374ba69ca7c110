//! Harness, conformance, cluster and tidy tests.
