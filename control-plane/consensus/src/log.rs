//! The log of a group in RocksDB, as openraft wants it.
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use parking_lot::RwLock;
use rocksdb::WriteBatch;

use crate::Error;
use crate::config::APPEND_BYTES_MAX;
use crate::reader::{below, walk};
use crate::store::{GroupStore, standing};
use crate::types::{Entry, LogId, Types, Vote, decode, encode, io_error};

const VOTE: &[u8] = b"vote";
const COMMITTED: &[u8] = b"committed";
const PURGED: &[u8] = b"purged";

/// The log of one group. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    store: Arc<GroupStore>,
    /// The stored vote: it is read around every read of entries.
    vote: Arc<RwLock<Option<Vote>>>,
}

impl LogStore {
    pub(crate) fn open(store: Arc<GroupStore>) -> Result<Self, Error> {
        let vote = Arc::new(RwLock::new(store.meta(VOTE)?));
        let log = Self { store, vote };
        let fault = log.fault()?.map(|reason| log.store.shared.database.damaged(reason));
        fault.map_or(Ok(log), Err)
    }

    /// What is missing where entries don't follow each other, or the state doesn't reach to the first one: files of the
    /// store that RocksDB did not miss.
    fn fault(&self) -> io::Result<Option<String>> {
        let purged = self.store.meta::<LogId>(PURGED)?.map(|id| id.index);
        let applied = self.store.with_state(standing)?.index();
        if let Some(purged) = purged.filter(|purged| *purged > applied) {
            return Ok(Some(format!("the state ends at index {applied}, and the log begins after {purged}")));
        }
        let mut expected = purged.map_or(0, |index| index + 1);
        let mut missing = None;
        walk(self.store.db().raw_iterator_cf(&self.store.log_family()?), &[], |found, _| {
            if found != key(expected) {
                missing = Some(format!("entry {expected} is missing from the log"));
            }
            expected += 1;
            Ok(missing.is_none())
        })?;
        Ok(missing)
    }

    fn last(&self) -> io::Result<Option<LogId>> {
        let mut rows = self.store.db().raw_iterator_cf(&self.store.log_family()?);
        rows.seek_to_last();
        let last = rows.value().map(decode::<Entry>).transpose()?;
        rows.status().map_err(io_error)?;
        Ok(last.map(|entry| entry.log_id))
    }

    /// Entries `from..to`, in one atomic read, until `bytes_max` is passed.
    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let family = self.store.log_family()?;
        let mut entries = Vec::new();
        if to == from + 1 {
            let value = self.store.db().get_pinned_cf(&family, key(from)).map_err(io_error)?;
            entries.extend(value.map(|bytes| decode::<Entry>(&bytes)).transpose()?);
            return Ok(entries);
        }
        let mut bytes = 0;
        let rows = self.store.db().raw_iterator_cf_opt(&family, below(&key(to)));
        walk(rows, &key(from), |_, value| {
            bytes += value.len();
            if entries.is_empty() || bytes <= bytes_max {
                entries.push(decode::<Entry>(value)?);
            }
            Ok(bytes < bytes_max)
        })?;
        Ok(entries)
    }

    /// With the next flush it is durable.
    fn write(&self, batch: WriteBatch) -> io::Result<()> {
        self.store.shared.database.write(batch)
    }

    fn remove(&self, batch: &mut WriteBatch, from: u64, to: u64) -> io::Result<()> {
        batch.delete_range_cf(&self.store.log_family()?, key(from), key(to));
        Ok(())
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        if from >= to { Ok(Vec::new()) } else { self.read(from, to, usize::MAX) }
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        if start >= end { Ok(Vec::new()) } else { self.read(start, end, APPEND_BYTES_MAX) }
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(*self.vote.read())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let last_purged_log_id = self.store.meta(PURGED)?;
        let last_log_id = self.last()?.or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        {
            let mut batch = WriteBatch::default();
            batch.put_cf(&self.store.meta_family()?, VOTE, encode(vote)?);
            self.write(batch)?;
        }
        *self.vote.write() = Some(*vote);
        self.store.shared.flusher.flushed().await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // Not flushed by itself: the next flush takes it along, and an older value is only an older truth.
        let value = encode(&committed)?;
        self.store.db().put_cf(&self.store.meta_family()?, COMMITTED, value).map_err(io_error)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.store.meta::<Option<LogId>>(COMMITTED)?.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        {
            let family = self.store.log_family()?;
            let mut batch = WriteBatch::default();
            for entry in entries {
                batch.put_cf(&family, key(entry.log_id.index), encode(&entry)?);
            }
            self.write(batch)?;
        }
        self.store.shared.flusher.flush(move |result| callback.io_completed(result));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let mut batch = WriteBatch::default();
        self.remove(&mut batch, last_log_id.map_or(0, |id| id.index + 1), u64::MAX)?;
        self.write(batch)
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        // The state is rebuilt from the log after a crash: what the log forgets must be on disk in the state.
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || store.flush_state(log_id.index))
            .await
            .map_err(io::Error::other)??;
        let from = self.store.meta::<LogId>(PURGED)?.map_or(0, |id| id.index + 1);
        let mut batch = WriteBatch::default();
        batch.put_cf(&self.store.meta_family()?, PURGED, encode(&log_id)?);
        self.remove(&mut batch, from, log_id.index + 1)?;
        self.write(batch)
    }
}

fn key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}
