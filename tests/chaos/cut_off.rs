//! A broker that is cut off from the control plane, in both directions or in one: it stops by itself, in time, and the
//! fence completes without it. It resumes by revision.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use revoq_mqtt::ReasonCode;
use revoq_proto::v1::{FenceState, Transition};
use revoq_tests::{Client, Device, End, Fleet, Host, Plan, Refused, until};
use tokio::task::JoinHandle;

use crate::support::{Fenced, GRACE, LEASE, SLACK, bound, fence};

/// The broker that is cut off.
const LOST: usize = 0;
/// The one that is not.
const OTHER: usize = 1;
/// A broker finds its way back within this: it notices that a stream is dead, and pauses between two attempts.
const BACK_WITHIN: Duration = Duration::from_secs(20);

/// Devices with sessions on both brokers.
struct Scene {
    fleet: Fleet,
    denied: Device,
    bystander: Device,
}

/// Packets from the first host to the second.
type Way = (Host, Host);
/// When a session ended, and how.
type Ending = JoinHandle<Result<(Instant, End)>>;

impl Scene {
    async fn start(plan: Plan) -> Result<Scene> {
        let fleet = Fleet::start(plan).await?;
        let (denied, bystander) = (fleet.issue("denied").await?, fleet.issue("bystander").await?);
        Ok(Scene { fleet, denied, bystander })
    }

    /// Connects a device to a broker, and waits for the end of that session beside everything else.
    async fn session(&self, broker: usize, device: &Device) -> Result<Ending> {
        let client = self.fleet.connect(broker, device, &device.name).await?;
        Ok(tokio::spawn(async move {
            let end = client.ended().await?;
            Ok((Instant::now(), end))
        }))
    }

    /// When the lost broker says that it is not ready, after which its sessions live on the grace; and such a session.
    async fn unready(&self) -> Result<(Instant, Client)> {
        let mut patient = self.fleet.connect(LOST, &self.bystander, "patient").await?;
        let unready = until("the broker turns unready", LEASE + GRACE + SLACK, || async {
            let (is_ready, text) = self.fleet.readiness(LOST).await?;
            Ok((!is_ready && text.contains("live on the grace")).then(Instant::now))
        })
        .await?;
        patient.ping().await?;
        Ok((unready, patient))
    }

    /// The lost broker serves nobody: as it says, and as devices see it.
    async fn is_lapsed(&self) -> Result<()> {
        let (is_ready, text) = self.fleet.readiness(LOST).await?;
        ensure!(!is_ready && text.contains("all sessions are closed"), "{text}");
        let refused = self.fleet.try_connect(LOST, &self.bystander, "too late").await?.err();
        ensure!(matches!(refused, Some(Refused::ConnAck(_))), "{refused:?}");
        Ok(())
    }

    /// The broker is back with what it missed, and nobody is shut out for good.
    async fn is_back(&self, log: usize, fenced: &Fenced) -> Result<()> {
        let fleet = &self.fleet;
        let healed = Instant::now();
        fleet.hosts().heal().await?;
        fleet.broker_ready(LOST, BACK_WITHIN).await?;
        eprintln!("ready again {:?} after the cut was healed", healed.elapsed());
        let log = fleet.broker_process(LOST).log_since(log);
        ensure!(log.contains("watch lost") && !log.contains("snapshot"), "it did not resume:\n{log}");
        let view = fleet.metric(LOST, "revoq_broker_view_revision", "").await?;
        ensure!(view >= fenced.update.revision as f64, "the view is at {view}");
        let leader = fleet.leader().await?;
        for broker in [LOST, OTHER] {
            ensure!(fleet.try_connect(broker, &self.denied, "denied").await?.is_err(), "let in at {broker}");
            fleet.connect(broker, &self.bystander, "bystander").await?.ping().await?;
        }
        let reactivated = fence(fleet, leader, Transition::Reactivate, &self.denied).await?;
        for broker in [LOST, OTHER] {
            reactivated.expect(broker, FenceState::Confirmed)?;
            fleet.connect(broker, &self.denied, "denied").await?.ping().await?;
        }
        Ok(())
    }

