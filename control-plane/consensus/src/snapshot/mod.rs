//! Snapshots: a view of the state that becomes SST files only when a replica needs it.
mod receive;
mod send;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use openraft::RaftSnapshotBuilder;
use openraft::alias::SnapshotOf;

use crate::reader::StateReader;
use crate::store::{GroupStore, Scratch, Shared};
use crate::types::{SnapshotMeta, Types};

pub(crate) use receive::receive;
pub(crate) use send::stream;

pub(crate) type Snapshot = SnapshotOf<Types, SnapshotData>;

/// The rows of a snapshot.
pub(crate) enum SnapshotData {
    /// Of this replica, not written out.
    View(StateReader),
    /// Of another replica, received.
    Files(Files),
    /// On disk in the state itself: this replica compacted its log.
    Compacted(Arc<GroupStore>),
}

/// SST files with distinct, ascending keys.
pub(crate) struct Files {
    _folder: Scratch,
    paths: Vec<PathBuf>,
}

impl Files {
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

impl SnapshotData {
    /// As files, which only a received snapshot is already.
    pub(crate) fn into_files(self, shared: &Shared) -> io::Result<Files> {
        let reader = match self {
            Self::Files(files) => return Ok(files),
            Self::View(reader) => reader,
            Self::Compacted(store) => StateReader::new(&store)?,
        };
        let folder = shared.scratch()?;
        let mut paths = Vec::new();
        send::export(&reader, folder.path(), |path| {
            paths.push(path);
            Ok(true)
        })?;
        Ok(Files { _folder: folder, paths })
    }
}

/// Compacts: makes the state durable, so that the log up to it may go. Runs beside `apply`.
pub(crate) struct Builder {
    pub(crate) store: Arc<GroupStore>,
    pub(crate) meta: SnapshotMeta,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (store, index) = (Arc::clone(&self.store), self.meta.last_log_id.map_or(0, |id| id.index));
        tokio::task::spawn_blocking(move || store.flush_state(index)).await.map_err(io::Error::other)??;
        Ok(Snapshot { meta: self.meta.clone(), snapshot: SnapshotData::Compacted(Arc::clone(&self.store)) })
    }
}
