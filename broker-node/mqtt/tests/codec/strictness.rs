//! Packets of version 5 with a known verdict, many of which codecs in the field get wrong.

use bytes::Bytes;
use revoq_mqtt::Fault::{self, *};
use revoq_mqtt::Version::V5;

use crate::bytes::{accepted, frame, prop, props, refused, s, user, varint};

/// CONNECT of version 5 with these flags and properties; the payload follows.
fn connect(flags: u8, properties: &[&[u8]], payload: &[&[u8]]) -> Bytes {
    let head = [s("MQTT"), vec![5, flags, 0, 60], props(properties)].concat();
    frame(0x10, &[&head, &payload.concat()])
}

/// PUBLISH of QoS 0 with these properties.
fn publish(topic: impl AsRef<[u8]>, properties: &[&[u8]]) -> Bytes {
    frame(0x30, &[&s(topic), &props(properties), b"payload"])
}

/// SUBSCRIBE to one filter.
fn subscribe(filter: &str, options: u8) -> Bytes {
    frame(0x82, &[&[0, 1, 0], &s(filter), &[options]])
}

#[test]
fn legal_packets_are_accepted() {
    let longest = "x".repeat(65_535);
    let cases: Vec<(&str, Bytes)> = vec![
        ("message expiry 0", publish("a", &[&prop(0x02, [0; 4])])),
        ("password without user name", connect(0x42, &[], &[&s("c"), &s("secret")])),
        ("empty client id", connect(0x00, &[], &[&s("")])),
        ("empty topic with alias", publish("", &[&prop(0x23, [0, 1])])),
        ("user property repeated", publish("a", &[&user("k", "1"), &user("k", "2")])),
        ("empty user property", publish("a", &[&user("", "")])),
        ("several subscription identifiers", publish("a", &[&prop(0x0B, [1]), &prop(0x0B, [2])])),
        ("largest subscription identifier", publish("a", &[&prop(0x0B, varint(268_435_455))])),
        ("session expiry 0", connect(0x02, &[&prop(0x11, [0; 4])], &[&s("c")])),
        ("session expiry never", connect(0x02, &[&prop(0x11, [0xFF; 4])], &[&s("c")])),
        ("topic alias maximum 0", connect(0x02, &[&prop(0x22, [0, 0])], &[&s("c")])),
        ("keepalive 0", frame(0x10, &[&s("MQTT"), &[5, 2, 0, 0, 0], &s("")])),
        ("empty will payload", connect(0x06, &[], &[&s("c"), &[0], &s("w"), &s("")])),
        ("byte order mark", publish("\u{FEFF}a", &[])),
        ("control character", publish("a\u{1}", &[])),
        ("noncharacter", publish("a\u{FFFE}", &[])),
        ("only a slash", publish("/", &[])),
        ("longest topic", publish(longest, &[])),
        ("empty level in filter", subscribe("a//b", 0)),
        ("lonely +", subscribe("+", 0)),
        ("lonely #", subscribe("#", 0)),
        ("a/+/b/#", subscribe("a/+/b/#", 0x2E)),
        ("shared wildcard", subscribe("$share/g/#", 1)),
        ("shared slash", subscribe("$share/g//", 1)),
        ("PUBACK without reason", frame(0x40, &[&[0, 1]])),
        ("PUBACK without properties", frame(0x40, &[&[0, 1, 0x10]])),
        ("PUBREL of an unknown packet", frame(0x62, &[&[0, 1, 0x92]])),
        ("DISCONNECT without reason", frame(0xE0, &[])),
        ("DISCONNECT without properties", frame(0xE0, &[&[0x04]])),
        ("AUTH without reason", frame(0xF0, &[])),
    ];
    for (name, frame) in cases {
        accepted(name, frame, V5);
    }
}

