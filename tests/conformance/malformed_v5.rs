//! Properties and reason codes that are none, which only MQTT 5.0 has.

use anyhow::{Context, Result};
use revoq_mqtt::{ReasonCode, Version};

use crate::malformed::{fatal, not_let_in};
use crate::site::Site;
use crate::wire::{connect_as, frame, properties, text, user, varint};

crate::cases!(
    lengths_that_are_longer_than_needed,
    properties_that_the_packet_may_not_carry,
    properties_given_twice,
    values_out_of_range,
    user_properties_that_are_not_utf8,
    texts_of_a_message_that_are_not_utf8,
    wildcards_in_a_response_topic,
    properties_that_reach_beyond_the_packet,
    reason_codes_that_the_packet_may_not_carry,
    a_subscription_identifier_from_a_client,
    connect_properties_that_are_wrong,
);

const MALFORMED: ReasonCode = ReasonCode::MalformedPacket;
const PROTOCOL_ERROR: ReasonCode = ReasonCode::ProtocolError;

async fn publish_with(site: &Site, list: &[&[u8]], reason: ReasonCode) -> Result<()> {
    let bytes = frame(0x30, &[&text("a"), &properties(list), b"x"]);
    fatal(site, Version::V5, &bytes, reason).await.with_context(|| format!("properties {list:02x?}"))
}

async fn lengths_that_are_longer_than_needed(site: Site) -> Result<()> {
    // PINGREQ with a length of 0 in two bytes; PUBLISH with a Property Length of 0 in two bytes.
    fatal(&site, Version::V5, &[0xC0, 0x80, 0x00], MALFORMED).await?;
    fatal(&site, Version::V5, &frame(0x30, &[&text("a"), &[0x80, 0x00]]), MALFORMED).await?;
    // A subscription identifier of 1 in two bytes.
    let bytes = frame(0x82, &[&[0, 1], &properties(&[&[0x0B, 0x81, 0x00]]), &text("a"), &[0]]);
    fatal(&site, Version::V5, &bytes, MALFORMED).await
}

async fn properties_that_the_packet_may_not_carry(site: Site) -> Result<()> {
    let expiry: &[u8] = &[0x11, 0, 0, 0, 1];
    // One that no packet has, one of CONNECT in a PUBLISH.
    publish_with(&site, &[&[0x7F, 0]], MALFORMED).await?;
    publish_with(&site, &[expiry], MALFORMED).await?;
    for bytes in [
        frame(0x40, &[&[0, 1, 0], &properties(&[expiry])]),
        frame(0x82, &[&[0, 1], &properties(&[expiry]), &text("a"), &[0]]),
        frame(0xA2, &[&[0, 1], &properties(&[&[0x0B, 1]]), &text("a")]),
        frame(0xE0, &[&[0], &properties(&[&[0x21, 0, 1]])]),
        frame(0xF0, &[&[0x18], &properties(&[expiry])]),
    ] {
        fatal(&site, Version::V5, &bytes, MALFORMED).await?;
    }
    Ok(())
}

async fn properties_given_twice(site: Site) -> Result<()> {
    let twice: &[&[u8]] = &[&[0x01, 0], &[0x02, 0, 0, 0, 9], &[0x23, 0, 1]];
    for one in twice {
        publish_with(&site, &[one, one], PROTOCOL_ERROR).await?;
    }
    for one in
        [[vec![0x03], text("a")].concat(), [vec![0x08], text("a")].concat(), [vec![0x09], text("a")].concat()]
    {
        publish_with(&site, &[&one, &one], PROTOCOL_ERROR).await?;
    }
    for bytes in [
        frame(0x82, &[&[0, 1], &properties(&[&[0x0B, 1], &[0x0B, 1]]), &text("a"), &[0]]),
        frame(0xE0, &[&[0], &properties(&[&[0x11, 0, 0, 0, 0], &[0x11, 0, 0, 0, 0]])]),
    ] {
        fatal(&site, Version::V5, &bytes, PROTOCOL_ERROR).await?;
    }
    Ok(())
}

async fn values_out_of_range(site: Site) -> Result<()> {
    // A payload format of 2; a topic alias of 0, and one above what CONNACK said.
    publish_with(&site, &[&[0x01, 2]], PROTOCOL_ERROR).await?;
    publish_with(&site, &[&[0x23, 0, 0]], ReasonCode::TopicAliasInvalid).await?;
    publish_with(&site, &[&[0x23, 0xFF, 0xFF]], ReasonCode::TopicAliasInvalid).await?;
    let bytes = frame(0x82, &[&[0, 1], &properties(&[&[0x0B, 0]]), &text("a"), &[0]]);
    fatal(&site, Version::V5, &bytes, PROTOCOL_ERROR).await
}

