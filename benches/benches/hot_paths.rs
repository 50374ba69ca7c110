//! The cores on the path of an event and of a verdict, without sockets: `cargo bench -p revoq-benches --bench hot_paths`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use revoq_credentials::{Change, Denial, Event, Fingerprint, Millis, Revision, State, View};
use revoq_credentials::{Credential, Principal, TenantName};

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
        let principal = Principal { tenant: TenantName::default(), device: None, credential, password: None };
        c.bench_function(&format!("verdict beside {denied} denied certificates"), |b| {
            b.iter(|| view.verdict(black_box(&principal), Millis(1)));
        });
    }
}

criterion_group!(benches, event, verdict);
criterion_main!(benches);
