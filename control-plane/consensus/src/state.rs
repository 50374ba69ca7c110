//! The state of a group in RocksDB, as openraft wants it: one batch a call of `apply`.
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;
use rocksdb::WriteBatch;
use tokio::sync::watch;

use crate::config::BATCH_BYTES_MAX;
use crate::digest::{self, Digest, Recent};
use crate::machine::Machine;
use crate::overlay::{Overlay, Pending};
use crate::reader::StateReader;
use crate::snapshot::{Builder, Snapshot, SnapshotData};
use crate::store::{
    GroupStore, Standing, change_key, membership, put_membership, put_standing, row_key, standing,
    without_wal,
};
use crate::types::{Blob, Entry, LogId, Membership, SnapshotMeta, Types, io_error};

/// Rows fewer than this are deleted one by one, which is kinder to readers than a range.
const PRUNE_SINGLY_MAX: u64 = 4096;

/// What the state machine shares with its group.
pub(crate) struct Machinery {
    pub(crate) store: Arc<GroupStore>,
    changes_kept: u64,
    applied: watch::Sender<u64>,
    standing: Mutex<Standing>,
    recent: Mutex<Recent>,
    /// Off while the start applies again what was applied before: that is told by `restored`, not by `publish`.
    live: AtomicBool,
}

impl Machinery {
    pub(crate) fn open(store: Arc<GroupStore>, changes_kept: u64) -> io::Result<Arc<Self>> {
        let at = store.with_state(standing)?;
        let (applied, _) = watch::channel(at.index());
        let live = AtomicBool::new(false);
        let mut recent = Recent::default();
        // Nothing applied is not the same as the first entry applied, whose index is 0.
        if at.applied.is_some() {
            recent.restart(at.index(), at.digest);
        }
        let (standing, recent) = (Mutex::new(at), Mutex::new(recent));
        Ok(Arc::new(Self { store, changes_kept, applied, standing, recent, live }))
    }

    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    /// The digest at `index`, or else at the last one before it.
    pub(crate) fn digest_until(&self, index: u64) -> Option<(u64, Digest)> {
        self.recent.lock().until(index)
    }

    /// The digest at `index`, if it is one of the last.
    pub(crate) fn digest_at(&self, index: u64) -> Option<Digest> {
        self.recent.lock().at(index)
    }

    /// From now on batches are published.
    pub(crate) fn go_live(&self) {
        self.live.store(true, Ordering::Release);
    }

    /// Entry by entry, through those with these digests.
    fn advanced(&self, standing: Standing, digests: Vec<(u64, Digest)>) {
        self.recent.lock().extend(digests);
        self.moved(standing);
    }

    /// To another state.
    fn replaced(&self, standing: Standing) {
        self.recent.lock().restart(standing.index(), standing.digest);
        self.moved(standing);
    }

    fn moved(&self, standing: Standing) {
        let index = standing.index();
        *self.standing.lock() = standing;
        self.applied.send_replace(index);
    }
}

/// Applies entries with a [`Machine`].
pub(crate) struct StateMachine<M: Machine> {
    machinery: Arc<Machinery>,
    machine: Arc<M>,
    standing: Standing,
    membership: Membership,
}

/// The effects of the entries since the last write.
struct Work<E> {
    pending: Pending,
    changes: Vec<(u64, Vec<u8>)>,
    events: Vec<(u64, E)>,
    answers: Vec<(ApplyResponder<Types>, Bytes)>,
    digests: Vec<(u64, Digest)>,
    membership_changed: bool,
    bytes: usize,
}

impl<E> Default for Work<E> {
    fn default() -> Self {
        Self {
            pending: Pending::default(),
            changes: Vec::new(),
            events: Vec::new(),
            answers: Vec::new(),
            digests: Vec::new(),
            membership_changed: false,
            bytes: 0,
        }
    }
}

