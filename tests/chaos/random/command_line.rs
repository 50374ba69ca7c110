//! An administrator at the command line: `revoqctl certificate … --wait`, taken at its exit code.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::SmallRng;
use revoq_tests::history::{Action, Brokers, Outcome};
use revoq_tests::process::{Done, run_with};
use serde_json::Value;

use super::administrators::{after, broker, choose, comment, refused_as};
use super::scene::{Credential, Scene};

/// Between two commands, milliseconds.
const THINKS: std::ops::Range<u64> = 100..600;

/// Changes and waits for their fences, until the workload ends.
pub(super) async fn change_states(scene: Arc<Scene>, process: u32, mut random: SmallRng) {
    while scene.goes_on() {
        let credential = scene.pick(&mut random);
        one(&scene, process, &credential, &mut random).await;
        scene.pause(Duration::from_millis(random.random_range(THINKS))).await;
    }
}

async fn one(scene: &Scene, process: u32, credential: &Credential, random: &mut SmallRng) {
    let change = choose(credential, random);
    let number = scene.recorder.ask(process, credential.number, Action::Change(change));
    let (verb, comment) = (change.to_string(), comment(number));
    let id = &credential.device.certificate.id;
    let arguments = ["certificate", &verb, "--id", id, "--comment", &comment, "--wait"];
    let limits = ["--wait-timeout", "8s", "--timeout", "5s", "--output", "json"];
    let Ok(mut command) = scene.fleet.revoqctl_command(&[&arguments[..], &limits].concat()) else { return };
    let Ok(done) = run_with(&mut command).await else { return };
    let (outcome, fenced) = told(&done);
    scene.recorder.answer(number, outcome);
    match outcome {
        Outcome::Done { revision } => {
            // It was asked for earlier, within the command; what it promises begins with the answer.
            let fence = scene.recorder.ask(process, credential.number, Action::Fence { revision });
            scene.recorder.answer(fence, fenced);
            *credential.seen.lock() = after(change);
        }
        Outcome::Refused { state } => *credential.seen.lock() = state,
        _ => {}
    }
}

/// What the exit code means for the change, and for the fence of its revision.
fn told(done: &Done) -> (Outcome, Outcome) {
    let json: Value = serde_json::from_str(&done.out).unwrap_or_default();
    match (done.code, json["revision"].as_u64()) {
        (0, Some(revision)) => (Outcome::Done { revision }, complete(&json["fence"]["nodes"])),
        (7, Some(revision)) => (Outcome::Done { revision }, Outcome::Incomplete),
        (4, _) => {
            let refused = refused_as(&done.err).map(|state| Outcome::Refused { state });
            (refused.unwrap_or(Outcome::Unknown), Outcome::NotDone)
        }
        (6, _) => (Outcome::NotDone, Outcome::NotDone),
        _ => (Outcome::Unknown, Outcome::Unknown),
    }
}

/// Exit code 0 says that it is effective everywhere; which nodes are fenced is for the figures.
fn complete(nodes: &Value) -> Outcome {
    let fenced = nodes.as_array().into_iter().flatten().filter(|node| node["state"] == "fenced");
    let fenced =
        fenced.filter_map(|node| broker(node["name"].as_str()?)).fold(Brokers::default(), Brokers::and);
    Outcome::Complete { fenced, unconfirmed: Brokers::default() }
}
