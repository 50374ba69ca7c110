//! The column families of one group: `log.<group>`, `meta.<group>` and `state.<group>.<generation>`.
//!
//! State rows, change rows and what is known about them share one family, so that a batch of all three is whole or
//! absent after a crash without the write-ahead log. A snapshot is brought in as a family of the next generation; one
//! durable row of `meta` says which generation counts.
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use rocksdb::{IngestExternalFileOptions, WriteBatch};
use serde::{Deserialize, Serialize};

use super::{Db, Family, Shared};
use crate::Error;
use crate::digest::Digest;
use crate::types::{LogId, Membership, SnapshotMeta, decode, encode, io_error};

/// First byte of the keys in the state family.
pub(crate) const ROW: u8 = b'r';
pub(crate) const CHANGE: u8 = b'c';
const ABOUT: u8 = b'a';
const APPLIED: &[u8] = &[ABOUT, 0];
const MEMBERSHIP: &[u8] = &[ABOUT, 1];

const GENERATION: &[u8] = b"generation";

/// Where a state stands; written with every batch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub(crate) applied: Option<LogId>,
    pub(crate) digest: Digest,
    /// Changes up to here are compacted.
    pub(crate) changes_floor: u64,
}

impl Standing {
    pub(crate) fn index(&self) -> u64 {
        self.applied.map_or(0, |id| id.index)
    }
}

/// The rows of one group.
pub(crate) struct GroupStore {
    pub(crate) shared: Arc<Shared>,
    log: String,
    meta: String,
    group: u32,
    generation: RwLock<u64>,
    /// Index up to which the state survives a crash.
    flushed: AtomicU64,
}

impl GroupStore {
    pub(super) fn open(shared: Arc<Shared>, group: u32) -> Result<Self, Error> {
        let (log, meta) = (format!("log.{group}"), format!("meta.{group}"));
        shared.ensure(&log)?;
        shared.ensure(&meta)?;
        let store = Self { shared, log, meta, group, generation: RwLock::new(0), flushed: AtomicU64::new(0) };
        let generation = store.meta(GENERATION)?.unwrap_or(0);
        *store.generation.write() = generation;
        store.shared.ensure(&store.family_name(generation))?;
        store.drop_other_generations(generation)?;
        store.shared.database.hold_manifest()?;
        // Nothing else was written since the start: what can be read now has survived.
        let index = store.with_state(standing)?.index();
        store.flushed.store(index, Ordering::Release);
        Ok(store)
    }

    pub(crate) fn db(&self) -> &Db {
        self.shared.db()
    }

