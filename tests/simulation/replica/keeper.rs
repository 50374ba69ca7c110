//! Drives [`Leases`]: the time, the rows, the settings, the proofs, and where grants go. Stands for
//! `lease/keeper.rs`, `lease/ground.rs` and `lease/duties.rs` of control-plane/control.

use std::collections::BTreeMap;
use std::time::Duration;

use revoq_credentials::{NodeKind, Settings, query};
use revoq_lease::{Acknowledgement, Batch, Leases, Moment, NodeRow, Proof, Refused, Renewal, Terms};

use super::fences::Watched;
use super::{Machine, Purpose, Replica};
use crate::clock::{MILLISECOND, SECOND, Time};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::packet::{Grant, PeerSays, Said, Timer};
use crate::plan::Plan;
use crate::raft::{NoQuorum, NotLeader};

/// Between two attempts of a new leader to prove itself.
const SETTLE_RETRY: Time = 50 * MILLISECOND;

/// How long the state may take to come as far as a proof says.
const SETTLE_PATIENCE: Time = 5 * SECOND;

/// Where the grants of a node go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlet {
    /// To a stream of this replica.
    Own,
    /// To another replica, by this stream.
    Peer(u64),
}

/// The account, and how far it has read the state.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) leases: Leases,
    settings: Settings,
    /// Changes of settings up to this revision are in `leases`.
    settings_at: u64,
    /// The marks that were seen.
    nodes: u64,
    restored: Option<u64>,
    outlets: BTreeMap<u64, Outlet>,
    /// A proof for grants is under way, or the keeper settles by itself.
    busy: bool,
    settling: Vec<Settling>,
    pub(crate) fences: BTreeMap<u64, Watched>,
    /// When this leadership began, when a proof last took long or failed, and when the keeper last learned of other
    /// terms than it knew; true time.
    pub(crate) elected: Time,
    pub(crate) troubled: Time,
    pub(crate) terms_learned: Time,
    /// When the proof that is under way began.
    proving: Option<Time>,
}

/// Proven, and waiting for the state.
#[derive(Debug)]
struct Settling {
    proof: Proof,
    revision: u64,
    until: Time,
    fence: Option<u64>,
}

impl Keeper {
    /// A keeper that leads nothing yet. The product's begins with the defaults, which are in force when a cluster is
    /// founded; so are the plan's here.
    pub(super) fn new(plan: &Plan) -> Keeper {
        let mut settings = Settings::default();
        for (key, value) in [("lease", plan.lease), ("stale_grace", plan.grace)] {
            settings.set(key, Some(value)).expect("a plan has good settings");
        }
        Keeper {
            leases: Leases::new(Terms::from(&settings)),
            settings,
            settings_at: 0,
            nodes: 0,
            restored: None,
            outlets: BTreeMap::new(),
            busy: false,
            settling: Vec::new(),
            fences: BTreeMap::new(),
            elected: 0,
            troubled: 0,
            terms_learned: 0,
            proving: None,
        }
    }

    fn catch_up(&mut self, machine: &mut Machine, now: Moment) {
        // A replica without a state would read the product's defaults there, which are not this world's.
        if machine.at.index == 0 {
            return;
        }
        if self.restored != Some(machine.marks.restored) {
            // Brokers may go by any setting of the past that they have not been told the end of.
            let after = self.settings_at.max(machine.changes_floor());
            let past: Vec<_> = machine.changes(after).into_iter().flatten().collect();
            past.iter().for_each(|event| machine.marks.note(event));
            self.take_settings(machine, now);
            let settings = query::settings(&machine.store).expect("the rows are sound");
            self.leases.set_terms(now, machine.at.index, Terms::from(&settings));
            (self.settings, self.restored) = (settings, Some(machine.marks.restored));
        }
        self.take_settings(machine, now);
        if self.nodes != machine.marks.nodes {
            self.read_rows(machine, now);
            self.nodes = machine.marks.nodes;
        }
    }

    fn take_settings(&mut self, machine: &mut Machine, now: Moment) {
        let mut changes: Vec<_> = std::mem::take(&mut machine.marks.settings).into();
        changes.sort_by_key(|change| change.revision);
        for change in changes {
            if change.revision > self.settings_at
                && self.settings.set(&change.key, Some(&change.value)).is_ok()
            {
                self.leases.set_terms(now, change.revision, Terms::from(&self.settings));
                self.settings_at = change.revision;
            }
        }
    }

    fn read_rows(&mut self, machine: &Machine, now: Moment) {
        self.leases.rows(now, machine.at.index, rows(machine));
    }

