//! Every fault, in MQTT 5.0 with its DISCONNECT and in MQTT 3.1.1 with a silent close.

use revoq_mqtt::{QoS, ReasonCode, Version};
use revoq_session::{Config, Error};

use crate::stage::Stage;

const V5: &str = "connect v=5 id=a";
const V311: &str = "connect v=3.1.1 id=a";

/// Narrow limits, so that each is one step away.
fn config() -> Config {
    Config {
        qos_max: QoS::AtLeastOnce,
        retain_available: false,
        receive_max: 1,
        topic_alias_max: 2,
        topic_levels_max: 3,
        packet_size_max: 64,
        ..Config::default()
    }
}

/// What a connected client does last, and the code that ends the session.
const FAULTS: &[(&str, &str)] = &[
    ("connect id=a", "82"),
    ("pingresp", "82"),
    ("publish topic=t qos=2 id=1", "9b"),
    ("publish topic=a/b/c/d", "90"),
    ("publish topic=t size=100", "95"),
    // Codec faults: reserved type, reserved flags, packet identifier 0, wildcard in a topic, no filter.
    ("bytes 00 00", "81"),
    ("bytes c1 00", "81"),
    ("bytes 40 02 00 00", "81"),
    ("bytes 30 ff ff ff ff", "81"),
];

/// Packets of a server: CONNACK, SUBACK, UNSUBACK.
const V311_FAULTS: &[(&str, &str)] =
    &[("bytes 20 02 00 00", "82"), ("bytes 90 03 00 01 00", "82"), ("bytes b0 02 00 01", "82")];

/// The same as MQTT 5.0 has them, and what only MQTT 5.0 has.
const V5_FAULTS: &[(&str, &str)] = &[
    ("bytes 20 03 00 00 00", "82"),
    ("bytes 90 04 00 01 00 00", "82"),
    ("bytes b0 04 00 01 00 00", "82"),
    ("auth", "82"),
    ("publish topic=t retain", "9a"),
    ("publish topic=t subscription_id=1", "82"),
    ("publish topic=t alias=3", "94"),
    ("publish alias=1", "82"),
    ("disconnect expiry=1", "82"),
    // A topic alias of zero, a wildcard in a topic, an empty filter, no filter at all, a repeated property.
    ("bytes 30 07 00 01 74 03 23 00 00", "94"),
    ("bytes 30 04 00 01 23 00", "90"),
    ("bytes 82 06 00 01 00 00 00 00", "8f"),
    ("bytes 82 03 00 01 00", "82"),
    ("bytes 30 0e 00 01 74 0a 02 00 00 00 01 02 00 00 00 01", "82"),
];

#[test]
fn version_5_is_told() {
    for (step, code) in FAULTS.iter().chain(V5_FAULTS) {
        let told = Stage::connected(config(), V5).run(step);
        assert_eq!(told.len(), 2, "{step}: {told:?}");
        assert!(told[0].starts_with(&format!("Closed failed {code}: ")), "{step}: {told:?}");
        assert!(told[1].starts_with(&format!("> Disconnect {code} \"")), "{step}: {told:?}");
    }
}

#[test]
fn older_versions_are_closed_upon() {
    for (step, code) in FAULTS.iter().chain(V311_FAULTS) {
        let told = Stage::connected(config(), V311).run(step);
        assert_eq!(told.len(), 1, "{step}: {told:?}");
        assert!(told[0].starts_with(&format!("Closed failed {code}: ")), "{step}: {told:?}");
    }
}

/// An exchange that has begun (4.3), and a packet that is not its next one.
#[test]
fn an_acknowledgement_of_another_kind_ends_the_session() {
    let table = [
        ("deliver topic=t qos=1", &[][..], "pubrec id=1"),
        ("deliver topic=t qos=1", &[], "pubcomp id=1"),
        ("deliver topic=t qos=2 granted=2", &[], "puback id=1"),
        ("deliver topic=t qos=2 granted=2", &[], "pubcomp id=1"),
        ("deliver topic=t qos=2 granted=2", &["pubrec id=1"], "puback id=1"),
    ];
    for (begins, goes_on, step) in table {
        let mut stage = Stage::connected(config(), V5);
        stage.run(begins);
        for step in goes_on {
            stage.run(step);
        }
        let told = stage.run(step);
        assert!(told[0].starts_with("Closed failed 82: "), "{begins}, {goes_on:?}, {step}: {told:?}");
    }
}

#[test]
fn no_text_without_problem_information() {
    let told = Stage::connected(config(), "connect v=5 id=a no_problem_information").run("pingresp");
    assert_eq!(told[1], "> Disconnect 82");
}

#[test]
fn no_text_that_the_client_cannot_take() {
    let told = Stage::connected(Config::default(), "connect v=5 id=a packet_size_max=25").run("pingresp");
    assert_eq!(told[1], "> Disconnect 82");
}

#[test]
fn the_will_goes_out_after_a_fault() {
    let told = Stage::connected(config(), "connect v=5 id=a will=w").run("pingresp");
    assert!(told[0].ends_with("will=(w qos=0 payload=gone)"), "{told:?}");
}

#[test]
fn receive_maximum_ends_version_5_only() {
    let mut stage = Stage::connected(config(), V5);
    stage.run("publish topic=t qos=1 id=1");
    let told = stage.run("publish topic=t qos=1 id=2");
    assert!(told[0].starts_with("Closed failed 93"), "{told:?}");
    let mut stage = Stage::connected(config(), V311);
    stage.run("publish topic=t qos=1 id=1");
    assert!(stage.run("publish topic=t qos=1 id=2").is_empty());
    assert!(!stage.session.wants_bytes());
}

