//! What can happen, and what it does.
use crate::account::{Account, Asked, Proof};
use crate::config::{Config, Fault, Small};
use crate::world::{REPLICAS, Renewal, World};

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Time passes.
    Tick,
    /// An administrator's change is committed: `Group::propose`.
    Deny,
    /// A replica is elected with the vote of another, and commits the first entry of its term: openraft.
    Elect { replica: usize, voter: usize },
    /// Raft's part of a replica learns of the last election.
    Hear(usize),
    /// `Liaison::follow` tells `LeaseKeeper` who leads: `elected` or `deposed`.
    Notice(usize),
    /// The leader's process ends, and another begins.
    Crash(usize),
    /// A replica sends a broker the next event, which it applies: `Outbound::next_events`, `apply::events`.
    Event(usize),
    /// With a fault: the sweep, after the ack.
    Sweep(usize),
    /// An ack reaches a leader: `Stream::acknowledge`, `Watcher::acknowledge`, or later `Watcher::standing`.
    Ack { broker: usize, replica: usize },
    /// `Stream::renew`, on a clock that is to lag by so many ticks. It replaces an older one if there are too many.
    Renew { broker: usize, lag: Small },
    /// A renewal reaches a leader: `LeaseKeeper::renew`.
    Receive { replica: usize, asked: Asked },
    /// A proof that takes no time serves a renewal: `LeaseKeeper::serve`.
    Prove { replica: usize, asked: Asked },
    /// A proof that takes time begins: `Leases::begin_proof`, `Group::prove_leadership`.
    Begin(usize),
    /// A quorum answers.
    Confirm(usize),
    /// `Leases::proved`; the grants are on their way.
    Finish(usize),
    /// `Leases::failed`.
    Fail(usize),
    /// A grant reaches the broker: `Watcher::next_grant`, `Stream::handle_grant`, `Freshness::grant`.
    Grant { broker: usize, slot: usize },
    /// With a fault: `lease::watch` finds that lease and grace are over.
    Lapse(usize),
    /// The broker's process ends, perhaps with a farewell, and the next one begins.
    Restart { broker: usize, farewell: bool },
    /// The last ack or the farewell of the process before reaches a leader: `Watcher::standing`.
    LastWord { broker: usize, replica: usize },
    /// With a fault: `LeaseKeeper::settle` has its proof.
    Settle(usize),
    /// With a fault: `LeaseKeeper::settle` enters its proof.
    Enter(usize),
}

impl World {
    /// What happens when `step` does. `None` if it cannot now.
    pub(crate) fn step(mut self, step: Step, config: &Config) -> Option<World> {
        match step {
            Step::Tick => self.tick(config),
            Step::Deny => self.deny(config)?,
            Step::Elect { replica, voter } => self.elect(replica, voter, config)?,
            Step::Hear(replica) => self.hear(replica)?,
            Step::Notice(replica) => self.notice(replica, config)?,
            Step::Crash(replica) => self.crash(replica)?,
            Step::Event(broker) => self.event(broker, config)?,
            Step::Sweep(broker) => self.sweep(broker)?,
            Step::Ack { broker, replica } => self.ack(broker, replica, config)?,
            Step::Renew { broker, lag } => self.renew(broker, lag, config),
            Step::Receive { replica, asked } => self.receive(replica, asked, config)?,
            Step::Prove { replica, asked } => self.prove(replica, asked, config)?,
            Step::Begin(replica) => self.begin(replica)?,
            Step::Confirm(replica) => self.confirm(replica)?,
            Step::Finish(replica) => self.finish(replica)?,
            Step::Fail(replica) => self.fail(replica)?,
            Step::Grant { broker, slot } => self.grant(broker, slot, config)?,
            Step::Lapse(broker) => self.lapse(broker)?,
            Step::Restart { broker, farewell } => self.restart(broker, farewell, config),
            Step::LastWord { broker, replica } => self.last_word(broker, replica, config)?,
            Step::Settle(replica) => self.begin_settling(replica)?,
            Step::Enter(replica) => self.enter(replica)?,
        }
        Some(self)
    }

    fn tick(&mut self, config: &Config) {
        for broker in &mut self.brokers {
            broker.fresh = config.later(broker.fresh);
            broker.overlap.1 = config.later(broker.overlap.1);
            for renewal in broker.renewals.iter_mut().flatten().flatten() {
                renewal.left = config.later(renewal.left);
            }
        }
        self.accounts().for_each(|account| account.tick(config));
    }

    /// One more entry may be committed.
    fn has_room(&self, config: &Config) -> bool {
        self.log < self.fenced + config.window
    }

    fn deny(&mut self, config: &Config) -> Option<()> {
        let leads = (0..REPLICAS).any(|replica| self.proves(replica));
        (leads && self.has_room(config)).then(|| self.log += 1)
    }

