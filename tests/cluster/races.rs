//! A connect races a suspension. Whatever the order in which they meet: no session outlives the fence, nothing that its
//! client sends after the fence is delivered, and nothing that is published after the fence is delivered to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use revoq_mqtt::{Connect, Packet, Publish, PublishProperties, QoS, Version};
use revoq_proto::v1::Transition;
use revoq_proto::v1::selector::Selector;
use revoq_tests::{Client, Device, Lab, mqtt};
use rustls::ClientConfig;

const LANES: u64 = 4;
const BROKERS: usize = 2;
/// What a round that was let in adds to the head start of the next suspension, and one that was refused takes away: so the
/// two meet, however fast the machine is.
const STEP_MICROS: i64 = 700;
/// Beside that, rounds differ by up to so many.
const JITTER_MICROS: i64 = 1_500;

fn rounds() -> u64 {
    if std::env::var_os("REVOQ_LONG").is_some() { 10_000 } else { 400 }
}

/// What became of the connects, all lanes together.
#[derive(Default)]
struct Tally {
    refused: AtomicU64,
    cut: AtomicU64,
}

/// One device, suspended and reactivated over and over.
struct Lane {
    lab: Arc<Lab>,
    number: u64,
    device: Device,
    /// By TLS version, with their tickets: most handshakes are resumed ones.
    tls: Vec<Arc<ClientConfig>>,
    /// Somebody else, on each broker, who publishes to the device.
    senders: Vec<Client>,
    tally: Arc<Tally>,
    /// How much earlier than the connect the suspension begins; negative: later.
    head_start_micros: i64,
}

impl Lane {
    async fn new(lab: Arc<Lab>, number: u64, tally: Arc<Tally>) -> Result<Lane> {
        let device = lab.issue(&format!("racer-{number}")).await?;
        let other = lab.issue(&format!("sender-{number}")).await?;
        let mut senders = Vec::new();
        for broker in 0..BROKERS {
            senders.push(lab.connect(broker, &other, &format!("sender-{number}")).await?);
        }
        let tls = rustls::ALL_VERSIONS
            .iter()
            .map(|version| mqtt::tls(&lab.root, Some(&device.leaf), &[version]))
            .collect::<Result<_>>()?;
        Ok(Lane { lab, number, device, tls, senders, tally, head_start_micros: 0 })
    }

    fn selector(&self) -> Selector {
        Selector::Fingerprint(self.device.certificate.fingerprint.clone())
    }

    async fn race(&mut self, round: u64) -> Result<()> {
        let replica = usize::try_from(round % 3)?;
        let broker = usize::try_from(round / 3 % BROKERS as u64)?;
        let tls = self.tls[usize::try_from(round / 6)? % self.tls.len()].clone();
        let fenced = Arc::new(AtomicBool::new(false));
        let address = self.lab.broker(broker);
        let head_start = self.head_start_micros + i64::try_from(round)? * 37 % JITTER_MICROS;
        let (number, flag) = (self.number, Arc::clone(&fenced));
        let racer = tokio::spawn(async move {
            tokio::time::sleep(micros(head_start)).await;
            connect_and_publish(address, tls, number, flag).await
        });
        tokio::time::sleep(micros(-head_start)).await;
        self.lab.change(replica, Transition::Suspend, self.selector()).await?;
        // From here on nothing may pass. The racer learns of it after the message to it is on its way.
        self.senders[broker].publish_acknowledged(&format!("to/{}", self.number), "late").await?;
        fenced.store(true, Ordering::SeqCst);
        let let_in = racer.await?.with_context(|| format!("lane {} round {round}", self.number))?;
        let (counter, step) =
            if let_in { (&self.tally.cut, STEP_MICROS) } else { (&self.tally.refused, -STEP_MICROS) };
        counter.fetch_add(1, Ordering::Relaxed);
        self.head_start_micros += step;
        self.lab.change(replica, Transition::Reactivate, self.selector()).await?;
        Ok(())
    }
}

