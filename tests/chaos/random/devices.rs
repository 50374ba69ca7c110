//! Devices that connect anywhere and publish, and an observer on each broker that sees what passes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use revoq_mqtt::{Packet, PacketId, QoS, Version};
use revoq_tests::history::{Action, Outcome};
use revoq_tests::{Client, Device, Refused};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::scene::{BROKERS, Credential, Scene};

/// A device does not wait longer for CONNACK.
const CONNECTS_WITHIN: Duration = Duration::from_secs(4);
/// A device that hears nothing for so long gives its session up: longer than lease and grace.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// It publishes again when nothing has come for so long, milliseconds: also into a broker that stands still.
const PUBLISHES: std::ops::Range<u64> = 30..400;
/// How long a session is wanted, milliseconds.
const STAYS: std::ops::Range<u64> = 50..6_000;
/// Between two sessions, milliseconds.
const LEAVES: std::ops::Range<u64> = 20..400;
/// Between two attempts of an observer.
const OBSERVES_AGAIN: Duration = Duration::from_millis(100);

/// Connects, publishes and leaves, until the workload ends.
pub(super) async fn roam(scene: Arc<Scene>, process: u32, mut random: SmallRng) {
    while scene.goes_on() {
        let strict = random.random_bool(0.8);
        let credential = scene.pick_like(&mut random, |credential| credential.is_welcome() || !strict);
        let broker = random.random_range(0..BROKERS);
        if let Some(client) = connect(&scene, process, &credential, broker).await {
            let place = Place { process, credential: credential.number, broker: number(broker) };
            credential.sessions.fetch_add(1, Ordering::Relaxed);
            Session { scene: &scene, place, client, waiting: VecDeque::new() }
                .live(&credential.fenced, &mut random)
                .await;
            credential.sessions.fetch_sub(1, Ordering::Relaxed);
        }
        scene.pause(Duration::from_millis(random.random_range(LEAVES))).await;
    }
}

/// A broker as the history numbers it.
fn number(broker: usize) -> u16 {
    u16::try_from(broker).expect("a few brokers")
}

/// Tries to be let in; the session, if it is.
pub(super) async fn connect(
    scene: &Scene,
    process: u32,
    credential: &Credential,
    broker: usize,
) -> Option<Client> {
    let address = scene.fleet.broker(broker);
    let asked = scene.recorder.ask(process, credential.number, Action::Connect { broker: number(broker) });
    let client_id = format!("device-{process}");
    let attempt = Client::connect(address, Arc::clone(&credential.tls), Version::V5, &client_id);
    let (outcome, client) = match timeout(CONNECTS_WITHIN, attempt).await {
        Ok(Ok(Ok(client))) => (Outcome::Served, Some(client)),
        Ok(Ok(Err(refused))) => (kept_out(&refused), None),
        Ok(Err(_)) | Err(_) => (Outcome::Unknown, None),
    };
    scene.recorder.answer(asked, outcome);
    client
}

/// A connection that just breaks may have been let in before it broke.
fn kept_out(refused: &Refused) -> Outcome {
    match refused {
        Refused::ConnAck(_) => Outcome::Denied,
        Refused::Tls(text) if text.contains("fatal alert") => Outcome::Denied,
        Refused::Tls(_) => Outcome::Unknown,
    }
}

/// Who has a session where.
#[derive(Clone, Copy)]
struct Place {
    process: u32,
    credential: u32,
    broker: u16,
}

struct Session<'a> {
    scene: &'a Scene,
    place: Place,
    client: Client,
    /// Publishes without their acknowledgement; of a sign of life, without an identifier.
    waiting: VecDeque<(Option<PacketId>, usize)>,
}

impl Session<'_> {
    /// Publishes until it is wanted no longer or ended, and at once when it should have been ended.
    async fn live(mut self, fenced: &Notify, random: &mut SmallRng) {
        let leaves = Instant::now() + Duration::from_millis(random.random_range(STAYS));
        let mut heard = Instant::now();
        while self.scene.goes_on() && heard.elapsed() < SILENCE_MAX {
            let leaving = Instant::now() >= leaves;
            if leaving && self.waiting.is_empty() {
                return;
            }
            if !leaving && self.send(random.random_bool(0.2)).await.is_err() {
                return self.end();
            }
            let end = Instant::now() + Duration::from_millis(random.random_range(PUBLISHES));
            while let Some(rest) = end.checked_duration_since(Instant::now()) {
                let received = tokio::select! {
                    received = timeout(rest, self.client.receive()) => received,
                    () = fenced.notified() => break,
                };
                match received {
                    Ok(Ok(packet)) => {
                        heard = Instant::now();
                        self.hear(&packet);
                    }
                    Ok(Err(_)) => return self.end(),
                    Err(_) => break,
                }
            }
        }
    }

    /// Publishes its own number, or asks for a sign of life.
    async fn send(&mut self, sign_of_life: bool) -> Result<()> {
        let Place { process, credential, broker } = self.place;
        let recorder = &self.scene.recorder;
        if sign_of_life {
            let asked = recorder.ask(process, credential, Action::Ping { broker });
            self.waiting.push_back((None, asked));
            self.client.send(&Packet::PingReq).await?;
        } else {
            let asked = recorder.ask(process, credential, Action::Publish { broker });
            self.waiting.push_back((None, asked));
            let id = self.client.publish(&format!("devices/{process}"), &asked.to_string()).await?;
            self.waiting.back_mut().expect("just pushed").0 = Some(id);
        }
        Ok(())
    }

    /// An acknowledgement is for the first that waits for it.
    fn hear(&mut self, packet: &Packet) {
        let id = match packet {
            Packet::PubAck(ack) if (ack.reason as u8) < 0x80 => Some(ack.packet_id),
            Packet::PingResp => None,
            _ => return,
        };
        if let Some(place) = self.waiting.iter().position(|(waits_for, _)| *waits_for == id)
            && let Some((_, number)) = self.waiting.remove(place)
        {
            self.scene.recorder.answer(number, Outcome::Served);
        }
    }

    /// The broker has ended it: what waits will not be answered.
    fn end(self) {
        for (_, number) in self.waiting {
            self.scene.recorder.answer(number, Outcome::Denied);
        }
    }
}

/// Listens at one broker to what all devices publish, until the workload ends.
pub(super) async fn observe(scene: Arc<Scene>, broker: usize, device: Device) {
    while scene.goes_on() {
        tokio::select! {
            () = scene.stop.cancelled() => return,
            () = listen(&scene, broker, &device) => {}
        }
        scene.pause(OBSERVES_AGAIN).await;
    }
}

async fn listen(scene: &Scene, broker: usize, device: &Device) {
    let Ok(tls) = scene.fleet.tls(Some(&device.leaf)) else { return };
    let address = scene.fleet.broker(broker);
    let client_id = format!("observer-{broker}");
    let attempt = Client::connect(address, tls, Version::V5, &client_id);
    let Ok(Ok(Ok(mut client))) = timeout(CONNECTS_WITHIN, attempt).await else { return };
    let subscribed = timeout(CONNECTS_WITHIN, client.subscribe_at("devices/#", QoS::AtMostOnce)).await;
    if matches!(subscribed, Ok(Ok(()))) {
        client.listen(|publish| _ = scene.recorder.deliver(&publish.payload)).await;
    }
}
