//! A resumed handshake restores the old identity without asking the verifier, so the same verdict runs after it.

use anyhow::{Result, ensure};
use revoq_mqtt::Version;
use revoq_proto::v1::Transition;
use revoq_proto::v1::selector::Selector;
use revoq_tests::{Client, Lab, mqtt};
use rustls::SupportedProtocolVersion;

async fn resumes(lab: &Lab, version: &'static SupportedProtocolVersion) -> Result<()> {
    let device = lab.issue(&format!("device-{:?}", version.version).to_lowercase().replace('_', "-")).await?;
    let tls = mqtt::tls(&lab.root, Some(&device.leaf), &[version])?;
    let mut first = Client::connect(lab.broker(0), tls.clone(), Version::V5, "first").await?.expect("let in");
    ensure!(!first.is_resumed());
    // Tickets of TLS 1.3 come after the handshake: they are there once an answer was read.
    first.ping().await?;
    let mut elsewhere =
        Client::connect(lab.broker(1), tls.clone(), Version::V5, "elsewhere").await?.expect("let in");
    ensure!(elsewhere.is_resumed(), "{version:?}: a ticket of one node is of use at the other");
    elsewhere.ping().await?;
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
    let lab = Lab::start(1, 1).await?;
    for version in rustls::ALL_VERSIONS {
        lab.set("client_certificate", "off").await?;
        let tls = mqtt::tls(&lab.root, None, &[version])?;
        let mut open =
            Client::connect(lab.broker(0), tls.clone(), Version::V5, "open").await?.expect("let in");
        open.ping().await?;
        lab.set("client_certificate", "required").await?;
        let again = Client::connect(lab.broker(0), tls, Version::V5, "again").await?;
        ensure!(again.is_err(), "{version:?}: let in without a certificate");
    }
    lab.cluster.shutdown().await;
    Ok(())
}