async fn user_properties_that_are_not_utf8(site: Site) -> Result<()> {
    let name = [&[0x26][..], &text(b"\xFF"), &text("value")].concat();
    let value = [&[0x26][..], &text("name"), &text(b"\xED\xA0\x80")].concat();
    let null = user("name", "a\0b");
    for one in [name, value, null] {
        publish_with(&site, &[&one], MALFORMED).await?;
        let bytes = frame(0x82, &[&[0, 1], &properties(&[&one]), &text("a"), &[0]]);
        fatal(&site, Version::V5, &bytes, MALFORMED).await?;
    }
    Ok(())
}

async fn texts_of_a_message_that_are_not_utf8(site: Site) -> Result<()> {
    for id in [0x03, 0x08] {
        publish_with(&site, &[&[&[id][..], &text(b"a\xFF")].concat()], MALFORMED).await?;
        publish_with(&site, &[&[&[id][..], &text(b"a\0")].concat()], MALFORMED).await?;
    }
    Ok(())
}

async fn wildcards_in_a_response_topic(site: Site) -> Result<()> {
    for topic in ["a/#", "+/a", "a+"] {
        let response = [&[0x08][..], &text(topic)].concat();
        publish_with(&site, &[&response], ReasonCode::TopicNameInvalid).await?;
    }
    Ok(())
}

async fn properties_that_reach_beyond_the_packet(site: Site) -> Result<()> {
    let bytes = frame(0x30, &[&text("a"), &varint(20), &[0x01, 0]]);
    fatal(&site, Version::V5, &bytes, MALFORMED).await?;
    // A property that reaches beyond the properties.
    let bytes = frame(0x30, &[&text("a"), &varint(3), &[0x02, 0, 0], b"payload"]);
    fatal(&site, Version::V5, &bytes, MALFORMED).await
}

async fn reason_codes_that_the_packet_may_not_carry(site: Site) -> Result<()> {
    for bytes in [
        // 0x42 is none; 0x18 and 0x8F are of other packets.
        frame(0x40, &[&[0, 1, 0x42]]),
        frame(0x40, &[&[0, 1, 0x18]]),
        frame(0x50, &[&[0, 1, 0x8F]]),
        frame(0x62, &[&[0, 1, 0x80]]),
        frame(0x70, &[&[0, 1, 0x10]]),
        frame(0xE0, &[&[0x10]]),
        frame(0xF0, &[&[0x80], &properties(&[&[&[0x15][..], &text("x")].concat()])]),
    ] {
        fatal(&site, Version::V5, &bytes, PROTOCOL_ERROR).await?;
    }
    Ok(())
}

async fn a_subscription_identifier_from_a_client(site: Site) -> Result<()> {
    publish_with(&site, &[&[0x0B, 1]], PROTOCOL_ERROR).await
}

async fn connect_properties_that_are_wrong(site: Site) -> Result<()> {
    let method = [&[0x15][..], &text("x")].concat();
    let wrong: &[(&[&[u8]], ReasonCode)] = &[
        // Zero for Receive Maximum and Maximum Packet Size; 2 for the two flags.
        (&[&[0x21, 0, 0]], PROTOCOL_ERROR),
        (&[&[0x27, 0, 0, 0, 0]], PROTOCOL_ERROR),
        (&[&[0x17, 2]], PROTOCOL_ERROR),
        (&[&[0x19, 2]], PROTOCOL_ERROR),
        // Twice.
        (&[&[0x11, 0, 0, 0, 1], &[0x11, 0, 0, 0, 1]], PROTOCOL_ERROR),
        (&[&[0x22, 0, 1], &[0x22, 0, 1]], PROTOCOL_ERROR),
        (&[&method, &method], PROTOCOL_ERROR),
        // Data without a method; a property of PUBLISH.
        (&[&[0x16, 0, 1, b'x']], PROTOCOL_ERROR),
        (&[&[0x01, 0]], MALFORMED),
    ];
    for (list, reason) in wrong {
        let mut raw = site.bare(Version::V5).await?;
        raw.send(connect_as("MQTT", 5, 0x02, &properties(list), &[&text("id")])).await?;
        not_let_in(raw, *reason).await.with_context(|| format!("properties {list:02x?}"))?;
    }
    Ok(())
}
