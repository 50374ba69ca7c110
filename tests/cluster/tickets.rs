//! A resumed handshake restores the old identity without asking the verifier, so the same verdict runs after it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoq_mqtt::Version;
use revoq_proto::v1::selector::Selector;
use revoq_proto::v1::{AuthorityName, Transition};
use revoq_tests::access::TENANT;
use revoq_tests::{Client, Lab, mqtt, until};
use rustls::{ClientConfig, SupportedProtocolVersion};

const WITHIN: Duration = Duration::from_secs(30);

/// Connects to a broker, and has a ticket afterwards.
async fn take_ticket(lab: &Lab, broker: usize, tls: &Arc<ClientConfig>) -> Result<Client> {
    let attempt = Client::connect(lab.broker(broker), tls.clone(), Version::V5, "taker").await?;
    let mut client = attempt.map_err(|refused| anyhow::anyhow!("refused at broker {broker}: {refused:?}"))?;
    // Tickets of TLS 1.3 come after the handshake: they are there once an answer was read.
    client.ping().await?;
    Ok(client)
}

async fn resumes(lab: &Lab, version: &'static SupportedProtocolVersion) -> Result<()> {
    let device = lab.issue(&format!("device-{:?}", version.version).to_lowercase().replace('_', "-")).await?;
    let tls = mqtt::tls(&lab.root, Some(&device.leaf), &[version])?;
    ensure!(!take_ticket(lab, 0, &tls).await?.is_resumed());
    let elsewhere = take_ticket(lab, 1, &tls).await?;
    ensure!(elsewhere.is_resumed(), "{version:?}: a ticket of one node is of use at the other");
    lab.change(0, Transition::Suspend, Selector::Fingerprint(device.certificate.fingerprint.clone())).await?;
    for broker in 0..2 {
        let again = Client::connect(lab.broker(broker), tls.clone(), Version::V5, "again").await?;
        ensure!(again.is_err(), "{version:?}: a ticket let a suspended certificate in at broker {broker}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_does_not_outlive_a_suspension_on_any_node() -> Result<()> {
    let lab = Lab::start(1, 2).await?;
    for version in rustls::ALL_VERSIONS {
        resumes(&lab, version).await?;
    }
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_taken_while_certificates_were_off_is_of_no_use_once_they_are_required() -> Result<()> {
    let lab = Lab::start(1, 2).await?;
    for version in rustls::ALL_VERSIONS {
        lab.set("client_certificate", "off").await?;
        let tls = mqtt::tls(&lab.root, None, &[version])?;
        take_ticket(&lab, 0, &tls).await?;
        lab.set("client_certificate", "required").await?;
        for broker in 0..2 {
            let again = Client::connect(lab.broker(broker), tls.clone(), Version::V5, "again").await?;
            ensure!(again.is_err(), "{version:?}: let in without a certificate at broker {broker}");
        }
    }
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_replaced_and_the_new_ones_are_shared() -> Result<()> {
    let lab = Lab::start(1, 2).await?;
    let device = lab.issue("device").await?;
    // Each holds a ticket under the keys of the beginning, and is used once.
    let mut old = Vec::new();
    for n in 0..40 {
        let tls = lab.tls(Some(&device.leaf))?;
        take_ticket(&lab, n % 2, &tls).await?;
        old.push(tls);
    }
    ensure!(take_ticket(&lab, 1, &old.pop().context("40 were taken")?).await?.is_resumed());
    lab.set("ticket_rotation", "1s").await?;
    let mut broker = 0;
    until("an old ticket opens nothing any more", WITHIN, || {
        broker = 1 - broker;
        let ticket = old.pop();
        let lab = &lab;
        async move {
            let ticket = ticket.context("tickets are left")?;
            tokio::time::sleep(Duration::from_millis(250)).await;
            Ok((!take_ticket(lab, broker, &ticket).await?.is_resumed()).then_some(()))
        }
    })
    .await?;
    lab.set("ticket_rotation", "1h").await?;
    let tls = lab.tls(Some(&device.leaf))?;
    take_ticket(&lab, 0, &tls).await?;
    ensure!(take_ticket(&lab, 1, &tls).await?.is_resumed(), "the new keys are shared");
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_authority_takes_all_tickets_with_it() -> Result<()> {
    let lab = Lab::start(1, 2).await?;
    for version in rustls::ALL_VERSIONS {
        let name = format!("{:?}", version.version).to_lowercase().replace('_', "-");
        let authority = format!("doomed-{name}");
        lab.create_authority(&authority).await?;
        let lost = lab.issue_by(&authority, &format!("lost-{name}")).await?;
        let kept = lab.issue(&format!("kept-{name}")).await?;
        let lost = mqtt::tls(&lab.root, Some(&lost.leaf), &[version])?;
        // One ticket for each broker: it is of use once.
        let kept = [mqtt::tls(&lab.root, Some(&kept.leaf), &[version])?, lab.tls(Some(&kept.leaf))?];
        take_ticket(&lab, 0, &lost).await?;
        for tls in &kept {
            take_ticket(&lab, 0, tls).await?;
        }
        let selector = Selector::Authority(AuthorityName { tenant: TENANT.into(), name: authority });
        lab.change(0, Transition::Revoke, selector).await?;
        // The keys were replaced by a change of their own, at the revision after.
        lab.set("will_on_cut", "true").await?;
        for (broker, tls) in kept.iter().enumerate() {
            let again = Client::connect(lab.broker(broker), lost.clone(), Version::V5, "again").await?;
            ensure!(again.is_err(), "{version:?}: let in by a revoked authority at broker {broker}");
            let full = take_ticket(&lab, broker, tls).await?;
            ensure!(!full.is_resumed(), "{version:?}: a ticket from before opens at broker {broker}");
        }
    }
    lab.cluster.shutdown().await;
    Ok(())
}
