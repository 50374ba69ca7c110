//! Refused calls in the audit log, at a bounded rate: a peer that is refused must not fill the log.

use std::sync::Arc;

use parking_lot::Mutex;
use revoq_credentials::Operation;
use tracing::debug;

use crate::plane::Plane;

/// Entries at once, and entries a second after that.
const BURST: u64 = 50;
const PER_SECOND: u64 = 5;

/// Writes refusals into the log.
#[derive(Default)]
pub(super) struct Refusals {
    bucket: Mutex<Bucket>,
}

struct Bucket {
    /// In thousandths of an entry.
    tokens: u64,
    /// ms since boot.
    filled: u64,
}

impl Default for Bucket {
    fn default() -> Bucket {
        Bucket { tokens: BURST * 1_000, filled: 0 }
    }
}

impl Bucket {
    fn take(&mut self, now: u64) -> bool {
        let gained = now.saturating_sub(self.filled).saturating_mul(PER_SECOND);
        self.tokens = self.tokens.saturating_add(gained).min(BURST * 1_000);
        self.filled = now;
        let full = self.tokens >= 1_000;
        if full {
            self.tokens -= 1_000;
        }
        full
    }
}

impl Refusals {
    /// In the background: the refusal does not wait for its entry.
    pub(super) fn record(&self, plane: &Arc<Plane>, actor: String, action: &str, code: &str, detail: &str) {
        if !self.bucket.lock().take(plane.clock.tick()) {
            debug!(actor, action, "a refusal beyond the rate of the audit log");
            return;
        }
        let operation = Operation::RecordRefusal {
            action: action.trim_start_matches("/revoq.v1.").to_owned(),
            subject: actor.clone(),
            code: code.to_owned(),
            detail: detail.to_owned(),
        };
        let plane = Arc::clone(plane);
        tokio::spawn(async move {
            if let Err(error) = plane.propose(&actor, operation).await {
                debug!(%error, "a refusal is not in the audit log");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_rate() {
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, now| (0..1_000).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, 1), 50);
        assert_eq!(taken(&mut bucket, 1_001), 5);
        assert_eq!(taken(&mut bucket, 1_101), 0, "half an entry");
        assert_eq!(taken(&mut bucket, 1_201), 1, "two halves");
        assert_eq!(taken(&mut bucket, 10_000_000), 50, "never more than the burst");
    }
}
