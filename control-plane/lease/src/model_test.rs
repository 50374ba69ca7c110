//! The walks of `model.rs`, and the faults that they find.
use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::model::{Fault, World};
use super::model_actions::{Action, actions};

fn walk(fault: Fault, actions: &[Action]) -> Result<u64, TestCaseError> {
    let mut world = World::new(fault);
    for (at, action) in actions.iter().enumerate() {
        world.step(*action);
        if let Some(broker) = world.violation() {
            let message = format!("step {at}: broker {broker} serves below {}", world.fenced);
            return Err(TestCaseError::fail(message));
        }
    }
    Ok(world.fenced)
}

fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn no_process_serves_below_a_completed_fence() {
    let completed = Cell::new(0_u32);
    let walks = if std::env::var_os("REVOQ_LONG").is_some() { 400_000 } else { 6_000 };
    let outcome = runner(walks).run(&actions(), |actions| {
        let fenced = walk(Fault::None, &actions)?;
        completed.set(completed.get() + u32::from(fenced > 0));
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    let completed = completed.get();
    assert!(completed > 500, "the walks must complete fences to mean anything: {completed}");
}

#[test]
fn each_fault_is_found() {
    let faults = [
        Fault::NoProof,
        Fault::GrantOvertakes,
        Fault::NothingPresumed,
        Fault::SlowClock,
        Fault::LateDeposed,
        Fault::TermsForgotten,
        Fault::JoinedTooLate,
    ];
    for fault in faults {
        let outcome = runner(40_000).run(&actions(), |actions| walk(fault, &actions).map(|_| ()));
        assert!(matches!(outcome, Err(TestError::Fail(..))), "{fault:?} was not found: {outcome:?}");
    }
}
