//! Driver: how a replica ends. The first reason is the one that counts, and everything that waits learns of it.
use std::sync::Weak;

use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::Fatal;
use rocksdb::WriteBatch;
use tokio::sync::watch;

use crate::Error;
use crate::group::{Group, Inner};
use crate::machine::Machine;
use crate::store::GroupStore;
use crate::types::{Types, encode};

/// A row of `meta`: this replica has found that its state is not the others'.
const DIVERGED: &[u8] = b"diverged";

impl<M: Machine> Group<M> {
    /// Whether this replica works.
    ///
    /// # Errors
    /// [`Error::Disk`], [`Error::Diverged`] or [`Error::Damaged`] once it has stopped by itself, [`Error::Stopped`] after
    /// [`Group::shutdown`] or a panic.
    pub fn running(&self) -> Result<(), Error> {
        if let Some(reason) = &*self.inner.ended.borrow() {
            return Err(reason.clone());
        }
        let metrics = self.raft().metrics();
        let now = metrics.borrow_watched();
        now.running_state.as_ref().map_err(|fatal| self.reason(fatal)).copied()
    }

    /// Why this replica stopped by itself; `None` while it works, and when it was told to stop.
    #[must_use]
    pub fn fault(&self) -> Option<Error> {
        self.running().err().filter(|reason| !matches!(reason, Error::Stopped(_)))
    }

    /// Waits until this replica has stopped, and returns why. Whoever runs the process ends it then: nothing of this
    /// group works any more.
    pub async fn stopped(&self) -> Error {
        let mut ended = self.inner.ended.subscribe();
        let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| Error::Stopped("it was dropped".to_owned()))
    }

    /// Ends this replica for `reason`, unless it has ended.
    pub(crate) async fn end(&self, reason: Error) {
        let first = self.inner.ended.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert_with(|| reason.clone());
            first
        });
        if !first {
            return;
        }
        let group = self.config().group;
        if matches!(reason, Error::Stopped(_)) {
            tracing::info!(group, %reason, "the replica has stopped");
        } else {
            tracing::error!(group, "this replica stops: {reason}");
        }
        if let Err(error) = self.raft().shutdown().await {
            tracing::error!(%error, group, "a replica ended badly");
        }
        if let Err(error) = self.remember(&reason).await {
            tracing::warn!(%error, group, "the next start compares the states again");
        }
    }

    /// A state that is wrong stays wrong: no later start may serve it.
    async fn remember(&self, reason: &Error) -> std::io::Result<()> {
        if !matches!(reason, Error::Diverged { .. }) {
            return Ok(());
        }
        let shared = &self.machinery().store.shared;
        {
            let mut batch = WriteBatch::default();
            batch.put_cf(&self.machinery().store.meta_family()?, DIVERGED, encode(reason)?);
            shared.database.write(batch)?;
        }
        shared.flusher.flushed().await
    }

    fn reason(&self, fatal: &Fatal<Types>) -> Error {
        match fatal {
            Fatal::StorageError(error) => self.machinery().store.shared.database.fault_of(error.to_string()),
            Fatal::Stopped | Fatal::Panicked => Error::Stopped(fatal.to_string()),
        }
    }
}

/// What an earlier start has found out about this state.
pub(crate) fn refuse_diverged(store: &GroupStore) -> Result<(), Error> {
    store.meta::<Error>(DIVERGED)?.map_or(Ok(()), Err)
}

/// Ends the replica when openraft has stopped or the disk has failed.
pub(crate) async fn supervise<M: Machine>(group: Weak<Inner<M>>, mut fault: watch::Receiver<Option<Error>>) {
    let Some(mut metrics) = Group::upgrade(&group).map(|group| group.raft().metrics()) else { return };
    let mut gone = false;
    loop {
        // Its task says so before it ends in order. One that is gone without a word has panicked.
        let fatal = metrics.borrow_watched().running_state.clone().err();
        let fatal = fatal.or(gone.then_some(Fatal::Panicked));
        let known = fault.borrow_and_update().clone();
        let Some(group) = Group::upgrade(&group) else { return };
        group.tick_unless_alone();
        if let Some(reason) = known.or_else(|| fatal.map(|fatal| group.reason(&fatal))) {
            return group.end(reason).await;
        }
        drop(group);
        tokio::select! {
            changed = metrics.changed() => gone = changed.is_err(),
            changed = fault.changed() => if changed.is_err() { return },
        }
    }
}
