//! A change of state through any replica ends the sessions of that certificate on every node, and no other.

use anyhow::{Result, ensure};
use revoq_mqtt::{ReasonCode, Version};
use revoq_proto::v1::selector::Selector;
use revoq_proto::v1::{FenceState, FenceUpdate, Transition};
use revoq_tests::{Client, End, Lab, Refused};

fn by_fingerprint(device: &revoq_tests::Device) -> Selector {
    Selector::Fingerprint(device.certificate.fingerprint.clone())
}

/// Every broker confirmed, and together they cut so many sessions.
fn confirmed(fence: &FenceUpdate, sessions: u64) -> Result<()> {
    ensure!(fence.nodes.iter().all(|node| node.state() == FenceState::Confirmed), "{fence:#?}");
    let cut: u64 = fence.nodes.iter().map(|node| node.sessions_cut).sum();
    ensure!(cut == sessions, "{cut} sessions cut, not {sessions}: {fence:#?}");
    Ok(())
}

async fn refused(lab: &Lab, device: &revoq_tests::Device) -> Result<()> {
    for broker in 0..2 {
        match lab.try_connect(broker, device, "again").await? {
            Err(Refused::Tls(alert)) => {
                ensure!(alert.contains("CertificateRevoked"), "another alert: {alert}");
            }
            Err(Refused::ConnAck(reason)) => {
                ensure!(reason == ReasonCode::NotAuthorized, "CONNACK {reason:?}");
            }
            Ok(_) => anyhow::bail!("{} was let in at broker {broker}", device.name),
        }
    }
    Ok(())
}

/// Connects a victim and a bystander to both brokers, changes the victim's state through `replica`, and checks all ends.
async fn cut_through(
    lab: &Lab,
    replica: usize,
    transition: Transition,
    victim: &revoq_tests::Device,
) -> Result<()> {
    let bystander = lab.issue(&format!("bystander-{replica}-{}", transition as i32)).await?;
    let mut victims = Vec::new();
    let mut bystanders = Vec::new();
    for broker in 0..2 {
        victims.push(lab.connect(broker, victim, &format!("victim-{broker}")).await?);
        bystanders.push(lab.connect(broker, &bystander, &format!("bystander-{broker}")).await?);
    }
    let fence = lab.change(replica, transition, by_fingerprint(victim)).await?;
    confirmed(&fence, 2)?;
    for client in victims {
        let end = client.ended().await?;
        ensure!(end == End::Disconnect(ReasonCode::AdministrativeAction), "{transition:?}: {end:?}");
    }
    for client in &mut bystanders {
        client.ping().await?;
    }
    refused(lab, victim).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspend_reactivate_revoke_and_delete_through_every_replica() -> Result<()> {
    let lab = Lab::start(3, 2).await?;
    for replica in 0..3 {
        let victim = lab.issue(&format!("victim-{replica}")).await?;
        cut_through(&lab, replica, Transition::Suspend, &victim).await?;
        confirmed(&lab.change(replica, Transition::Reactivate, by_fingerprint(&victim)).await?, 0)?;
        lab.connect(0, &victim, "back").await?.ping().await?;
        cut_through(&lab, replica, Transition::Revoke, &victim).await?;
        let status = lab
            .transition(replica, Transition::Reactivate, by_fingerprint(&victim), false)
            .await
            .expect_err("revoked is final");
        ensure!(status.code() == tonic::Code::FailedPrecondition, "{status:?}");
        ensure!(status.message().contains("revoked") && status.message().contains("active"), "{status:?}");
        refused(&lab, &victim).await?;
        let deleted = lab.issue(&format!("deleted-{replica}")).await?;
        cut_through(&lab, replica, Transition::Delete, &deleted).await?;
    }
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_clients_just_end() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    for (version, id) in [(Version::V31, "v31"), (Version::V311, "v311")] {
        let device = lab.issue(id).await?;
        let config = lab.tls(Some(&device.leaf))?;
        let client =
            Client::connect(lab.broker(0), config.clone(), version, id).await?.expect("it is let in");
        confirmed(&lab.change(0, Transition::Suspend, by_fingerprint(&device)).await?, 1)?;
        ensure!(client.ended().await? == End::Silent);
        ensure!(Client::connect(lab.broker(0), config, version, id).await?.is_err(), "{id} was let in again");
    }
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_passes_a_shut_gate() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    let (sender, listener) = (lab.issue("sender").await?, lab.issue("listener").await?);
    let mut listening = lab.connect(0, &listener, "listener").await?;
    listening.subscribe("news/#").await?;
    let mut sending = lab.connect(0, &sender, "sender").await?;
    sending.publish_acknowledged("news/1", "before").await?;
    confirmed(&lab.change(0, Transition::Suspend, by_fingerprint(&sender)).await?, 1)?;
    // The socket may still take bytes; nobody may read them.
    let _ = sending.publish("news/2", "after").await;
    let third = lab.issue("third").await?;
    lab.connect(0, &third, "third").await?.publish_acknowledged("news/3", "another").await?;
    let mut heard = Vec::new();
    while heard.len() < 2 {
        if let revoq_mqtt::Packet::Publish(publish) = listening.receive().await? {
            heard.push(publish.topic.as_str().to_owned());
        }
    }
    ensure!(heard == ["news/1", "news/3"], "{heard:?}");
    lab.cluster.shutdown().await;
    Ok(())
}