    fn elect(&mut self, replica: usize, voter: usize, config: &Config) -> Option<()> {
        if !self.has_room(config) {
            return None;
        }
        self.log += 1;
        if config.track {
            self.elections = (self.elections + 1).min(3);
        }
        let term = 1 + self.replicas.iter().map(|replica| replica.term).max()?;
        for (at, other) in self.replicas.iter_mut().enumerate() {
            if at == replica || at == voter || !config.votes {
                (other.term, other.leads) = (term, at == replica);
                other.account.iter_mut().for_each(|account| account.stale = true);
            }
        }
        let log = self.log;
        self.replicas[replica].account.get_or_insert_with(|| Account::elected(log, config));
        Some(())
    }

    fn hear(&mut self, replica: usize) -> Option<()> {
        let term = self.replicas.iter().map(|replica| replica.term).max()?;
        let replica = &mut self.replicas[replica];
        if replica.term == term {
            return None;
        }
        (replica.term, replica.leads) = (term, false);
        replica.account.iter_mut().for_each(|account| account.stale = true);
        Some(())
    }

    fn notice(&mut self, replica: usize, config: &Config) -> Option<()> {
        let replica = &mut self.replicas[replica];
        let unaware = match replica.account {
            Some(account) => account.stale,
            None => replica.leads,
        };
        let log = self.log;
        unaware.then(|| replica.account = replica.leads.then(|| Account::elected(log, config)))
    }

    fn crash(&mut self, replica: usize) -> Option<()> {
        let replica = &mut self.replicas[replica];
        replica.leads.then(|| (replica.leads, replica.account, replica.settling) = (false, None, None))
    }

    /// The view first, then the sweep, on one thread, with nothing in between that is awaited: one step. In between
    /// the gates stand as they did before.
    fn event(&mut self, broker: usize, config: &Config) -> Option<()> {
        let broker = &mut self.brokers[broker];
        if broker.view >= self.log {
            return None;
        }
        broker.view += 1;
        if !config.has(Fault::AckBeforeSweep) {
            broker.swept = broker.view;
        }
        Some(())
    }

    fn sweep(&mut self, broker: usize) -> Option<()> {
        let broker = &mut self.brokers[broker];
        (broker.swept < broker.view).then(|| broker.swept = broker.view)
    }

    fn ack(&mut self, broker: usize, replica: usize, config: &Config) -> Option<()> {
        let swept = self.brokers[broker].swept;
        let account = self.replicas[replica].account.as_mut()?;
        (account.nodes[broker].processes[0].acked < swept)
            .then(|| account.acknowledge((broker, 0), swept, false, config))
    }

    fn renew(&mut self, broker: usize, lag: Small, config: &Config) {
        let slots = &mut self.brokers[broker].renewals[0][..config.renewals];
        let oldest =
            (0..config.renewals).min_by_key(|slot| slots[*slot].map_or(0, |renewal| renewal.left + 1));
        let slot = oldest.unwrap_or(0);
        let left = config.broker_counts(lag);
        // The new renewal has the name of an old one, of which the control plane may know.
        let confused = config.has(Fault::SequenceOfStream) || config.has(Fault::GrantOfAnotherProcess);
        if let (true, Some(renewal)) = (confused, &mut slots[slot]) {
            renewal.left = left;
            return;
        }
        slots[slot] = Some(Renewal { left, grant: None });
        self.forget(Asked { broker, process: 0, slot });
    }

    /// Nobody waits for the answer to a renewal any more. A leader who knows of it would only count it for longer.
    pub(crate) fn forget(&mut self, asked: Asked) {
        for account in self.accounts() {
            account.process(asked).unproven[asked.slot] = 0;
            account.queue &= !asked.bit();
            account.proof.iter_mut().for_each(|proof| proof.batch &= !asked.bit());
        }
    }

    fn renewal(&mut self, asked: Asked) -> &mut Option<Renewal> {
        &mut self.brokers[asked.broker].renewals[asked.process][asked.slot]
    }

    fn receive(&mut self, replica: usize, asked: Asked, config: &Config) -> Option<()> {
        let renewal = (*self.renewal(asked))?;
        // One that cannot prove itself would only count a lease that it never grants.
        let may_grant = self.is_current(replica) || config.fault.is_of_deposed();
        let account = self.replicas[replica].account.as_mut()?;
        let before = *account;
        if may_grant && (renewal.grant.is_none() || config.proofs_late) {
            account.renew(asked, config);
        }
        (*account != before).then_some(())
    }

    fn prove(&mut self, replica: usize, asked: Asked, config: &Config) -> Option<()> {
        let alone = config.has(Fault::NoQuorum);
        let early = config.has(Fault::LaterProofCounts) && self.proves(replica);
        if config.proofs_late || !(self.is_current(replica) || alone || early) {
            return None;
        }
        let account = self.replicas[replica].account.as_mut()?;
        let commit = account.proven;
        let granted = account.proved(asked, commit);
        granted.then(|| self.granted(asked, commit))
    }

