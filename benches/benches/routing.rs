//! What it costs to find who gets a message, at sizes from ten subscriptions to a million, and what publishers that share a
//! table with one who subscribes get done: `cargo bench -p revoq-benches --bench routing`.
//!
//! Topics come in no order, so that at large sizes the caches are as cold as in a broker.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_utils::sync::ShardedLock;
use parking_lot::RwLock;
use revoq_mqtt::{Topic, TopicFilter};
use revoq_routing::{Draw, HashKeys, Shared, Strategy, Table, stable_hash};
use revoq_session::SubscriptionTerms;

const SIZES: [u64; 4] = [10, 1_000, 100_000, 1_000_000];
/// Topics that are published in turn, at most.
const TOPICS_MAX: u64 = 65_536;

type Terms = Table<usize, SubscriptionTerms>;

type Kind = (&'static str, fn(u64) -> String);

/// Kinds of filters, one a device: what device `n` subscribes to.
const KINDS: [Kind; 4] = [
    ("exact", |n| format!("fleet/{}/pump-{n}/command", n % 100)),
    ("single", |n| format!("fleet/+/pump-{n}/command")),
    ("multi", |n| format!("fleet/{}/pump-{n}/#", n % 100)),
    ("mixed", |n| match n % 20 {
        0..14 => format!("fleet/{}/pump-{n}/command", n % 100),
        14..17 => format!("fleet/+/pump-{n}/command"),
        17..19 => format!("fleet/{}/pump-{n}/#", n % 100),
        _ => format!("+/{}/pump-{n}/+", n % 100),
    }),
];

/// As good as random: nobody attacks.
fn keys() -> HashKeys {
    HashKeys::from([1, 2, 3, 4])
}

fn filter(text: &str) -> TopicFilter {
    text.parse().expect("a filter")
}

fn table(size: u64, text: impl Fn(u64) -> String) -> Terms {
    let mut table = Table::new(keys());
    for n in 0..size {
        let target = usize::try_from(n).expect("small");
        table.subscribe(&filter(&text(n)), target, SubscriptionTerms::default());
    }
    table
}

/// A topic of each of so many devices, in an order that has nothing to do with that of the subscriptions.
fn topics(size: u64) -> Vec<Topic> {
    let count = size.min(TOPICS_MAX);
    let device = |n: u64| stable_hash(&n.to_be_bytes()) % size;
    let name = |n| format!("fleet/{}/pump-{n}/command", n % 100);
    (0..count).map(|n| name(device(n)).parse().expect("a topic")).collect()
}

fn matching(c: &mut Criterion) {
    for (kind, text) in KINDS {
        let mut group = c.benchmark_group(format!("match/{kind}"));
        for size in SIZES {
            let (table, topics) = (table(size, text), topics(size));
            let mut next = (0..topics.len()).cycle();
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter(|| {
                    let mut hits = 0;
                    let topic = &topics[next.next().expect("endless")];
                    table.matches(black_box(topic), |target, _| hits += target);
                    hits
                });
            });
        }
    }
}

/// One message to many: what a target more costs.
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out");
    for size in [1_u64, 100, 10_000] {
        let table = table(size, |_| "news".to_owned());
        let topic: Topic = "news".parse().expect("a topic");
        group.throughput(Throughput::Elements(size));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                let mut sum = 0;
                table.matches(black_box(&topic), |target, _| sum += target);
                sum
            });
        });
    }
}

/// A subscription that comes and goes beside so many others.
fn subscribing(c: &mut Criterion) {
    for (kind, text) in &KINDS[..3] {
        let mut group = c.benchmark_group(format!("subscribe and unsubscribe/{kind}"));
        for size in SIZES {
            let mut table = table(size, text);
            let mut n = size;
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter_batched(
                    || {
                        n += 1;
                        filter(&text(n))
                    },
                    |filter| {
                        table.subscribe(&filter, 1, SubscriptionTerms::default());
                        table.unsubscribe(&filter, 1)
                    },
                    criterion::BatchSize::SmallInput,
                );
            });
        }
    }
}

/// A message to one group of 100, by each strategy.
fn strategies(c: &mut Criterion) {
    let mut group = c.benchmark_group("shared");
    for strategy in Strategy::ALL {
        let mut shared = Shared::new(strategy, keys());
        for target in 0..100_usize {
            shared.subscribe(&filter("$share/g/fleet/+/+/command"), target, SubscriptionTerms::default());
        }
        let topics = topics(1_000);
        let mut next = (0..topics.len()).cycle();
        group.bench_function(BenchmarkId::from_parameter(strategy.name()), |b| {
            b.iter(|| {
                let at = next.next().expect("endless");
                let draw =
                    Draw { publisher: at as u64, random: (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) };
                shared.offer(black_box(&topics[at]), draw, |target, _, _| black_box(target) < 100)
            });
        });
    }
}

/// A lock around a table.
trait Lock: Sync {
    fn publish(&self, topic: &Topic);
    fn change(&self, change: impl FnOnce(&mut Terms));
}

fn sum(table: &Terms, topic: &Topic) {
    let mut hits = 0;
    table.matches(topic, |target, _| hits += target);
    black_box(hits);
}

impl Lock for RwLock<Terms> {
    fn publish(&self, topic: &Topic) {
        sum(&self.read(), topic);
    }

    fn change(&self, change: impl FnOnce(&mut Terms)) {
        change(&mut self.write());
    }
}

impl Lock for ShardedLock<Terms> {
    fn publish(&self, topic: &Topic) {
        sum(&self.read().expect("nobody panicked"), topic);
    }

    fn change(&self, change: impl FnOnce(&mut Terms)) {
        change(&mut self.write().expect("nobody panicked"));
    }
}

/// How long `each` publications take where two threads publish, and a third subscribes and unsubscribes every so often, or
/// never.
fn contended(table: &impl Lock, topics: &[Topic], each: u64, pause: Option<Duration>) -> Duration {
    let done = AtomicBool::new(false);
    let publish = |offset: usize| {
        let start = Instant::now();
        for (topic, _) in topics.iter().cycle().skip(offset).zip(0..each) {
            table.publish(topic);
        }
        start.elapsed()
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let Some(pause) = pause else { return };
            for n in (0_u64..).take_while(|_| !done.load(Ordering::Relaxed)) {
                let filter = filter(&format!("fleet/{}/valve-{n}/command", n % 100));
                table.change(|table| {
                    table.subscribe(&filter, 1, SubscriptionTerms::default());
                });
                table.change(|table| {
                    table.unsubscribe(&filter, 1);
                });
                std::thread::sleep(pause);
            }
        });
        let other = scope.spawn(|| publish(topics.len() / 2));
        let longest = publish(0).max(other.join().expect("it does not panic"));
        done.store(true, Ordering::Relaxed);
        writer.join().expect("it does not panic");
        longest
    })
}

fn contention(c: &mut Criterion) {
    let topics = topics(100_000);
    let (one, sharded) =
        (RwLock::new(table(100_000, KINDS[0].1)), ShardedLock::new(table(100_000, KINDS[0].1)));
    let pauses = [("alone", None), ("beside 5,000 subscriptions a second", Some(Duration::from_micros(150)))];
    for (name, pause) in pauses {
        let mut group = c.benchmark_group(format!("two publish/{name}"));
        group.bench_function("one lock", |b| b.iter_custom(|each| contended(&one, &topics, each, pause)));
        group.bench_function("sharded lock", |b| {
            b.iter_custom(|each| contended(&sharded, &topics, each, pause));
        });
    }
}

criterion_group!(benches, matching, fan_out, subscribing, strategies, contention);
criterion_main!(benches);