#[test]
fn strings_ids_and_flags() {
    let cases: Vec<(&str, Bytes, Fault)> = vec![
        ("U+0000 in topic", publish("a\0", &[]), NullCharacter),
        ("U+0000 in user property", publish("a", &[&user("k\0", "v")]), NullCharacter),
        ("U+0000 in client id", connect(2, &[], &[&s("c\0")]), NullCharacter),
        ("surrogate in topic", publish(b"a\xED\xA0\x80", &[]), Utf8),
        ("overlong encoding", publish(b"\xC1\x81", &[]), Utf8),
        ("cut character", publish(b"a\xE2\x82", &[]), Utf8),
        ("DUP with QoS 0", frame(0x38, &[&s("a"), &[0]]), Dup),
        ("QoS 3", frame(0x36, &[&s("a"), &[0, 1, 0]]), Qos),
        ("packet id 0 in PUBLISH", frame(0x32, &[&s("a"), &[0, 0, 0]]), PacketId),
        ("packet id 0 in PUBACK", frame(0x40, &[&[0, 0]]), PacketId),
        ("packet id 0 in SUBSCRIBE", frame(0x82, &[&[0, 0, 0], &s("a"), &[0]]), PacketId),
        ("packet id 0 in UNSUBSCRIBE", frame(0xA2, &[&[0, 0, 0], &s("a")]), PacketId),
        ("PUBREL flags 0", frame(0x60, &[&[0, 1]]), FixedHeaderFlags),
        ("SUBSCRIBE flags 0", frame(0x80, &[&[0, 1, 0], &s("a"), &[0]]), FixedHeaderFlags),
        ("PUBACK flags 2", frame(0x42, &[&[0, 1]]), FixedHeaderFlags),
        ("PINGREQ flags 1", frame(0xC1, &[]), FixedHeaderFlags),
        ("CONNECT flags 1", frame(0x11, &[&s("MQTT"), &[5, 2, 0, 0, 0], &s("")]), FixedHeaderFlags),
        ("packet type 0", frame(0x00, &[]), PacketType),
        ("PINGREQ with a body", frame(0xC0, &[&[0]]), TrailingBytes),
        ("remaining length not minimal", Bytes::from_static(&[0xC0, 0x80, 0x00]), VariableByteInteger),
        ("property length not minimal", frame(0x30, &[&s("a"), &[0x80, 0x00]]), VariableByteInteger),
        (
            "remaining length of five bytes",
            Bytes::from_static(&[0xC0, 0x80, 0x80, 0x80, 0x80, 1]),
            VariableByteInteger,
        ),
    ];
    for (name, frame, fault) in cases {
        refused(name, frame, V5, fault);
    }
}

#[test]
fn topics_and_filters() {
    let response = |topic: &str| publish("a", &[&prop(0x08, s(topic))]);
    let will = |topic: &str| connect(0x06, &[], &[&s("c"), &[0], &s(topic), &s("p")]);
    let unsubscribe = |filter: &str| frame(0xA2, &[&[0, 1, 0], &s(filter)]);
    let cases: Vec<(&str, Bytes, Fault)> = vec![
        ("+ in topic", publish("a/+", &[]), TopicWildcard),
        ("# in topic", publish("a/#", &[]), TopicWildcard),
        ("wildcard inside a name", publish("a+b", &[]), TopicWildcard),
        ("wildcard in will topic", will("a/#"), TopicWildcard),
        ("empty will topic", will(""), TopicEmpty),
        ("wildcard in response topic", response("r/+"), TopicWildcard),
        ("empty response topic", response(""), TopicEmpty),
        ("empty topic without alias", publish("", &[]), TopicEmpty),
        ("a/#/b", subscribe("a/#/b", 0), FilterWildcard),
        ("a+", subscribe("a+", 0), FilterWildcard),
        ("a/b#", subscribe("a/b#", 0), FilterWildcard),
        ("##", subscribe("##", 0), FilterWildcard),
        ("empty filter", subscribe("", 0), FilterEmpty),
        ("$share without filter", subscribe("$share/g", 0), Share),
        ("$share with an empty filter", subscribe("$share/g/", 0), Share),
        ("$share without name", subscribe("$share//a", 0), Share),
        ("$share with a wildcard as name", subscribe("$share/+/a", 0), Share),
        ("$share with a misplaced wildcard", subscribe("$share/g/a#", 0), FilterWildcard),
        ("no local on $share", subscribe("$share/g/a", 0x04), NoLocalShared),
        ("subscription option reserved bits", subscribe("a", 0x40), SubscriptionOptions),
        ("subscription QoS 3", subscribe("a", 0x03), Qos),
        ("retain handling 3", subscribe("a", 0x30), RetainHandling),
        ("SUBSCRIBE without filter", frame(0x82, &[&[0, 1, 0]]), Empty),
        ("SUBSCRIBE without options", frame(0x82, &[&[0, 1, 0], &s("a")]), Truncated),
        ("UNSUBSCRIBE without filter", frame(0xA2, &[&[0, 1, 0]]), Empty),
        ("UNSUBSCRIBE from a+", unsubscribe("a+"), FilterWildcard),
    ];
    for (name, frame, fault) in cases {
        refused(name, frame, V5, fault);
    }
}

