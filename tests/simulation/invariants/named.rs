//! A completed fence names every node that was known, and calls none `confirmed` whose gates were open, nor `fenced` one
//! that nothing bounds: that one is `unconfirmed`.

use revoq_credentials::StaleGrace;
use revoq_lease::{NodeStanding, Standing};

use super::Invariant;
use crate::broker::Broker;
use crate::oracle::{Fact, Scene};

#[derive(Debug, Default)]
pub(super) struct Named;

/// A live session whose principal no revision since `revision` lets in.
fn open_gate(broker: &Broker, scene: &Scene<'_>, revision: u64) -> Option<u64> {
    let denied =
        broker.registry.live().find(|(_, session)| !scene.truth.lets_in(revision, &session.principal));
    denied.map(|(number, _)| number)
}

fn judge(line: &NodeStanding, scene: &Scene<'_>, revision: u64, target: u64) -> Result<(), String> {
    let process = scene.process_of(line.node);
    let node = line.node;
    match line.standing {
        Standing::Waiting { .. } => Err(format!("node {node} is waited for in a fence that is complete")),
        Standing::Confirmed => {
            let open = process.and_then(|broker| open_gate(broker, scene, revision));
            let behind = process.filter(|broker| {
                broker.view.revision().0 < target && broker.registry.live().next().is_some()
            });
            match (open, behind) {
                (Some(session), _) => Err(format!("node {node} is confirmed, and session {session} is open")),
                (None, Some(broker)) => {
                    let view = broker.view.revision();
                    Err(format!("node {node} is confirmed, and its view stands at {view}"))
                }
                (None, None) => Ok(()),
            }
        }
        Standing::Fenced { .. } => {
            let boundless = |broker: &&Broker| broker.view.settings().stale_grace == StaleGrace::Never;
            let serving = process.filter(boundless).filter(|broker| broker.registry.live().next().is_some());
            match serving.and_then(|broker| open_gate(broker, scene, revision)) {
                Some(session) => {
                    Err(format!("node {node} is fenced, nothing bounds it, and session {session} is open"))
                }
                None => Ok(()),
            }
        }
        Standing::Unconfirmed { .. } if !scene.truth.never_in_force() => {
            Err(format!("node {node} is unconfirmed, and every grace there was has a bound"))
        }
        Standing::Unconfirmed { .. } => Ok(()),
    }
}

impl Invariant for Named {
    fn name(&self) -> &'static str {
        "named"
    }

    fn check(&mut self, fact: &Fact, scene: &Scene<'_>) -> Result<(), String> {
        let Fact::Fence { revision, lines, .. } = fact else { return Ok(()) };
        let Some(at) = scene.truth.at(*revision) else {
            return Err(format!("the fence of {revision} is complete, which nobody committed"));
        };
        // Those that were known, and have not been removed since.
        let mut known = at.nodes.intersection(&scene.truth.latest().nodes);
        if let Some(node) = known.find(|node| !lines.iter().any(|line| line.node == **node)) {
            return Err(format!("the fence of {revision} does not name node {node}"));
        }
        let target = scene.truth.last_event(*revision);
        lines
            .iter()
            .try_for_each(|line| judge(line, scene, *revision, target))
            .map_err(|error| format!("the fence of {revision}: {error}"))
    }
}
