//! The brokers that this replica serves.
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use revoq_credentials::NodeId;
use revoq_proto::v1::leader_message::Grant;
use tonic::Status;

use super::watcher::Watcher;
use crate::counts::{Counts, CutOff, Limit};
use crate::lease::Outlet;

/// Brokers that one replica serves at most; further ones are sent to the others.
pub(crate) const WATCHERS_MAX: usize = 4_096;

/// The brokers that this replica serves, one stream a node.
pub(crate) struct Watchers {
    counts: Counts,
    streams: RwLock<HashMap<NodeId, Arc<Watcher>>>,
    /// Why there are no more streams. Written while `streams` is.
    closed: OnceLock<Status>,
}

impl Watchers {
    pub(crate) fn new(counts: Counts) -> Watchers {
        Watchers { counts, streams: RwLock::default(), closed: OnceLock::new() }
    }

    /// Enters a stream. An earlier one of the same node ends: its process is gone, or has given it up.
    pub(crate) fn enter(&self, watcher: &Arc<Watcher>) -> Result<(), Status> {
        let mut streams = self.streams.write();
        if let Some(reason) = self.closed.get() {
            return Err(reason.clone());
        }
        if streams.len() >= WATCHERS_MAX && !streams.contains_key(&watcher.node) {
            self.counts.limit(Limit::Watchers, 1);
            return Err(Status::resource_exhausted(format!(
                "this replica serves {WATCHERS_MAX} brokers already; connect to another"
            )));
        }
        if let Some(earlier) = streams.insert(watcher.node, Arc::clone(watcher)) {
            self.counts.cut_off(CutOff::Replaced);
            earlier.close(Status::aborted("the node has opened another stream"));
        }
        Ok(())
    }

    /// Removes a stream, if it is still the one of its node.
    pub(crate) fn leave(&self, watcher: &Arc<Watcher>) {
        let mut streams = self.streams.write();
        if streams.get(&watcher.node).is_some_and(|present| Arc::ptr_eq(present, watcher)) {
            streams.remove(&watcher.node);
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Watcher>> {
        self.streams.read().values().cloned().collect()
    }

    /// How many brokers are served.
    pub(crate) fn count(&self) -> usize {
        self.streams.read().len()
    }

    /// Ends every stream, and lets none begin.
    pub(crate) fn close(&self, reason: &Status) {
        let streams = self.streams.write();
        // The first reason is the one that counts.
        _ = self.closed.set(reason.clone());
        drop(streams);
        for watcher in self.all() {
            watcher.close(reason.clone());
        }
    }
}

impl Outlet for Watchers {
    fn grant(&self, grant: Grant) {
        let watcher = self.streams.read().get(&NodeId(grant.node)).cloned();
        if let Some(watcher) = watcher {
            watcher.grant(grant);
        }
    }
}
