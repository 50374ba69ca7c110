//! Replicated settings apply to live sessions.

use anyhow::{Result, ensure};
use revoq_mqtt::Version;
use revoq_tests::{Client, End, Lab};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requiring_certificates_cuts_the_sessions_without_one_and_no_other() -> Result<()> {
    let lab = Lab::start(3, 2).await?;
    lab.set("client_certificate", "optional").await?;
    let device = lab.issue("with").await?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for broker in 0..2 {
        with.push(lab.connect(broker, &device, &format!("with-{broker}")).await?);
        let id = format!("without-{broker}");
        let anonymous = Client::connect(lab.broker(broker), lab.tls(None)?, Version::V5, &id).await?;
        without.push(anonymous.expect("a certificate is optional"));
    }
    let fence = lab.set("client_certificate", "required").await?;
    let cut: u64 = fence.nodes.iter().map(|node| node.sessions_cut).sum();
    ensure!(cut == 2, "{fence:#?}");
    for client in without {
        let end = client.ended().await?;
        ensure!(matches!(end, End::Disconnect(_)), "{end:?}");
    }
    for client in &mut with {
        client.ping().await?;
    }
    for broker in 0..2 {
        let again = Client::connect(lab.broker(broker), lab.tls(None)?, Version::V5, "again").await?;
        ensure!(again.is_err(), "a client without a certificate was let in at broker {broker}");
    }
    lab.set("client_certificate", "off").await?;
    let open = Client::connect(lab.broker(0), lab.tls(None)?, Version::V5, "open").await?;
    ensure!(open.is_ok(), "off lets everybody in");
    for client in &mut with {
        client.ping().await?;
    }
    lab.cluster.shutdown().await;
    Ok(())
}
