//! The settings that bound a lease, and those that were in force before.
use std::time::Duration;

use revoq_credentials::{Settings, StaleGrace};

use crate::{Moment, with_margin};

/// Changes of the settings that are remembered one by one; older ones are merged to their worst.
const PAST_MAX: usize = 32;

/// What bounds a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a grant keeps a view fresh.
    pub lease: Duration,
    /// How long sessions may outlive that.
    pub grace: StaleGrace,
}

impl From<&Settings> for Terms {
    fn from(settings: &Settings) -> Terms {
        Terms { lease: settings.lease, grace: settings.stale_grace }
    }
}

/// Terms that a broker whose view is old may still go by.
#[derive(Clone, Copy, Debug)]
struct Past {
    terms: Terms,
    /// The revision that ended them; a view from there on does not hold them.
    superseded: u64,
    /// When this replica applied that revision.
    at: Moment,
}

impl Past {
    /// Nobody goes by these terms any more: their lease and grace are over, and the grace has a bound.
    fn is_forgotten(&self, over: Moment) -> bool {
        self.at < over && self.terms.grace != StaleGrace::Never
    }
}

/// The terms now and before. A broker goes by the terms of its own view, which may be older than ours: its
/// bound is the worst of what it may know.
#[derive(Clone, Debug)]
pub(crate) struct TermsHistory {
    current: Terms,
    past: Vec<Past>,
}

impl TermsHistory {
    pub(crate) fn new(current: Terms) -> TermsHistory {
        TermsHistory { current, past: Vec::new() }
    }

    pub(crate) fn current(&self) -> Terms {
        self.current
    }

    /// `terms` hold from `revision`, which this replica has applied `now`.
    pub(crate) fn supersede(&mut self, now: Moment, revision: u64, terms: Terms) {
        self.prune(now);
        if terms == self.current {
            return;
        }
        self.past.push(Past { terms: self.current, superseded: revision, at: now });
        self.current = terms;
        if self.past.len() > PAST_MAX {
            let oldest = self.past.remove(0);
            let next = &mut self.past[0];
            next.terms.lease = next.terms.lease.max(oldest.terms.lease);
            next.terms.grace = next.terms.grace.max(oldest.terms.grace);
        }
    }

    /// The longest grace that a broker may go by at `now` whose view is at `acknowledged` or later.
    pub(crate) fn grace(&self, now: Moment, acknowledged: u64) -> StaleGrace {
        let over = self.over(now);
        let known =
            self.past.iter().filter(|past| past.superseded > acknowledged && !past.is_forgotten(over));
        known.map(|past| past.terms.grace).fold(self.current.grace, StaleGrace::max)
    }

    /// The longest lease after which somebody may still be serving at `now`.
    pub(crate) fn lease_max(&self, now: Moment) -> Duration {
        let over = self.over(now);
        let known = self.past.iter().filter(|past| past.at >= over);
        known.map(|past| past.terms.lease).fold(self.current.lease, Duration::max)
    }

    /// Whoever was granted a lease by terms that ended before this moment has served it out, and every grace with a
    /// bound after it. A grant by terms of the past was asked for before `at`; its broker may have learned of another
    /// grace since.
    fn over(&self, now: Moment) -> Moment {
        let mut longest = (self.current.lease, Duration::ZERO);
        for terms in self.past.iter().map(|past| past.terms).chain([self.current]) {
            longest.0 = longest.0.max(terms.lease);
            if let StaleGrace::Bounded(grace) = terms.grace {
                longest.1 = longest.1.max(grace);
            }
        }
        now.saturating_sub(with_margin(longest.0.saturating_add(longest.1)))
    }

    /// Forgets terms that nobody can go by any more.
    fn prune(&mut self, now: Moment) {
        let over = self.over(now);
        self.past.retain(|past| !past.is_forgotten(over));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn terms(lease: u32, grace: u32) -> Terms {
        Terms { lease: SECOND * lease, grace: StaleGrace::Bounded(SECOND * grace) }
    }

    #[test]
    fn the_worst_that_a_view_may_know() {
        let mut history = TermsHistory::new(terms(5, 300));
        history.supersede(SECOND, 10, terms(60, 1));
        history.supersede(SECOND * 2, 20, terms(5, 2));
        let now = SECOND * 2;
        assert_eq!(history.grace(now, 9), StaleGrace::Bounded(SECOND * 300));
        assert_eq!(history.grace(now, 10), StaleGrace::Bounded(SECOND * 2), "10 replaced the 300 s");
        assert_eq!(history.grace(now, 20), StaleGrace::Bounded(SECOND * 2));
        assert_eq!(history.lease_max(now), SECOND * 60);
        assert_eq!(history.past.len(), 2);
        history.supersede(SECOND * 400, 30, terms(5, 2));
        assert!(history.past.is_empty(), "nobody can hold a grant of 60 s any more");
    }

    #[test]
    fn terms_that_nobody_can_go_by_do_not_wait_for_the_next_change() {
        let mut history = TermsHistory::new(terms(5, 300));
        history.supersede(SECOND, 10, terms(5, 2));
        let over = SECOND + with_margin(SECOND * 305);
        assert_eq!(history.grace(over, 0), StaleGrace::Bounded(SECOND * 300));
        assert_eq!(history.grace(over + SECOND, 0), StaleGrace::Bounded(SECOND * 2));
    }

    #[test]
    fn a_lease_is_remembered_as_long_as_any_grace_that_may_follow_it() {
        let mut history = TermsHistory::new(terms(60, 1));
        history.supersede(SECOND, 10, terms(5, 300));
        assert_eq!(history.lease_max(SECOND * 300), SECOND * 60, "granted before, and 300 s since");
        assert_eq!(history.lease_max(SECOND * 400), SECOND * 5);
    }

    #[test]
    fn never_keeps_no_lease_alive() {
        let mut history = TermsHistory::new(Terms { lease: SECOND * 60, grace: StaleGrace::Never });
        history.supersede(SECOND, 10, terms(5, 10));
        assert_eq!(history.lease_max(SECOND * 70), SECOND * 60);
        assert_eq!(history.lease_max(SECOND * 100), SECOND * 5);
        assert_eq!(history.grace(SECOND * 100, 9), StaleGrace::Never);
    }

    #[test]
    fn never_is_forgotten_only_by_an_ack() {
        let mut history = TermsHistory::new(Terms { lease: SECOND, grace: StaleGrace::Never });
        history.supersede(SECOND, 10, terms(1, 1));
        history.supersede(SECOND * 10_000, 20, terms(1, 2));
        assert_eq!(history.grace(SECOND * 20_000, 0), StaleGrace::Never);
        assert_eq!(history.grace(SECOND * 20_000, 10), StaleGrace::Bounded(SECOND * 2));
    }

    #[test]
    fn bounded_and_never_better_than_true() {
        let mut history = TermsHistory::new(terms(1, 1_000_000));
        for revision in 1..=100_u64 {
            let grace = 1 + u32::try_from(revision).expect("small") % 2;
            history.supersede(SECOND, revision, terms(1, grace));
        }
        assert!(history.past.len() <= PAST_MAX);
        assert_eq!(history.grace(SECOND, 0), StaleGrace::Bounded(SECOND * 1_000_000));
        assert_eq!(history.grace(SECOND, 100), StaleGrace::Bounded(SECOND));
    }
}
