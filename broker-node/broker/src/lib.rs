//! The broker node: listeners, identity, registry, router, drivers.
