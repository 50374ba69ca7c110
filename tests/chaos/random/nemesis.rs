//! What goes wrong, drawn from the seed: what, whom, for how long, and how long it is calm in between.
//!
//! Only a minority of the replicas is ever out of reach for long, so that the control plane makes progress. Once in a
//! while all of them are killed at once, and started again at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use revoq_tests::Host;
use tokio::time::timeout;

use super::scene::{BROKERS, GRACE, LEASE, REPLICAS, Scene};

/// Between two faults, milliseconds. Every fourth time it is calm for longer.
const CALM: std::ops::Range<u64> = 300..2_000;
const CALM_LONG: std::ops::Range<u64> = 3_000..6_000;
/// A process ends in order within this.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// Who leads is asked for no longer than this; then anybody is as good.
const LEADER_KNOWN_WITHIN: Duration = Duration::from_millis(300);

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    KillReplica,
    KillAllReplicas,
    KillBroker,
    EndReplica,
    StopReplica,
    StopBroker,
    StopBrokerLong,
    IsolateReplica,
    IsolateBroker,
    IsolateTogether,
    CutPair,
    Deafen,
    Mute,
    Lose,
    LoseAnswers,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::KillReplica => "replica killed",
            Fault::KillAllReplicas => "all replicas killed",
            Fault::KillBroker => "broker killed",
            Fault::EndReplica => "replica ended in order",
            Fault::StopReplica => "replica stopped",
            Fault::StopBroker => "broker stopped",
            Fault::StopBrokerLong => "broker stopped beyond its grace",
            Fault::IsolateReplica => "replica isolated",
            Fault::IsolateBroker => "broker isolated",
            Fault::IsolateTogether => "broker isolated with a replica",
            Fault::CutPair => "two hosts cut apart",
            Fault::Deafen => "host hears nothing",
            Fault::Mute => "host is not heard",
            Fault::Lose => "packets lost",
            Fault::LoseAnswers => "answers lost",
        })
    }
}

/// What one nemesis does, and how often each is drawn. Two work side by side, so that a broker may stand still while
/// the leader changes; they never touch the same process or the same network.
type Repertoire = &'static [(Fault, u32)];

/// Replicas, and the network between all hosts.
pub(super) const CONTROL_PLANE: Repertoire = &[
    (Fault::KillReplica, 10),
    (Fault::KillAllReplicas, 1),
    (Fault::EndReplica, 2),
    (Fault::StopReplica, 6),
    (Fault::IsolateReplica, 5),
    (Fault::IsolateBroker, 5),
    (Fault::IsolateTogether, 4),
    (Fault::CutPair, 4),
    (Fault::Deafen, 3),
    (Fault::Mute, 3),
    (Fault::Lose, 4),
    (Fault::LoseAnswers, 4),
];

/// The processes of the brokers.
pub(super) const BROKER_NODES: Repertoire =
    &[(Fault::KillBroker, 2), (Fault::StopBroker, 2), (Fault::StopBrokerLong, 3)];

/// The one who does it.
pub(super) struct Nemesis {
    scene: Arc<Scene>,
    repertoire: Repertoire,
    random: SmallRng,
    done: BTreeMap<Fault, u64>,
}

/// How many faults of each kind there were.
pub(super) struct Faults(BTreeMap<Fault, u64>);

impl Faults {
    /// Those of another nemesis too.
    pub(super) fn and(mut self, others: Faults) -> Faults {
        self.0.extend(others.0);
        self
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.0.values().sum::<u64>())?;
        for (n, (fault, times)) in self.0.iter().enumerate() {
            write!(f, "{}{fault} {times}", if n == 0 { "" } else { ", " })?;
        }
        f.write_str(")")
    }
}

impl Nemesis {
    pub(super) fn new(scene: &Arc<Scene>, repertoire: Repertoire, random: SmallRng) -> Nemesis {
        Nemesis { scene: Arc::clone(scene), repertoire, random, done: BTreeMap::new() }
    }

    /// Goes on until that time of the run, and leaves everything whole.
    pub(super) async fn run(mut self, end: Duration) -> Result<Faults> {
        while self.scene.recorder.elapsed() < end {
            self.calm().await;
            let fault = self.draw();
            *self.done.entry(fault).or_default() += 1;
            self.inflict(fault).await.with_context(|| fault.to_string())?;
        }
        Ok(Faults(self.done))
    }

