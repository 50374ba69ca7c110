//! A broker node: the view, the registry, the lease, and the stream that feeds them.
//!
//! `View` of `revoq_credentials` and `Freshness` of `revoq_lease` are the real ones; what drives them here does in the
//! same order what broker-node/broker does. Threads are imitated by steps: the watch thread takes its own one after
//! the other, each connection takes its own, and between any two steps of one all others may take theirs. Within a
//! step nothing else happens.

mod admission;
mod lookups;
mod registry;
mod stream;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use revoq_credentials::{Fingerprint, StaleNew, View};
use revoq_lease::{Freshness, IncarnationId, Now, Permitted};

use admission::Attempt;
pub(crate) use admission::{Arrival, Evidence};
use lookups::LookUps;
use registry::Registry;
use stream::Stream;
use watch::{Job, WatchThread};

use crate::clock::{Clock, MILLISECOND, SECOND, Time};
use crate::engine::{Engine, What};
use crate::packet::{Address, Packet, Response, Said, Timer, Told};

/// Streams are opened again after a pause between these.
const PAUSE_MIN: Time = 20 * MILLISECOND;
const PAUSE_MAX: Time = SECOND;

/// How often the lease is looked at for sessions that send nothing.
const LEASE_INTERVAL: Time = 50 * MILLISECOND;

/// One broker node, from the start of its process to the next one.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) seat: u8,
    pub(crate) node: u64,
    incarnation: IncarnationId,
    pub(crate) clock: Clock,
    pub(crate) view: View,
    pub(crate) freshness: Freshness,
    pub(crate) registry: Registry,
    lookups: LookUps,
    attempts: BTreeMap<u64, Attempt>,
    /// Certificates that authenticated and were not reported yet, and those that were.
    used: BTreeSet<Fingerprint>,
    reported: BTreeSet<Fingerprint>,
    stream: Option<Stream>,
    /// The number of the last renewal of this process, on whatever stream.
    sequence: u64,
    watch: WatchThread,
    /// The replica that is asked first.
    preferred: u8,
    pause: Time,
    draining: bool,
    pub(crate) removed: bool,
    permitted: Permitted,
}

impl Broker {
    /// A process that knows nothing yet.
    pub(crate) fn new(seat: u8, node: u64, clock: Clock, engine: &mut Engine) -> Broker {
        let mut incarnation = [0; 16];
        incarnation[..8].copy_from_slice(&engine.name().to_be_bytes());
        Broker {
            seat,
            node,
            incarnation: IncarnationId(incarnation),
            clock,
            view: View::new(),
            freshness: Freshness::default(),
            registry: Registry::default(),
            lookups: LookUps::default(),
            attempts: BTreeMap::new(),
            used: BTreeSet::new(),
            reported: BTreeSet::new(),
            stream: None,
            sequence: 0,
            watch: WatchThread::default(),
            preferred: seat % engine.plan.replicas,
            pause: PAUSE_MIN,
            draining: false,
            removed: false,
            permitted: Permitted::Never,
        }
    }

    pub(crate) fn address(&self) -> Address {
        Address::Broker(self.seat)
    }

    pub(crate) fn start(&mut self, engine: &mut Engine) {
        engine.start(self.address());
        engine.after(0, self.address(), Timer::Watch);
        let first = engine.chance.below(LEASE_INTERVAL);
        engine.after(first, self.address(), Timer::LeaseTick);
    }

    fn now(&self, engine: &Engine) -> Now {
        self.clock.read(engine.now)
    }

    /// What the lease permits; where the machine is stopped, what it would if it went on now.
    pub(crate) fn permitted(&self, now: Time) -> Permitted {
        let mut clock = self.clock.clone();
        clock.thaw(now);
        self.freshness.permitted(clock.read(now))
    }

    /// It neither ends nor knows that it was removed.
    pub(crate) fn is_open(&self) -> bool {
        !self.draining && !self.removed
    }

    /// May a client be let in now, as far as the age of the view is concerned? `Node::serves_new`.
    fn serves_new(&self, now: Now) -> bool {
        if self.draining || self.removed {
            return false;
        }
        match self.freshness.permitted(now) {
            Permitted::Fresh => true,
            Permitted::Stale => self.view.settings().stale_new == StaleNew::Serve,
            Permitted::Never | Permitted::Lapsed => false,
        }
    }

    /// Is everything at an end? `Node::is_lapsed`.
    fn is_lapsed(&self, now: Now) -> bool {
        self.freshness.permitted(now) == Permitted::Lapsed || self.removed
    }

    pub(crate) fn handle(&mut self, engine: &mut Engine, what: What) {
        match what {
            What::Packet { packet, .. } => self.receive(engine, packet),
            What::Timer(timer) => self.wake(engine, timer),
        }
    }

    fn receive(&mut self, engine: &mut Engine, packet: Packet) {
        match packet {
            Packet::Said { stream, said: Said::Control(message) } => {
                self.give(engine, Job::Said(stream, message));
            }
            Packet::Accepted { stream } => self.give(engine, Job::Accepted(stream)),
            Packet::Closed { stream } => self.give(engine, Job::Closed(stream)),
            Packet::Answer { call, response: Response::Found(found) } => {
                self.found(engine, call, Some(found));
            }
            Packet::Answer { call, .. } => self.found(engine, call, None),
            Packet::Unsent { call } => self.asked_in_vain(engine, call),
            other => unreachable!("{other:?} is not for a broker"),
        }
    }

    fn wake(&mut self, engine: &mut Engine, timer: Timer) {
        match timer {
            Timer::Watch => self.give(engine, Job::Open),
            Timer::Work => self.work(engine),
            Timer::Renew { stream } => self.give(engine, Job::Renew(stream)),
            Timer::Opening { stream } => self.give(engine, Job::Late(stream)),
            Timer::LeaseTick => self.give(engine, Job::LeaseTick),
            Timer::Attempt { attempt } => self.advance(engine, attempt),
            Timer::GiveUp { call } => self.found(engine, call, None),
            Timer::Publish { number } => self.publish(engine, number),
            Timer::Deliver { number } => self.deliver(engine, number),
            Timer::Left { attempt } => self.left(engine, attempt),
            other => unreachable!("{other:?} is not a broker's"),
        }
    }

    /// Tells a device something, by a connection that is always there.
    fn tell(&self, engine: &mut Engine, device: usize, attempt: u64, told: Told) {
        let delay = engine.chance.between(50, 500);
        engine.after(delay, Address::World, Timer::Told { device, attempt, told });
    }
}
