//! Bytes that are no packet of any version: the connection ends, and MQTT 5.0 is told why.

use anyhow::{Context, Result};
use revoq_mqtt::{QoS, ReasonCode, Version};

use crate::site::{STANDARDS, Site};
use crate::wire::{connect, frame, none, publish, subscribe, text, unsubscribe};

crate::cases!(
    reserved_packet_types,
    reserved_flags_of_the_fixed_header,
    packets_that_only_servers_send,
    a_remaining_length_of_five_bytes,
    packets_that_end_too_early_or_too_late,
    packet_identifier_zero,
    strings_that_are_not_utf8,
    strings_with_a_null_character,
    a_byte_order_mark_is_a_character,
    qos_3,
    dup_with_qos_0,
    wildcards_in_topic_names,
    empty_topic_names_and_filters,
    misplaced_wildcards,
    requests_without_a_filter,
    subscription_options_that_are_reserved,
    packets_in_pieces_and_together,
    a_packet_that_is_too_large,
);

/// A connected client sends this; the session ends with that code.
pub(crate) async fn fatal(site: &Site, version: Version, bytes: &[u8], reason: ReasonCode) -> Result<()> {
    let mut client = site.client(version).await?;
    client.send(bytes).await?;
    client.disconnected(reason).await
}

/// The same in both versions.
async fn fatal_in_both(site: &Site, bytes: impl Fn(Version) -> Vec<u8>, reason: ReasonCode) -> Result<()> {
    for version in STANDARDS {
        fatal(site, version, &bytes(version), reason).await?;
    }
    Ok(())
}

async fn reserved_packet_types(site: Site) -> Result<()> {
    fatal_in_both(&site, |_| vec![0x00, 0x00], ReasonCode::MalformedPacket).await?;
    fatal(&site, Version::V311, &[0xF0, 0x00], ReasonCode::MalformedPacket).await
}

async fn reserved_flags_of_the_fixed_header(site: Site) -> Result<()> {
    for version in STANDARDS {
        let ack = [0, 1];
        let id_and_filter = [&[0, 1][..], none(version), &text("a")].concat();
        let id_filter_and_options = [&id_and_filter[..], &[0]].concat();
        // The packet, and the flags that it must have.
        let packets: &[(u8, u8, &[u8])] = &[
            (0x40, 0, &ack),
            (0x50, 0, &ack),
            (0x60, 2, &ack),
            (0x70, 0, &ack),
            (0x80, 2, &id_filter_and_options),
            (0xA0, 2, &id_and_filter),
            (0xC0, 0, &[]),
            (0xE0, 0, &[]),
        ];
        for (kind, flags, body) in packets {
            for bit in [1, 2, 4, 8] {
                let bytes = frame(kind | (flags ^ bit), &[body]);
                let result = fatal(&site, version, &bytes, ReasonCode::MalformedPacket).await;
                result.with_context(|| format!("first byte {:#04x}", bytes[0]))?;
            }
        }
        for bit in [1, 2, 4, 8] {
            let mut bytes = connect(version, 0x02, &[&text("a")]);
            bytes[0] |= bit;
            let mut raw = site.bare(version).await?;
            raw.send(&bytes).await?;
            not_let_in(raw, ReasonCode::MalformedPacket).await?;
        }
    }
    fatal(&site, Version::V5, &[0xF1, 0x00], ReasonCode::MalformedPacket).await
}

/// CONNECT doesn't conform: MQTT 5.0 is told in CONNACK, older versions are closed upon.
pub(crate) async fn not_let_in(raw: revoq_tests::raw::Raw, reason: ReasonCode) -> Result<()> {
    if !raw.version().is_v5() {
        return raw.ended().await;
    }
    let ack = raw.refused().await?;
    anyhow::ensure!(ack.reason == reason, "{reason:?} expected: {ack:?}");
    Ok(())
}

async fn packets_that_only_servers_send(site: Site) -> Result<()> {
    for version in STANDARDS {
        let packets = [
            frame(0x20, &[&[0, 0], none(version)]),
            frame(0x90, &[&[0, 1], none(version), &[0]]),
            frame(0xB0, &[&[0, 1], none(version), if version.is_v5() { &[0] } else { &[] }]),
            frame(0xD0, &[]),
        ];
        for bytes in packets {
            fatal(&site, version, &bytes, ReasonCode::ProtocolError).await?;
        }
    }
    Ok(())
}

