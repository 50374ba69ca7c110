//! Tests of a whole cluster.