impl<M: Machine> StateMachine<M> {
    pub(crate) fn open(machinery: Arc<Machinery>, machine: Arc<M>) -> io::Result<Self> {
        let standing = machinery.store.with_state(standing)?;
        let membership = machinery.store.with_state(membership)?;
        Ok(Self { machinery, machine, standing, membership })
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.standing.applied, last_membership: self.membership.clone() }
    }

    /// Works out one entry on top of the pending ones.
    fn take(&mut self, entry: Entry, work: &mut Work<M::Event>) -> io::Result<Bytes> {
        let index = entry.log_id.index;
        let response = match entry.payload {
            EntryPayload::Normal(command) => self.command(index, &command, work)?,
            EntryPayload::Membership(members) => {
                self.membership = Membership::new(Some(entry.log_id), members);
                work.membership_changed = true;
                self.standing.digest = digest::advance(&self.standing.digest, index, &[], None);
                Bytes::new()
            }
            EntryPayload::Blank => {
                self.standing.digest = digest::advance(&self.standing.digest, index, &[], None);
                Bytes::new()
            }
        };
        self.standing.applied = Some(entry.log_id);
        work.digests.push((index, self.standing.digest));
        Ok(response)
    }

    fn command(&mut self, index: u64, command: &Blob, work: &mut Work<M::Event>) -> io::Result<Bytes> {
        let reader = Overlay { pending: &work.pending, store: &self.machinery.store };
        let applied =
            self.machine.apply(&reader, index, &command.0).map_err(|e| io::Error::other(e.to_string()))?;
        self.standing.digest =
            digest::advance(&self.standing.digest, index, &applied.writes, applied.change.as_deref());
        work.bytes +=
            command.0.len() + applied.change.as_ref().map_or(0, Vec::len) + 64 * applied.writes.len();
        work.pending.extend(applied.writes);
        work.changes.extend(applied.change.map(|row| (index, row)));
        work.events.extend(applied.event.map(|event| (index, event)));
        Ok(applied.response.into())
    }

    /// Writes the pending entries in one batch, then tells everyone.
    fn commit(&mut self, work: &mut Work<M::Event>) -> io::Result<()> {
        let work = std::mem::take(work);
        let floor = self.standing.index().saturating_sub(self.machinery.changes_kept);
        let pruned = self.standing.changes_floor..floor.max(self.standing.changes_floor);
        self.standing.changes_floor = pruned.end;
        self.write(work.pending, &work.changes, pruned, work.membership_changed)?;
        self.machinery.advanced(self.standing.clone(), work.digests);
        if self.machinery.live.load(Ordering::Acquire) {
            self.machine.publish(self.standing.index(), work.events);
        }
        for (responder, response) in work.answers {
            responder.send(Blob(response));
        }
        Ok(())
    }

    fn write(
        &self,
        mut pending: Pending,
        changes: &[(u64, Vec<u8>)],
        pruned: std::ops::Range<u64>,
        membership_changed: bool,
    ) -> io::Result<()> {
        self.machinery.store.with_state(|db, family| {
            let mut batch = WriteBatch::default();
            for (key, row) in pending.take() {
                match row {
                    Some(value) => batch.put_cf(family, row_key(&key), value),
                    None => batch.delete_cf(family, row_key(&key)),
                }
            }
            for (index, change) in changes {
                batch.put_cf(family, change_key(*index), change);
            }
            if pruned.end - pruned.start > PRUNE_SINGLY_MAX {
                batch.delete_range_cf(family, change_key(pruned.start), change_key(pruned.end + 1));
            } else {
                (pruned.start..pruned.end).for_each(|index| batch.delete_cf(family, change_key(index + 1)));
            }
            if membership_changed {
                put_membership(&mut batch, family, &self.membership)?;
            }
            put_standing(&mut batch, family, &self.standing)?;
            db.write_opt(batch, &without_wal()).map_err(io_error)
        })
    }
}

impl<M: Machine> RaftStateMachine<Types> for StateMachine<M> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        Ok((self.standing.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut work = Work::default();
        let mut any = false;
        while let Some((entry, responder)) = entries.try_next().await? {
            let response = self.take(entry, &mut work)?;
            work.answers.extend(responder.map(|responder| (responder, response)));
            any = true;
            if work.bytes > BATCH_BYTES_MAX {
                self.commit(&mut work)?;
                any = false;
            }
        }
        if any { self.commit(&mut work) } else { Ok(()) }
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { store: Arc::clone(&self.machinery.store), meta: self.meta() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let (store, expected) = (Arc::clone(&self.machinery.store), meta.clone());
        let installed = tokio::task::spawn_blocking(move || {
            let files = snapshot.into_files(&store.shared)?;
            store.replace_state(&expected, files.paths())
        });
        self.standing = installed.await.map_err(io::Error::other)??;
        self.membership = meta.last_membership.clone();
        tracing::info!(revision = self.standing.index(), "the state is that of a snapshot now");
        self.machinery.replaced(self.standing.clone());
        self.machine.restored(self.standing.index());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        if self.standing.applied.is_none() {
            return Ok(None);
        }
        // The state as it is now serves better than the one of the last compaction, and costs nothing to hold.
        let reader = StateReader::new(&self.machinery.store)?;
        Ok(Some(Snapshot { meta: self.meta(), snapshot: SnapshotData::View(reader) }))
    }
}