    /// Cuts these ways, and suspends a device while the broker cannot hear of it. `through` is the replica that another
    /// administrator uses.
    async fn is_fenced(&self, ways: &[Way], through: usize) -> Result<Fenced> {
        let fleet = &self.fleet;
        // It may hear of the change, and cut whom that denies, although nobody hears of that.
        let hears = !ways.iter().any(|(_, to)| *to == Host::Broker(LOST));
        let sessions = [self.session(LOST, &self.denied).await?, self.session(LOST, &self.bystander).await?];
        let elsewhere = self.session(OTHER, &self.denied).await?;
        let cut = Instant::now();
        fleet.hosts().cut_ways(ways).await?;
        let (fenced, (unready, mut patient)) =
            tokio::try_join!(fence(fleet, through, Transition::Suspend, &self.denied), self.unready())?;
        // That is what the fence says: from now on not one packet is served.
        let served = patient.publish_acknowledged("after", "the fence").await;
        ensure!(served.is_err(), "a packet was served after the fence");
        fenced.expect(LOST, FenceState::Fenced)?;
        fenced.expect(OTHER, FenceState::Confirmed)?;
        let most = bound(LEASE, GRACE);
        ensure!(fenced.took <= most + SLACK, "the fence took {:?} of {most:?}", fenced.took);
        ensure!(unready - cut <= LEASE + SLACK, "unready only after {:?}", unready - cut);
        let denied = if hears { ReasonCode::AdministrativeAction } else { ReasonCode::UseAnotherServer };
        for (session, code) in sessions.into_iter().zip([denied, ReasonCode::UseAnotherServer]) {
            let (ended, end) = session.await??;
            ensure!(end == End::Disconnect(code), "{end:?}");
            // The client learns of it a little later than its gate was shut.
            ensure!(ended <= fenced.at + SLACK, "a session ended {:?} after the fence", ended - fenced.at);
            eprintln!("unready {:?}, closed {:?} after the cut", unready - cut, ended - cut);
        }
        eprintln!("the fence took {:?}, the bound is {most:?}", fenced.took);
        let lapsed = fleet.metric(LOST, "revoq_broker_gates_shut_total", "lapsed").await?;
        ensure!(lapsed == if hears { 2.0 } else { 3.0 }, "{lapsed} sessions lapsed");
        let (_, end) = elsewhere.await??;
        ensure!(end == End::Disconnect(ReasonCode::AdministrativeAction), "{end:?}");
        self.is_lapsed().await?;
        Ok(fenced)
    }
}

/// What the lost broker sends to the replicas.
fn to_control(fleet: &Fleet) -> Vec<Way> {
    (0..fleet.replicas()).map(|n| (Host::Broker(LOST), Host::Replica(n))).collect()
}

/// What they send to it.
fn to_broker(fleet: &Fleet) -> Vec<Way> {
    to_control(fleet).into_iter().map(|(broker, replica)| (replica, broker)).collect()
}

