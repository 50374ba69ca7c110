//! The will of a session that outlives its connection.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use revoq_mqtt::{Connect, PublishProperties, QoS, ReasonCode, Version, Will};
use tokio::time::sleep;

use super::{LONG, join, lasting, leave};
use crate::site::{STANDARDS, Site};
use crate::wire::publish;

crate::cases!(
    a_will_waits_for_its_delay,
    a_will_is_void_when_the_client_is_back,
    a_will_comes_with_the_end_of_the_session,
    a_will_is_void_after_a_normal_disconnect,
    a_will_before_mqtt_5_waits_for_nothing,
);

const V5: Version = Version::V5;

fn with_will(connect: Connect, topic: &str, delay_s: u32) -> Result<Connect> {
    let payload = Bytes::from_static(b"gone");
    let properties = PublishProperties::default();
    let will =
        Will { qos: QoS::AtLeastOnce, retain: false, topic: topic.parse()?, payload, delay_s, properties };
    Ok(Connect { will: Some(will), ..connect })
}

async fn a_will_waits_for_its_delay(site: Site) -> Result<()> {
    let topic = site.topic("will");
    let mut watcher = site.subscriber(V5, &topic, QoS::AtLeastOnce).await?;
    let connect = with_will(lasting(&site, V5), &topic, 2)?;
    join(&site, &connect, false).await?.drop_connection().await;
    let gone = Instant::now();
    watcher.take("gone").await?;
    let after = gone.elapsed();
    ensure!(after > Duration::from_millis(1_800), "the will came after {after:?}");
    ensure!(after < Duration::from_secs(10), "the will came only after {after:?}");
    // The session is there still, and the will is not.
    let raw = join(&site, &Connect { will: None, ..connect }, true).await?;
    raw.drop_connection().await;
    watcher.quiet().await
}

async fn a_will_is_void_when_the_client_is_back(site: Site) -> Result<()> {
    let topic = site.topic("will");
    let mut watcher = site.subscriber(V5, &topic, QoS::AtLeastOnce).await?;
    let connect = with_will(lasting(&site, V5), &topic, 4)?;
    join(&site, &connect, false).await?.drop_connection().await;
    let first = join(&site, &connect, true).await?;
    // By another connection as well, which takes the session over.
    let mut second = join(&site, &connect, true).await?;
    first.disconnected(ReasonCode::SessionTakenOver).await?;
    sleep(Duration::from_millis(5_500)).await;
    second.quiet().await?;
    watcher.quiet().await?;
    // A clean start ends the session, and the will is due.
    join(&site, &Connect { clean_start: true, will: None, ..connect }, false).await?;
    watcher.take("gone").await?;
    Ok(())
}

async fn a_will_comes_with_the_end_of_the_session(site: Site) -> Result<()> {
    let topic = site.topic("will");
    let mut watcher = site.subscriber(V5, &topic, QoS::AtLeastOnce).await?;
    let mut connect = with_will(lasting(&site, V5), &topic, LONG)?;
    connect.properties.session_expiry_s = Some(1);
    join(&site, &connect, false).await?.drop_connection().await;
    let gone = Instant::now();
    watcher.take("gone").await?;
    ensure!(gone.elapsed() > Duration::from_millis(800), "it came after {:?}", gone.elapsed());
    join(&site, &connect, false).await?;
    Ok(())
}

async fn a_will_is_void_after_a_normal_disconnect(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("will");
        let mut watcher = site.subscriber(version, &topic, QoS::AtLeastOnce).await?;
        let connect = with_will(lasting(&site, version), &topic, 1)?;
        leave(join(&site, &connect, false).await?).await?;
        sleep(Duration::from_millis(2_500)).await;
        watcher.quiet().await?;
    }
    Ok(())
}

async fn a_will_before_mqtt_5_waits_for_nothing(site: Site) -> Result<()> {
    let topic = site.topic("will");
    let mut watcher = site.subscriber(Version::V311, &topic, QoS::AtMostOnce).await?;
    let connect = with_will(lasting(&site, Version::V311), &topic, 0)?;
    join(&site, &connect, false).await?.drop_connection().await;
    watcher.expect(publish(Version::V311, &topic, "gone")).await?;
    join(&site, &connect, true).await?.quiet().await
}
