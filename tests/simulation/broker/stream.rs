//! One watch stream after the other, and the lease that is asked for on it. Stands for `control/stream.rs` and
//! `control/mod.rs` of broker-node/broker.

use std::collections::VecDeque;

use revoq_credentials::Change;
use revoq_lease::Now;

use super::{Broker, PAUSE_MAX, PAUSE_MIN};
use crate::clock::{MILLISECOND, SECOND, Time};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::oracle::Fact;
use crate::packet::{Address, BrokerSays, Hello, Renew, Said, Timer};

/// A replica that does not open the stream within this time is lost.
const OPEN_TIMEOUT: Time = 5 * SECOND;

/// Renewals in one lease.
const RENEWALS: Time = 3;

#[derive(Debug)]
pub(super) struct Stream {
    name: u64,
    /// Renewals that are not answered, with the moment before each was sent: by the broker's clocks, and true time.
    renewals: VecDeque<(u64, Now, Time)>,
    /// The parts of a snapshot that is not complete.
    snapshot: Option<Vec<Change>>,
    heard: Time,
    /// When the last renewal was sent, and when the next is due.
    renewed: Time,
    renew_at: Time,
    /// The replica answered: only then is it asked for anything.
    accepted: bool,
    served: bool,
}

impl Broker {
    pub(super) fn open_stream(&mut self, engine: &mut Engine) {
        if self.stream.is_some() || self.draining || self.removed {
            return;
        }
        let (node, incarnation, revision) = (self.node, self.incarnation, self.view.revision().0);
        let hello = Hello::Watch { node, incarnation, revision };
        let name = engine.open(self.address(), Address::Replica(self.preferred), hello);
        let renewals = VecDeque::new();
        let (opened, accepted) = (engine.now, false);
        if engine.has(Fault::NumbersRepeat) {
            self.sequence = 0;
        }
        let (heard, renewed, renew_at) = (opened, opened, opened);
        let (snapshot, served) = (None, false);
        self.stream = Some(Stream { name, renewals, snapshot, heard, renewed, renew_at, accepted, served });
        engine.after(OPEN_TIMEOUT, self.address(), Timer::Opening { stream: name });
    }

    pub(super) fn accepted(&mut self, engine: &mut Engine, stream: u64) {
        if self.heard(engine.now, stream) {
            if let Some(present) = &mut self.stream {
                present.accepted = true;
            }
            self.renew_due(engine, stream);
        }
    }

    /// A replica that does not open the stream in time is lost.
    pub(super) fn late(&mut self, engine: &mut Engine, stream: u64) {
        if self.stream.as_ref().is_some_and(|present| present.name == stream && !present.accepted) {
            engine.hang_up(self.address(), stream);
            self.lost(engine, stream);
        }
    }

    /// A message of this stream came. False: it is not the present one.
    pub(super) fn heard(&mut self, now: Time, stream: u64) -> bool {
        let Some(present) = self.stream.as_mut().filter(|present| present.name == stream) else {
            return false;
        };
        present.heard = now;
        true
    }

    pub(super) fn say(&mut self, engine: &mut Engine, message: BrokerSays) {
        if let Some(stream) = &self.stream {
            engine.say(self.address(), stream.name, Said::Broker(message));
        }
    }

    fn lease(&self) -> Time {
        Time::try_from(self.view.settings().lease.as_micros()).expect("a lease is short")
    }

    pub(super) fn renew_due(&mut self, engine: &mut Engine, stream: u64) {
        let (lease, now, clocks) = (self.lease(), engine.now, self.now(engine));
        let Some(present) = self.stream.as_mut().filter(|present| present.name == stream) else { return };
        if now < present.renew_at {
            return;
        }
        let silent = now > present.heard + lease;
        let oldest =
            present.renewals.front().map(|(_, sent, _)| clocks.boot.saturating_sub(sent.boot) * 1_000);
        if silent || (present.snapshot.is_none() && oldest.is_some_and(|waited| waited > lease)) {
            engine.hang_up(self.address(), stream);
            return self.lost(engine, stream);
        }
        self.sequence += 1;
        let sequence = self.sequence;
        // The lease counts from before the request leaves.
        present.renewals.push_back((sequence, clocks, now));
        present.renewed = now;
        let (revision, sessions) = (self.view.revision().0, self.registry.len());
        self.say(engine, BrokerSays::Renew(Renew { sequence, revision, sessions }));
        if !self.used.is_empty() {
            let used = std::mem::take(&mut self.used).into_iter().collect();
            self.say(engine, BrokerSays::Usage(used));
        }
        self.renew_within(engine, stream, lease / RENEWALS, true);
    }

    /// The next renewal is due after `delay`, or earlier if it was and is not to be put off.
    fn renew_within(&mut self, engine: &mut Engine, stream: u64, delay: Time, put_off: bool) {
        let Some(present) = self.stream.as_mut().filter(|present| present.name == stream) else { return };
        let at = engine.now + delay;
        if put_off || at < present.renew_at {
            present.renew_at = at;
            engine.at(at, self.address(), Timer::Renew { stream });
        }
    }

    pub(super) fn handle_grant(&mut self, engine: &mut Engine, sequence: u64, lease_ms: u64) {
        let arrived = self.now(engine);
        let Some(stream) = &mut self.stream else { return };
        while let Some((asked, sent, at)) = stream.renewals.front().copied() {
            if asked > sequence {
                return;
            }
            stream.renewals.pop_front();
            if asked == sequence {
                let sent = if engine.has(Fault::LeaseFromArrival) { arrived } else { sent };
                self.freshness.grant(sent, lease_ms);
                stream.served = true;
                let (name, renewed) = (stream.name, stream.renewed);
                engine.tell(Fact::Granted { broker: self.seat, asked: at, lease_ms });
                if !engine.has(Fault::RenewsByOldView) {
                    // The lease may be shorter than this broker knew when it asked for it.
                    let next = renewed + lease_ms * MILLISECOND / RENEWALS;
                    self.renew_within(engine, name, next.saturating_sub(engine.now), false);
                }
                return;
            }
        }
    }

    /// Adds a part of a snapshot; the whole, with the last one.
    pub(super) fn collect(&mut self, part: Vec<Change>, first: bool, last: bool) -> Option<Vec<Change>> {
        let stream = self.stream.as_mut()?;
        if first {
            stream.snapshot = Some(Vec::new());
        }
        stream.snapshot.as_mut()?.extend(part);
        if last { stream.snapshot.take() } else { None }
    }

    /// The stream ended: another replica may do better.
    pub(super) fn lost(&mut self, engine: &mut Engine, stream: u64) {
        let Some(present) = self.stream.take_if(|present| present.name == stream) else { return };
        self.pause = if present.served { PAUSE_MIN } else { (self.pause * 2).min(PAUSE_MAX) };
        self.preferred = (self.preferred + 1) % engine.plan.replicas;
        let pause = engine.chance.between(self.pause / 2, self.pause * 3 / 2);
        if !engine.has(Fault::StreamGivenUp) {
            engine.after(pause, self.address(), Timer::Watch);
        }
    }

    /// For good.
    pub(super) fn end_stream(&mut self, engine: &mut Engine) {
        if let Some(stream) = self.stream.take() {
            engine.hang_up(self.address(), stream.name);
        }
    }
}
