//! DISCONNECT, both ways.

use anyhow::{Result, ensure};
use revoq_mqtt::{Packet, QoS, ReasonCode, Version};

use crate::site::{STANDARDS, Site, message};
use crate::wire::{frame, properties, publish, user};

crate::cases!(
    of_the_client,
    nothing_after_it_counts,
    a_session_expiry_that_cannot_be_set,
    nothing_after_the_brokers,
    a_fault_concerns_nobody_else,
);

async fn of_the_client(site: Site) -> Result<()> {
    let text = [&[0x1F][..], &crate::wire::text("why")].concat();
    let forms = [
        (Version::V31, vec![0xE0, 0]),
        (Version::V311, vec![0xE0, 0]),
        (Version::V5, vec![0xE0, 0]),
        (Version::V5, vec![0xE0, 1, 0x81]),
        (Version::V5, frame(0xE0, &[&[0], &properties(&[&text, &user("a", "1"), &[0x11, 0, 0, 0, 0]])])),
    ];
    for (version, bytes) in forms {
        let mut client = site.client(version).await?;
        client.send(bytes).await?;
        // The broker does not answer: it closes.
        client.ended().await?;
    }
    Ok(())
}

async fn nothing_after_it_counts(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut watcher = site.subscriber(version, &topic, QoS::AtMostOnce).await?;
        let mut client = site.client(version).await?;
        client.send([&[0xE0, 0][..], &publish(version, &topic, "x"), &[0xC0, 0]].concat()).await?;
        client.ended().await?;
        watcher.quiet().await?;
    }
    Ok(())
}

/// A session that was to end with its connection cannot be made to last.
async fn a_session_expiry_that_cannot_be_set(site: Site) -> Result<()> {
    for asked in [None, Some(0)] {
        let mut connect = site.connect(Version::V5);
        connect.properties.session_expiry_s = asked;
        let mut client = site.join(&connect).await?.0;
        client.send(frame(0xE0, &[&[0], &properties(&[&[0x11, 0, 0, 0, 5]])])).await?;
        client.disconnected(ReasonCode::ProtocolError).await?;
    }
    Ok(())
}

/// While messages stream to a client, a fault of its own ends the stream with DISCONNECT.
async fn nothing_after_the_brokers(site: Site) -> Result<()> {
    let topic = site.topic("t");
    let mut client = site.subscriber(Version::V5, &topic, QoS::AtMostOnce).await?;
    let mut publisher = site.client(Version::V5).await?;
    let all: Vec<u8> = (0..500).flat_map(|_| publish(Version::V5, &topic, "x")).collect();
    publisher.send(&all).await?;
    client.send([0, 0]).await?;
    publisher.send(&all).await?;
    loop {
        match client.packet().await? {
            Packet::Publish(_) => {}
            Packet::Disconnect(packet) => {
                ensure!(packet.reason == ReasonCode::MalformedPacket, client.failed("0x81"));
                ensure!(packet.session_expiry_s.is_none(), client.failed("no session expiry"));
                break;
            }
            _ => return Err(client.failed("PUBLISH or DISCONNECT was expected")),
        }
    }
    client.ended().await?;
    publisher.quiet().await
}

async fn a_fault_concerns_nobody_else(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let mut bystander = site.subscriber(version, &topic, QoS::AtMostOnce).await?;
        let mut faulty = site.subscriber(version, &topic, QoS::AtMostOnce).await?;
        faulty.send([0, 0]).await?;
        faulty.disconnected(ReasonCode::MalformedPacket).await?;
        site.client(version).await?.publish(message(&topic, "x")).await?;
        bystander.take("x").await?;
        bystander.quiet().await?;
    }
    Ok(())
}
