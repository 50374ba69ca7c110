//! What holds for a connection holds for each stream of MQTT over QUIC with several: broker processes, and quinn's client.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use revoq_broker::ListenerKind;
use revoq_mqtt::{Packet, QoS, ReasonCode, Version};
use revoq_proto::v1::{FenceUpdate, Transition};
use revoq_tests::mqtt::message;
use revoq_tests::transports::{MultiStream, Wire};
use revoq_tests::{Client, End, Fleet, Plan, until};
use rustls::ClientConfig;
use tokio::time::{sleep, timeout};

/// Of each client.
const STREAMS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);
/// What is under way after a cut is there within this, or never comes.
const QUIET: Duration = Duration::from_millis(700);

async fn fleet(brokers: usize) -> Result<Fleet> {
    Fleet::start(Plan {
        replicas: 1,
        brokers,
        settings: Vec::new(),
        also: vec![ListenerKind::Quic],
        broker_environment: vec![("REVOQ_BROKER_QUIC_MULTI_STREAM", "true")],
        ..Plan::default()
    })
    .await
}

/// A client with its data streams.
struct Session {
    client: MultiStream,
    streams: Vec<Client<Wire>>,
}

impl Session {
    /// Each data stream is subscribed to `down/<its number>`.
    async fn open(fleet: &Fleet, broker: usize, tls: &Arc<ClientConfig>, name: &str) -> Result<Session> {
        let address = fleet.broker_at(broker, ListenerKind::Quic);
        let client = MultiStream::connect(address, tls, Version::V5, name).await?;
        let mut client = client.map_err(|refused| anyhow::anyhow!("{name} is refused: {refused:?}"))?;
        // Tickets come after the handshake: they are there once an answer was read.
        client.control.ping().await?;
        let mut streams = Vec::new();
        for number in 0..STREAMS {
            let mut stream = client.open().await?;
            stream.subscribe(&format!("down/{number}")).await?;
            streams.push(stream);
        }
        Ok(Session { client, streams })
    }

    /// Every stream takes and gives.
    async fn is_served(&mut self) -> Result<()> {
        for (number, stream) in self.streams.iter_mut().enumerate() {
            stream.send(&message(&format!("down/{number}"), "own", None)?).await?;
            let packet = stream.receive().await?;
            ensure!(matches!(&packet, Packet::Publish(publish) if publish.payload == "own"), "{packet:?}");
        }
        self.client.control.ping().await
    }

    /// Told on the control stream, and silent on all others.
    async fn ended(self, reason: ReasonCode) -> Result<()> {
        let end = self.client.control.ended().await?;
        ensure!(end == End::Disconnect(reason), "{end:?}");
        for stream in self.streams {
            let end = stream.ended().await?;
            ensure!(end == End::Silent, "a data stream: {end:?}");
        }
        Ok(())
    }
}

async fn is_refused(fleet: &Fleet, broker: usize, tls: &ClientConfig) -> Result<()> {
    let address = fleet.broker_at(broker, ListenerKind::Quic);
    let again = MultiStream::connect(address, tls, Version::V5, "again").await?;
    ensure!(again.is_err(), "broker {broker} lets it in");
    Ok(())
}

async fn open_streams(fleet: &Fleet, broker: usize, expected: usize) -> Result<()> {
    until(&format!("{expected} data streams"), PATIENCE, || async {
        let open = fleet.metric(broker, "revoq_broker_data_streams", "").await?;
        Ok((open == expected as f64).then_some(()))
    })
    .await
}

