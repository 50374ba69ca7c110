//! The open database: counted writes, one fdatasync for many of them, and the first fault of the disk.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rocksdb::{DEFAULT_COLUMN_FAMILY_NAME, MergeOperands, Options, WriteBatch, properties};
use tokio::sync::watch;

use super::mark::{Manifest, Mark};
use super::{Db, Family, ROWS};
use crate::Error;

/// The number of the last durable write.
const LAST: &[u8] = b"last";
/// How many durable writes there are: each adds one. It differs from the last number where some are missing in between.
const COUNT: &[u8] = b"count";
const ONE: [u8; 8] = 1_u64.to_be_bytes();

/// The open database. Fields are dropped in order: `closed` tells that the files are released.
pub(crate) struct Database {
    pub(crate) db: Db,
    /// The store's folder.
    folder: PathBuf,
    /// Held over each counted write, so that the log has them in the order of their numbers.
    turn: Mutex<()>,
    /// The number of the last one that was written.
    written: AtomicU64,
    mark: Mark,
    /// As it was seen the last time.
    manifest: Mutex<Manifest>,
    /// Why nothing is written any more.
    fault: watch::Sender<Option<Error>>,
    _closed: watch::Sender<()>,
}

impl Database {
    pub(super) fn new(db: Db, folder: &Path, written: u64, mark: Mark, closed: watch::Sender<()>) -> Self {
        Self {
            db,
            folder: folder.to_owned(),
            turn: Mutex::new(()),
            written: AtomicU64::new(written),
            mark,
            manifest: Mutex::default(),
            fault: watch::channel(None).0,
            _closed: closed,
        }
    }

    /// Writes a batch that the next flush makes durable, and that must be there ever after.
    pub(crate) fn write(&self, mut batch: WriteBatch) -> io::Result<()> {
        let family = counts(&self.db)?;
        let _turn = self.turn.lock();
        if let Some(fault) = &*self.fault.borrow() {
            return Err(io::Error::other(fault.to_string()));
        }
        let number = self.written.load(Ordering::Acquire) + 1;
        batch.put_cf(&family, LAST, number.to_be_bytes());
        batch.merge_cf(&family, COUNT, ONE);
        self.db.write(batch).map_err(|error| self.failed(error))?;
        self.written.store(number, Ordering::Release);
        Ok(())
    }

    /// Makes everything written so far durable. It is promised before anybody is told.
    pub(super) fn flush(&self) -> io::Result<()> {
        let written = self.written.load(Ordering::Acquire);
        self.db.flush_wal(true).map_err(|error| self.failed(error))?;
        self.mark.hold_writes(written).inspect_err(|error| self.fail(self.disk(error.to_string())))
    }

    /// What is done beside the work, about once a second: nobody waits for it.
    pub(super) fn tend(&self) {
        if let Err(error) = self.mark.sync().and_then(|()| self.watch_manifest()) {
            self.fail(self.disk(error.to_string()));
        }
        match self.db.property_int_value(properties::BACKGROUND_ERRORS) {
            Ok(None | Some(0)) => {}
            Ok(Some(_)) => {
                // The error itself is told to whoever writes.
                let told = self.db.write(WriteBatch::default()).map_err(rocksdb::Error::into_string);
                let unknown = "RocksDB cannot write its files; its file LOG says why".to_owned();
                self.fail(self.disk(told.err().unwrap_or(unknown)));
            }
            Err(error) => drop(self.failed(error)),
        }
    }

    /// Promises the manifest as it was a second ago: what has been added since may not be on disk yet.
    fn watch_manifest(&self) -> io::Result<()> {
        let now = Manifest::in_use(&self.folder.join(ROWS))?;
        let before = std::mem::replace(&mut *self.manifest.lock(), now);
        if before == Manifest::default() { Ok(()) } else { self.mark.hold_manifest(before) }
    }

    /// Promises the manifest as it is: something was added to it just now, and is on disk.
    pub(super) fn hold_manifest(&self) -> io::Result<()> {
        self.mark.hold_manifest(Manifest::in_use(&self.folder.join(ROWS))?)
    }

    /// Notes that the disk failed this store: its groups stop. The first fault is the one that counts.
    pub(crate) fn fail(&self, fault: Error) {
        self.fault.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(fault);
            }
            first
        });
    }

    /// As [`Database::fail`], with an error of RocksDB.
    pub(crate) fn failed(&self, error: rocksdb::Error) -> io::Error {
        let text = error.into_string();
        self.fail(self.fault_of(text.clone()));
        io::Error::other(text)
    }

    /// The fault of this store, once there is one.
    pub(crate) fn fault(&self) -> watch::Receiver<Option<Error>> {
        self.fault.subscribe()
    }

    /// What an error of the store means for whoever looks after the replica: the first fault, if there was one.
    pub(crate) fn fault_of(&self, text: String) -> Error {
        if let Some(fault) = &*self.fault.borrow() {
            return fault.clone();
        }
        // RocksDB's words, which may have come through other hands.
        let of_the_disk = text.contains("IO error") && !text.contains("Corruption");
        if of_the_disk { self.disk(text) } else { self.damaged(text) }
    }

    pub(crate) fn damaged(&self, reason: String) -> Error {
        Error::Damaged { path: self.folder.display().to_string(), reason }
    }

    pub(crate) fn disk(&self, reason: String) -> Error {
        Error::Disk { path: self.folder.display().to_string(), reason }
    }
}

/// The options of the family of the counts.
pub(super) fn count(options: &mut Options) {
    options.set_merge_operator_associative("revoq.count", add);
}

fn add(_: &[u8], existing: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let sum = existing.into_iter().chain(operands).filter_map(number).fold(0, u64::wrapping_add);
    Some(sum.to_be_bytes().to_vec())
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn counts(db: &Db) -> io::Result<Family<'_>> {
    db.cf_handle(DEFAULT_COLUMN_FAMILY_NAME)
        .ok_or_else(|| io::Error::other("the default column family is missing"))
}

/// The number of the last durable write that is there, and how many are.
pub(super) fn surviving(db: &Db) -> Result<(u64, u64), Error> {
    let family = counts(db)?;
    let read = |key| Ok(db.get_cf(&family, key)?.as_deref().and_then(number).unwrap_or(0));
    let found: Result<_, rocksdb::Error> = (|| Ok((read(LAST)?, read(COUNT)?)))();
    Ok(found?)
}
