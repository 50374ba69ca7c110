//! No process serves whose view lacks a revision whose fence is complete, unless the fence called its node unconfirmed.
//!
//! What [`fenced_out`](super::fenced_out) sees only when a packet passes, this one sees when a fence completes or a grant
//! arrives: whether a packet could.

use std::collections::BTreeMap;

use revoq_lease::{Permitted, Standing};

use super::Invariant;
use crate::broker::Broker;
use crate::oracle::{Fact, Scene};

#[derive(Debug, Default)]
pub(super) struct NoneBehind {
    /// Up to which revision each node's processes must have every event, or not serve.
    floors: BTreeMap<u64, u64>,
    floor: u64,
}

impl NoneBehind {
    fn judge(&self, broker: &Broker, scene: &Scene<'_>) -> Result<(), String> {
        let floor = self.floors.get(&broker.node).copied().unwrap_or(self.floor);
        let view = broker.view.revision().0;
        if view >= floor || scene.engine.alive(broker.address()).is_none() || !broker.is_open() {
            return Ok(());
        }
        match broker.permitted(scene.now) {
            Permitted::Never | Permitted::Lapsed => Ok(()),
            permitted => Err(format!(
                "node {} may serve ({permitted:?}) with a view of {view}, and the fence of {floor} is complete",
                broker.node
            )),
        }
    }
}

impl Invariant for NoneBehind {
    fn name(&self) -> &'static str {
        "none_behind"
    }

    fn check(&mut self, fact: &Fact, scene: &Scene<'_>) -> Result<(), String> {
        match fact {
            Fact::Fence { revision, lines, .. } => {
                let target = scene.truth.last_event(*revision);
                for broker in scene.brokers {
                    let line = lines.iter().find(|line| line.node == broker.node);
                    let floor = self.floors.entry(broker.node).or_insert(self.floor);
                    if !line.is_some_and(|line| matches!(line.standing, Standing::Unconfirmed { .. })) {
                        *floor = (*floor).max(target);
                    }
                }
                self.floor = self.floor.max(target);
                scene.brokers.iter().try_for_each(|broker| self.judge(broker, scene))
            }
            Fact::Granted { broker, .. } => self.judge(scene.broker(*broker), scene),
            _ => Ok(()),
        }
    }
}
