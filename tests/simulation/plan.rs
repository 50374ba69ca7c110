//! What the world of a seed is like. Each seed has some kinds of trouble and not others, so that each kind is met
//! alone and together with others.

use crate::chance::Chance;
use crate::clock::{MILLISECOND, RATE_MAX, SECOND, Time};

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Havoc {
    /// Processes fall into two parts that do not reach each other.
    Partition,
    /// One process is heard by nobody, or hears nobody.
    OneWay,
    /// The leader is cut off from everybody, or from the other replicas.
    LeaderCutOff,
    /// A broker is cut off from every replica.
    BrokerCutOff,
    /// Two replicas do not reach each other.
    LinkDown,
    /// A process ends and starts again later.
    CrashReplica,
    CrashBroker,
    /// Every replica loses its power at once.
    PowerCut,
    /// A broker ends in order.
    StopBroker,
    /// SIGSTOP.
    Pause,
    /// A machine is stopped, its clock with it.
    Freeze,
    /// A wall clock is set.
    WallStep,
    StreamBreak,
    SlowLinks,
    /// A replica loses its disk, and another takes its place.
    Replace,
}

const HAVOC: [(Havoc, u64); 15] = [
    (Havoc::Partition, 50),
    (Havoc::OneWay, 40),
    (Havoc::LeaderCutOff, 50),
    (Havoc::BrokerCutOff, 60),
    (Havoc::LinkDown, 35),
    (Havoc::CrashReplica, 60),
    (Havoc::CrashBroker, 50),
    (Havoc::PowerCut, 20),
    (Havoc::StopBroker, 25),
    (Havoc::Pause, 45),
    (Havoc::Freeze, 30),
    (Havoc::WallStep, 15),
    (Havoc::StreamBreak, 50),
    (Havoc::SlowLinks, 35),
    (Havoc::Replace, 25),
];

/// The world of a seed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) replicas: u8,
    pub(crate) brokers: u8,
    pub(crate) operators: u8,
    pub(crate) devices: usize,
    /// For how long there is trouble.
    pub(crate) trouble: Time,
    /// A message takes from the first to the second.
    pub(crate) delay: (Time, Time),
    pub(crate) lost_permille: u64,
    pub(crate) doubled_permille: u64,
    /// A write reaches the disk within these.
    pub(crate) flush: (Time, Time),
    /// A thread that is about to take a step is preempted, so often.
    pub(crate) preempted_permille: u64,
    /// The settings at the beginning.
    pub(crate) lease: &'static str,
    pub(crate) grace: &'static str,
    /// Events in a replica's ring, and revisions whose change rows it keeps.
    pub(crate) ring: usize,
    pub(crate) changes_kept: u64,
    /// Entries between two compactions, and those that are kept beyond.
    pub(crate) compaction: u64,
    pub(crate) log_kept: u64,
    /// Between two troubles.
    pub(crate) calm: (Time, Time),
    pub(crate) havoc: Vec<Havoc>,
    /// Between two operations of an administrator.
    pub(crate) think: (Time, Time),
    /// Administrators change the lease and the grace.
    pub(crate) terms_change: bool,
    /// They may set the grace to `never`.
    pub(crate) may_never: bool,
}

/// Settings that differ enough from each other to be told apart within a run.
pub(crate) const LEASES: [&str; 4] = ["300ms", "600ms", "1s", "2s"];
pub(crate) const GRACES: [&str; 5] = ["0s", "300ms", "1s", "2s", "4s"];

impl Plan {
    pub(crate) fn draw(chance: &mut Chance) -> Plan {
        let weighty = chance.between(40, 160);
        let havoc = HAVOC.iter().filter(|(_, percent)| chance.percent(percent * weighty / 100));
        let mut havoc: Vec<Havoc> = havoc.map(|(havoc, _)| *havoc).collect();
        if chance.percent(30) {
            havoc.truncate(2);
        }
        // A machine that is stopped and has its wall clock set back within one lease cannot see that it was stopped.
        if havoc.contains(&Havoc::Freeze) {
            havoc.retain(|havoc| *havoc != Havoc::WallStep);
        }
        let may_never = chance.percent(25);
        let slow = chance.percent(12);
        let (calm, think) = (chance.between(150, 1_500), chance.between(80, 500));
        Plan {
            replicas: if chance.percent(15) { 5 } else { 3 },
            brokers: u8::try_from(chance.between(2, 4)).expect("small"),
            operators: u8::try_from(chance.between(2, 3)).expect("small"),
            devices: 4 + chance.index(4),
            trouble: chance.between(6, 18) * SECOND,
            delay: if slow {
                (5 * MILLISECOND, chance.between(40, 250) * MILLISECOND)
            } else {
                (100, chance.between(1, 8) * MILLISECOND)
            },
            lost_permille: chance.pick(&[0, 0, 5, 20, 60]),
            doubled_permille: chance.pick(&[0, 0, 10, 50]),
            flush: chance.pick(&[
                (50, 500),
                (MILLISECOND, 10 * MILLISECOND),
                (MILLISECOND, 400 * MILLISECOND),
            ]),
            preempted_permille: chance.pick(&[0, 5, 30, 150]),
            lease: chance.pick(&LEASES),
            grace: if may_never && chance.percent(50) { "never" } else { chance.pick(&GRACES) },
            ring: chance.pick(&[2, 4, 16, 64]),
            changes_kept: chance.pick(&[3, 12, 60, 1_000]),
            compaction: chance.pick(&[8, 24, 60, 1_000]),
            log_kept: chance.pick(&[0, 4, 20]),
            calm: (calm * MILLISECOND / 2, calm * MILLISECOND * 2),
            havoc,
            think: (think * MILLISECOND / 4, think * MILLISECOND * 2),
            terms_change: chance.percent(50),
            may_never,
        }
    }

    /// Somewhere on the scale that two clocks may differ by.
    pub(crate) fn rate(chance: &mut Chance) -> i64 {
        let limit = u64::try_from(RATE_MAX).expect("positive");
        let rate = i64::try_from(chance.between(0, 2 * limit)).expect("small") - RATE_MAX;
        // The ends of the scale are where the margin is used up.
        chance.pick(&[rate, rate, RATE_MAX, -RATE_MAX])
    }
}
