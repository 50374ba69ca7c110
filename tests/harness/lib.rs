//! What the tests share: clusters, real clients, predicates with a time limit.