/// First packets that are no CONNECT that can be served, and what is written back.
#[test]
fn bad_first_packets() {
    let long = format!("connect v=3.1.1 id={}", "x".repeat(1025));
    let table: &[(&str, &str, Option<&str>)] = &[
        // PINGREQ, PUBLISH, a TLS client hello, an HTTP request, a reserved type.
        ("bytes c0 00", "failed 82", None),
        ("bytes 30 03 00 01 74", "failed 82", None),
        ("bytes 16 03 01 02 00", "failed 81", None),
        ("bytes 47 45 54", "failed 82", None),
        ("bytes 00", "failed 82", None),
        // Level 6 of MQTT, and a name that nobody knows.
        ("bytes 10 0c 00 04 4d 51 54 54 06 02 00 00 00 00", "failed 84", Some("> ConnAck 1")),
        ("bytes 10 0c 00 04 4d 51 54 58 04 02 00 00 00 00", "failed 84", None),
        // The reserved flag, in 3.1.1 and in 5.0.
        ("bytes 10 0d 00 04 4d 51 54 54 04 03 00 00 00 01 61", "failed 81", None),
        // A CONNECT larger than is read from strangers.
        ("bytes 10 ff ff 7f", "failed 95", None),
        (&long, "refused 85", Some("> ConnAck 2")),
    ];
    for (step, cause, answer) in table {
        let told = Stage::new(Config::default()).run(step);
        assert!(told[0].starts_with(&format!("Closed {cause}")), "{step}: {told:?}");
        assert_eq!(told.get(1).map(String::as_str), *answer, "{step}");
    }
}

/// What MQTT 5.0 is told in CONNACK where older versions are served or closed upon.
#[test]
fn version_5_connects_are_refused_with_a_code() {
    for (connect, code) in [
        ("connect v=5 id=a will=w will_qos=2", "9b"),
        ("connect v=5 id=a will=w will_retain", "9a"),
        ("connect v=5 id=a auth=x", "8c"),
    ] {
        let told = Stage::new(config()).run(connect);
        assert_eq!(told, [format!("Closed refused {code}"), format!("> ConnAck {code}")], "{connect}");
    }
    // The reserved flag, which the codec refuses.
    let mut stage = Stage::new(Config::default());
    stage.version = Version::V5;
    let told = stage.run("bytes 10 0e 00 04 4d 51 54 54 05 03 00 00 00 00 01 61");
    assert_eq!(told[1], "> ConnAck 81");
}

#[test]
fn a_full_queue_of_bytes_ends_the_session() {
    let limits = Config { write_bytes_high: 1, queue_bytes_max: 100, ..Config::default() };
    let mut stage = Stage::connected(limits, V5);
    stage.run("stall");
    stage.run("deliver topic=t");
    assert!(stage.run("deliver topic=t qos=1 size=1000").is_empty(), "one message is always taken");
    let told = stage.run("deliver topic=t qos=1 size=10");
    assert!(told[0].starts_with("Closed failed 97"), "{told:?}");
}

#[test]
fn an_answer_that_the_client_cannot_take_ends_the_session() {
    let told = Stage::connected(Config::default(), "connect v=5 id=a packet_size_max=5").run("timeout");
    assert_eq!(told, ["timeout None"], "CONNACK did not fit");
}

#[test]
fn the_driver_must_answer_each_filter() {
    let mut stage = Stage::connected(Config::default(), V5);
    stage.run("subscribe id=1 a b");
    let told = stage.run("subscribed id=1 00");
    assert!(told[0].starts_with("Closed failed 83: the driver "), "{told:?}");
    assert_eq!(told[1], "> Disconnect 83", "no text about our own faults");
}

#[test]
fn each_error_has_its_reason_code() {
    let table = [
        (Error::ConnectExpected, ReasonCode::ProtocolError),
        (Error::ConnectTimeout(1), ReasonCode::MaximumConnectTime),
        (Error::KeepAliveTimeout(1), ReasonCode::KeepAliveTimeout),
        (Error::ReceiveMaximumExceeded(1), ReasonCode::ReceiveMaximumExceeded),
        (Error::TopicAliasInvalid { alias: 2, maximum: 1 }, ReasonCode::TopicAliasInvalid),
        (Error::TopicAliasUnknown(1), ReasonCode::ProtocolError),
        (Error::QosNotSupported { maximum: QoS::AtLeastOnce }, ReasonCode::QosNotSupported),
        (Error::RetainNotSupported, ReasonCode::RetainNotSupported),
        (Error::TopicTooDeep(1), ReasonCode::TopicNameInvalid),
        (Error::SubscriptionIdFromClient, ReasonCode::ProtocolError),
        (Error::SessionExpirySet, ReasonCode::ProtocolError),
        (Error::QueueFull { messages: 1, bytes: 1 }, ReasonCode::QuotaExceeded),
        (Error::ClientPacketSize { size: 2, maximum: 1 }, ReasonCode::PacketTooLarge),
        (Error::Driver("x"), ReasonCode::ImplementationSpecificError),
    ];
    for (error, code) in table {
        assert_eq!(error.reason_code(), code, "{error}");
    }
}
