//! The life of a replica's process: from the log to the state, its start and its end. Stands for `plane.rs`, and for
//! what openraft does between log and state machine.

use std::rc::Rc;

use revoq_credentials::{Command, Operation};
use revoq_lease::Proof;

use super::{Purpose, Replica};
use crate::clock::{SECOND, Time};
use crate::engine::Engine;
use crate::oracle::Fact;
use crate::packet::{Address, Packet, Response, Timer};
use crate::raft::{NoQuorum, Output};

/// Reports of use become one command in this time.
const USAGE_INTERVAL: Time = SECOND;

/// How often a replica looks at its duties.
const DUTIES_INTERVAL: Time = SECOND;

/// Entries that are applied in one go.
const APPLY_MAX: u64 = 6;

impl Replica {
    /// The process begins.
    pub(crate) fn start(&mut self, engine: &mut Engine) {
        let me = self.address();
        engine.start(me);
        self.raft.restart(engine.now, &mut engine.chance, self.machine.at.index);
        self.raft_timer = 0;
        self.leases(engine.now);
        let first = engine.chance.below(SECOND);
        engine.after(first, me, Timer::Usage);
        engine.after(first, me, Timer::Duties);
        self.drain(engine);
    }

    /// The process ends; what is not on disk is gone. `power`: what the kernel had not written is, too.
    pub(crate) fn crash(&mut self, engine: &mut Engine, power: bool) {
        engine.stop(self.address(), power);
        self.raft.crash(power);
        // What was applied since the last compaction is applied again, as far as the log knows it to be committed.
        let (least, most) = (self.machine.checkpoint().at.index, self.raft.log().durable());
        let most = most.min(self.machine.at.index).max(least);
        let upto = engine.chance.pick(&[least, most, most]);
        let entries =
            (least + 1..=upto).map(|index| self.raft.log().get(index).cloned().expect("not compacted"));
        self.machine.restart(entries);
        self.forget_streams(&engine.plan);
        self.told_committed = upto;
        self.applying = false;
        self.noticed = Default::default();
    }

    /// Carries out what the member of the group wants done, and notices what changed with it.
    pub(super) fn drain(&mut self, engine: &mut Engine) {
        loop {
            let outputs = self.raft.take_outputs();
            if outputs.is_empty() {
                break;
            }
            for output in outputs {
                self.carry_out(engine, output);
            }
        }
        let me = self.address();
        if self.raft.commit() > self.machine.at.index && !self.applying {
            self.applying = true;
            let delay = engine.step_delay();
            engine.after(delay, me, Timer::Apply);
        }
        let due = self.raft.due();
        if self.raft_timer <= engine.now || due < self.raft_timer {
            self.raft_timer = due.max(engine.now + 1);
            engine.at(self.raft_timer, me, Timer::Raft);
        }
        let leadership = self.raft.leadership();
        if leadership != self.noticed {
            if leadership.is_leader && !self.noticed.is_leader {
                engine.totals.elections += 1;
            }
            self.noticed = leadership;
            let delay = engine.step_delay();
            engine.after(delay, me, Timer::Leadership);
        }
    }

    fn carry_out(&mut self, engine: &mut Engine, output: Output) {
        match output {
            Output::Send(message) => {
                let known = self.raft.log().members().seats.get(&message.to).copied().map(Address::Replica);
                let Some(to) = known.or(self.heard_from.get(&message.to).copied()) else { return };
                engine.send(self.address(), to, Packet::Raft(Box::new(message)));
            }
            Output::Flush { upto, generation } => {
                let (least, most) = engine.plan.flush;
                let delay = engine.chance.between(least, most);
                engine.after(delay, self.address(), Timer::Flushed { upto, generation });
            }
            Output::Committed { upto } => self.tell_committed(engine, upto),
            Output::Read { read, outcome } => {
                if let Some(purpose) = self.reads.remove(&read) {
                    self.proven(engine, purpose, outcome);
                }
            }
            Output::Install(image) => {
                self.machine.install(&image);
                engine.totals.installed += 1;
                let (index, digest) = (self.machine.at.index, self.machine.digest);
                engine.tell(Fact::Applied { replica: self.seat, at: self.machine.at, digest });
                self.told_committed = self.told_committed.max(index);
                self.lose_waiting(engine, index);
                self.state_moved(engine);
            }
            Output::Image { to } => {
                let members = self.raft.log().members_of(self.machine.at.index);
                self.raft.send_image(to, self.machine.image(members));
            }
        }
    }

