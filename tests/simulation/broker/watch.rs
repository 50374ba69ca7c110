//! The watch thread: the view first, then the sweep, then the acknowledgement. Stands for `control/apply.rs` and
//! `control/lease.rs` of broker-node/broker.

use std::collections::VecDeque;
use std::rc::Rc;

use revoq_credentials::{Affected, Change, Event, NodeId, Revision, View};
use revoq_lease::Permitted;

use super::registry::Shut;
use super::{Broker, LEASE_INTERVAL};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::oracle::{Fact, Seen};
use crate::packet::{BrokerSays, ControlSays, Timer};

/// What the thread is given to do. It does one after the other.
#[derive(Debug)]
pub(super) enum Job {
    Open,
    Accepted(u64),
    /// The replica should have accepted the stream by now.
    Late(u64),
    Said(u64, ControlSays),
    Closed(u64),
    Renew(u64),
    LeaseTick,
}

/// A step of a job.
#[derive(Debug)]
enum Step {
    /// From here on every verdict is by this view.
    Publish(View, Seen),
    Sweep(Revision, Vec<Affected>),
    Acknowledge,
    /// What can wait until after the acknowledgement.
    Finish(Vec<Affected>),
    /// This node is no member any more.
    Removed,
    EndStream,
}

#[derive(Debug, Default)]
pub(super) struct WatchThread {
    jobs: VecDeque<Job>,
    steps: VecDeque<Step>,
    /// It will take its next step by itself.
    awake: bool,
    /// What the sweeps of the present job ended.
    cuts: Vec<(u64, u64)>,
}

impl Broker {
    pub(super) fn give(&mut self, engine: &mut Engine, job: Job) {
        self.watch.jobs.push_back(job);
        if !self.watch.awake {
            self.watch.awake = true;
            self.work(engine);
        }
    }

    /// The thread's next step.
    pub(super) fn work(&mut self, engine: &mut Engine) {
        if let Some(step) = self.watch.steps.pop_front() {
            self.take_step(engine, step);
        } else if let Some(job) = self.watch.jobs.pop_front() {
            self.begin_job(engine, job);
        }
        if self.watch.steps.is_empty() && self.watch.jobs.is_empty() {
            self.watch.awake = false;
            return;
        }
        let delay = engine.step_delay();
        engine.after(delay, self.address(), Timer::Work);
    }

    fn begin_job(&mut self, engine: &mut Engine, job: Job) {
        match job {
            Job::Open => self.open_stream(engine),
            Job::Accepted(stream) => self.accepted(engine, stream),
            Job::Late(stream) => self.late(engine, stream),
            Job::Said(stream, message) => self.hear(engine, stream, message),
            Job::Closed(stream) => self.lost(engine, stream),
            Job::Renew(stream) => self.renew_due(engine, stream),
            Job::LeaseTick => self.lease_tick(engine),
        }
    }

    fn hear(&mut self, engine: &mut Engine, stream: u64, message: ControlSays) {
        if !self.heard(engine.now, stream) {
            return;
        }
        match message {
            ControlSays::Events(events) => self.hear_events(&events, engine),
            ControlSays::Snapshot { revision, changes, first, last } => {
                if let Some(changes) = self.collect(changes, first, last) {
                    engine.totals.snapshots += 1;
                    self.hear_snapshot(engine, Revision(revision), changes);
                }
            }
            ControlSays::Progress { revision } => {
                self.view.advance(Revision(revision));
                let (view, seen) = (self.view.clone(), Seen::Progress);
                engine.tell(Fact::Viewed { broker: self.seat, view, seen });
            }
            ControlSays::Grant { sequence, lease_ms } => self.handle_grant(engine, sequence, lease_ms),
        }
    }

