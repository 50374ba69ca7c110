//! One encoding for many receivers.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use revoq_mqtt::{
    EncodedPublish, Packet, PacketId, Publish, PublishProperties, QoS, Recipient, SubscriptionId, Topic,
    TopicAlias, Version, decode,
};

use crate::generate;

fn decoded(out: BytesMut, version: Version) -> Publish {
    match decode(out.freeze(), version) {
        Ok(Packet::Publish(publish)) => publish,
        other => panic!("{other:?}"),
    }
}

/// What a receiver of `publish` should read.
fn expected(publish: &Publish, version: Version, qos: QoS, id: Option<PacketId>) -> Publish {
    let PublishProperties { expiry_s, forwarded, .. } = publish.properties.clone();
    let v5 = PublishProperties { expiry_s, forwarded, ..Default::default() };
    Publish {
        dup: false,
        qos,
        retain: true,
        topic: publish.topic.clone(),
        packet_id: id,
        properties: if version.is_v5() { v5 } else { PublishProperties::default() },
        payload: publish.payload.clone(),
    }
}

proptest! {
    #[test]
    fn every_receiver_reads_the_message(
        publish in generate::publish(Version::V5).prop_filter("unnamed", |publish| !publish.topic.is_empty()),
        version in generate::version(),
        ids in prop::collection::vec(1..=u16::MAX, 1..4),
    ) {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let encoded = EncodedPublish::new(&publish, version, qos, true, false).expect("legal");
            for &id in &ids {
                let id = PacketId::new(id).filter(|_| qos > QoS::AtMostOnce);
                let mut out = BytesMut::new();
                encoded.write(id, &mut out);
                prop_assert_eq!(out.len(), encoded.size());
                let mut composed = BytesMut::new();
                encoded.write_for(id, &Recipient::default(), &mut composed).expect("small");
                prop_assert_eq!(&out, &composed);
                prop_assert_eq!(decoded(out, version), expected(&publish, version, qos, id));
            }
        }
    }
}

#[test]
fn a_receiver_gets_its_own_properties() {
    let publish = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: "a/b".parse().expect("legal"),
        packet_id: PacketId::new(9),
        properties: PublishProperties { expiry_s: Some(60), ..Default::default() },
        payload: Bytes::from_static(b"hi"),
    };
    let encoded = EncodedPublish::new(&publish, Version::V5, QoS::AtLeastOnce, false, true).expect("legal");
    let subscription_ids = [SubscriptionId::new(5).expect("legal"), SubscriptionId::new(500).expect("legal")];
    let recipient = Recipient {
        expiry_s: Some(42),
        topic_alias: TopicAlias::new(3),
        alias_known: true,
        subscription_ids: &subscription_ids,
    };
    let mut out = BytesMut::new();
    encoded.write_for(PacketId::new(77), &recipient, &mut out).expect("small");
    let read = decoded(out, Version::V5);
    assert_eq!((read.dup, read.packet_id, read.topic), (true, PacketId::new(77), Topic::unnamed()));
    assert_eq!(read.properties.expiry_s, Some(42));
    assert_eq!(read.properties.topic_alias, TopicAlias::new(3));
    assert_eq!(read.properties.subscription_ids, subscription_ids);
}

#[test]
fn the_payload_is_shared_and_the_head_is_small() {
    let publish = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "a".parse().expect("legal"),
        packet_id: None,
        properties: PublishProperties::default(),
        payload: Bytes::from(vec![7; 1 << 20]),
    };
    let encoded = EncodedPublish::new(&publish, Version::V311, QoS::AtMostOnce, false, false).expect("legal");
    assert_eq!(encoded.payload().as_ptr(), publish.payload.as_ptr());
    let mut head = BytesMut::new();
    encoded.write_head(None, &mut head);
    assert_eq!(head.len() + encoded.payload().len(), encoded.size());
    assert!(EncodedPublish::new(&publish, Version::V5, QoS::AtMostOnce, false, true).is_err());
    let unnamed = Publish { topic: Topic::unnamed(), ..publish };
    assert!(EncodedPublish::new(&unnamed, Version::V5, QoS::AtMostOnce, false, false).is_err());
}
