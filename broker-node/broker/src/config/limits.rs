//! The keys of limits, and of what is served.

use std::fmt::Display;
use std::str::FromStr;

use revoq_mqtt::{QoS, Text, Topic};

use super::keys::{Key, key};
use super::values::{duration, expiry, parse, positive, truth, within};

/// A key of one of the limits.
macro_rules! limit {
    ($name:ident, $read:expr, $help:literal) => {
        key!($name => limits.$name, $read, $help)
    };
    ($name:ident => $($field:ident).+, $read:expr, $help:literal) => {
        key!($name => limits.$($field).+, $read, $help)
    };
}

pub(super) const LIMITS: &[Key] = &[
    limit!(connections_max, positive, "Connections of all kinds"),
    limit!(connections_per_address_max, parse, "Connections from one address; 0: no limit"),
    limit!(connect_rate_max, rate, "New connections a second; 0: no limit"),
    limit!(
        connect_rate_per_address_max,
        rate,
        "New connections a second from one address, or one /64 of IPv6; 0: no limit"
    ),
    limit!(handshakes_max, positive, "Handshakes at a time"),
    limit!(handshake_timeout, duration, "From accept to the end of the handshake, such as 10s"),
    limit!(connect_timeout, duration, "From there to CONNECT, such as 10s"),
    limit!(packet_size_max, packet_size, "Bytes of one MQTT packet"),
    limit!(client_id_bytes_max => session.client_id_bytes_max, client_id_bytes, "Bytes of a client identifier"),
    limit!(keepalive_max => session.keepalive_s_max, keepalive, "Longest keep-alive that is granted, seconds; 0: any"),
    limit!(topic_levels_max => session.topic_levels_max, positive, "Levels of a topic or a filter"),
    limit!(subscriptions_max => session.subscriptions_max, positive, "Subscriptions of one session"),
    limit!(receive_max => session.receive_max, at_least_one, "QoS 1 and 2 messages of a client that are under way"),
    limit!(inflight_max => session.inflight_max, at_least_one, "QoS 1 and 2 messages to a client that are under way"),
    limit!(topic_alias_max => session.topic_alias_max, parse, "Topic aliases that a client may set"),
    limit!(publish_rate_max => session.publish_rate_max, rate, "PUBLISH packets of one client a second; 0: no limit"),
    limit!(publish_bytes_rate_max => session.publish_bytes_rate_max, rate, "Bytes of those a second; 0: no limit"),
    limit!(quic_streams_max, data_streams, "Data streams of one connection over QUIC"),
    limit!(mailbox_messages_max, positive, "Messages that wait for one client"),
    limit!(mailbox_bytes_max, positive, "Bytes of messages that wait for one client"),
    limit!(
        session_expiry_max => session.session_expiry_s_max,
        expiry,
        "For how long a session outlives its connection at most, such as 7d; 0: not at all; never: for ever"
    ),
    limit!(sessions_away_max, positive, "Sessions of clients that are away"),
    limit!(queue_messages_max => session.queue_max, positive, "Messages that wait in one session"),
    limit!(queue_bytes_max => session.queue_bytes_max, positive, "Bytes of messages that wait in one session"),
    limit!(queued_bytes_max, positive, "Bytes of messages that wait for all clients that are away"),
    limit!(retained_messages_max, positive, "Retained messages of one tenant"),
    limit!(retained_bytes_max, positive, "Bytes of retained messages of one tenant"),
    limit!(qos_max => session.qos_max, qos, "Highest QoS that is served: 0, 1 or 2"),
    limit!(retain_available => session.retain_available, truth, "Whether messages may be retained, true or false"),
    limit!(
        wildcard_subscription_available => session.wildcard_subscription_available,
        truth,
        "Whether filters may have wildcards, true or false"
    ),
    limit!(
        shared_subscription_available => session.shared_subscription_available,
        truth,
        "Whether subscriptions may be shared, true or false"
    ),
    limit!(
        subscription_id_available => session.subscription_id_available,
        truth,
        "Whether subscriptions may have identifiers, true or false"
    ),
    limit!(
        payload_format_checked => session.payload_format_checked,
        truth,
        "Whether payloads that are said to be UTF-8 are looked at, true or false"
    ),
    limit!(
        server_reference => session.server_reference,
        reference,
        "Where clients are sent when the node ends, such as other.example.com:8883 [default: nowhere]"
    ),
    limit!(
        response_information => session.response_information,
        response_information,
        "How the topics begin under which clients that ask are to be answered, such as answers/ [default: none]"
    ),
    limit!(lookups_max, positive, "Look-ups of certificates at a time"),
    limit!(lookups_cached_max, positive, "Results of look-ups that are kept"),
    limit!(identities_cached_max, positive, "Verified leaves that are kept"),
];

fn packet_size(text: &str) -> Result<u32, String> {
    within(text, 256, 268_435_460)
}

fn data_streams(text: &str) -> Result<u32, String> {
    within(text, 1, u32::try_from(revoq_session::DATA_STREAMS_MAX).unwrap_or(u32::MAX))
}

fn client_id_bytes(text: &str) -> Result<usize, String> {
    // Every server takes 23 ([MQTT-3.1.3-5]), and no string is longer than 65,535.
    within(text, 23, 65_535).and_then(|bytes| usize::try_from(bytes).map_err(|error| error.to_string()))
}

fn at_least_one(text: &str) -> Result<u16, String> {
    within(text, 1, u16::MAX.into()).and_then(|value| u16::try_from(value).map_err(|error| error.to_string()))
}

/// Zero is no limit.
fn optional<T: FromStr<Err: Display> + Default + PartialEq>(text: &str) -> Result<Option<T>, String> {
    parse::<T>(text).map(|value| Some(value).filter(|value| *value != T::default()))
}

fn keepalive(text: &str) -> Result<Option<u16>, String> {
    optional(text)
}

fn rate(text: &str) -> Result<Option<u32>, String> {
    optional(text)
}

fn qos(text: &str) -> Result<QoS, String> {
    parse::<u8>(text)
        .ok()
        .and_then(|qos| QoS::try_from(qos).ok())
        .ok_or_else(|| "expected 0, 1 or 2".to_owned())
}

fn response_information(text: &str) -> Result<Option<Text>, String> {
    let text = reference(text)?;
    // Topics are made of it, so it is one.
    text.as_ref().map(|text| parse::<Topic>(text.as_str())).transpose()?;
    Ok(text)
}

fn reference(text: &str) -> Result<Option<Text>, String> {
    parse::<Text>(text).map(|text| Some(text).filter(|text| !text.is_empty()))
}
