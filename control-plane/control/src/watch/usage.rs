//! Reports of use, gathered for the log: at most one command a second and replica, whatever the brokers send.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use revoq_credentials::{Fingerprint, Millis, Operation};
use revoq_proto::v1::broker_message::Usage as Report;
use tokio::sync::Notify;

/// Certificates that wait to be recorded; reports beyond are dropped, and come again with the next use.
const WAITING_MAX: usize = 100_000;

/// Certificates in one command.
const COMMAND_MAX: usize = 1_000;

/// What brokers reported and the log does not know yet.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    waiting: Mutex<HashMap<Fingerprint, Millis>>,
    dropped: AtomicU64,
    /// Something waits.
    news: Notify,
}

impl Usage {
    /// Takes a report. Times beyond `now` are taken as `now`: a broker's clock may be ahead.
    pub(crate) fn report(&self, report: &Report, now: Millis) {
        let time = Millis(report.time_ms.min(now.0));
        let mut waiting = self.waiting.lock();
        for fingerprint in &report.fingerprints {
            let Ok(fingerprint) = <[u8; 32]>::try_from(fingerprint.as_ref()) else { continue };
            let fingerprint = Fingerprint(fingerprint);
            if waiting.len() >= WAITING_MAX && !waiting.contains_key(&fingerprint) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let last = waiting.entry(fingerprint).or_insert(time);
            *last = (*last).max(time);
        }
        self.tell(&waiting);
    }

    /// Waits until there is a command.
    pub(crate) async fn reported(&self) {
        self.news.notified().await;
    }

    fn tell(&self, waiting: &HashMap<Fingerprint, Millis>) {
        if !waiting.is_empty() {
            self.news.notify_one();
        }
    }

    /// The next command, if anything waits: the latest time of those in it.
    pub(crate) fn command(&self) -> Option<Operation> {
        let mut waiting = self.waiting.lock();
        let mut used: Vec<Fingerprint> = waiting.keys().take(COMMAND_MAX).copied().collect();
        used.sort_unstable();
        let times: Vec<Millis> = used.iter().filter_map(|fingerprint| waiting.remove(fingerprint)).collect();
        self.tell(&waiting);
        times.into_iter().max().map(|time| Operation::RecordUsage { used, time })
    }

    /// Reports that were dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(numbers: std::ops::Range<u32>, time_ms: u64) -> Report {
        let fingerprint = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            bytes.to_vec().into()
        };
        Report { fingerprints: numbers.map(fingerprint).collect(), time_ms }
    }

    #[test]
    fn reports_become_few_bounded_commands() {
        let usage = Usage::default();
        usage.report(&report(0..1_500, 10), Millis(100));
        usage.report(&report(0..1_500, 20), Millis(15));
        let mut sizes = Vec::new();
        while let Some(Operation::RecordUsage { used, time }) = usage.command() {
            assert_eq!(time, Millis(15), "not beyond our own clock");
            sizes.push(used.len());
        }
        assert_eq!(sizes, [1_000, 500]);
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let usage = Usage::default();
        usage.report(&report(0..100_010, 1), Millis(1));
        assert_eq!(usage.dropped(), 10);
        let garbage = Report { fingerprints: vec![vec![1, 2, 3].into()], time_ms: 1 };
        usage.report(&garbage, Millis(1));
        assert_eq!(usage.dropped(), 10);
    }
}