fn cut(fence: &FenceUpdate) -> u64 {
    fence.nodes.iter().map(|node| node.sessions_cut).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_cuts_every_stream_and_tickets_are_of_no_use() -> Result<()> {
    let fleet = fleet(2).await?;
    let (victim, bystander) = (fleet.issue("victim").await?, fleet.issue("bystander").await?);
    let (mut victims, mut bystanders) = (Vec::new(), Vec::new());
    for broker in 0..2 {
        let tls = fleet.tls(Some(&victim.leaf))?;
        victims.push((Session::open(&fleet, broker, &tls, "victim").await?, tls, broker));
        let tls = fleet.tls(Some(&bystander.leaf))?;
        bystanders.push(Session::open(&fleet, broker, &tls, "bystander").await?);
        open_streams(&fleet, broker, 2 * STREAMS).await?;
    }
    let fence = fleet.change(0, Transition::Suspend, victim.selector()).await?;
    ensure!(cut(&fence) == 2, "{fence:#?}");
    let mut tickets = Vec::new();
    for (session, tls, broker) in victims {
        session.ended(ReasonCode::AdministrativeAction).await?;
        is_refused(&fleet, broker, &tls).await?;
        open_streams(&fleet, broker, STREAMS).await?;
        tickets.push((tls, broker));
    }
    for session in &mut bystanders {
        session.is_served().await?;
    }
    fleet.change(0, Transition::Reactivate, victim.selector()).await?;
    for (tls, broker) in tickets {
        Session::open(&fleet, broker, &tls, "victim").await?.is_served().await?;
    }
    Ok(())
}

/// How many messages came up to the answer to a PINGREQ.
async fn heard(witness: &mut Client) -> Result<usize> {
    witness.send(&Packet::PingReq).await?;
    let mut count = 0;
    loop {
        match witness.receive().await? {
            Packet::PingResp => return Ok(count),
            Packet::Publish(_) => count += 1,
            other => anyhow::bail!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_passes_on_any_stream_after_the_fence() -> Result<()> {
    let fleet = fleet(1).await?;
    let (victim, other) = (fleet.issue("victim").await?, fleet.issue("witness").await?);
    let mut witness = fleet.connect(0, &other, "witness").await?;
    witness.subscribe_at("up/#", QoS::AtMostOnce).await?;
    let tls = fleet.tls(Some(&victim.leaf))?;
    let Session { client, streams } = Session::open(&fleet, 0, &tls, "victim").await?;
    // Each data stream publishes as long as it can.
    let publish = |(number, mut stream): (usize, Client<Wire>)| {
        tokio::spawn(async move {
            let packet = message(&format!("up/{number}"), "x", None).expect("a message");
            while stream.send(&packet).await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
            stream.ended().await
        })
    };
    let publishers: Vec<_> = streams.into_iter().enumerate().map(publish).collect();
    let some = async {
        let mut count = 0;
        while count < 10 * STREAMS {
            count += heard(&mut witness).await?;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, some).await??;
    let fence = fleet.change(0, Transition::Suspend, victim.selector()).await?;
    ensure!(cut(&fence) == 1, "{fence:#?}");
    heard(&mut witness).await?;
    sleep(QUIET).await;
    let late = heard(&mut witness).await?;
    ensure!(late == 0, "{late} messages passed after the fence");
    let end = client.control.ended().await?;
    ensure!(end == End::Disconnect(ReasonCode::AdministrativeAction), "{end:?}");
    for publisher in publishers {
        let end = publisher.await??;
        ensure!(end == End::Silent, "{end:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requiring_certificates_cuts_those_without_on_all_streams() -> Result<()> {
    let fleet = fleet(1).await?;
    fleet.set("client_certificate", "optional").await?;
    let device = fleet.issue("device").await?;
    let (with, without) = (fleet.tls(Some(&device.leaf))?, fleet.tls(None)?);
    let mut kept = Session::open(&fleet, 0, &with, "with").await?;
    let mut cut_off = Session::open(&fleet, 0, &without, "without").await?;
    cut_off.is_served().await?;
    let fence = fleet.set("client_certificate", "required").await?;
    ensure!(cut(&fence) == 1, "{fence:#?}");
    cut_off.ended(ReasonCode::NotAuthorized).await?;
    is_refused(&fleet, 0, &without).await?;
    kept.is_served().await?;
    open_streams(&fleet, 0, STREAMS).await
}
