//! Whether what one publisher sent reaches one subscriber once, and in order.

use std::collections::BTreeSet;

use super::Counts;

/// What one subscriber has of one publisher, whose messages are numbered from 0.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// All below this have come, or are missing.
    next: u64,
    missing: BTreeSet<u64>,
    delivered: u64,
    duplicated: u64,
    reordered: u64,
}

impl Stream {
    /// A message came.
    pub(super) fn take(&mut self, sequence: u64) {
        if sequence >= self.next {
            self.missing.extend(self.next..sequence);
            self.next = sequence + 1;
            self.delivered += 1;
        } else if self.missing.remove(&sequence) {
            self.reordered += 1;
            self.delivered += 1;
        } else {
            self.duplicated += 1;
        }
    }

    /// Messages that are not under way any more.
    pub(super) fn seen(&self) -> u64 {
        self.next
    }

    /// Nothing below `sent` is waited for any more.
    pub(super) fn write_off(&mut self, sent: u64) {
        self.missing.extend(self.next..sent);
        self.next = self.next.max(sent);
    }

    /// The account, when so many were sent.
    pub(super) fn counts(&self, sent: u64) -> Counts {
        Counts {
            expected: sent,
            delivered: self.delivered,
            lost: sent - self.delivered.min(sent),
            duplicated: self.duplicated,
            reordered: self.reordered,
            unacknowledged: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(sent: u64, came: &[u64]) -> (u64, u64, u64, u64) {
        let mut stream = Stream::default();
        came.iter().for_each(|sequence| stream.take(*sequence));
        let counts = stream.counts(sent);
        (counts.delivered, counts.lost, counts.duplicated, counts.reordered)
    }

    #[test]
    fn each_once_and_in_order() {
        assert_eq!(counts(4, &[0, 1, 2, 3]), (4, 0, 0, 0));
    }

    #[test]
    fn what_never_came_is_lost_also_at_the_end() {
        assert_eq!(counts(5, &[0, 2, 3]), (3, 2, 0, 0));
        assert_eq!(counts(2, &[]), (0, 2, 0, 0));
    }

    #[test]
    fn what_came_late_is_reordered_and_what_came_again_is_a_duplicate() {
        assert_eq!(counts(3, &[0, 2, 1]), (3, 0, 0, 1));
        assert_eq!(counts(3, &[0, 1, 1, 2, 0]), (3, 0, 2, 0));
    }

    #[test]
    fn what_is_written_off_may_still_come() {
        let mut stream = Stream::default();
        stream.take(0);
        stream.write_off(3);
        assert_eq!(stream.seen(), 3);
        stream.take(2);
        stream.take(3);
        assert_eq!(stream.counts(4).lost, 1);
        assert_eq!(stream.counts(4).reordered, 1);
    }
}
