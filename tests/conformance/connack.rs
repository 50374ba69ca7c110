//! CONNACK: its bytes, and what it says about the broker.

use std::num::NonZeroU32;

use anyhow::{Result, ensure};
use revoq_mqtt::{Packet, QoS, ReasonCode, SubAck, Subscribe, SubscribeOptions, Subscription, Text, Version};

use crate::site::{QOS, RESPONSE_INFORMATION, STANDARDS, Site, VERSIONS};
use crate::wire::{connect, text};

crate::cases!(
    its_bytes,
    no_session_is_present_with_a_clean_start,
    no_session_is_present_where_there_is_none,
    what_the_broker_offers,
    what_was_not_asked_for,
    the_limits_that_it_announces_hold,
    a_text_only_where_it_fits,
    no_text_without_problem_information,
);

async fn its_bytes(site: Site) -> Result<()> {
    for version in VERSIONS {
        let id = text(site.id().to_string());
        let mut raw = site.bare(version).await?;
        raw.send(connect(version, 0x02, &[&id])).await?;
        let bytes = raw.frame().await?.ok_or_else(|| raw.failed("CONNACK was expected"))?;
        if version.is_v5() {
            // Flags and reason code follow the Remaining Length.
            let fits = bytes[0] == 0x20 && bytes[1] < 0x80 && bytes.len() == usize::from(bytes[1]) + 2;
            ensure!(fits && bytes[2..4] == [0, 0], raw.failed("flags and reason are zero"));
            ensure!(usize::from(bytes[4]) == bytes.len() - 5, raw.failed("properties with their length"));
        } else {
            ensure!(bytes == [0x20, 2, 0, 0][..], raw.failed("success without a session"));
        }
        // Nothing but the answer follows: there is one CONNACK.
        raw.quiet().await?;
    }
    Ok(())
}

async fn no_session_is_present_with_a_clean_start(site: Site) -> Result<()> {
    for version in STANDARDS {
        let connect = site.connect(version);
        for _ in 0..2 {
            let (_client, ack) = site.join(&connect).await?;
            ensure!(!ack.session_present && ack.reason == ReasonCode::Success, "{ack:?}");
        }
    }
    Ok(())
}

async fn no_session_is_present_where_there_is_none(site: Site) -> Result<()> {
    for version in STANDARDS {
        let mut connect = site.connect(version);
        connect.clean_start = false;
        let (_client, ack) = site.join(&connect).await?;
        ensure!(!ack.session_present && ack.reason == ReasonCode::Success, "{ack:?}");
    }
    Ok(())
}

async fn what_the_broker_offers(site: Site) -> Result<()> {
    let (_client, ack) = site.join(&site.connect(Version::V5)).await?;
    let offer = &ack.properties;
    ensure!(offer.qos_max == QoS::ExactlyOnce && offer.retain_available, "{offer:?}");
    ensure!(offer.wildcard_subscription_available && offer.subscription_id_available, "{offer:?}");
    ensure!(offer.shared_subscription_available, "{offer:?}");
    ensure!(offer.assigned_client_id.is_none() && offer.session_expiry_s.is_none(), "{offer:?}");
    Ok(())
}

async fn what_was_not_asked_for(site: Site) -> Result<()> {
    for asked in [false, true] {
        let mut connect = site.connect(Version::V5);
        connect.properties.request_response_information = asked;
        let (_client, ack) = site.join(&connect).await?;
        let told = ack.properties.response_information.as_ref().map(Text::as_str);
        ensure!(told == asked.then_some(RESPONSE_INFORMATION), "{ack:?}");
        ensure!(ack.properties.authentication.is_none(), "{ack:?}");
        ensure!(ack.properties.server_keepalive_s.is_none(), "{ack:?}");
    }
    Ok(())
}

/// What CONNACK announces is accepted up to the last: the largest packet. The other limits have cases of their own.
async fn the_limits_that_it_announces_hold(site: Site) -> Result<()> {
    let (mut client, ack) = site.join(&site.connect(Version::V5)).await?;
    let largest = ack.properties.packet_size_max.map_or(0, NonZeroU32::get) as usize;
    ensure!(largest > 1024, "{ack:?}");
    // Five bytes before the fields, three of topic, one of properties.
    let mut bytes = crate::wire::publish(Version::V5, "a", &"x".repeat(largest - 1 - 3 - 3 - 1));
    ensure!(bytes.len() == largest, "{} bytes, not {largest}", bytes.len());
    client.send(&bytes).await?;
    client.quiet().await?;
    bytes = crate::wire::publish(Version::V5, "a", &"x".repeat(largest - 1 - 3 - 3));
    client.send(&bytes).await?;
    client.disconnected(ReasonCode::PacketTooLarge).await
}

/// A client that asks, with an error that has a text: a reserved packet type.
async fn told(site: &Site, problem_information: bool, packet_size_max: u32) -> Result<usize> {
    let mut connect = site.connect(Version::V5);
    connect.properties.request_problem_information = problem_information;
    connect.properties.packet_size_max = NonZeroU32::new(packet_size_max);
    let mut client = site.join(&connect).await?.0;
    client.send([0, 0]).await?;
    let bytes = client.frame().await?.ok_or_else(|| client.failed("DISCONNECT was expected"))?;
    ensure!(bytes.len() <= packet_size_max as usize, client.failed("larger than the client takes"));
    ensure!(bytes[0] == 0xE0 && bytes[2] == 0x81, client.failed("DISCONNECT 0x81 was expected"));
    client.ended().await?;
    Ok(bytes.len())
}

async fn a_text_only_where_it_fits(site: Site) -> Result<()> {
    let whole = told(&site, true, 1_000).await?;
    ensure!(whole > 10, "no text where there is room: {whole} bytes");
    let whole = u32::try_from(whole)?;
    ensure!(told(&site, true, whole).await? == whole as usize, "it fits exactly");
    ensure!(told(&site, true, whole - 1).await? < 10, "it does not fit");
    Ok(())
}

async fn no_text_without_problem_information(site: Site) -> Result<()> {
    ensure!(told(&site, false, 1_000).await? < 10, "a text that the client did not want");
    let mut connect = site.connect(Version::V5);
    connect.properties.request_problem_information = false;
    let mut client = site.join(&connect).await?.0;
    let topic = site.topic("t");
    // A refused filter has a reason that could be told.
    let deep = vec!["x"; 200].join("/");
    let packet_id = client.next_id();
    let mut subscriptions = Vec::new();
    for filter in [&topic, &deep] {
        subscriptions.push(Subscription { filter: filter.parse()?, options: SubscribeOptions::default() });
    }
    let subscribe =
        Subscribe { packet_id, subscription_id: None, user_properties: Default::default(), subscriptions };
    client.send_packet(&Packet::Subscribe(subscribe)).await?;
    let reasons = vec![ReasonCode::Success, ReasonCode::TopicFilterInvalid];
    client
        .expect_packet(&Packet::SubAck(SubAck { packet_id, reasons, properties: Default::default() }))
        .await?;
    for qos in QOS {
        client.publish(crate::site::message_at("nobody", "x", qos)).await?;
    }
    Ok(())
}