async fn a_remaining_length_of_five_bytes(site: Site) -> Result<()> {
    let bytes = |_| vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
    fatal_in_both(&site, bytes, ReasonCode::MalformedPacket).await
}

async fn packets_that_end_too_early_or_too_late(site: Site) -> Result<()> {
    for version in STANDARDS {
        for bytes in [
            // Fields that reach beyond the packet: a topic, an identifier, a filter.
            frame(0x30, &[&[0, 9], b"a"]),
            frame(0x32, &[&text("a"), &[1]]),
            frame(0x40, &[&[1]]),
            frame(0x82, &[&[0, 1], none(version), &[0, 9], b"a"]),
            // A filter without its options.
            frame(0x82, &[&[0, 1], none(version), &text("a")]),
            // Bytes that belong to nothing.
            frame(0xC0, &[&[0]]),
            frame(0xA2, &[&[0, 1], none(version), &text("a"), &[0]]),
        ] {
            fatal(&site, version, &bytes, ReasonCode::MalformedPacket).await?;
        }
    }
    for bytes in [&[0x40, 3, 0, 1, 0][..], &[0x62, 3, 0, 1, 0], &[0xE0, 1, 0]] {
        fatal(&site, Version::V311, bytes, ReasonCode::MalformedPacket).await?;
    }
    Ok(())
}

async fn packet_identifier_zero(site: Site) -> Result<()> {
    for version in STANDARDS {
        let zero = [0, 0];
        let publish = [&text("a")[..], &zero, none(version)].concat();
        for bytes in [
            frame(0x32, &[&publish]),
            frame(0x34, &[&publish]),
            frame(0x40, &[&zero]),
            frame(0x62, &[&zero]),
            frame(0x82, &[&zero, none(version), &text("a"), &[0]]),
            frame(0xA2, &[&zero, none(version), &text("a")]),
        ] {
            fatal(&site, version, &bytes, ReasonCode::MalformedPacket).await?;
        }
    }
    Ok(())
}

/// Every place of a string that both versions have, with this content.
async fn every_string(site: &Site, content: &[u8]) -> Result<()> {
    let content = &text(content)[..];
    for version in STANDARDS {
        for bytes in [
            frame(0x30, &[content, none(version), b"x"]),
            frame(0x82, &[&[0, 1], none(version), content, &[0]]),
            frame(0xA2, &[&[0, 1], none(version), content]),
        ] {
            fatal(site, version, &bytes, ReasonCode::MalformedPacket).await?;
        }
        let will = if version.is_v5() { vec![0] } else { Vec::new() };
        for bytes in [
            connect(version, 0x02, &[content]),
            connect(version, 0x06, &[&text("id"), &will, content, &text("gone")]),
            connect(version, 0x82, &[&text("id"), content]),
        ] {
            let mut raw = site.bare(version).await?;
            raw.send(&bytes).await?;
            not_let_in(raw, ReasonCode::MalformedPacket).await?;
        }
    }
    Ok(())
}

async fn strings_that_are_not_utf8(site: Site) -> Result<()> {
    // A stray byte, a surrogate, a form that is too long, a sequence that is cut off, beyond U+10FFFF.
    let contents: &[&[u8]] = &[b"a\xFF", b"a\xED\xA0\x80", b"a\xC1\xA1", b"a\xE2\x82", b"a\xF4\x90\x80\x80"];
    for content in contents {
        every_string(&site, content).await?;
    }
    Ok(())
}

async fn strings_with_a_null_character(site: Site) -> Result<()> {
    every_string(&site, b"a\0b").await
}

async fn a_byte_order_mark_is_a_character(site: Site) -> Result<()> {
    for version in STANDARDS {
        let plain = site.topic("t");
        let marked = format!("\u{FEFF}{plain}");
        let mut subscriber = site.subscriber(version, &marked, QoS::AtMostOnce).await?;
        let mut publisher = site.client(version).await?;
        publisher.send(publish(version, &plain, "without")).await?;
        publisher.send(publish(version, &marked, "with")).await?;
        publisher.quiet().await?;
        subscriber.expect(publish(version, &marked, "with")).await?;
        subscriber.quiet().await?;
    }
    Ok(())
}