    /// The grant is on its way to the broker.
    fn granted(&mut self, asked: Asked, commit: Small) {
        let renewal = self.renewal(asked);
        match renewal {
            Some(renewal) if asked.process == 0 => {
                renewal.grant = Some(renewal.grant.map_or(commit, |other| other.min(commit)));
            }
            // Nobody is there who would take it.
            _ => *renewal = None,
        }
    }

    fn begin(&mut self, replica: usize) -> Option<()> {
        let leads = self.replicas[replica].leads;
        let account = self.replicas[replica].account.as_mut()?;
        if !leads || account.stale || account.proof.is_some() || account.queue == 0 {
            return None;
        }
        let batch = std::mem::take(&mut account.queue);
        account.proof = Some(Proof { batch, commit: account.proven, confirmed: false });
        Some(())
    }

    fn confirm(&mut self, replica: usize) -> Option<()> {
        let proves = self.is_current(replica);
        let proof = self.replicas[replica].account.as_mut()?.proof.as_mut()?;
        (proves && !proof.confirmed).then(|| proof.confirmed = true)
    }

    fn finish(&mut self, replica: usize) -> Option<()> {
        let account = self.replicas[replica].account.as_mut()?;
        let proof = account.proof.take_if(|proof| proof.confirmed)?;
        for asked in Asked::all().filter(|asked| proof.batch & asked.bit() != 0) {
            let account = self.replicas[replica].account.as_mut()?;
            if account.proved(asked, proof.commit) {
                self.granted(asked, proof.commit);
            }
        }
        Some(())
    }

    fn fail(&mut self, replica: usize) -> Option<()> {
        let account = self.replicas[replica].account.as_mut()?;
        let batch = match account.proof {
            Some(proof) if proof.confirmed => return None,
            Some(proof) => proof.batch,
            None if account.queue == 0 => return None,
            None => std::mem::take(&mut account.queue),
        };
        account.proof = None;
        for asked in Asked::all().filter(|asked| batch & asked.bit() != 0) {
            account.process(asked).unproven[asked.slot] = 0;
        }
        Some(())
    }

    fn grant(&mut self, at: usize, slot: usize, config: &Config) -> Option<()> {
        let broker = &mut self.brokers[at];
        let renewal = broker.renewals[0][slot]?;
        if renewal.grant? > broker.view && !config.has(Fault::GrantOvertakes) {
            return None;
        }
        let left = match config.fault {
            Fault::FreshFromReceipt => config.broker_counts(config.lag_max),
            _ => renewal.left,
        };
        broker.fresh = broker.fresh.max(left);
        broker.unnoticed = config.has(Fault::TimerOnly);
        broker.renewals[0][slot] = None;
        self.forget(Asked { broker: at, process: 0, slot });
        Some(())
    }

    fn lapse(&mut self, broker: usize) -> Option<()> {
        let broker = &mut self.brokers[broker];
        (broker.unnoticed && broker.fresh == 0).then(|| broker.unnoticed = false)
    }

    fn restart(&mut self, at: usize, farewell: bool, config: &Config) {
        let before = self.brokers[at];
        let broker = &mut self.brokers[at];
        *broker = Default::default();
        broker.past = before.past;
        broker.last_word = Some((before.swept, farewell));
        broker.renewals[1] = before.renewals[0];
        if config.has(Fault::ProcessesOverlap) {
            broker.overlap = (before.swept, before.fresh);
        }
        if config.has(Fault::GrantOfAnotherProcess) {
            // Not asked for yet, by this process.
            let unasked = |renewal: Renewal| Renewal { left: 0, ..renewal };
            broker.renewals[0] = before.renewals[0].map(|renewal| renewal.map(unasked));
        }
        self.accounts().for_each(|account| account.next_process(at));
    }

    fn last_word(&mut self, broker: usize, replica: usize, config: &Config) -> Option<()> {
        let (acked, farewell) = self.brokers[broker].last_word?;
        let account = self.replicas[replica].account.as_mut()?;
        let known = account.nodes[broker].processes[1];
        (known.acked < acked || farewell && !known.ended)
            .then(|| account.acknowledge((broker, 1), acked, farewell, config))
    }

    fn begin_settling(&mut self, replica: usize) -> Option<()> {
        let proves = self.proves(replica);
        let settling = &mut self.replicas[replica].settling;
        (proves && settling.is_none()).then(|| *settling = Some(self.log))
    }

    fn enter(&mut self, replica: usize) -> Option<()> {
        let replica = &mut self.replicas[replica];
        let account = replica.account.as_mut()?;
        account.floor = account.floor.min(replica.settling.take()?);
        Some(())
    }
}
