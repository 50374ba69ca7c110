//! A broker whose lease ran out admits nobody new, and when its grace ran out too nothing passes and no session is left,
//! unless a setting says otherwise.
//!
//! Both are counted in true time from the moment at which the broker asked for its last lease, with the margin that a
//! leader allows for clocks that run apart.

use std::collections::BTreeMap;
use std::time::Duration;

use revoq_credentials::{StaleGrace, StaleNew};
use revoq_lease::with_margin;

use super::Invariant;
use crate::broker::Broker;
use crate::clock::{MILLISECOND, Time};
use crate::oracle::{Fact, Scene};

/// Sessions that send nothing are looked at this often, by a thread that may have to wait.
const TICK: Time = 200 * MILLISECOND;

#[derive(Debug, Default)]
pub(super) struct Leased {
    /// When each broker asked for the lease that lasts longest, and its length.
    asked: BTreeMap<u8, (Time, Duration)>,
}

impl Leased {
    /// When the lease and `grace` are over for certain. `None`: there never was a lease.
    fn over(&self, broker: u8, grace: Duration) -> Option<Time> {
        let (asked, lease) = self.asked.get(&broker)?;
        Some(asked + u64::try_from(with_margin(*lease + grace).as_micros()).expect("leases are short"))
    }

    fn admitted(&self, broker: &Broker, now: Time) -> Result<(), String> {
        match self.over(broker.seat, Duration::ZERO) {
            None => Err(format!("node {} admits a client without a lease", broker.node)),
            Some(over) if now > over && broker.view.settings().stale_new == StaleNew::Refuse => {
                Err(format!("node {} admits a client {} us after its lease", broker.node, now - over))
            }
            _ => Ok(()),
        }
    }

    /// Lease and grace are over since then, for certain. `None`: they are not.
    fn lapsed(&self, broker: &Broker, now: Time) -> Option<Time> {
        let StaleGrace::Bounded(grace) = broker.view.settings().stale_grace else { return None };
        self.over(broker.seat, grace).filter(|over| *over < now).map(|over| now - over)
    }
}

impl Invariant for Leased {
    fn name(&self) -> &'static str {
        "leased"
    }

    fn check(&mut self, fact: &Fact, scene: &Scene<'_>) -> Result<(), String> {
        match fact {
            Fact::Began { broker } => {
                self.asked.remove(broker);
                Ok(())
            }
            Fact::Granted { broker, asked, lease_ms } => {
                let new = (*asked, Duration::from_millis(*lease_ms));
                let end = |(asked, lease): (Time, Duration)| Duration::from_micros(asked) + lease;
                let old = self.asked.entry(*broker).or_insert(new);
                if end(new) > end(*old) {
                    *old = new;
                }
                Ok(())
            }
            Fact::Admitted { broker, .. } => self.admitted(scene.broker(*broker), scene.now),
            Fact::Passed { broker, .. } => {
                let broker = scene.broker(*broker);
                match self.lapsed(broker, scene.now) {
                    Some(late) => Err(format!(
                        "a packet passes at node {} {late} us after lease and grace",
                        broker.node
                    )),
                    None => Ok(()),
                }
            }
            Fact::Ticked { broker } => {
                let broker = scene.broker(*broker);
                let late = self.lapsed(broker, scene.now).filter(|late| *late > TICK);
                match (late, broker.registry.live().next()) {
                    (Some(late), Some((number, _))) => Err(format!(
                        "session {number} lives at node {} {late} us after lease and grace",
                        broker.node
                    )),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}
