//! What the brokers of a process count together.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Standing, Tally};

/// Shared by the brokers of a process.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<Tally>);

impl Counts {
    pub(super) fn with(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// All, and begin anew.
    pub(super) fn take(&self) -> Tally {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One broker's [`Standing`], as it writes it.
#[derive(Debug, Default)]
pub(super) struct Stand {
    pub(super) replica: AtomicUsize,
    pub(super) asked_ns: AtomicU64,
    pub(super) granted_ns: AtomicU64,
    pub(super) snapshot: AtomicBool,
}

impl Stand {
    /// A stream is asked for.
    pub(super) fn ask(&self, replica: usize, now_ns: u64) {
        self.granted_ns.store(0, Ordering::SeqCst);
        self.snapshot.store(false, Ordering::SeqCst);
        self.replica.store(replica, Ordering::SeqCst);
        self.asked_ns.store(now_ns, Ordering::SeqCst);
    }

    /// The stream has ended.
    pub(super) fn lose(&self) {
        self.granted_ns.store(0, Ordering::SeqCst);
        self.asked_ns.store(0, Ordering::SeqCst);
    }

    /// A grant came. True if it is the first of the stream.
    pub(super) fn grant(&self, now_ns: u64) -> bool {
        self.granted_ns.compare_exchange(0, now_ns, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    pub(super) fn read(&self) -> Standing {
        Standing {
            replica: self.replica.load(Ordering::SeqCst),
            asked_ns: self.asked_ns.load(Ordering::SeqCst),
            granted_ns: self.granted_ns.load(Ordering::SeqCst),
            snapshot: self.snapshot.load(Ordering::SeqCst),
        }
    }
}