#[test]
fn properties() {
    let connect = |properties: &[&[u8]]| connect(2, properties, &[&s("c")]);
    let subscribe = |properties: &[&[u8]]| frame(0x82, &[&[0, 1], &props(properties), &s("a"), &[0]]);
    let cases: Vec<(&str, Bytes, Fault)> = vec![
        ("payload format 2", publish("a", &[&prop(0x01, [2])]), PropertyValue),
        ("topic alias 0", publish("a", &[&prop(0x23, [0, 0])]), TopicAlias),
        ("receive maximum 0", connect(&[&prop(0x21, [0, 0])]), PropertyValue),
        ("maximum packet size 0", connect(&[&prop(0x27, [0; 4])]), PropertyValue),
        ("request problem information 2", connect(&[&prop(0x17, [2])]), PropertyValue),
        ("request response information 2", connect(&[&prop(0x19, [2])]), PropertyValue),
        ("subscription identifier 0", subscribe(&[&prop(0x0B, [0])]), PropertyValue),
        ("two subscription identifiers", subscribe(&[&prop(0x0B, [1]), &prop(0x0B, [1])]), PropertyRepeated),
        ("foreign property in PUBLISH", publish("a", &[&prop(0x11, [0; 4])]), Property),
        ("foreign property in CONNECT", connect(&[&prop(0x23, [0, 1])]), Property),
        ("foreign property in SUBSCRIBE", subscribe(&[&prop(0x1F, s("r"))]), Property),
        ("foreign property in PUBACK", frame(0x40, &[&[0, 1, 0], &props(&[&prop(0x11, [0; 4])])]), Property),
        ("unknown property", publish("a", &[&prop(0x7F, [0])]), Property),
        ("property repeated", publish("a", &[&prop(0x02, [0; 4]), &prop(0x02, [0; 4])]), PropertyRepeated),
        (
            "forwarded property repeated",
            publish("a", &[&prop(0x03, s("t")), &prop(0x03, s("t"))]),
            PropertyRepeated,
        ),
        ("value beyond the properties", publish("a", &[&prop(0x02, [0; 3])]), Truncated),
        ("properties beyond the packet", frame(0x30, &[&s("a"), &[9]]), Truncated),
        ("authentication data alone", connect(&[&prop(0x16, s("d"))]), AuthenticationMethod),
        ("AUTH without method", frame(0xF0, &[&[0x18, 0]]), AuthenticationMethod),
        (
            "AUTH with data alone",
            frame(0xF0, &[&[0x18], &props(&[&prop(0x16, s("d"))])]),
            AuthenticationMethod,
        ),
    ];
    for (name, frame, fault) in cases {
        refused(name, frame, V5, fault);
    }
}

#[test]
fn connect_flags_and_reason_codes() {
    let body = [s("MQTT"), vec![5, 2, 0, 0, 0], s("c")].concat();
    let cases: Vec<(&str, Bytes, Fault)> = vec![
        ("trailing bytes in CONNECT", frame(0x10, &[&body, b"x"]), TrailingBytes),
        ("will retain without will", connect(0x22, &[], &[&s("c")]), WillFlags),
        ("will QoS without will", connect(0x0A, &[], &[&s("c")]), WillFlags),
        ("will QoS 3", connect(0x1E, &[], &[&s("c"), &[0], &s("w"), &s("")]), WillFlags),
        ("reserved connect flag", connect(0x03, &[], &[&s("c")]), ConnectFlags),
        ("user name missing", connect(0x82, &[], &[&s("c")]), Truncated),
        ("password missing", connect(0xC2, &[], &[&s("c"), &s("u")]), Truncated),
        ("reserved connect acknowledge flags", frame(0x20, &[&[2, 0, 0]]), ConnAckFlags),
        ("session present in a refusal", frame(0x20, &[&[1, 0x87, 0]]), SessionPresent),
        ("CONNACK without properties", frame(0x20, &[&[0, 0]]), Truncated),
        ("maximum QoS 2", frame(0x20, &[&[0, 0], &props(&[&prop(0x24, [2])])]), PropertyValue),
        ("unknown reason in PUBACK", frame(0x40, &[&[0, 1, 0x7F]]), ReasonCode),
        ("foreign reason in PUBACK", frame(0x40, &[&[0, 1, 0x8E]]), ReasonCode),
        ("foreign reason in PUBREL", frame(0x62, &[&[0, 1, 0x10]]), ReasonCode),
        ("foreign reason in SUBACK", frame(0x90, &[&[0, 1, 0, 0x11]]), ReasonCode),
        ("foreign reason in DISCONNECT", frame(0xE0, &[&[0x01]]), ReasonCode),
        ("foreign reason in AUTH", frame(0xF0, &[&[0x87, 0]]), ReasonCode),
        ("SUBACK without reason", frame(0x90, &[&[0, 1, 0]]), Empty),
        ("trailing bytes in PUBACK", frame(0x40, &[&[0, 1, 0, 0, 9]]), TrailingBytes),
        ("trailing bytes in DISCONNECT", frame(0xE0, &[&[0, 0, 9]]), TrailingBytes),
        ("frame shorter than it says", Bytes::from_static(&[0x40, 3, 0, 1]), Truncated),
        ("frame longer than it says", Bytes::from_static(&[0x40, 2, 0, 1, 0]), TrailingBytes),
        ("no frame", Bytes::new(), Truncated),
    ];
    for (name, frame, fault) in cases {
        refused(name, frame, V5, fault);
    }
}
