//! Limits, back-pressure and what is shared.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use revoq_mqtt::{Packet, PacketId, Publish, PublishProperties, QoS, Version, encode};
use revoq_session::{Config, Counters, Delivery, Message, SubscriptionTerms, Tick};

use crate::stage::Stage;

const V5: &str = "connect v=5 id=a";

fn publish(qos: QoS, size: usize) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: "t".parse().expect("a topic"),
        packet_id: (qos != QoS::AtMostOnce).then_some(PacketId::FIRST),
        properties: PublishProperties::default(),
        payload: Bytes::from(vec![b'x'; size]),
    }
}

fn encoded(packet: &Packet) -> BytesMut {
    let mut out = BytesMut::new();
    encode(packet, Version::V5, &mut out).expect("encodes");
    out
}

#[test]
fn outputs_of_one_call_are_bounded() {
    let mut stage = Stage::connected(Config::default(), V5);
    let one = encoded(&Packet::Publish(publish(QoS::AtMostOnce, 0)));
    let mut input = BytesMut::from(one.repeat(1000).as_slice());
    let mut rounds = 0;
    let mut published = 0;
    loop {
        stage.session.handle_bytes(Tick(1), &mut input);
        let taken = std::iter::from_fn(|| stage.session.poll_output()).count();
        if taken == 0 {
            break;
        }
        assert!(taken <= 64, "{taken} outputs at once");
        published += taken;
        rounds += 1;
    }
    assert_eq!((published, input.len()), (1000, 0));
    assert!(rounds > 10);
}

#[test]
fn a_client_that_only_asks_is_not_read_any_more() {
    let config = Config { write_bytes_high: 100, ..Config::default() };
    let mut stage = Stage::connected(config, V5);
    let mut input = BytesMut::from(encoded(&Packet::PingReq).repeat(1000).as_slice());
    stage.session.handle_bytes(Tick(1), &mut input);
    assert!(!stage.session.wants_bytes());
    assert_eq!(stage.session.write_buffer().len(), 100, "50 answers of two bytes");
    stage.session.write_buffer().clear();
    assert!(stage.session.wants_bytes());
    stage.session.handle_bytes(Tick(1), &mut input);
    assert_eq!(stage.session.write_buffer().len(), 100);
}

#[test]
fn requests_without_an_answer_pause_reading() {
    let mut stage = Stage::connected(Config { requests_max: 2, ..Config::default() }, V5);
    assert_eq!(stage.run("subscribe id=1 a").len(), 1);
    assert_eq!(stage.run("unsubscribe id=2 a").len(), 1);
    assert!(stage.run("pingreq").is_empty());
    assert_eq!(stage.run("subscribed id=1 00"), ["> SubAck id=1 00", "> PingResp"]);
}

#[test]
fn the_window_is_the_lower_of_both_sides() {
    for (connect, sent) in [(V5, 3), ("connect v=5 id=a receive_max=2", 2), ("connect v=3.1.1 id=a", 3)] {
        let mut stage = Stage::connected(Config { inflight_max: 3, ..Config::default() }, connect);
        assert_eq!(stage.run("deliver topic=t qos=1 times=10").len(), sent, "{connect}");
    }
}

#[test]
fn drops_are_counted() {
    let config = Config { write_bytes_high: 1, queue_max: 2, ..Config::default() };
    let mut stage = Stage::connected(config, "connect v=5 id=a packet_size_max=100");
    stage.run("deliver topic=t size=200");
    stage.run("at 60000");
    stage.run("deliver topic=t expiry=1 age=5000");
    stage.run("stall");
    stage.run("deliver topic=t times=6");
    let expected = Counters {
        dropped_queue_full: 3,
        dropped_expired: 1,
        dropped_too_large: 1,
        filters_refused: 0,
        ..Counters::default()
    };
    assert_eq!(stage.session.take_counters(), expected);
    assert_eq!(stage.session.take_counters(), Counters::default(), "they start anew");
}

#[test]
fn filters_beyond_a_limit_are_counted() {
    let config = Config { subscriptions_max: 1, topic_levels_max: 3, ..Config::default() };
    let mut stage = Stage::connected(config, V5);
    stage.run("subscribe id=1 a/b/c/d a b");
    assert_eq!(stage.run("subscribed id=1 00"), ["> SubAck id=1 8f 00 97"]);
    let expected = Counters { filters_refused: 2, ..Counters::default() };
    assert_eq!(stage.session.take_counters(), expected);
}

#[test]
fn a_message_too_large_frees_its_identifier() {
    let mut stage = Stage::connected(
        Config { inflight_max: 1, ..Config::default() },
        "connect v=5 id=a packet_size_max=100",
    );
    // With a subscription identifier the size is known only after it is written.
    assert!(stage.run("deliver topic=t qos=1 size=91 subscription_id=200000000").is_empty());
    assert_eq!(stage.run("deliver topic=t qos=1 payload=x"), ["> Publish t qos=1 id=2 payload=x"]);
}

#[test]
fn the_buffer_stays_within_its_limit() {
    let config = Config { write_bytes_high: 1000, ..Config::default() };
    let mut stage = Stage::connected(config, V5);
    stage.run("stall");
    stage.run("deliver topic=t size=400 times=100");
    assert!(stage.session.write_buffer().len() < 1000 + 420);
    stage.session.write_buffer().clear();
    assert!(stage.session.write_buffer().len() >= 1000, "the queue moves up");
}

#[test]
fn subscribers_of_one_kind_get_the_same_bytes() {
    let message = Arc::new(Message::new(publish(QoS::AtLeastOnce, 10), Tick(0)));
    let delivery = Delivery::new(&message, &SubscriptionTerms::default(), false).expect("a delivery");
    let expected = encoded(&Packet::Publish(publish(QoS::AtMostOnce, 10)));
    for _ in 0..3 {
        let mut stage = Stage::connected(Config::default(), V5);
        stage.session.handle_delivery(Tick(5), &delivery);
        assert_eq!(stage.session.write_buffer(), &expected);
    }
}
