//! CONNECT, which names the version, and what the versions judge differently.

use bytes::Bytes;
use revoq_mqtt::Fault::{self, *};
use revoq_mqtt::Version::{self, *};
use revoq_mqtt::{Connect, ConnectProperties, Packet, QoS, Will};

use crate::bytes::{accepted, both_ways, frame, prop, props, refused, s, user};

fn connect(name: &str, level: u8, flags: u8, payload: &[&[u8]]) -> Bytes {
    frame(0x10, &[&s(name), &[level, flags, 0, 60], &payload.concat()])
}

#[test]
fn every_version_names_itself() {
    let id: revoq_mqtt::ClientId = "c".parse().expect("legal");
    for (version, name, level, tail) in
        [(V31, "MQIsdp", 3, s("c")), (V311, "MQTT", 4, s("c")), (V5, "MQTT", 5, [vec![0], s("c")].concat())]
    {
        let packet = Connect { keepalive_s: 60, ..Connect::new(version, id.clone()) };
        let frame = connect(name, level, 0x02, &[&tail]);
        assert_eq!(Version::of_connect(&frame), Some(version));
        both_ways(name, frame, V311, &Packet::Connect(Box::new(packet)));
    }
}

#[test]
fn unknown_protocols_and_levels_are_named() {
    let level = |level| ProtocolVersion { level };
    let cases: [(&str, u8, Fault); 7] = [
        ("MQTT", 3, level(3)),
        ("MQTT", 6, level(6)),
        ("MQIsdp", 4, level(4)),
        // A bridge's private bit: mosquitto tries again without it.
        ("MQTT", 0x84, level(0x84)),
        ("mqtt", 4, ProtocolName),
        ("", 4, ProtocolName),
        ("MQTTX", 4, ProtocolName),
    ];
    for (name, number, fault) in cases {
        let frame = connect(name, number, 0x02, &[&s("c")]);
        assert_eq!(Version::of_connect(&frame), None);
        assert_eq!(fault.reason().code(), 0x84);
        refused(name, frame, V5, fault);
    }
}

#[test]
fn version_is_readable_where_the_rest_is_not() {
    let frame = connect("MQTT", 5, 0x03, &[]);
    assert_eq!(Version::of_connect(&frame), Some(V5));
    refused("reserved flag", frame, V5, ConnectFlags);
}

#[test]
fn will_and_credentials() {
    let will = Will {
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: "w/t".parse().expect("legal"),
        payload: Bytes::from_static(b"gone"),
        delay_s: 0,
        properties: revoq_mqtt::PublishProperties::default(),
    };
    let mut packet = Connect::new(V311, "c".parse().expect("legal"));
    packet.keepalive_s = 60;
    packet.will = Some(will);
    packet.username = Some("u".parse().expect("legal"));
    packet.password = Some(Bytes::from_static(b"\0\xFF"));
    let fields = [s("c"), s("w/t"), s("gone"), s("u"), s(b"\0\xFF")].concat();
    assert!(!format!("{packet:?}").contains("\\xff"), "Debug shows no password");
    both_ways(
        "3.1.1",
        connect("MQTT", 4, 0xEE, &[&fields]),
        V311,
        &Packet::Connect(Box::new(packet.clone())),
    );
    packet.version = V31;
    both_ways("3.1", connect("MQIsdp", 3, 0xEE, &[&fields]), V31, &Packet::Connect(Box::new(packet)));
}

#[test]
fn properties_of_version_5() {
    let list = [
        prop(0x11, [0, 0, 0, 9]),
        prop(0x21, [0, 10]),
        prop(0x27, [0, 1, 0, 0]),
        prop(0x22, [0, 7]),
        prop(0x19, [1]),
        prop(0x17, [0]),
        prop(0x15, s("SCRAM-SHA-256")),
        prop(0x16, s("x")),
        user("k", "v"),
    ];
    let frame = connect("MQTT", 5, 0x02, &[&props(&[&list.concat()]), &s("c")]);
    let mut packet = Connect::new(V5, "c".parse().expect("legal"));
    packet.keepalive_s = 60;
    packet.properties = ConnectProperties {
        session_expiry_s: Some(9),
        receive_max: 10.try_into().ok(),
        packet_size_max: 65_536.try_into().ok(),
        topic_alias_max: 7,
        request_response_information: true,
        request_problem_information: false,
        user_properties: [("k".parse().expect("legal"), "v".parse().expect("legal"))].into_iter().collect(),
        authentication: Some(revoq_mqtt::Authentication {
            method: "SCRAM-SHA-256".parse().expect("legal"),
            data: Some(Bytes::from_static(b"x")),
        }),
    };
    both_ways("properties", frame, V5, &Packet::Connect(Box::new(packet)));
}

#[test]
fn the_older_versions_are_judged_by_their_own_text() {
    // 3.1.1 [MQTT-3.1.2-22]; version 5 allows it.
    refused("password alone", connect("MQTT", 4, 0x42, &[&s("c"), &s("p")]), V311, PasswordWithoutUserName);
    refused("reserved flag", connect("MQTT", 4, 0x03, &[&s("c")]), V311, ConnectFlags);
    refused("will bits", connect("MQTT", 4, 0x22, &[&s("c")]), V311, WillFlags);
    accepted("3.1: unused bits", connect("MQIsdp", 3, 0x23, &[&s("c")]), V31);
    accepted("3.1: user name flag without the field", connect("MQIsdp", 3, 0xC2, &[&s("c")]), V31);
    refused("3.1.1: user name missing", connect("MQTT", 4, 0x82, &[&s("c")]), V311, Truncated);
    let subscribe = |bits| frame(0x82, &[&[0, 1], &s("a"), &[bits]]);
    refused("3.1.1: reserved bits of the QoS", subscribe(0x04), V311, SubscriptionOptions);
    accepted("3.1: unused bits of the QoS", subscribe(0x04), V31);
    refused("3.1.1: SUBSCRIBE with DUP", frame(0x8A, &[&[0, 1], &s("a"), &[0]]), V311, FixedHeaderFlags);
    accepted("3.1: SUBSCRIBE with DUP", frame(0x8A, &[&[0, 1], &s("a"), &[0]]), V31);
    refused("3.1.1: DUP with QoS 0", frame(0x38, &[&s("a")]), V311, Dup);
    accepted("3.1: DUP with QoS 0", frame(0x38, &[&s("a")]), V31);
    for version in [V31, V311] {
        refused("AUTH", frame(0xF0, &[]), version, PacketType);
        refused("PUBACK with a reason", frame(0x40, &[&[0, 1, 0]]), version, TrailingBytes);
        refused("DISCONNECT with a reason", frame(0xE0, &[&[0]]), version, TrailingBytes);
        refused("empty topic", frame(0x30, &[&s("")]), version, TopicEmpty);
        refused("SUBACK 0x87", frame(0x90, &[&[0, 1, 0x87]]), version, ReasonCode);
        refused("return code 6", frame(0x20, &[&[0, 6]]), version, ReasonCode);
        accepted("padded remaining length", Bytes::from_static(&[0xC0, 0x80, 0x00]), version);
    }
}
