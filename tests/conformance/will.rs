//! The will of a session that ends with its connection.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use revoq_mqtt::{Connect, Disconnect, Packet, PublishProperties, QoS, ReasonCode, Version, Will};
use revoq_tests::raw::Raw;

use crate::site::{QOS, STANDARDS, Site, VERSIONS};
use crate::wire::{connect_as, frame, none, properties, text, user};

crate::cases!(
    when_the_connection_is_lost,
    after_a_fault,
    after_a_disconnect_that_asks_for_it,
    not_after_a_normal_disconnect,
    not_without_a_will,
    not_of_a_client_that_was_refused,
    at_each_qos,
    retained_or_not,
    with_its_properties,
    a_delay_is_over_with_the_session,
);

fn will(topic: &str, qos: QoS, retain: bool) -> Result<Will> {
    let properties = PublishProperties::default();
    let payload = Bytes::from_static(b"gone");
    Ok(Will { qos, retain, topic: topic.parse()?, payload, delay_s: 0, properties })
}

/// Somebody who watches the topic of a will, and who has that will.
async fn pair(site: &Site, version: Version) -> Result<(Raw, Raw)> {
    let topic = site.topic("will");
    let watcher = site.subscriber(version, &topic, QoS::ExactlyOnce).await?;
    let will = Some(will(&topic, QoS::AtMostOnce, false)?);
    let client = site.join(&Connect { will, ..site.connect(version) }).await?.0;
    Ok((watcher, client))
}

/// It comes, once.
async fn published(mut watcher: Raw) -> Result<()> {
    let got = watcher.take("gone").await?;
    ensure!(!got.retain && !got.dup, watcher.failed("neither RETAIN nor DUP"));
    watcher.quiet().await
}

async fn when_the_connection_is_lost(site: Site) -> Result<()> {
    for version in VERSIONS {
        let (mut watcher, mut client) = pair(&site, version).await?;
        client.quiet().await?;
        // Not before.
        watcher.quiet().await?;
        client.drop_connection().await;
        published(watcher).await?;
    }
    Ok(())
}

async fn after_a_fault(site: Site) -> Result<()> {
    for version in STANDARDS {
        for (bytes, reason) in [
            (vec![0, 0], ReasonCode::MalformedPacket),
            (vec![0xD0, 0], ReasonCode::ProtocolError),
            // Half a packet, and the end.
            (vec![0x30, 9], ReasonCode::Success),
        ] {
            let (watcher, mut client) = pair(&site, version).await?;
            client.send(bytes).await?;
            if reason.is_error() {
                client.disconnected(reason).await?;
            } else {
                client.drop_connection().await;
            }
            published(watcher).await?;
        }
    }
    Ok(())
}

async fn after_a_disconnect_that_asks_for_it(site: Site) -> Result<()> {
    for code in [0x04, 0x80, 0x81, 0x83, 0x93, 0x97] {
        let (watcher, mut client) = pair(&site, Version::V5).await?;
        client.send([0xE0, 1, code]).await?;
        client.ended().await?;
        published(watcher).await.with_context(|| format!("code {code:#04x}"))?;
    }
    Ok(())
}

async fn not_after_a_normal_disconnect(site: Site) -> Result<()> {
    let forms: [(Version, &[u8]); 4] = [
        (Version::V311, &[0xE0, 0]),
        (Version::V5, &[0xE0, 0]),
        (Version::V5, &[0xE0, 1, 0]),
        (Version::V5, &[0xE0, 2, 0, 0]),
    ];
    for (version, bytes) in forms {
        let (mut watcher, mut client) = pair(&site, version).await?;
        client.send(bytes).await?;
        client.ended().await?;
        watcher.quiet().await?;
    }
    Ok(())
}

async fn not_without_a_will(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut watcher = site.subscriber(version, &format!("{topic}/#"), QoS::AtMostOnce).await?;
        let connect = Connect { client_id: topic.parse()?, ..site.connect(version) };
        site.join(&connect).await?.0.drop_connection().await;
        // The next with the same id finds no will either.
        site.join(&connect).await?.0.quiet().await?;
        watcher.quiet().await?;
    }
    Ok(())
}