    pub(crate) fn log_family(&self) -> io::Result<Family<'_>> {
        self.family(&self.log)
    }

    pub(crate) fn meta_family(&self) -> io::Result<Family<'_>> {
        self.family(&self.meta)
    }

    /// Runs `work` with the family of the state, which stays the current one meanwhile.
    pub(crate) fn with_state<R>(
        &self,
        work: impl FnOnce(&Db, &Family<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        let generation = self.generation.read();
        let family = self.family(&self.family_name(*generation))?;
        work(self.db(), &family)
    }

    /// Runs `work` with the name of the state's family, which stays the current one meanwhile.
    pub(crate) fn with_state_name<R>(&self, work: impl FnOnce(&str) -> R) -> R {
        let generation = self.generation.read();
        work(&self.family_name(*generation))
    }

    /// A row of `meta`.
    pub(crate) fn meta<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> io::Result<Option<T>> {
        let value = self.db().get_pinned_cf(&self.meta_family()?, key).map_err(io_error)?;
        value.map(|bytes| decode(&bytes)).transpose()
    }

    /// Makes the state durable up to `index` at least; does nothing where it is.
    pub(crate) fn flush_state(&self, index: u64) -> io::Result<()> {
        if self.flushed.load(Ordering::Acquire) >= index {
            return Ok(());
        }
        self.with_state(|db, family| {
            let reached = standing(db, family)?.index();
            db.flush_cf(family).map_err(io_error)?;
            self.flushed.fetch_max(reached, Ordering::AcqRel);
            Ok(())
        })
    }

    /// Replaces the state by the rows in `files`. A crash leaves either the old state or the new one.
    pub(crate) fn replace_state(&self, expected: &SnapshotMeta, files: &[PathBuf]) -> io::Result<Standing> {
        let old = *self.generation.read();
        let (new, name) = (old + 1, self.family_name(old + 1));
        self.drop_other_generations(old).map_err(io::Error::other)?;
        self.shared.ensure(&name).map_err(io::Error::other)?;
        let family = self.family(&name)?;
        let mut ingest = IngestExternalFileOptions::default();
        ingest.set_move_files(true);
        self.db().ingest_external_file_cf_opts(&family, &ingest, files.to_vec()).map_err(io_error)?;
        let standing = standing(self.db(), &family)?;
        if standing.applied != expected.last_log_id {
            let text =
                format!("a snapshot at {:?} holds rows at {:?}", expected.last_log_id, standing.applied);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut generation = self.generation.write();
        self.write_meta(GENERATION, &new)?;
        *generation = new;
        self.flushed.store(standing.index(), Ordering::Release);
        drop(generation);
        self.drop_other_generations(new).map_err(io::Error::other)?;
        self.shared.database.hold_manifest()?;
        Ok(standing)
    }

    /// Writes a row of `meta`, and returns when it is durable; not for a task.
    pub(crate) fn write_meta<T: Serialize>(&self, key: &[u8], value: &T) -> io::Result<()> {
        let mut batch = WriteBatch::default();
        batch.put_cf(&self.meta_family()?, key, encode(value)?);
        self.shared.database.write(batch)?;
        self.shared.flusher.flush_and_wait()
    }

    fn drop_other_generations(&self, keep: u64) -> Result<(), Error> {
        // The next generation may be left from an install that a crash cut off, the one before from its end.
        for generation in [keep.wrapping_sub(1), keep + 1] {
            let name = self.family_name(generation);
            if self.db().cf_handle(&name).is_some() {
                self.db().drop_cf(&name)?;
            }
        }
        Ok(())
    }

    fn family(&self, name: &str) -> io::Result<Family<'_>> {
        self.db().cf_handle(name).ok_or_else(|| io::Error::other(format!("column family {name} is missing")))
    }

    fn family_name(&self, generation: u64) -> String {
        format!("state.{}.{generation}", self.group)
    }
}

/// Where the state in `family` stands.
pub(crate) fn standing(db: &Db, family: &Family<'_>) -> io::Result<Standing> {
    let value = db.get_pinned_cf(family, APPLIED).map_err(io_error)?;
    value.map_or_else(|| Ok(Standing::default()), |bytes| decode(&bytes))
}

/// The membership that the state in `family` was last told of.
pub(crate) fn membership(db: &Db, family: &Family<'_>) -> io::Result<Membership> {
    let value = db.get_pinned_cf(family, MEMBERSHIP).map_err(io_error)?;
    value.map_or_else(|| Ok(Membership::default()), |bytes| decode(&bytes))
}

/// As [`standing`], in a view of the past.
pub(crate) fn standing_row() -> &'static [u8] {
    APPLIED
}

pub(crate) fn put_standing(
    batch: &mut WriteBatch,
    family: &Family<'_>,
    standing: &Standing,
) -> io::Result<()> {
    batch.put_cf(family, APPLIED, encode(standing)?);
    Ok(())
}

pub(crate) fn put_membership(
    batch: &mut WriteBatch,
    family: &Family<'_>,
    membership: &Membership,
) -> io::Result<()> {
    batch.put_cf(family, MEMBERSHIP, encode(membership)?);
    Ok(())
}

/// The key of the change at `index`.
pub(crate) fn change_key(index: u64) -> [u8; 9] {
    let mut key = [CHANGE; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The key in the state family of the machine's row `key`.
pub(crate) fn row_key(key: &[u8]) -> Vec<u8> {
    let mut prefixed = Vec::with_capacity(key.len() + 1);
    prefixed.push(ROW);
    prefixed.extend_from_slice(key);
    prefixed
}
