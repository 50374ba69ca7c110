//! A broker that is stopped for longer than lease and grace, and runs on: nothing passes for whoever was denied meanwhile.
//!
//! It is stopped at a random moment in the middle of a flood, so that reads are half worked through and the kernel's
//! buffers are full. Everything else happens while it cannot notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::RngExt as _;
use revoq_mqtt::{PacketId, QoS, ReasonCode};
use revoq_proto::v1::{FenceState, Transition};
use revoq_tests::mqtt::message;
use revoq_tests::{Client, Device, End, Fleet, Host, Plan, Refused, until};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::support::{LEASE, SLACK, bound, fence, rounds};

/// Messages in one write of a flood: more than one read of the broker takes.
const BATCH: usize = 400;
/// Messages of each client after the fence, half of them at QoS 1.
const LATE: u16 = 100;
const LATE_PAYLOAD: &str = "sent after the fence";
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// What a listener heard.
#[derive(Default)]
struct Heard {
    /// Of what was sent after the fence.
    late: AtomicUsize,
    /// Of what was sent before the stop, before the broker ran on and after it.
    early: AtomicUsize,
    woken: AtomicUsize,
    is_woken: AtomicBool,
}

/// A client that listens to the end of its session.
struct Listener {
    heard: Arc<Heard>,
    end: JoinHandle<End>,
}

impl Listener {
    async fn start(fleet: &Fleet, device: &Device, client_id: &str, filter: &str) -> Result<Listener> {
        let mut client = fleet.connect(0, device, client_id).await?;
        // At QoS 0: one that acknowledges nothing would be cut for that.
        client.subscribe_at(filter, QoS::AtMostOnce).await?;
        let heard = Arc::<Heard>::default();
        let noted = Arc::clone(&heard);
        let end = tokio::spawn(client.listen(move |publish| {
            let count = if publish.payload == LATE_PAYLOAD.as_bytes() {
                &noted.late
            } else if noted.is_woken.load(Ordering::SeqCst) {
                &noted.woken
            } else {
                &noted.early
            };
            count.fetch_add(1, Ordering::SeqCst);
        }));
        Ok(Listener { heard, end })
    }

    /// Waits until it has heard something.
    async fn hears(&self, who: &str) -> Result<()> {
        until(&format!("{who} hears something"), ENDS_WITHIN, || async {
            Ok((self.heard.early.load(Ordering::SeqCst) > 0).then_some(()))
        })
        .await
    }

    /// The broker runs on from now on.
    fn woken(&self) {
        self.heard.is_woken.store(true, Ordering::SeqCst);
    }

    /// Waits for the end, which must be the lease's, and checks what was heard until then.
    async fn finish(self, who: &str) -> Result<()> {
        let end = timeout(ENDS_WITHIN, self.end).await??;
        ensure!(matches!(end, End::Disconnect(ReasonCode::UseAnotherServer) | End::Silent), "{who}: {end:?}");
        let count = |of: &AtomicUsize| of.load(Ordering::SeqCst);
        let (early, woken, late) =
            (count(&self.heard.early), count(&self.heard.woken), count(&self.heard.late));
        ensure!(late == 0, "{who} heard {late} messages that were sent after the fence");
        eprintln!("{who}: {early} messages before the broker ran on, {woken} after it, of those sent before");
        Ok(())
    }
}

/// What the floods do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Flood,
    /// The broker is stopped.
    Wait,
    /// The fence is complete.
    Late,
}

/// Publishes at QoS 0 as fast as it can, and more when the fence is complete.
async fn flood(mut client: Client, topic: &'static str, mut phase: watch::Receiver<Phase>) -> Result<()> {
    let batch = vec![message(topic, "sent before the fence", None)?; BATCH];
    while *phase.borrow_and_update() == Phase::Flood {
        client.send_all(&batch).await?;
    }
    phase.wait_for(|phase| *phase == Phase::Late).await?;
    send_late(&mut client, topic).await?;
    client.ended().await?;
    Ok(())
}

/// Publishes after the fence, as much as the kernel's buffers take at once.
async fn send_late(client: &mut Client, topic: &str) -> Result<()> {
    let mut packets = Vec::new();
    let mut packet_id = PacketId::FIRST;
    for n in 0..LATE {
        packets.push(message(topic, LATE_PAYLOAD, (n % 2 == 1).then_some(packet_id))?);
        packet_id = packet_id.next();
    }
    client.send_all(&packets).await?;
    Ok(())
}

/// One stop at a random moment.
async fn stop_once(fleet: &Fleet, denied: &Device, bystander: &Device) -> Result<()> {
    // `up` is from the device that is denied to the bystander, `down` the other way round.
    let listening = Listener::start(fleet, bystander, "bystander listens", "up").await?;
    let deaf = Listener::start(fleet, denied, "denied listens", "down").await?;
    let mut late_up = fleet.connect(0, denied, "denied sends later").await?;
    let mut late_down = fleet.connect(0, bystander, "bystander sends later").await?;
    let phase = watch::Sender::new(Phase::Flood);
    let floods = [
        tokio::spawn(flood(fleet.connect(0, denied, "denied floods").await?, "up", phase.subscribe())),
        tokio::spawn(flood(
            fleet.connect(0, bystander, "bystander floods").await?,
            "down",
            phase.subscribe(),
        )),
    ];
    listening.hears("the bystander").await?;
    deaf.hears("the denied device").await?;
    let moment = Duration::from_micros(rand::rng().random_range(0..200_000));
    sleep(moment).await;
    fleet.broker_process(0).pause().await?;
    phase.send_replace(Phase::Wait);

    let fenced = fence(fleet, 0, Transition::Suspend, denied).await?;
    fenced.expect(0, FenceState::Fenced)?;
    let most = bound(LEASE, Duration::ZERO);
    ensure!(fenced.took <= most + SLACK, "the fence took {:?} of {most:?}", fenced.took);
    eprintln!("stopped after {moment:?}; the fence took {:?}, the bound is {most:?}", fenced.took);
    phase.send_replace(Phase::Late);
    send_late(&mut late_up, "up").await?;
    send_late(&mut late_down, "down").await?;
    listening.woken();
    deaf.woken();
    fleet.broker_process(0).resume().await?;

    listening.finish("the bystander").await?;
    deaf.finish("the denied device").await?;
    for flood in floods {
        // One whose write the end of the connection broke off has failed, which is as good.
        let _ = timeout(ENDS_WITHIN, flood).await??;
    }
    fleet.broker_ready(0, ENDS_WITHIN).await?;
    let refused = fleet.try_connect(0, denied, "denied").await?.err();
    ensure!(matches!(refused, Some(Refused::Tls(_))), "{refused:?}");
    fleet.connect(0, bystander, "bystander").await?.ping().await?;
    fence(fleet, 0, Transition::Reactivate, denied).await?.expect(0, FenceState::Confirmed)?;
    fleet.connect(0, denied, "denied").await?.ping().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_stopped_lets_nothing_pass_when_it_runs_on() -> Result<()> {
    let settings = vec![("lease", "1s"), ("stale_grace", "0s")];
    let fleet = Fleet::start(Plan { replicas: 1, brokers: 1, settings, ..Plan::default() }).await?;
    let (denied, bystander) = (fleet.issue("denied").await?, fleet.issue("bystander").await?);
    for round in 0..rounds(5, 60) {
        eprintln!("round {round}");
        stop_once(&fleet, &denied, &bystander).await?;
    }
    let log = fleet.broker_process(0).log();
    ensure!(!log.contains("panicked"), "{} said:\n{log}", Host::Broker(0));
    Ok(())
}