async fn qos_3(site: Site) -> Result<()> {
    let bytes = |version| frame(0x36, &[&text("a"), &[0, 1], none(version)]);
    fatal_in_both(&site, bytes, ReasonCode::MalformedPacket).await
}

async fn dup_with_qos_0(site: Site) -> Result<()> {
    let bytes = |version| frame(0x38, &[&text("a"), none(version)]);
    fatal_in_both(&site, bytes, ReasonCode::MalformedPacket).await
}

async fn wildcards_in_topic_names(site: Site) -> Result<()> {
    for topic in ["#", "+", "a/#", "a/+/b", "a+b", "a#"] {
        fatal_in_both(&site, |version| publish(version, topic, "x"), ReasonCode::TopicNameInvalid).await?;
    }
    for version in STANDARDS {
        let will = if version.is_v5() { vec![0] } else { Vec::new() };
        let mut raw = site.bare(version).await?;
        raw.send(connect(version, 0x06, &[&text("id"), &will, &text("a/#"), &text("gone")])).await?;
        not_let_in(raw, ReasonCode::TopicNameInvalid).await?;
    }
    Ok(())
}

async fn empty_topic_names_and_filters(site: Site) -> Result<()> {
    fatal_in_both(&site, |version| publish(version, "", "x"), ReasonCode::ProtocolError).await?;
    fatal_in_both(&site, |version| subscribe(version, "", 0), ReasonCode::TopicFilterInvalid).await?;
    fatal_in_both(&site, |version| unsubscribe(version, ""), ReasonCode::TopicFilterInvalid).await
}

async fn misplaced_wildcards(site: Site) -> Result<()> {
    for filter in ["#/a", "a/#/b", "a#", "a/b#", "+a", "a/b+/c", "a+/b", "##", "++", "a/+#"] {
        fatal_in_both(&site, |version| subscribe(version, filter, 0), ReasonCode::TopicFilterInvalid)
            .await
            .with_context(|| filter.to_owned())?;
        fatal_in_both(&site, |version| unsubscribe(version, filter), ReasonCode::TopicFilterInvalid).await?;
    }
    Ok(())
}

async fn requests_without_a_filter(site: Site) -> Result<()> {
    for first in [0x82, 0xA2] {
        let bytes = |version| frame(first, &[&[0, 1], none(version)]);
        fatal_in_both(&site, bytes, ReasonCode::ProtocolError).await?;
    }
    Ok(())
}

async fn subscription_options_that_are_reserved(site: Site) -> Result<()> {
    let malformed = ReasonCode::MalformedPacket;
    for options in [0x03, 0x40, 0x80, 0xC0] {
        fatal_in_both(&site, |version| subscribe(version, "a", options), malformed).await?;
    }
    for options in [0x04, 0x08, 0x10, 0x20] {
        fatal(&site, Version::V311, &subscribe(Version::V311, "a", options), malformed).await?;
    }
    // Retain Handling 3.
    fatal(&site, Version::V5, &subscribe(Version::V5, "a", 0x30), ReasonCode::ProtocolError).await
}

/// The transport is a stream of bytes: packets are where their lengths say.
async fn packets_in_pieces_and_together(site: Site) -> Result<()> {
    for version in STANDARDS {
        let topic = site.topic("t");
        let id = site.id().to_string();
        let hello = connect(version, 0x02, &[&text(&id)]);
        let mut raw = site.bare(version).await?;
        for byte in hello.iter().chain(&subscribe(version, &topic, 0)) {
            raw.send([*byte]).await?;
        }
        raw.packet().await?;
        raw.expect(frame(0x90, &[&[0, 1], none(version), &[0]])).await?;
        let all = ["1", "2", "3"].map(|payload| publish(version, &topic, payload));
        let bytes = all.concat();
        let (one, two) = bytes.split_at(bytes.len() / 2);
        raw.send(one).await?;
        raw.send([two, &[0xC0, 0]].concat()).await?;
        let [one, two, three] = all;
        raw.expect_all(&[one, two, three, vec![0xD0, 0]]).await?;
    }
    Ok(())
}

async fn a_packet_that_is_too_large(site: Site) -> Result<()> {
    // A megabyte is the limit, and CONNACK says so; the length alone is enough to refuse it.
    let bytes = |_| vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F];
    fatal_in_both(&site, bytes, ReasonCode::PacketTooLarge).await
}
