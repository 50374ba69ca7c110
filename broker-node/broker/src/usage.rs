//! Which certificates authenticated: told to the control plane in batches, and seldom twice.

use std::collections::HashSet;

use parking_lot::Mutex;
use revoq_credentials::Fingerprint;

use crate::cache::Cache;

/// A certificate that keeps connecting is reported once in this time, milliseconds: `last_used` is coarse.
const REPORT_INTERVAL: u64 = 3_600_000;
/// Certificates of whom it is remembered that they were reported.
const REPORTED_MAX: usize = 262_144;
/// Certificates that wait to be reported; more are left out and reported at their next connect.
const WAITING_MAX: usize = 65_536;

/// Collects what the watch driver sends.
pub(crate) struct Usage {
    reported: Cache<u64>,
    waiting: Mutex<HashSet<Fingerprint>>,
}

impl Usage {
    pub(crate) fn new() -> Usage {
        Usage { reported: Cache::new(REPORTED_MAX), waiting: Mutex::default() }
    }

    /// A certificate was let in at `now`, boot clock. False if there is no room for it.
    pub(crate) fn note(&self, fingerprint: Fingerprint, now: u64) -> bool {
        if self.reported.find(&fingerprint).is_some_and(|at| now < at.saturating_add(REPORT_INTERVAL)) {
            return true;
        }
        let mut waiting = self.waiting.lock();
        let room = waiting.len() < WAITING_MAX || waiting.contains(&fingerprint);
        if room {
            waiting.insert(fingerprint);
            self.reported.keep(fingerprint, now);
        }
        room
    }

    /// Up to `max` certificates to report now.
    pub(crate) fn take(&self, max: usize) -> Vec<Fingerprint> {
        let mut waiting = self.waiting.lock();
        let batch: Vec<_> = waiting.iter().take(max).copied().collect();
        for fingerprint in &batch {
            waiting.remove(fingerprint);
        }
        batch
    }

    /// A batch that could not be sent.
    pub(crate) fn put_back(&self, batch: Vec<Fingerprint>) {
        self.waiting.lock().extend(batch);
    }

    /// A certificate became inactive again (it was registered anew): its next use is news.
    pub(crate) fn forget(&self, fingerprint: &Fingerprint) {
        self.reported.remove(fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_reported_once_in_a_while() {
        let (usage, one) = (Usage::new(), Fingerprint([1; 32]));
        usage.note(one, 0);
        usage.note(one, 1);
        assert_eq!(usage.take(10), [one]);
        usage.note(one, 2);
        assert!(usage.take(10).is_empty());
        usage.note(one, REPORT_INTERVAL);
        assert_eq!(usage.take(10), [one]);
        usage.forget(&one);
        usage.note(one, REPORT_INTERVAL + 1);
        assert_eq!(usage.take(10), [one]);
    }

    #[test]
    fn without_room_it_says_so_and_forgets() {
        let usage = Usage::new();
        let numbered = |number: usize| Fingerprint::of(&number.to_be_bytes());
        assert!((0..WAITING_MAX).all(|number| usage.note(numbered(number), 0)));
        assert!(!usage.note(numbered(WAITING_MAX), 0));
        usage.take(1);
        assert!(usage.note(numbered(WAITING_MAX), 1), "its next use");
    }

    #[test]
    fn a_batch_is_bounded_and_may_come_back() {
        let usage = Usage::new();
        for number in 0..10 {
            usage.note(Fingerprint([number; 32]), 0);
        }
        let batch = usage.take(4);
        assert_eq!(batch.len(), 4);
        assert_eq!(usage.take(10).len(), 6);
        usage.put_back(batch);
        assert_eq!(usage.take(10).len(), 4);
    }
}