    fn draw(&mut self) -> Fault {
        let total = self.repertoire.iter().map(|(_, weight)| weight).sum::<u32>();
        let mut drawn = self.random.random_range(0..total);
        let found = self.repertoire.iter().find(|(_, weight)| match drawn.checked_sub(*weight) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        });
        found.expect("less than all weights together").0
    }

    async fn calm(&mut self) {
        let calm = if self.random.random_bool(0.25) { CALM_LONG } else { CALM };
        self.wait(calm).await;
    }

    /// Between these milliseconds.
    async fn wait(&mut self, range: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.random.random_range(range))).await;
    }

    /// A replica: half of the time the one that leads.
    async fn replica(&mut self) -> usize {
        let any = self.random.random_range(0..REPLICAS);
        if self.random.random_bool(0.5) {
            return any;
        }
        match timeout(LEADER_KNOWN_WITHIN, self.scene.fleet.leader()).await {
            Ok(Ok(leader)) => leader,
            _ => any,
        }
    }

    fn broker(&mut self) -> usize {
        self.random.random_range(0..BROKERS)
    }

    /// A host of ours.
    async fn host(&mut self) -> Host {
        if self.random.random_bool(0.5) {
            Host::Replica(self.replica().await)
        } else {
            Host::Broker(self.broker())
        }
    }

    fn say(&self, fault: Fault, whom: impl fmt::Display) {
        eprintln!("{:8.3} s: {fault}: {whom}", self.scene.recorder.elapsed().as_secs_f64());
    }

    async fn inflict(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::KillReplica | Fault::EndReplica => self.restart_replica(fault).await,
            Fault::KillAllReplicas => self.restart_all(fault).await,
            Fault::KillBroker => self.restart_broker(fault).await,
            Fault::StopReplica | Fault::StopBroker | Fault::StopBrokerLong => self.stop(fault).await,
            _ => self.disturb(fault).await,
        }
    }

    async fn restart_replica(&mut self, fault: Fault) -> Result<()> {
        let n = self.replica().await;
        self.say(fault, Host::Replica(n));
        let scene = Arc::clone(&self.scene);
        let process = scene.fleet.replica_process(n);
        if fault == Fault::KillReplica {
            process.kill().await?;
        } else {
            process.terminate(ENDS_WITHIN).await?;
        }
        self.wait(0..4_000).await;
        scene.fleet.start_replica(n).await
    }

    async fn restart_all(&mut self, fault: Fault) -> Result<()> {
        self.say(fault, "at once");
        let scene = Arc::clone(&self.scene);
        for n in 0..REPLICAS {
            scene.fleet.replica_process(n).kill().await?;
        }
        for n in 0..REPLICAS {
            scene.fleet.start_replica(n).await?;
        }
        Ok(())
    }

    async fn restart_broker(&mut self, fault: Fault) -> Result<()> {
        let n = self.broker();
        self.say(fault, Host::Broker(n));
        let scene = Arc::clone(&self.scene);
        scene.fleet.broker_process(n).kill().await?;
        self.wait(0..3_000).await;
        scene.fleet.start_broker(n).await
    }

    /// Stops a process and lets it run on, before or after its lease and grace have run out.
    async fn stop(&mut self, fault: Fault) -> Result<()> {
        let scene = Arc::clone(&self.scene);
        let bound = u64::try_from((LEASE + GRACE).as_millis())?;
        let (host, process, time) = match fault {
            Fault::StopReplica => {
                let n = self.replica().await;
                (Host::Replica(n), scene.fleet.replica_process(n), 50..2 * bound)
            }
            _ => {
                let n = self.broker();
                let time = if fault == Fault::StopBroker { 50..bound } else { bound..3 * bound };
                (Host::Broker(n), scene.fleet.broker_process(n), time)
            }
        };
        self.say(fault, host);
        process.pause().await?;
        self.wait(time).await;
        process.resume().await
    }

    /// Faults of the network, which end together.
    async fn disturb(&mut self, fault: Fault) -> Result<()> {
        let scene = Arc::clone(&self.scene);
        let hosts = scene.fleet.hosts();
        let host = self.host().await;
        match fault {
            Fault::IsolateReplica => {
                let host = Host::Replica(self.replica().await);
                self.say(fault, host);
                hosts.isolate(host).await?;
            }
            Fault::IsolateBroker => {
                let host = Host::Broker(self.broker());
                self.say(fault, host);
                hosts.isolate(host).await?;
            }
            Fault::IsolateTogether => self.isolate_together(fault).await?,
            Fault::CutPair => {
                let other = Host::Replica((self.replica().await + 1) % REPLICAS);
                self.say(fault, format!("{host} and {other}"));
                hosts.cut(host, other).await?;
            }
            Fault::Deafen | Fault::Mute => {
                self.say(fault, host);
                let others = Self::all().filter(|other| *other != host);
                let ways =
                    others.map(|other| if fault == Fault::Mute { (host, other) } else { (other, host) });
                hosts.cut_ways(&ways.collect::<Vec<_>>()).await?;
            }
            Fault::Lose => {
                let percent = self.random.random_range(3..40);
                self.say(fault, format!("{percent} of 100 at {host}"));
                hosts.loss(host, percent).await?;
            }
            _ => {
                self.say(fault, host);
                hosts.cut_oneway(host, Host::Test).await?;
            }
        }
        self.wait(300..8_000).await;
        hosts.heal().await
    }

    fn all() -> impl Iterator<Item = Host> {
        (0..REPLICAS).map(Host::Replica).chain((0..BROKERS).map(Host::Broker))
    }

    /// A broker has a replica, and neither has anybody else.
    async fn isolate_together(&mut self, fault: Fault) -> Result<()> {
        let pair = [Host::Broker(self.broker()), Host::Replica(self.replica().await)];
        self.say(fault, format!("{} and {}", pair[0], pair[1]));
        let others: Vec<Host> = Self::all().filter(|host| !pair.contains(host)).collect();
        self.scene.fleet.hosts().split(&pair, &others).await
    }
}