async fn not_of_a_client_that_was_refused(site: Site) -> Result<()> {
    for (version, flags, id, list) in [
        (Version::V311, 0x04, "", vec![]),
        (Version::V5, 0x06, "id", [&[0x15][..], &text("method")].concat()),
    ] {
        let topic = site.topic("will");
        let mut watcher = site.subscriber(version, &topic, QoS::AtMostOnce).await?;
        let list = if version.is_v5() { properties(&[&list]) } else { vec![] };
        let payload: &[&[u8]] = &[&text(id), none(version), &text(&topic), &text("gone")];
        let mut raw = site.bare(version).await?;
        raw.send(connect_as("MQTT", version.level(), flags, &list, payload)).await?;
        raw.refused().await?;
        watcher.quiet().await?;
    }
    Ok(())
}

async fn at_each_qos(site: Site) -> Result<()> {
    for version in STANDARDS {
        for qos in QOS {
            let topic = site.topic("will");
            let mut watcher = site.subscriber(version, &topic, QoS::ExactlyOnce).await?;
            let will = Some(will(&topic, qos, false)?);
            site.join(&Connect { will, ..site.connect(version) }).await?.0.drop_connection().await;
            ensure!(watcher.take("gone").await?.qos == qos, watcher.failed("the will's QoS"));
        }
    }
    Ok(())
}

async fn retained_or_not(site: Site) -> Result<()> {
    for version in STANDARDS {
        for retain in [false, true] {
            let topic = site.topic("will");
            let mut watcher = site.subscriber(version, &topic, QoS::AtMostOnce).await?;
            let will = Some(will(&topic, QoS::AtLeastOnce, retain)?);
            site.join(&Connect { will, ..site.connect(version) }).await?.0.drop_connection().await;
            ensure!(!watcher.take("gone").await?.retain, watcher.failed("an established subscription"));
            let mut late = site.subscriber(version, &topic, QoS::AtMostOnce).await?;
            if retain {
                ensure!(late.take("gone").await?.retain, late.failed("RETAIN was expected"));
            }
            late.quiet().await?;
        }
    }
    Ok(())
}

async fn with_its_properties(site: Site) -> Result<()> {
    let (topic, id) = (site.topic("will"), text(site.id().to_string()));
    let mut watcher = site.subscriber(Version::V5, &topic, QoS::AtMostOnce).await?;
    let list = properties(&[
        &[0x01, 1],
        &user("b", "1"),
        &user("a", "2"),
        &user("b", "1"),
        &[&[0x03][..], &text("text/plain")].concat(),
        &[&[0x08][..], &text("answers")].concat(),
        &[&[0x09][..], &text([1, 2, 0xFF])].concat(),
    ]);
    let mut client = site.bare(Version::V5).await?;
    client.send(connect_as("MQTT", 5, 0x06, &[0], &[&id, &list, &text(&topic), &text("gone")])).await?;
    client.packet().await?;
    client.drop_connection().await;
    watcher.expect(frame(0x30, &[&text(&topic), &list, b"gone"])).await
}

/// The session ends with the connection, and with it the delay, however long.
async fn a_delay_is_over_with_the_session(site: Site) -> Result<()> {
    let topic = site.topic("will");
    let mut watcher = site.subscriber(Version::V5, &topic, QoS::AtMostOnce).await?;
    let will = Some(Will { delay_s: 1000, ..will(&topic, QoS::AtMostOnce, false)? });
    let mut client = site.join(&Connect { will, ..site.connect(Version::V5) }).await?.0;
    client.send_packet(&Packet::Disconnect(Disconnect::new(ReasonCode::DisconnectWithWill))).await?;
    client.ended().await?;
    watcher.take("gone").await?;
    watcher.quiet().await
}
