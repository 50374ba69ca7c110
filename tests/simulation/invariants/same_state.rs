//! Replicas that stand at the same index have the same state.

use super::Invariant;
use crate::oracle::{Digest, Fact, Scene};

#[derive(Debug, Default)]
pub(super) struct SameState;

impl Invariant for SameState {
    fn name(&self) -> &'static str {
        "same_state"
    }

    fn check(&mut self, fact: &Fact, scene: &Scene<'_>) -> Result<(), String> {
        let Fact::Applied { replica, at, digest } = fact else { return Ok(()) };
        let Some(change) = scene.truth.at(at.index) else {
            return Err(format!("replica {replica} applied {at:?}, which nobody committed"));
        };
        if change.digest != *digest {
            return Err(format!(
                "replica {replica} stands at {at:?} with another state than the log leads to"
            ));
        }
        Ok(())
    }

    fn end(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for replica in scene.replicas {
            let machine = &replica.machine;
            if Digest::of(&machine.store) != machine.digest {
                return Err(format!("the digest of replica {} is not that of its rows", replica.seat));
            }
            let truth = scene.truth.machine();
            if machine.at == truth.at && machine.store != truth.store {
                return Err(format!("replica {} has other rows than the log leads to", replica.seat));
            }
        }
        Ok(())
    }
}
