//! The rules of the tree, held by a test: who may use whom, what sans-IO crates may not know, sizes, leftovers.

mod conformance;
mod edges;
mod sources;
mod text;

use std::path::PathBuf;

/// The root of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace has a root")
}
