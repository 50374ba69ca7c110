//! Sessions that outlive their connections, and what a suspension or a revocation makes of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoq_mqtt::{Connect, Packet, QoS, Version};
use revoq_proto::v1::Transition;
use revoq_tests::process::{Talker, run_with};
use revoq_tests::{Client, Device, Lab};
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(20);

/// Connects for a session that lasts; Session Present.
async fn lasting(lab: &Lab, device: &Device) -> Result<(Client, bool)> {
    let mut connect = Connect::new(Version::V5, "lasting".parse()?);
    (connect.clean_start, connect.properties.session_expiry_s) = (false, Some(3600));
    let attempt = Client::connect_with(lab.broker(0), lab.tls(Some(&device.leaf))?, connect).await?;
    let client = attempt.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
    let present = client.is_session_present();
    Ok((client, present))
}

async fn payload(client: &mut Client) -> Result<String> {
    match client.receive().await? {
        Packet::Publish(publish) => Ok(String::from_utf8(publish.payload.to_vec())?),
        other => anyhow::bail!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_device_finds_its_session_again_and_a_revoked_one_does_not() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    let (device, other) = (lab.issue("device").await?, lab.issue("other").await?);
    let (mut client, present) = lasting(&lab, &device).await?;
    ensure!(!present, "a session from nowhere");
    client.subscribe_at("commands", QoS::ExactlyOnce).await?;
    lab.change(0, Transition::Suspend, device.selector()).await?;
    client.ended().await?;
    let mut publisher = lab.connect(0, &other, "publisher").await?;
    publisher.publish_acknowledged("commands", "open").await?;
    lab.change(0, Transition::Reactivate, device.selector()).await?;
    let (mut client, present) = lasting(&lab, &device).await?;
    ensure!(present && payload(&mut client).await? == "open", "lost");
    // The same client id does not make another device the owner.
    let (thief, present) = lasting(&lab, &other).await?;
    ensure!(!present, "another device got the session");
    drop(thief);
    lab.change(0, Transition::Revoke, other.selector()).await?;
    let gone = || async { Ok((lab.metric(0, "revoq_broker_sessions_away", "").await? == 0.0).then_some(())) };
    revoq_tests::until("no session of a revoked device", PATIENCE, gone).await?;
    lab.cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mosquitto_gets_what_came_while_it_was_away() -> Result<()> {
    let lab = Lab::start(1, 1).await?;
    lab.set("client_certificate", "off").await?;
    let root = lab.folder().join("root.pem");
    std::fs::write(&root, &lab.bundle().authority)?;
    let port = lab.broker(0).port().to_string();
    let common = |version: &str| {
        let mut arguments =
            vec!["-V".to_owned(), version.to_owned(), "-h".to_owned(), "localhost".to_owned()];
        arguments.extend(["-p".to_owned(), port.clone(), "--cafile".to_owned(), root.display().to_string()]);
        arguments
    };
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let mut lasting = common(version);
        lasting.extend(["-i", "lasting", "-c", "-q", "2", "-t", "news/#"].map(str::to_owned));
        if version == "mqttv5" {
            lasting.extend(["-x", "3600"].map(str::to_owned));
        }
        let mut first = Command::new("stdbuf");
        first.args(["-oL", "mosquitto_sub", "-d"]).args(&lasting);
        let mut first = Talker::start(&mut first)?;
        first.hear("Subscribed", PATIENCE).await?;
        drop(first);
        let away =
            || async { Ok((lab.metric(0, "revoq_broker_sessions_away", "").await? == 1.0).then_some(())) };
        revoq_tests::until("a session without its client", PATIENCE, away).await.context(version)?;
        for qos in ["1", "2"] {
            let mut publisher = Command::new("mosquitto_pub");
            publisher.args(common(version)).args(["-q", qos, "-t", "news/1", "-m", qos]);
            let done = run_with(&mut publisher).await?;
            ensure!(done.code == 0, "{version}: {done:?}");
        }
        let mut second = Command::new("mosquitto_sub");
        second.args(&lasting).args(["-C", "2", "-W", "20"]);
        let done = run_with(&mut second).await?;
        ensure!(done.out == "1\n2\n", "{version}: {done:?}");
        // A clean session ends it.
        let mut clean = Command::new("mosquitto_pub");
        clean.args(common(version)).args(["-i", "lasting", "-t", "x", "-m", "x"]);
        let done = run_with(&mut clean).await?;
        ensure!(done.code == 0, "{version}: {done:?}");
        let none =
            || async { Ok((lab.metric(0, "revoq_broker_sessions_away", "").await? == 0.0).then_some(())) };
        revoq_tests::until("no session", PATIENCE, none).await.context(version)?;
    }
    lab.cluster.shutdown().await;
    Ok(())
}
