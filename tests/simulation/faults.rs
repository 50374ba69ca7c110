//! Each invariant can fail: what is deliberately wrong is found within so many seeds, and by the promise that it
//! breaks.

use crate::fault::Fault;
use crate::world::run;

/// Seeds that are tried.
const SEEDS_MAX: u64 = 2_000;

/// The promises that a fault breaks.
fn breaks(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::GrantOvertakesEvents
        | Fault::NothingPresumed
        | Fault::GrantWithoutProof
        | Fault::LeaseFromArrival
        | Fault::SilentNodesLeftOut => &["fenced_out", "none_behind", "named", "leased"],
        // Its broker may never be granted a lease again.
        Fault::NumbersRepeat => &["fenced_out", "none_behind", "named", "leased", "recovered", "bounded"],
        Fault::AckBeforeSweep | Fault::DecideBeforeRegister => &["fenced_out", "named"],
        Fault::FencedIsConfirmed => &["named", "none_behind"],
        Fault::AgeBeforeRegister | Fault::FreshnessByTimer => &["leased", "fenced_out"],
        Fault::SkippedWrite => &["same_state"],
        Fault::UnknownIsDone | Fault::CommitAlone => &["acknowledged", "same_state"],
        // Its leader may wait for ever for what it once confirmed.
        Fault::ConfirmBeforeFlush => &["acknowledged", "same_state", "recovered"],
        Fault::CompactionPassedOver | Fault::ResumeSkips => &["watched_once"],
        Fault::FenceSleeps => &["bounded"],
        Fault::AuditGap => &["audited"],
        Fault::RenewsByOldView | Fault::StreamGivenUp => &["recovered"],
    }
}

/// The first seed that finds a fault.
fn find(fault: Fault) {
    for seed in 0..SEEDS_MAX {
        let Some(broken) = run(seed, Some(fault), false).broken else { continue };
        println!("{fault:?} is found by seed {seed}: {broken}");
        assert!(
            breaks(fault).contains(&broken.invariant),
            "{fault:?} breaks another promise at seed {seed}: {broken}"
        );
        return;
    }
    panic!("{fault:?} is not found by {SEEDS_MAX} seeds");
}

macro_rules! faults {
    ($($test:ident: $fault:ident,)*) => {
        $(
            #[test]
            fn $test() {
                find(Fault::$fault);
            }
        )*

        #[test]
        fn every_fault_has_its_test() {
            assert_eq!([$(Fault::$fault),*], Fault::ALL);
        }
    };
}

faults! {
    a_grant_that_overtakes_its_events: GrantOvertakesEvents,
    an_ack_before_the_sweep: AckBeforeSweep,
    a_verdict_before_the_registration: DecideBeforeRegister,
    an_age_that_is_not_looked_at_again: AgeBeforeRegister,
    a_leader_that_presumes_nothing: NothingPresumed,
    a_grant_without_a_proof: GrantWithoutProof,
    a_lease_that_only_a_timer_looks_at: FreshnessByTimer,
    a_lease_that_counts_from_its_arrival: LeaseFromArrival,
    numbers_of_renewals_that_repeat: NumbersRepeat,
    a_second_lease_asked_for_too_late: RenewsByOldView,
    a_write_that_is_skipped: SkippedWrite,
    an_unknown_outcome_told_as_done: UnknownIsDone,
    a_leader_that_commits_alone: CommitAlone,
    entries_confirmed_before_they_are_on_disk: ConfirmBeforeFlush,
    compacted_events_that_are_passed_over: CompactionPassedOver,
    a_stream_that_resumes_too_late: ResumeSkips,
    a_fenced_node_told_as_confirmed: FencedIsConfirmed,
    silent_nodes_left_out_of_a_fence: SilentNodesLeftOut,
    a_fence_that_does_not_look_at_the_clock: FenceSleeps,
    an_audit_log_with_a_gap: AuditGap,
    a_broker_that_opens_no_other_stream: StreamGivenUp,
}