    fn hear_events(&mut self, events: &[Rc<Event>], engine: &Engine) {
        let mut view = self.view.clone();
        let affected: Vec<_> = events.iter().map(|event| (event.revision, view.apply(event))).collect();
        let me = Affected::Node(NodeId(self.node));
        let removed = affected.iter().any(|(_, affected)| affected.contains(&me));
        let seen = Seen::Events(events.iter().map(|event| event.revision.0).collect());
        if removed {
            self.watch.steps.push_back(Step::Removed);
        }
        self.plan(engine, view, seen, affected);
        if removed {
            self.watch.steps.push_back(Step::EndStream);
        }
    }

    fn hear_snapshot(&mut self, engine: &Engine, revision: Revision, changes: Vec<Change>) {
        let view = View::from_snapshot(revision, changes.into_iter());
        let affected = view.affected_by_snapshot();
        self.plan(engine, view, Seen::Snapshot, vec![(revision, affected)]);
    }

    fn plan(&mut self, engine: &Engine, view: View, seen: Seen, affected: Vec<(Revision, Vec<Affected>)>) {
        let named: Vec<_> = affected.iter().flat_map(|(_, affected)| affected.clone()).collect();
        let sweeps = affected.into_iter().filter(|(_, affected)| !affected.is_empty());
        let sweeps = sweeps.map(|(revision, affected)| Step::Sweep(revision, affected));
        let steps = &mut self.watch.steps;
        steps.push_back(Step::Publish(view, seen));
        if engine.has(Fault::AckBeforeSweep) {
            steps.push_back(Step::Acknowledge);
            steps.extend(sweeps);
        } else {
            steps.extend(sweeps);
            steps.push_back(Step::Acknowledge);
        }
        steps.push_back(Step::Finish(named));
    }

    fn take_step(&mut self, engine: &mut Engine, step: Step) {
        match step {
            Step::Publish(view, seen) => {
                self.freshness.set_grace(view.settings().stale_grace);
                self.view = view.clone();
                engine.tell(Fact::Viewed { broker: self.seat, view, seen });
            }
            Step::Sweep(revision, affected) => {
                let now = self.now(engine).millis();
                let ended = self.registry.sweep(&affected, &self.view, now);
                if ended > 0 {
                    self.watch.cuts.push((revision.0, ended));
                    engine.totals.cut += ended;
                }
            }
            Step::Acknowledge => {
                let (revision, cuts) = (self.view.revision().0, std::mem::take(&mut self.watch.cuts));
                self.say(engine, BrokerSays::Ack { revision, cuts });
            }
            Step::Finish(affected) => {
                for affected in affected {
                    match affected {
                        Affected::Credential(fingerprint) => {
                            self.lookups.void(fingerprint);
                            self.reported.remove(&fingerprint);
                        }
                        Affected::All => self.lookups.void_all(),
                        _ => {}
                    }
                }
                self.close_shut(engine);
            }
            Step::Removed => {
                self.removed = true;
                self.shut_all(engine, Shut::Lapsed);
            }
            Step::EndStream => self.end_stream(engine),
        }
    }

    /// Says when what the lease permits changes, and closes all sessions when lease and grace are over.
    fn lease_tick(&mut self, engine: &mut Engine) {
        let permitted = self.freshness.permitted(self.now(engine));
        if permitted != self.permitted && permitted == Permitted::Lapsed {
            self.shut_all(engine, Shut::Lapsed);
        }
        self.permitted = permitted;
        engine.tell(Fact::Ticked { broker: self.seat });
        engine.after(LEASE_INTERVAL, self.address(), Timer::LeaseTick);
    }

    fn shut_all(&mut self, engine: &mut Engine, why: Shut) {
        let ended = self.registry.shut_all(why);
        if why == Shut::Lapsed {
            engine.totals.lapsed += ended;
        }
        self.close_shut(engine);
    }

    /// It ends in order: no new clients, every gate is shut, and the leader is told so.
    pub(crate) fn farewell(&mut self, engine: &mut Engine) {
        self.draining = true;
        self.shut_all(engine, Shut::Draining);
        self.say(engine, BrokerSays::Farewell);
        self.end_stream(engine);
    }
}