    fn tell_committed(&mut self, engine: &mut Engine, upto: u64) {
        for index in self.told_committed.max(self.machine.at.index) + 1..=upto {
            let entry = self.raft.log().get(index).expect("not applied, hence not compacted").clone();
            engine.totals.committed += 1;
            engine.tell(Fact::Committed { index, entry });
        }
        self.told_committed = upto.max(self.told_committed);
    }

    /// Applies some of what is committed.
    pub(super) fn apply(&mut self, engine: &mut Engine) {
        self.applying = false;
        let most = engine.chance.between(1, APPLY_MAX);
        let upto = self.raft.commit().min(self.machine.at.index + most);
        while self.machine.at.index < upto {
            let index = self.machine.at.index + 1;
            let entry =
                self.raft.log().get(index).expect("committed and not applied, hence in the log").clone();
            let answer = self.machine.apply(engine.now, &entry);
            engine.tell(Fact::Applied {
                replica: self.seat,
                at: self.machine.at,
                digest: self.machine.digest,
            });
            self.answer_waiting(engine, index, entry.term, answer);
        }
        self.compact(engine);
        self.state_moved(engine);
    }

    fn compact(&mut self, engine: &Engine) {
        let (at, kept) = (self.machine.at.index, self.machine.checkpoint().at.index);
        if at < kept + engine.plan.compaction || at > self.raft.log().durable() {
            return;
        }
        self.machine.keep(self.raft.log().members_of(at));
        self.raft.compact(at.saturating_sub(engine.plan.log_kept));
    }

    /// The state stands further on than before.
    fn state_moved(&mut self, engine: &mut Engine) {
        self.check_awaiting(engine);
        self.check_settling(engine);
        self.pump_all(engine);
    }

    /// Asks a quorum whether this replica leads.
    pub(super) fn prove(&mut self, engine: &mut Engine, purpose: Purpose) {
        let read = engine.name();
        if self.raft.read(engine.now, read).is_err() {
            return self.proven(engine, purpose, Err(NoQuorum));
        }
        self.reads.insert(read, purpose);
    }

    fn proven(&mut self, engine: &mut Engine, purpose: Purpose, outcome: Result<Proof, NoQuorum>) {
        match purpose {
            Purpose::Grants(batch) => self.granted(engine, &batch, outcome),
            Purpose::Settle { revision, fence } => self.settle_proven(engine, revision, fence, outcome),
            Purpose::Index(reply) => {
                let response = outcome.map_or(Response::NotLeading, |proof| Response::Index(proof.commit));
                self.reply(engine, reply, response);
            }
        }
    }

    /// A command as this replica proposes it: its own time is in it.
    pub(super) fn command(&self, now: Time, actor: &str, operation: &Operation) -> Rc<[u8]> {
        Command::new(actor, self.clock.wall(now), operation.clone()).encode().into()
    }

    pub(super) fn record_usage(&mut self, engine: &mut Engine) {
        engine.after(USAGE_INTERVAL, self.address(), Timer::Usage);
        if self.used.is_empty() {
            return;
        }
        let used = std::mem::take(&mut self.used).into_iter().collect();
        let operation = Operation::RecordUsage { used, time: self.clock.wall(engine.now) };
        let command = self.command(engine.now, "control-plane", &operation);
        self.ask_propose(engine, command, None);
    }

    /// The keeper reads what the state has news of, also where nobody asks.
    pub(super) fn do_duties(&mut self, engine: &mut Engine) {
        engine.after(DUTIES_INTERVAL, self.address(), Timer::Duties);
        self.leases(engine.now);
    }

    /// The member that is to be replaced is taken from the group, or the new one is added: one step, if it can be taken.
    pub(crate) fn change_members(
        &mut self,
        engine: &mut Engine,
        change: impl FnOnce(&mut crate::raft::Members),
    ) -> bool {
        let changed = self.raft.change_members(engine.now, change);
        self.drain(engine);
        changed
    }
}