    /// Whether these are the settings that it goes by.
    pub(crate) fn knows(&self, settings: &Settings) -> bool {
        self.settings == *settings
    }

    fn unsettled(&self) -> bool {
        self.leases.term().is_some() && !self.leases.settled()
    }

    /// When the last thing went wrong that a bound of this leadership cannot be held against.
    pub(crate) fn troubled(&self, now: Time) -> Time {
        let proving = self.proving.filter(|began| now > began + 300 * MILLISECOND).map(|_| now);
        self.troubled.max(self.elected).max(proving.unwrap_or(0))
    }
}

fn rows(machine: &Machine) -> Vec<NodeRow> {
    let nodes = query::nodes(&machine.store).expect("the rows are sound");
    let brokers = nodes.into_iter().filter(|node| node.kind == NodeKind::Broker);
    let row = |node: revoq_credentials::Node| NodeRow {
        node: node.id.0,
        name: node.name.to_string(),
        joined: node.revision.map_or(0, |revision| revision.0),
    };
    brokers.map(row).collect()
}

impl Replica {
    pub(super) fn moment(&self, now: Time) -> Moment {
        self.clock.moment(now)
    }

    /// The account, brought up to what the state says.
    pub(super) fn leases(&mut self, now: Time) -> &mut Leases {
        let known = (self.keeper.settings_at, self.keeper.restored);
        self.keeper.catch_up(&mut self.machine, self.clock.moment(now));
        if known != (self.keeper.settings_at, self.keeper.restored) {
            self.keeper.terms_learned = now;
        }
        &mut self.keeper.leases
    }

    /// The length of a lease.
    pub(super) fn lease(&self) -> Duration {
        self.keeper.settings.lease
    }

    /// Proves the leadership of a new leader; then serves the renewals that wait, all with one proof.
    pub(super) fn serve(&mut self, engine: &mut Engine) {
        self.settling_in_vain(engine);
        if self.keeper.busy {
            return;
        }
        if self.keeper.unsettled() {
            self.keeper.busy = true;
            return self.settle(engine, 0, None);
        }
        self.serve_renewals(engine);
    }

    fn serve_renewals(&mut self, engine: &mut Engine) {
        let Some(batch) = self.keeper.leases.begin_proof() else {
            self.keeper.busy = false;
            return;
        };
        self.keeper.busy = true;
        if engine.has(Fault::GrantWithoutProof) {
            let (term, commit) = (self.keeper.leases.term().unwrap_or(0), self.machine.at.index);
            return self.granted(engine, &batch, Ok(Proof { term, commit }));
        }
        self.keeper.proving = Some(engine.now);
        self.prove(engine, Purpose::Grants(batch));
    }

    pub(super) fn granted(&mut self, engine: &mut Engine, batch: &Batch, outcome: Result<Proof, NoQuorum>) {
        self.keeper.troubled = self.keeper.troubled(engine.now);
        self.keeper.proving = None;
        match outcome {
            Ok(proof) => {
                for granted in self.keeper.leases.proved(batch, proof) {
                    let commit = granted.commit;
                    let Renewal { node, incarnation, sequence } = granted.renewal;
                    let lease_ms = u64::try_from(granted.lease.as_millis()).expect("a lease is short");
                    self.hand_out(engine, Grant { node, incarnation, sequence, commit, lease_ms });
                }
            }
            Err(NoQuorum) => {
                self.keeper.troubled = engine.now;
                self.keeper.leases.failed(batch);
            }
        }
        self.look_at_all(engine);
        self.serve_renewals(engine);
    }

    fn hand_out(&mut self, engine: &mut Engine, grant: Grant) {
        match self.keeper.outlets.get(&grant.node) {
            Some(Outlet::Own) => self.grant(engine, grant),
            Some(Outlet::Peer(stream)) => engine.say(self.address(), *stream, Said::Grant(grant)),
            None => {}
        }
    }

    /// This replica leads in `term`.
    pub(super) fn elected(&mut self, engine: &mut Engine, term: u64) {
        let now = self.moment(engine.now);
        if self.keeper.leases.term() != Some(term) {
            if engine.has(Fault::NothingPresumed) {
                self.presume_nothing(now, term);
            }
            self.keeper.leases.elected(now, term);
            self.keeper.outlets.clear();
            (self.keeper.elected, self.keeper.busy) = (engine.now, false);
        }
        engine.after(0, self.address(), Timer::Serve);
        self.look_at_all(engine);
    }

