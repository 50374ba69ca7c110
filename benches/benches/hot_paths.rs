//! The cores on the path of a message and of a verdict, without sockets: `cargo bench -p revoq-benches`.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};
use revoq_credentials::{Change, Denial, Fingerprint, Millis, Revision, State, View};
use revoq_credentials::{Credential, Principal, TenantName};
use revoq_mqtt::{
    EncodedPublish, Packet, Publish, PublishProperties, QoS, Topic, TopicFilter, Version, decode, encode,
};
use revoq_routing::Table;

fn publish() -> Publish {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "fleet/north/pump-17/telemetry".parse::<Topic>().expect("a topic"),
        packet_id: None,
        properties: PublishProperties::default(),
        payload: Bytes::from_static(&[b'x'; 100]),
    }
}

fn codec(c: &mut Criterion) {
    for version in [Version::V311, Version::V5] {
        let mut frame = BytesMut::new();
        encode(&Packet::Publish(publish()), version, &mut frame).expect("it fits");
        let frame = frame.freeze();
        c.bench_function(&format!("decode PUBLISH of 100 bytes, {version}"), |b| {
            b.iter(|| decode(black_box(frame.clone()), version));
        });
        let encoded =
            EncodedPublish::new(&publish(), version, QoS::AtMostOnce, false, false).expect("it fits");
        let mut out = BytesMut::with_capacity(1 << 16);
        c.bench_function(&format!("write PUBLISH to one more subscriber, {version}"), |b| {
            b.iter(|| {
                if out.len() > 1 << 15 {
                    out.clear();
                }
                encoded.write(None, black_box(&mut out));
            });
        });
    }
}

fn routing(c: &mut Criterion) {
    let topic: Topic = "fleet/north/pump-17/telemetry".parse().expect("a topic");
    for filters in [100_u32, 100_000] {
        let mut table: Table<u32, ()> = Table::new();
        for n in 0..filters {
            let filter: TopicFilter = format!("fleet/north/pump-{n}/telemetry").parse().expect("a filter");
            table.subscribe(&filter, n, ());
        }
        table.subscribe(&"fleet/+/pump-17/#".parse::<TopicFilter>().expect("a filter"), filters, ());
        c.bench_function(&format!("match against {filters} filters, two hits"), |b| {
            b.iter(|| {
                let mut hits = 0;
                table.matches(black_box(&topic), |_, ()| hits += 1);
                hits
            });
        });
    }
}

fn verdict(c: &mut Criterion) {
    for denied in [100_u32, 100_000] {
        let denials = (0..denied).map(|n| {
            Change::Denied(Denial {
                fingerprint: Fingerprint::of(&n.to_be_bytes()),
                state: State::Suspended,
                reason: None,
                not_after: Millis(u64::MAX),
            })
        });
        let view = View::from_snapshot(Revision(1), denials);
        let credential = Credential::Certificate {
            fingerprint: Fingerprint::of(b"another"),
            authority: None,
            not_after: Millis(u64::MAX),
        };
        let principal = Principal { tenant: TenantName::default(), device: None, credential };
        c.bench_function(&format!("verdict beside {denied} denied certificates"), |b| {
            b.iter(|| view.verdict(black_box(&principal), Millis(1)));
        });
    }
}

criterion_group!(benches, codec, routing, verdict);
criterion_main!(benches);
