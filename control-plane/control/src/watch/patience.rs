//! Brokers that say nothing, or do not read, are cut off.
use std::sync::Arc;
use std::time::Duration;

use revoq_lease::Moment;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::links::Links;
use super::watcher::Watcher;
use crate::counts::CutOff;
use crate::lease::moment;

/// A broker renews thrice in a lease; one that was silent for a lease and this time beyond is taken for gone.
const SILENCE: Duration = Duration::from_secs(10);

/// A broker that takes no message for so long while there are some is cut off, to come back and resync.
const STALL: Duration = Duration::from_secs(30);

/// One that is being sent a snapshot has this long: its permit is one that others wait for.
const STALL_SNAPSHOT: Duration = Duration::from_secs(5);

/// How often silence and stalls are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Looks at all brokers until `stop`: one timer for all of them costs less than one for each.
pub(crate) async fn patience(links: Arc<Links>, stop: CancellationToken) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = stop.cancelled() => return,
        }
        let (now, lease) = (moment(), links.liaison.lease());
        // Until all are cut off: who has waited for one of them finds none half way.
        let mut permits = Vec::new();
        for watcher in links.watchers.all() {
            if let Some((why, status)) = over(&watcher, now, lease) {
                links.counts.cut_off(why);
                permits.extend(watcher.close(status));
            }
        }
    }
}

/// Why the patience with a broker is over.
fn over(watcher: &Watcher, now: Moment, lease: Duration) -> Option<(CutOff, Status)> {
    if watcher.silent(now) > lease + SILENCE {
        let status = Status::deadline_exceeded("nothing was heard from the broker for a lease");
        return Some((CutOff::Silent, status));
    }
    let patience = if watcher.sending().is_some() { STALL_SNAPSHOT } else { STALL };
    let stalls = watcher.stalled(now) > patience;
    stalls.then(|| (CutOff::Stalled, Status::aborted("the broker does not read its stream")))
}

#[cfg(test)]
mod tests {
    use revoq_credentials::NodeId;
    use revoq_lease::IncarnationId;

    use super::*;

    #[test]
    fn the_silent_and_those_who_do_not_read_are_cut_off() {
        let watcher = Watcher::new(NodeId(7), IncarnationId([1; 16]));
        let (short, long) = (Duration::from_secs(5), Duration::from_secs(60));
        let after = |seconds, lease| {
            over(&watcher, moment() + Duration::from_secs(seconds), lease).map(|(why, _)| why)
        };
        assert_eq!(after(14, short), None);
        assert_eq!(after(16, short), Some(CutOff::Silent));
        watcher.taken();
        assert_eq!(after(29, long), None);
        assert_eq!(after(31, long), Some(CutOff::Stalled));
        watcher.asked();
        assert_eq!(after(31, long), None, "it reads");
    }
}
