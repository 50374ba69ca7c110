//! What holds for TLS holds for every transport of MQTT.

use std::sync::Arc;

use anyhow::{Result, ensure};
use revoq_broker::ListenerKind;
use revoq_mqtt::{Packet, ReasonCode, Version};
use revoq_tests::transports::{self, Wire};
use revoq_tests::{Client, End, Lab};
use rustls::ClientConfig;

const ALL: [ListenerKind; 5] = [
    ListenerKind::Tcp,
    ListenerKind::Tls,
    ListenerKind::WebSocket,
    ListenerKind::SecureWebSocket,
    ListenerKind::Quic,
];

/// Those that show a certificate.
const SECURE: [ListenerKind; 3] = [ListenerKind::Tls, ListenerKind::SecureWebSocket, ListenerKind::Quic];

async fn connect(
    lab: &Lab,
    broker: usize,
    kind: ListenerKind,
    tls: &Arc<ClientConfig>,
    name: &str,
) -> Result<Client<Wire>> {
    let id = format!("{name}-{kind:?}-{broker}");
    let attempt = transports::connect(kind, lab.address(broker, kind)?, tls, Version::V5, &id).await?;
    attempt.map_err(|refused| anyhow::anyhow!("{id} is refused: {refused:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_passes_from_each_to_each() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "optional").await?;
    let device = lab.issue("device").await?;
    let tls = lab.tls(Some(&device.leaf))?;
    let mut clients = Vec::new();
    for kind in ALL {
        let mut client = connect(&lab, 0, kind, &tls, "device").await?;
        client.subscribe("news/#").await?;
        clients.push(client);
    }
    for from in 0..clients.len() {
        let topic = format!("news/{from}");
        clients[from].publish(&topic, &"x".repeat(100_000)).await?;
        for (to, client) in clients.iter_mut().enumerate() {
            // PUBACK may come before or after.
            loop {
                match client.receive().await? {
                    Packet::Publish(publish) if publish.topic.as_str() == topic => {
                        ensure!(publish.payload.len() == 100_000);
                        break;
                    }
                    Packet::PubAck(_) => {}
                    other => anyhow::bail!("{from} to {to}: {other:?}"),
                }
            }
        }
    }
    let listed = lab.revoqctl_ok(&["session", "list"]).await?;
    for name in ["TCP", "TLS 1.3", "WebSocket", "WebSocket TLS 1.3", "QUIC"] {
        ensure!(listed.contains(name), "{name} is not in\n{listed}");
    }
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_cuts_every_transport_and_its_tickets_are_of_no_use() -> Result<()> {
    let lab = Lab::start(1, 2).await?;
    let (victim, bystander) = (lab.issue("victim").await?, lab.issue("bystander").await?);
    let mut sessions = Vec::new();
    let mut others = Vec::new();
    for kind in SECURE {
        for broker in 0..2 {
            let tls = lab.tls(Some(&victim.leaf))?;
            let mut client = connect(&lab, broker, kind, &tls, "victim").await?;
            // Tickets come after the handshake: they are there once an answer was read.
            client.ping().await?;
            sessions.push((client, tls, kind, broker));
            let other = lab.tls(Some(&bystander.leaf))?;
            others.push(connect(&lab, broker, kind, &other, "bystander").await?);
        }
    }
    let fence = lab.change(0, revoq_proto::v1::Transition::Suspend, victim.selector()).await?;
    let cut: u64 = fence.nodes.iter().map(|node| node.sessions_cut).sum();
    ensure!(cut == 6, "{cut} sessions cut: {fence:#?}");
    for (client, tls, kind, broker) in sessions {
        let end = client.ended().await?;
        ensure!(end == End::Disconnect(ReasonCode::AdministrativeAction), "{kind:?}: {end:?}");
        let address = lab.address(broker, kind)?;
        let again = transports::connect(kind, address, &tls, Version::V5, "again").await?;
        ensure!(again.is_err(), "{kind:?}: a ticket let a suspended certificate in");
    }
    for client in &mut others {
        client.ping().await?;
    }
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requiring_certificates_cuts_every_transport_without_one() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "optional").await?;
    let device = lab.issue("device").await?;
    let (with, without) = (lab.tls(Some(&device.leaf))?, lab.tls(None)?);
    let mut cut = Vec::new();
    for kind in ALL {
        let mut client = connect(&lab, 0, kind, &without, "without").await?;
        client.ping().await?;
        cut.push((client, kind));
    }
    let mut kept = Vec::new();
    for kind in SECURE {
        kept.push(connect(&lab, 0, kind, &with, "with").await?);
    }
    let fence = lab.set("client_certificate", "required").await?;
    ensure!(fence.nodes.iter().map(|node| node.sessions_cut).sum::<u64>() == 5, "{fence:#?}");
    for (client, kind) in cut {
        let end = client.ended().await?;
        ensure!(end == End::Disconnect(ReasonCode::NotAuthorized), "{kind:?}: {end:?}");
        let again = transports::connect(kind, lab.address(0, kind)?, &without, Version::V5, "again").await?;
        ensure!(again.is_err(), "{kind:?}: let in without a certificate");
    }
    for client in &mut kept {
        client.ping().await?;
    }
    lab.cluster.shutdown().await;
    Ok(())
}
