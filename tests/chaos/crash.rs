//! Kill -9 of the leader in the middle of suspensions: what was acknowledged holds, what was cut off is unknown and
//! never called done, and what was refused has not happened.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::RngExt as _;
use revoq_proto::client::is_unsent;
use revoq_proto::v1::certificates_client::CertificatesClient;
use revoq_proto::v1::{FenceState, ListCertificatesRequest, State, Transition};
use revoq_tests::access::{TENANT, change_state};
use revoq_tests::{Device, Fleet, Plan, until};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::support::{fence, rounds, spread};
use crate::watchers::Watchers;

/// Administrators that work side by side.
const WORKERS: usize = 4;
/// From the kill of a leader to the first change that its successor commits.
const COMMITS_WITHIN: Duration = Duration::from_secs(2);
const RECOVERS_WITHIN: Duration = Duration::from_secs(60);

/// What an administrator was told about one suspension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It is done.
    Done,
    /// Nothing has happened.
    Refused,
    /// It may have happened.
    Unknown,
}

/// One suspension.
struct Attempt {
    device: Device,
    told: Told,
    sent: Instant,
    answered: Instant,
}

/// The devices of one round and what has become of them.
struct Round {
    devices: Vec<Device>,
    next: AtomicUsize,
    answered: AtomicUsize,
}

