//! Limits and capabilities that every session of a listener shares.

use revoq_mqtt::{QoS, ReasonCode, Text};

/// Limits and capabilities of a session. Every buffer, queue and map that a client can grow is bounded by one of
/// these fields; what happens at the limit is written beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Milliseconds from the start of the connection until the whole CONNECT must have arrived; then the
    /// connection is closed without an answer.
    pub connect_timeout_ms: u64,
    /// Authentication methods that the driver knows, for enhanced authentication of MQTT 5.0; another one is refused with
    /// 0x8C. The exchange must be over within `connect_timeout_ms` as well, counted anew where a client that is let in
    /// authenticates again; then it is refused with 0x87.
    pub authentication_methods: &'static [&'static str],
    /// Bytes of a CONNECT packet, and of what comes before the client is let in. Applies before anybody is authenticated; a
    /// larger one is closed upon.
    pub connect_size_max: u32,
    /// Bytes of any other packet, announced as Maximum Packet Size; a larger one ends the session with 0x95.
    pub packet_size_max: u32,
    /// Bytes of a client identifier; a longer one is refused with 0x85, in MQTT 3.1 and 3.1.1 with 2.
    pub client_id_bytes_max: usize,
    /// The longest keep-alive in seconds that is granted, or `None` for whatever the client asks. In MQTT 5.0 a
    /// client that asks for more, or for none, is told by Server Keep Alive; older clients cannot be told and keep
    /// what they asked for.
    pub keepalive_s_max: Option<u16>,
    /// The longest Session Expiry Interval in seconds that is granted; `u32::MAX` is for ever. An MQTT 5.0 client that asks
    /// for more is told.
    pub session_expiry_s_max: u32,
    /// The highest QoS that is served, announced as Maximum QoS: subscriptions are granted no more, and a PUBLISH above
    /// it ends the session with 0x9B.
    pub qos_max: QoS,
    /// PUBLISH packets of QoS 1 and 2 that the client may send before the first is acknowledged by PUBACK or PUBCOMP, at
    /// least 1, announced as Receive Maximum; one more ends the session with 0x93. Older clients are not told: reading
    /// them pauses where so many wait for the router, and what waits for their PUBREL is bounded by the number of packet
    /// identifiers.
    pub receive_max: u16,
    /// Topic aliases that the client may set, announced as Topic Alias Maximum; a higher one ends the session
    /// with 0x94.
    pub topic_alias_max: u16,
    /// Topic aliases that we set where the client allows as many.
    pub outbound_topic_alias_max: u16,
    /// Levels of a topic name or filter; deeper names end the session with 0x90, deeper filters get 0x8F.
    pub topic_levels_max: usize,
    /// Subscriptions of one session; one more is answered with 0x97.
    pub subscriptions_max: usize,
    /// SUBSCRIBE and UNSUBSCRIBE packets that wait for the driver's answer; reading pauses there.
    pub requests_max: usize,
    /// PUBLISH packets of QoS 1 and 2 sent to the client and not acknowledged by it. Its own Receive Maximum may lower
    /// this; later messages are queued.
    pub inflight_max: u16,
    /// Messages that wait for the window or the write buffer. At this or the next limit the oldest QoS 0 message
    /// is dropped; where none is left, a QoS 0 arrival is dropped and another ends the connection with 0x97. While the
    /// client is away such an arrival is dropped.
    pub queue_max: usize,
    /// Bytes of topic, properties and payload in that queue.
    pub queue_bytes_max: usize,
    /// Bytes in the write buffer from which on messages are queued, and bytes of unsent answers from which on
    /// reading pauses. The buffer never holds more than twice this and one message.
    pub write_bytes_high: usize,
    /// Whether retained messages are served. Where not, MQTT 5.0 clients are told so and a PUBLISH with RETAIN
    /// ends the session with 0x9A; for older clients the flag is passed on and has no effect.
    pub retain_available: bool,
    /// Whether shared subscriptions are served. Where not, each `$share` filter is answered with 0x9E.
    pub shared_subscription_available: bool,
    /// Whether filters may have wildcards. Where not, each that has is answered with 0xA2.
    pub wildcard_subscription_available: bool,
    /// Whether subscriptions may have identifiers. Where not, filters of a SUBSCRIBE with one are answered with 0xA1.
    pub subscription_id_available: bool,
    /// Whether a payload that is said to be UTF-8 is looked at: one that isn't is acknowledged with 0x99, with QoS 0 it ends
    /// the session.
    pub payload_format_checked: bool,
    /// PUBLISH packets that a client may send a second, after a second's worth at once; reading pauses where it is ahead.
    pub publish_rate_max: Option<u32>,
    /// The same in bytes of those packets.
    pub publish_bytes_rate_max: Option<u32>,
    /// Where clients are sent that are told to use another server (0x9C, 0x9D): Server Reference.
    pub server_reference: Option<Text>,
    /// Response Information for MQTT 5.0 clients that ask for it: how the topics begin under which they are to be answered
    /// (section 4.10).
    pub response_information: Option<Text>,
}

impl Config {
    /// Server Reference for a client that is told `reason`.
    pub(crate) fn reference(&self, reason: ReasonCode) -> Option<Text> {
        let elsewhere = matches!(reason, ReasonCode::UseAnotherServer | ReasonCode::ServerMoved);
        self.server_reference.clone().filter(|_| elsewhere)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            connect_timeout_ms: 10_000,
            authentication_methods: &[],
            connect_size_max: 128 * 1024,
            packet_size_max: 1024 * 1024,
            client_id_bytes_max: 1024,
            keepalive_s_max: None,
            session_expiry_s_max: u32::MAX,
            qos_max: QoS::ExactlyOnce,
            receive_max: 256,
            topic_alias_max: 16,
            outbound_topic_alias_max: 16,
            topic_levels_max: 128,
            subscriptions_max: 1_000,
            requests_max: 16,
            inflight_max: 1024,
            queue_max: 10_000,
            queue_bytes_max: 8 * 1024 * 1024,
            write_bytes_high: 64 * 1024,
            retain_available: true,
            shared_subscription_available: true,
            wildcard_subscription_available: true,
            subscription_id_available: true,
            payload_format_checked: false,
            publish_rate_max: None,
            publish_bytes_rate_max: None,
            server_reference: None,
            response_information: None,
        }
    }
}