async fn cut_off(choose: impl FnOnce(&Fleet) -> Vec<Way>) -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let log = scene.fleet.broker_process(LOST).log_length();
    let through = scene.fleet.leader().await?;
    let fenced = scene.is_fenced(&choose(&scene.fleet), through).await?;
    scene.is_back(log, &fenced).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_cut_off_is_fenced_and_comes_back() -> Result<()> {
    cut_off(|fleet| [to_control(fleet), to_broker(fleet)].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_heard_is_fenced_and_comes_back() -> Result<()> {
    cut_off(to_control).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_does_not_hear_is_fenced_and_comes_back() -> Result<()> {
    cut_off(to_broker).await
}

/// Lets replica `n` alone serve the lost broker, and gives the ways between the two together and all others.
async fn pair(fleet: &Fleet, n: usize) -> Result<Vec<Way>> {
    let (broker, replica) = (Host::Broker(LOST), Host::Replica(n));
    let others: Vec<_> = (0..fleet.replicas()).filter(|other| *other != n).map(Host::Replica).collect();
    fleet.hosts().split(&[broker], &others).await?;
    until("the replica serves the broker", BACK_WITHIN, || async {
        Ok((fleet.replica_metric(n, "revoq_control_watchers").await? >= 1.0).then_some(()))
    })
    .await?;
    fleet.broker_ready(LOST, BACK_WITHIN).await?;
    let outside = others.into_iter().chain([Host::Broker(OTHER)]);
    Ok(outside.flat_map(|host| [(replica, host), (host, replica), (broker, host), (host, broker)]).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_cut_off_with_its_broker_does_not_prolong_the_lease() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let leader = scene.fleet.leader().await?;
    let follower = (leader + 1) % scene.fleet.replicas();
    let ways = pair(&scene.fleet, follower).await?;
    let log = scene.fleet.broker_process(LOST).log_length();
    let fenced = scene.is_fenced(&ways, leader).await?;
    scene.is_back(log, &fenced).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_with_its_broker_does_not_prolong_the_lease() -> Result<()> {
    let scene = Scene::start(Plan::default()).await?;
    let fleet = &scene.fleet;
    let leader = fleet.leader().await?;
    let ways = pair(fleet, leader).await?;
    let log = fleet.broker_process(LOST).log_length();
    let session = scene.session(LOST, &scene.denied).await?;
    let cut = Instant::now();
    fleet.hosts().cut_ways(&ways).await?;
    let (unready, _) = scene.unready().await?;
    let (ended, end) = session.await??;
    ensure!(end == End::Disconnect(ReasonCode::UseAnotherServer), "{end:?}");
    eprintln!("unready {:?}, closed {:?} after the cut", unready - cut, ended - cut);
    ensure!(unready - cut <= LEASE + SLACK && ended - cut <= LEASE + GRACE + SLACK);
    scene.is_lapsed().await?;
    // The others have a leader of their own, which cannot know when the broker last asked for its lease, nor by which
    // settings: it waits at least as long as the broker serves.
    let other = (leader + 1) % fleet.replicas();
    let revision = until("the others commit", BACK_WITHIN, || async {
        let answer = fleet.transition(other, Transition::Suspend, scene.denied.selector(), false).await;
        Ok(answer.ok().map(|answer| answer.revision))
    })
    .await?;
    let waiting = fleet.first_fence_update(other, revision).await?;
    let lost = waiting.nodes.iter().find(|node| node.name == Host::Broker(LOST).to_string());
    let state = lost.map(revoq_proto::v1::FenceNode::state);
    ensure!(matches!(state, Some(FenceState::Waiting | FenceState::Fenced)), "{waiting:#?}");
    fleet.hosts().heal().await?;
    let update = fleet.fence(other, revision).await?;
    ensure!(update.nodes.iter().all(|node| node.state() == FenceState::Confirmed), "{update:#?}");
    scene.is_back(log, &Fenced { update, at: Instant::now(), took: cut.elapsed() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_grace_ends_the_fence_names_who_has_not_confirmed() -> Result<()> {
    let settings = vec![("lease", "1s"), ("stale_grace", "never")];
    let scene = Scene::start(Plan { settings, ..Plan::default() }).await?;
    let fleet = &scene.fleet;
    let mut patient = fleet.connect(LOST, &scene.bystander, "patient").await?;
    let session = scene.session(LOST, &scene.denied).await?;
    fleet.hosts().isolate(Host::Broker(LOST)).await?;
    let started = Instant::now();
    let done = fleet.revoqctl(&["certificate", "suspend", "--device", "denied", "--wait"]).await?;
    let (took, most) = (started.elapsed(), bound(LEASE, Duration::ZERO));
    ensure!(done.code == 7, "{done:?}");
    for (broker, state) in [(LOST, "unconfirmed"), (OTHER, "confirmed")] {
        let name = Host::Broker(broker).to_string();
        let mut words = done.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        ensure!(words.any(|words| words.contains(&&*name) && words.contains(&state)), "{name}: {done:?}");
    }
    ensure!(done.err.contains("1 of 2 broker nodes have not confirmed it"), "{done:?}");
    eprintln!("revoqctl ended after {took:?}, the lease is over after {most:?}");
    ensure!(took <= most + SLACK + SLACK, "{took:?} of {most:?}");
    // That is what was asked for: whoever has a session there keeps it.
    ensure!(!session.is_finished());
    patient.ping().await?;
    fleet.hosts().heal().await?;
    let (_, end) = session.await??;
    ensure!(end == End::Disconnect(ReasonCode::AdministrativeAction), "{end:?}");
    let revision = done.err.split("revision ").nth(1).and_then(|rest| rest.split(' ').next());
    let revision = revision.unwrap_or_default().to_owned();
    let done = fleet.revoqctl(&["cluster", "fence", &revision]).await?;
    ensure!(done.code == 0, "{done:?}");
    patient.ping().await
}