    /// The nodes appear after the leadership is settled, as if they had joined under this leader.
    fn presume_nothing(&mut self, now: Moment, term: u64) {
        let applied = self.machine.at.index;
        self.keeper.leases = Leases::new(Terms::from(&self.keeper.settings));
        self.keeper.leases.elected(now, term);
        self.keeper.leases.led(Proof { term, commit: applied });
        self.keeper.leases.rows(now, applied, []);
        self.keeper.leases.rows(now, applied, rows(&self.machine));
    }

    /// This replica does not lead.
    pub(super) fn deposed(&mut self, engine: &mut Engine) {
        self.keeper.leases.deposed();
        self.keeper.outlets.clear();
        self.look_at_all(engine);
    }

    /// What a broker said, by way of the replica that serves it.
    pub(super) fn hear(
        &mut self,
        engine: &mut Engine,
        message: PeerSays,
        outlet: Outlet,
    ) -> Result<(), NotLeader> {
        let now = self.moment(engine.now);
        match message {
            PeerSays::Renewal { renewal, revision, sessions } => {
                let Renewal { node, incarnation, .. } = renewal;
                let sessions = Some(sessions);
                let ack = Acknowledgement {
                    node,
                    incarnation,
                    revision,
                    sessions,
                    cuts: Vec::new(),
                    farewell: false,
                };
                let taken = self.leases(engine.now).renew(now, renewal);
                if taken.is_ok() {
                    self.keeper.outlets.insert(node, outlet);
                }
                if self.keeper.leases.acknowledge(now, ack) {
                    self.look_at_all(engine);
                }
                match taken {
                    Ok(()) => engine.after(0, self.address(), Timer::Serve),
                    Err(Refused::NotLeading) => return Err(NotLeader),
                    Err(_) => {}
                }
            }
            PeerSays::Acknowledgement(ack) => {
                if self.leases(engine.now).term().is_none() {
                    return Err(NotLeader);
                }
                if self.keeper.leases.acknowledge(now, ack) {
                    self.look_at_all(engine);
                }
            }
        }
        Ok(())
    }

    /// Makes sure that this replica leads, and knows every node that joined before it did and the state at `revision`.
    pub(super) fn settle(&mut self, engine: &mut Engine, revision: u64, fence: Option<u64>) {
        let covered = self.leases(engine.now).covers(revision);
        if covered && revision <= self.machine.feed.revision() {
            return self.settled(engine, fence);
        }
        self.prove(engine, Purpose::Settle { revision, fence });
    }

    pub(super) fn settle_proven(
        &mut self,
        engine: &mut Engine,
        revision: u64,
        fence: Option<u64>,
        outcome: Result<Proof, NoQuorum>,
    ) {
        match outcome {
            Ok(proof) if revision <= proof.commit => {
                let until = engine.now + SETTLE_PATIENCE;
                self.keeper.settling.push(Settling { proof, revision, until, fence });
                engine.at(until, self.address(), Timer::Serve);
                self.check_settling(engine);
            }
            _ => self.not_settled(engine, fence),
        }
    }

    /// Proofs whose index the state has reached.
    pub(super) fn check_settling(&mut self, engine: &mut Engine) {
        let applied = self.machine.at.index;
        let reached = |settling: &Settling| settling.proof.commit <= applied;
        while let Some(place) = self.keeper.settling.iter().position(reached) {
            let settling = self.keeper.settling.remove(place);
            self.leases(engine.now).led(settling.proof);
            let now = self.moment(engine.now);
            self.keeper.read_rows(&self.machine, now);
            if self.keeper.leases.covers(settling.revision) {
                self.settled(engine, settling.fence);
            } else {
                // The proof is of another term than the account.
                self.not_settled(engine, settling.fence);
            }
        }
    }

    fn settling_in_vain(&mut self, engine: &mut Engine) {
        let now = engine.now;
        let late = |settling: &Settling| settling.until <= now;
        while let Some(place) = self.keeper.settling.iter().position(late) {
            let settling = self.keeper.settling.remove(place);
            self.not_settled(engine, settling.fence);
        }
    }

    fn settled(&mut self, engine: &mut Engine, fence: Option<u64>) {
        match fence {
            Some(fence) => self.begin_fence(engine, fence),
            None => self.serve_renewals(engine),
        }
    }

    fn not_settled(&mut self, engine: &mut Engine, fence: Option<u64>) {
        self.keeper.troubled = engine.now;
        match fence {
            Some(fence) => self.refuse_fence(engine, fence),
            None => {
                engine.after(SETTLE_RETRY, self.address(), Timer::Serve);
                self.serve_renewals(engine);
            }
        }
    }
}
