//! openraft's own test suite, run against the stores.
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use revoq_credentials::{ReadError, Reader};
use std::sync::Arc;
use tempfile::TempDir;

use crate::log::LogStore;
use crate::machine::{Applied, Machine};
use crate::state::{Machinery, StateMachine};
use crate::store::Store;
use crate::types::Types;

/// The suite's entries carry no commands.
struct Idle;

impl Machine for Idle {
    type Event = ();

    fn apply(&self, _: &dyn Reader, _: u64, _: &[u8]) -> Result<Applied<()>, ReadError> {
        Ok(Applied { writes: Vec::new(), change: None, response: Vec::new(), event: None })
    }

    fn publish(&self, _: u64, _: Vec<(u64, ())>) {}

    fn restored(&self, _: u64) {}
}

/// A temporary folder, in memory where that can be: the tests open stores by the hundred.
pub(crate) fn folder() -> TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

struct Builder;

impl StoreBuilder<Types, LogStore, StateMachine<Idle>, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine<Idle>), StorageError<Types>> {
        let folder = folder();
        let store = Store::open(folder.path()).expect("a fresh store opens");
        let rows = Arc::new(store.group(1).expect("a fresh group opens"));
        let machinery = Machinery::open(Arc::clone(&rows), 100).expect("an empty state is read");
        let log = LogStore::open(rows).expect("an empty log is read");
        let states = StateMachine::open(machinery, Arc::new(Idle)).expect("an empty state is read");
        Ok((folder, log, states))
    }
}

#[tokio::test]
async fn the_stores_pass_the_suite_of_openraft() {
    Suite::test_all(Builder).await.expect("the suite passes");
}