/// None where `count` is negative.
fn micros(count: i64) -> Duration {
    Duration::from_micros(u64::try_from(count).unwrap_or(0))
}

/// True if it was let in; then it has been cut when this returns.
async fn connect_and_publish(
    address: std::net::SocketAddr,
    tls: Arc<ClientConfig>,
    lane: u64,
    fenced: Arc<AtomicBool>,
) -> Result<bool> {
    let Ok(mut client) = Client::connect(address, tls, Version::V5, &format!("racer-{lane}")).await? else {
        return Ok(false);
    };
    // Whatever fails from here on fails because the session was cut.
    let mut open = client.subscribe(&format!("to/{lane}")).await.is_ok();
    while open && !fenced.load(Ordering::SeqCst) {
        open = client.send(&publish(lane, "early")).await.is_ok();
        tokio::task::yield_now().await;
    }
    while !fenced.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    for packet in [publish(lane, "late"), Packet::PingReq] {
        // An error says that the socket is closed already.
        let _ = client.send(&packet).await;
    }
    ends_in_silence(client).await?;
    Ok(true)
}

fn publish(lane: u64, payload: &'static str) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: format!("from/{lane}").parse().expect("a topic"),
        packet_id: None,
        properties: PublishProperties::default(),
        payload: Bytes::from_static(payload.as_bytes()),
    })
}

/// The session ends, and neither an answer to a packet that was sent after the fence nor a message from after it comes.
async fn ends_in_silence(mut client: Client) -> Result<()> {
    loop {
        match client.receive_or_end().await? {
            None => return Ok(()),
            Some(Packet::PingResp) => bail!("a PINGREQ that was sent after the fence is answered"),
            Some(Packet::Publish(publish)) if publish.payload == "late" => {
                bail!("a message that was published after the fence is delivered")
            }
            Some(_) => {}
        }
    }
}

/// Reads all that the racers publish, until it is told to stop by a message; how much that was.
async fn observe(mut observer: Client) -> Result<u64> {
    let mut early = 0;
    loop {
        match observer.receive().await? {
            Packet::Publish(publish) if publish.payload == "early" => early += 1,
            Packet::Publish(publish) if publish.payload == "stop" => return Ok(early),
            Packet::Publish(publish) => bail!("delivered after the fence: {:?}", publish.topic),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connect_outlives_the_fence_of_a_suspension_that_it_races() -> Result<()> {
    let lab = Arc::new(Lab::start(3, BROKERS).await?);
    let witness = lab.issue("witness").await?;
    let mut observers = Vec::new();
    for broker in 0..BROKERS {
        // It only listens: no keepalive.
        let connect = Connect { keepalive_s: 0, ..Connect::new(Version::V5, "observer".parse()?) };
        let attempt =
            Client::connect_with(lab.broker(broker), lab.tls(Some(&witness.leaf))?, connect).await?;
        let mut observer = attempt.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        observer.subscribe("from/+").await?;
        observers.push(tokio::spawn(observe(observer)));
    }
    let tally = Arc::<Tally>::default();
    let mut lanes = tokio::task::JoinSet::new();
    for number in 0..LANES {
        let mut lane = Lane::new(Arc::clone(&lab), number, Arc::clone(&tally)).await?;
        lanes.spawn(async move {
            for round in (number..rounds()).step_by(usize::try_from(LANES)?) {
                lane.race(round).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    let mut early = 0;
    for (broker, observer) in observers.into_iter().enumerate() {
        lab.connect(broker, &witness, "stopper").await?.publish_acknowledged("from/x", "stop").await?;
        early += observer.await??;
    }
    let (refused, cut) = (tally.refused.load(Ordering::Relaxed), tally.cut.load(Ordering::Relaxed));
    println!("{} rounds: {refused} refused, {cut} let in and cut; {early} messages before", rounds());
    // The suspension must have come both before and after the verdict, or there was no race.
    ensure!(refused + cut == rounds() && refused > rounds() / 20 && cut > rounds() / 20, "{refused}, {cut}");
    ensure!(early > 0, "nothing was published before the fences");
    Ok(())
}