impl Round {
    fn take(&self) -> Option<Device> {
        self.devices.get(self.next.fetch_add(1, Ordering::SeqCst)).cloned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_survives_a_kill_of_the_leader() -> Result<()> {
    let (kills, suspensions) = (rounds(3, 10), rounds(67, 1_000));
    let fleet = Arc::new(Fleet::start(Plan { brokers: 1, ..Plan::default() }).await?);
    let mut first_commits = Vec::new();
    let mut told = [0; 3];
    for round in 0..kills {
        let devices = issue(&fleet, round, suspensions).await?;
        let watchers = Watchers::start(&fleet).await?;
        let (attempts, [killed, gone]) = suspend_and_kill(&fleet, devices).await?;
        let fresh = attempts.iter().filter(|it| it.told == Told::Done && it.sent > gone);
        let first = fresh.map(|attempt| attempt.answered - killed).min();
        first_commits.push(first.context("nothing was committed after the kill")?);
        for attempt in &attempts {
            told[attempt.told as usize] += 1;
        }
        fleet.wait_ready().await?;
        let last = fleet.set("cut_deadline", &format!("{}ms", 1_000 + round)).await?.revision;
        let (events, broken) = watchers.finish(&fleet, last).await?;
        fleet.agreed(RECOVERS_WITHIN).await?;
        check_reads(&fleet, &attempts).await?;
        check_connections(&fleet, &attempts).await?;
        eprintln!("round {round}: {events} events, {broken} watch streams broken, digests agree");
    }
    let [done, refused, unknown] = told;
    eprintln!("{done} suspensions done, {refused} refused, {unknown} unknown");
    eprintln!("from the kill to the first commit: {}", spread(&first_commits));
    ensure!(first_commits.iter().all(|took| *took <= COMMITS_WITHIN), "over {COMMITS_WITHIN:?}");
    Ok(())
}

/// Issues certificates, many at a time.
async fn issue(fleet: &Arc<Fleet>, round: usize, count: usize) -> Result<Vec<Device>> {
    let mut devices = Vec::with_capacity(count);
    for first in (0..count).step_by(WORKERS * 4) {
        let mut issuing = JoinSet::new();
        for n in first..count.min(first + WORKERS * 4) {
            let fleet = Arc::clone(fleet);
            issuing.spawn(async move { fleet.issue(&format!("device-{round}-{n}")).await });
        }
        while let Some(issued) = issuing.join_next().await {
            devices.push(issued??);
        }
    }
    Ok(devices)
}

/// Suspends all devices through all replicas, and by the command line; kills the leader meanwhile, and starts it again.
/// Gives the attempts, and the moments before and after the kill.
async fn suspend_and_kill(fleet: &Arc<Fleet>, devices: Vec<Device>) -> Result<(Vec<Attempt>, [Instant; 2])> {
    let kill_at = rand::rng().random_range(devices.len() / 5..devices.len() / 2);
    let round = Arc::new(Round { devices, next: AtomicUsize::new(0), answered: AtomicUsize::new(0) });
    let mut workers = JoinSet::new();
    for n in 0..WORKERS {
        workers.spawn(work(Arc::clone(fleet), Arc::clone(&round), n));
    }
    workers.spawn(work_by_command(Arc::clone(fleet), Arc::clone(&round)));
    let leader = fleet.leader().await?;
    until("it is time for the kill", RECOVERS_WITHIN, || async {
        Ok((round.answered.load(Ordering::SeqCst) >= kill_at).then_some(()))
    })
    .await?;
    let killed = Instant::now();
    fleet.replica_process(leader).kill().await?;
    let gone = Instant::now();
    let mut attempts = Vec::new();
    while let Some(worked) = workers.join_next().await {
        attempts.extend(worked??);
    }
    fleet.start_replica(leader).await?;
    Ok((attempts, [killed, gone]))
}

/// One administrator, who asks one replica after the other.
async fn work(fleet: Arc<Fleet>, round: Arc<Round>, worker: usize) -> Result<Vec<Attempt>> {
    let channels = (0..fleet.replicas()).map(|n| fleet.channel(n)).collect::<Result<Vec<_>>>()?;
    let mut attempts = Vec::new();
    let mut at = worker;
    while let Some(device) = round.take() {
        at += 1;
        let channel = channels[at % channels.len()].clone();
        let sent = Instant::now();
        let answer = change_state(channel, Transition::Suspend, device.selector(), false).await;
        let answered = Instant::now();
        let told = told(answer.map(|_| ()))?;
        attempts.push(Attempt { device, told, sent, answered });
        round.answered.fetch_add(1, Ordering::SeqCst);
        if told != Told::Done {
            // Or the devices would all be spent before there is a leader again.
            sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(attempts)
}

/// What the answer of a replica, or its absence, says.
fn told(answer: Result<(), Status>) -> Result<Told> {
    let Err(status) = answer else { return Ok(Told::Done) };
    if is_unsent(&status) {
        return Ok(Told::Refused);
    }
    let is_transport = std::error::Error::source(&status).is_some();
    // The replica itself says so, or the connection to it broke.
    ensure!(is_transport || status.code() == Code::Unknown, "neither done, refused nor unknown: {status:?}");
    ensure!(is_transport || status.message().contains("read before you try again"), "{status:?}");
    eprintln!(
        "unknown, {}: {:?}: {}",
        if is_transport { "by the transport" } else { "by a replica" },
        status.code(),
        status.message()
    );
    Ok(Told::Unknown)
}

/// As [`work`], by `revoqctl`, which tells by its exit code.
async fn work_by_command(fleet: Arc<Fleet>, round: Arc<Round>) -> Result<Vec<Attempt>> {
    let mut attempts = Vec::new();
    while let Some(device) = round.take() {
        let sent = Instant::now();
        let done = fleet.revoqctl(&["certificate", "suspend", &device.certificate.id]).await?;
        let told = match done.code {
            0 => Told::Done,
            6 => Told::Refused,
            8 => Told::Unknown,
            code => bail!("exit code {code}: {done:?}"),
        };
        attempts.push(Attempt { device, told, sent, answered: Instant::now() });
        round.answered.fetch_add(1, Ordering::SeqCst);
    }
    Ok(attempts)
}

/// Every replica says the same, and it is what the administrators were told.
async fn check_reads(fleet: &Fleet, attempts: &[Attempt]) -> Result<()> {
    for n in 0..fleet.replicas() {
        let suspended = suspended(fleet, n).await?;
        for Attempt { device, told, .. } in attempts {
            let is_suspended = suspended.contains(&device.certificate.fingerprint[..]);
            let fits = match told {
                Told::Done => is_suspended,
                Told::Refused => !is_suspended,
                Told::Unknown => true,
            };
            ensure!(fits, "{} was {told:?}, and replica {} says {is_suspended}", device.name, n + 1);
        }
    }
    Ok(())
}

/// The fingerprints of all suspended certificates, as replica `n` reads them.
async fn suspended(fleet: &Fleet, n: usize) -> Result<BTreeSet<Vec<u8>>> {
    let mut client = CertificatesClient::new(fleet.channel(n)?);
    let mut found = BTreeSet::new();
    let mut page_token = String::new();
    loop {
        let request = ListCertificatesRequest {
            tenant: TENANT.into(),
            state: State::Suspended.into(),
            page_size: 1_000,
            page_token,
            ..Default::default()
        };
        let page = client.list(request).await?.into_inner();
        found.extend(page.certificates.iter().map(|certificate| certificate.fingerprint.to_vec()));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

/// A broker lets in whom it should.
async fn check_connections(fleet: &Fleet, attempts: &[Attempt]) -> Result<()> {
    // Its fence shows that the broker is up to date.
    let witness = fleet.issue(&format!("witness-{:08x}", rand::rng().random::<u32>())).await?;
    let leader = fleet.leader().await?;
    fence(fleet, leader, Transition::Suspend, &witness).await?.expect(0, FenceState::Confirmed)?;
    for Attempt { device, told, .. } in attempts {
        let is_let_in = fleet.try_connect(0, device, &device.name).await?.is_ok();
        let fits = match told {
            Told::Done => !is_let_in,
            Told::Refused => is_let_in,
            Told::Unknown => true,
        };
        ensure!(fits, "{} was {told:?}, and the broker says {is_let_in}", device.name);
    }
    Ok(())
}
