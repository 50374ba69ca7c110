//! After a fence for r completed, no packet of a principal that is denied at r passes at any broker, nor is any
//! delivered to it, until a later change lets it in again.
//!
//! A node that the fence calls unconfirmed is excepted, as the fence says.

use std::collections::BTreeMap;

use revoq_lease::Standing;

use super::Invariant;
use crate::oracle::{Fact, Scene};

#[derive(Debug, Default)]
pub(super) struct FencedOut {
    /// The highest revision whose fence is complete and does not call the node unconfirmed.
    floors: BTreeMap<u64, u64>,
    /// The highest revision whose fence is complete: what holds for nodes that came after it.
    floor: u64,
}

impl FencedOut {
    fn floor(&self, node: u64) -> u64 {
        self.floors.get(&node).copied().unwrap_or(self.floor)
    }
}

impl Invariant for FencedOut {
    fn name(&self) -> &'static str {
        "fenced_out"
    }

    fn check(&mut self, fact: &Fact, scene: &Scene<'_>) -> Result<(), String> {
        match fact {
            Fact::Fence { revision, lines, .. } => {
                let unconfirmed = |node| {
                    let standing = lines.iter().find(|line| line.node == node).map(|line| line.standing);
                    matches!(standing, Some(Standing::Unconfirmed { .. }))
                };
                for broker in scene.brokers {
                    let floor = self.floors.entry(broker.node).or_insert(self.floor);
                    if !unconfirmed(broker.node) {
                        *floor = (*floor).max(*revision);
                    }
                }
                self.floor = self.floor.max(*revision);
                Ok(())
            }
            Fact::Passed { broker, principal, direction, .. } => {
                let broker = scene.broker(*broker);
                let floor = self.floor(broker.node);
                if scene.truth.lets_in(floor, principal) {
                    return Ok(());
                }
                let view = broker.view.revision();
                Err(format!(
                    "a packet passes ({direction:?}) at node {} of {principal:?}, which no revision since {floor} lets in, \
                     and whose fence is complete; the view stands at {view}",
                    broker.node
                ))
            }
            _ => Ok(()),
        }
    }
}
