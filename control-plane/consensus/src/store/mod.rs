//! The one RocksDB of a process, and the threads that look after it.
mod database;
mod flusher;
mod group;
mod keeper;
mod mark;
mod options;
mod recovery;
#[cfg(test)]
mod torn_test;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::{BoundColumnFamily, DBWithThreadMode, MultiThreaded};
use tokio::sync::watch;

use crate::Error;
pub(crate) use database::Database;
use flusher::Flusher;
pub(crate) use group::{
    GroupStore, Standing, change_key, membership, put_membership, put_standing, row_key, standing,
    standing_row,
};
use keeper::Keeper;
pub(crate) use options::{state_options, without_wal};

pub(crate) type Db = DBWithThreadMode<MultiThreaded>;
pub(crate) type Family<'a> = Arc<BoundColumnFamily<'a>>;

/// The RocksDB that holds the logs and the states of all groups of this process. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    closed: watch::Receiver<()>,
}

/// What the groups of a store have in common.
pub(crate) struct Shared {
    pub(crate) database: Arc<Database>,
    pub(crate) flusher: Flusher,
    _keeper: Keeper,
    scratch: PathBuf,
    scratch_next: AtomicU64,
}

/// The folder of the rows, in the store's.
const ROWS: &str = "rocksdb";
/// What the log must hold.
const MARK: &str = "durable";

impl Store {
    /// Whether there is a store in `path`, whole or not.
    #[must_use]
    pub fn is_in(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        path.join(ROWS).join("CURRENT").exists() || path.join(MARK).exists()
    }

    /// Opens the store in `path`, creating it where nothing is.
    ///
    /// # Errors
    /// [`Error::Lost`] if writes that were acknowledged are not in the write-ahead log; [`Error::Damaged`] if its files
    /// are not what they were; [`Error::Disk`] if they cannot be read or written; [`Error::Storage`] otherwise, such as
    /// when another process has it open.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let disk = |error: std::io::Error| Error::disk(path, error.to_string());
        let scratch = path.join("scratch");
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch).map_err(disk)?;
        }
        std::fs::create_dir_all(&scratch).map_err(disk)?;
        let (db, written, mark) = recovery::open(path)?;
        let (sender, closed) = watch::channel(());
        let database = Arc::new(Database::new(db, path, written, mark, sender));
        let flusher = Flusher::spawn(Arc::clone(&database))?;
        let keeper = Keeper::spawn(Arc::clone(&database))?;
        let shared = Shared { database, flusher, _keeper: keeper, scratch, scratch_next: AtomicU64::new(0) };
        Ok(Self { shared: Arc::new(shared), closed })
    }

    /// Waits until every group and reader has let go of the store and its files are released. Shut the groups down
    /// first.
    pub async fn close(self) {
        let Self { shared, mut closed } = self;
        drop(shared);
        while closed.changed().await.is_ok() {}
    }

    pub(crate) fn group(&self, group: u32) -> Result<GroupStore, Error> {
        GroupStore::open(Arc::clone(&self.shared), group)
    }
}

impl Shared {
    pub(crate) fn db(&self) -> &Db {
        &self.database.db
    }

    /// The column family `name`, made where it is absent.
    fn ensure(&self, name: &str) -> Result<(), Error> {
        if self.db().cf_handle(name).is_none() {
            self.db().create_cf(name, &options::family_options(name))?;
        }
        Ok(())
    }

    /// A new empty folder on the store's file system, removed when dropped.
    pub(crate) fn scratch(&self) -> std::io::Result<Scratch> {
        let number = self.scratch_next.fetch_add(1, Ordering::Relaxed);
        let path = self.scratch.join(number.to_string());
        std::fs::create_dir(&path)?;
        Ok(Scratch { path })
    }
}

/// A folder that lives as long as this value.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a scratch folder stays until the next start");
        }
    }
}
