//! The cores on the path of a message and of a verdict, without sockets: `cargo bench -p revoq-benches`.

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};
use revoq_credentials::{Change, Denial, Event, Fingerprint, Millis, Revision, State, View};
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

fn denial(n: u32) -> Change {
    Change::Denied(Denial {
        fingerprint: Fingerprint::of(&n.to_be_bytes()),
        state: State::Suspended,
        reason: None,
        not_after: Millis(u64::MAX),
    })
}

/// A broker publishes a view of its own after each event: the one before it is shared but for what changed.
fn event(c: &mut Criterion) {
    for denied in [100_u32, 10_000, 1_000_000] {
        let mut current = Arc::new(View::from_snapshot(Revision(1), (0..denied).map(denial)));
        let mut revision = 1;
        c.bench_function(&format!("apply and publish an event beside {denied} denied certificates"), |b| {
            b.iter(|| {
                revision += 1;
                let number = u32::try_from(revision % 1_000).expect("small") + denied;
                let change = match denial(number) {
                    Change::Denied(denial) if revision % 2_000 >= 1_000 => {
                        Change::Allowed(denial.fingerprint)
                    }
                    denied => denied,
                };
                let event = Event {
                    revision: Revision(revision),
                    time: Millis(0),
                    actor: String::new(),
                    action: String::new(),
                    changes: vec![change],
                };
                let mut next = View::clone(&current);
                black_box(next.apply(&event));
                current = Arc::new(next);
            });
        });
    }
    let snapshot: Vec<Change> = (0..10_000).map(denial).collect();
    c.bench_function("a view from a snapshot with 10000 denied certificates", |b| {
        b.iter(|| View::from_snapshot(Revision(1), black_box(&snapshot).iter().cloned()));
    });
}

fn verdict(c: &mut Criterion) {
    for denied in [100_u32, 100_000] {
        let view = View::from_snapshot(Revision(1), (0..denied).map(denial));
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

criterion_group!(benches, codec, routing, event, verdict);
criterion_main!(benches);
