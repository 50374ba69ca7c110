//! Certificates that no authority vouches for: asked on first use, and cached. Stands for `lookup.rs`.

use std::collections::BTreeMap;

use revoq_credentials::Fingerprint;

use crate::packet::Found;

/// How long an answer is kept, milliseconds of the boot clock.
const KEPT_MS: u64 = 300_000;
/// The same for "not registered".
const KEPT_UNKNOWN_MS: u64 = 5_000;

/// Cached look-ups, until when each is kept.
#[derive(Debug, Default)]
pub(super) struct LookUps {
    answers: BTreeMap<Fingerprint, (Found, u64)>,
    /// Counted up when an event voids what is known of a certificate.
    voids: BTreeMap<Fingerprint, u64>,
    all_voids: u64,
    /// Calls under way, and the attempts that wait for them.
    pub(super) calls: BTreeMap<u64, u64>,
}

impl LookUps {
    pub(super) fn find(&self, fingerprint: &Fingerprint, now: u64) -> Option<Found> {
        self.answers.get(fingerprint).filter(|(_, until)| now < *until).map(|(found, _)| found.clone())
    }

    /// Moves whenever an answer that was asked for before is not to be kept.
    pub(super) fn voids(&self, fingerprint: &Fingerprint) -> u64 {
        self.voids.get(fingerprint).copied().unwrap_or(0) + self.all_voids
    }

    pub(super) fn keep(&mut self, fingerprint: Fingerprint, found: &Found, now: u64, asked: u64) {
        let kept = if *found == Found::Unknown { KEPT_UNKNOWN_MS } else { KEPT_MS };
        if self.voids(&fingerprint) == asked {
            self.answers.insert(fingerprint, (found.clone(), now + kept));
        }
    }

    pub(super) fn void(&mut self, fingerprint: Fingerprint) {
        *self.voids.entry(fingerprint).or_default() += 1;
        self.answers.remove(&fingerprint);
    }

    pub(super) fn void_all(&mut self) {
        self.all_voids += 1;
        self.answers.clear();
    }
}
