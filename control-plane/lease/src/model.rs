//! Random walks through brokers, leaders and a network that loses, delays and reorders, with clocks that run
//! apart within the margin. What is checked: once the fence of r is complete, no process whose view lacks r
//! may serve.
//!
//! Stands for `leases.rs`, `incarnation.rs`, `terms.rs` and `fence.rs`, which it drives as they are, and for the
//! broker, which it imitates.
use std::time::Duration;

use revoq_credentials::StaleGrace;

use super::model_actions::{Action, BROKERS, REPLICAS};
use super::{Acknowledgement, Batch, Granted, IncarnationId, Leases, Moment, NodeRow, Proof, Renewal, Terms};

/// What is deliberately wrong, to see that the walks would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Grants are given without a quorum.
    NoProof,
    /// A grant is handed over before the events that it presupposes.
    GrantOvertakes,
    /// A new leader presumes nothing.
    NothingPresumed,
    /// The broker's clock runs slow by more than the margin.
    SlowClock,
    /// A leader that was deposed answers for what it applied since.
    LateDeposed,
    /// The leader forgets the terms that brokers with an old view go by.
    TermsForgotten,
    /// A row says that its node joined later than it did.
    JoinedTooLate,
}

/// A clock that started at `offset` and runs at `rate` thousandths.
#[derive(Clone, Copy, Debug)]
struct Clock {
    offset: u64,
    rate: u64,
}

impl Clock {
    fn read(self, true_ms: u64) -> Moment {
        Duration::from_micros(self.offset * 1_000 + true_ms * self.rate)
    }
}

#[derive(Debug)]
struct Broker {
    clock: Clock,
    /// The revision of its row. The first broker is there from the beginning.
    joined: Option<u64>,
    incarnation: u8,
    view: u64,
    sequence: u64,
    /// When each `Renew` was sent.
    sent: Vec<Moment>,
    fresh_until: Option<Moment>,
}

#[derive(Clone, Debug)]
enum Message {
    Renewal(Renewal),
    Ack(Acknowledgement),
}

struct Replica {
    clock: Clock,
    leases: Leases,
    applied: u64,
    leads: bool,
}

pub(super) struct World {
    fault: Fault,
    now: u64,
    term: u64,
    /// Who leads in `term`.
    leader: Option<usize>,
    /// The terms from each revision on; its length is the commit index.
    log: Vec<Terms>,
    replicas: Vec<Replica>,
    brokers: Vec<Broker>,
    network: Vec<Message>,
    proofs: Vec<(usize, Batch, Option<Proof>)>,
    grants: Vec<Granted>,
    pub(super) fenced: u64,
}

fn terms(lease: u8, grace: u8) -> Terms {
    let grace =
        if grace == 7 { StaleGrace::Never } else { StaleGrace::Bounded(Duration::from_secs(grace.into())) };
    Terms { lease: Duration::from_secs(lease.into()), grace }
}

impl World {
    pub(super) fn new(fault: Fault) -> World {
        let first = terms(2, 3);
        let clock = |n: usize, rate| Clock { offset: 1_000 * n as u64, rate };
        let replica = |n: usize| Replica {
            clock: clock(n + 5, 995 + 5 * n as u64),
            leases: Leases::new(first),
            applied: 1,
            leads: false,
        };
        let slow = if fault == Fault::SlowClock { 800 } else { 996 };
        let broker = |n: usize| Broker {
            clock: clock(n, if n == 0 { slow } else { 1_004 }),
            joined: (n == 0).then_some(1),
            incarnation: 0,
            view: 0,
            sequence: 0,
            sent: Vec::new(),
            fresh_until: None,
        };
        World {
            fault,
            now: 0,
            term: 0,
            leader: None,
            log: vec![first],
            replicas: (0..REPLICAS).map(replica).collect(),
            brokers: (0..BROKERS).map(broker).collect(),
            network: Vec::new(),
            proofs: Vec::new(),
            grants: Vec::new(),
            fenced: 0,
        }
    }

    fn commit(&self) -> u64 {
        self.log.len() as u64
    }

    fn terms_at(&self, revision: u64) -> Terms {
        let at = usize::try_from(revision.max(1)).expect("small") - 1;
        self.log[at]
    }

    fn append(&mut self, terms: Terms) {
        if self.leader.is_some() {
            self.log.push(terms);
        }
    }

    pub(super) fn step(&mut self, action: Action) {
        match action {
            Action::Pass(ms) => self.now += u64::from(ms),
            Action::Commit => self.append(self.terms_at(self.commit())),
            Action::ChangeTerms(lease, grace) => self.append(terms(lease, grace)),
            Action::Apply(replica) => self.apply(replica),
            Action::Elect(replica) => self.elect(replica),
            Action::Restart(broker) => {
                let broker = &mut self.brokers[broker];
                (broker.incarnation, broker.view, broker.sequence) = (broker.incarnation + 1, 0, 0);
                (broker.sent, broker.fresh_until) = (Vec::new(), None);
            }
            Action::Join(broker) => self.join(broker),
            Action::Events(broker, n) => {
                let upto = 1 + u64::from(n) % self.commit();
                let broker = &mut self.brokers[broker];
                broker.view = broker.view.max(upto);
            }
            Action::Renew(broker) => self.renew(broker),
            Action::Acknowledge(broker) => self.acknowledge(broker),
            Action::Carry(n, replica) => self.carry(n, replica),
            Action::BeginProof(replica) => {
                if let Some(batch) = self.replicas[replica].leases.begin_proof() {
                    self.proofs.push((replica, batch, None));
                }
            }
            Action::Prove(n) => self.prove(n),
            Action::FinishProof(n) => self.finish_proof(n),
            Action::Grant(n) => self.grant(n),
            Action::Lease(broker, replica) => self.lease(broker, replica),
            Action::Settle(replica) => self.settle(replica),
            Action::Fence(replica, n) => self.fence(replica, n),
        }
    }

    fn apply(&mut self, replica: usize) {
        let (log, now) = (&self.log, self.now);
        let replica = &mut self.replicas[replica];
        let now = replica.clock.read(now);
        while replica.applied < log.len() as u64 {
            let terms = log[usize::try_from(replica.applied).expect("small")];
            replica.applied += 1;
            if self.fault != Fault::TermsForgotten {
                replica.leases.set_terms(now, replica.applied, terms);
            } else if replica.leases.terms.current() != terms {
                replica.leases.terms = super::terms::TermsHistory::new(terms);
            }
        }
        let late = if self.fault == Fault::JoinedTooLate { 20 } else { 0 };
        let row = |(node, broker): (usize, &Broker)| {
            let joined = broker.joined.filter(|joined| *joined <= replica.applied)?;
            Some(NodeRow { node: node as u64, name: node.to_string(), joined: joined + late })
        };
        let rows: Vec<NodeRow> = self.brokers.iter().enumerate().filter_map(row).collect();
        replica.leases.rows(now, replica.applied, rows);
    }

    fn elect(&mut self, replica: usize) {
        let unchanged = self.terms_at(self.commit());
        self.term += 1;
        self.leader = Some(replica);
        self.log.push(unchanged);
        let elected = &mut self.replicas[replica];
        elected.leads = true;
        let now = elected.clock.read(self.now);
        elected.leases.elected(now, self.term);
        if self.fault == Fault::NothingPresumed {
            elected.leases.nodes.values_mut().for_each(|node| node.presumed = false);
        }
    }

    fn join(&mut self, number: usize) {
        if self.leader.is_some() && self.brokers[number].joined.is_none() {
            self.append(self.terms_at(self.commit()));
            self.brokers[number].joined = Some(self.commit());
        }
    }

    fn renew(&mut self, number: usize) {
        let broker = &mut self.brokers[number];
        let incarnation = IncarnationId([broker.incarnation; 16]);
        self.network.push(Message::Renewal(Renewal {
            node: number as u64,
            incarnation,
            sequence: broker.sequence,
        }));
        broker.sent.push(broker.clock.read(self.now));
        broker.sequence += 1;
    }

    fn acknowledge(&mut self, number: usize) {
        let broker = &self.brokers[number];
        self.network.push(Message::Ack(Acknowledgement {
            node: number as u64,
            incarnation: IncarnationId([broker.incarnation; 16]),
            revision: broker.view,
            sessions: None,
            cuts: Vec::new(),
            farewell: false,
        }));
    }

    /// Delivers one message to one replica. It stays in the network: it may come again, and late.
    fn carry(&mut self, n: u8, replica: usize) {
        if self.network.is_empty() {
            return;
        }
        let message = self.network[usize::from(n) % self.network.len()].clone();
        let replica = &mut self.replicas[replica];
        let now = replica.clock.read(self.now);
        match message {
            Message::Renewal(renewal) => _ = replica.leases.renew(now, renewal),
            Message::Ack(ack) => _ = replica.leases.acknowledge(now, ack),
        }
    }

    fn prove(&mut self, n: u8) {
        let (count, commit, leader) = (self.proofs.len(), self.commit(), self.leader);
        let Some((replica, batch, proof)) = self.proofs.get_mut(usize::from(n) % count.max(1)) else {
            return;
        };
        let leads = leader == Some(*replica) && batch.term == self.term;
        if leads {
            *proof = Some(Proof { term: batch.term, commit });
        } else if self.fault == Fault::NoProof {
            *proof = Some(Proof { term: batch.term, commit: self.replicas[*replica].applied });
        }
    }

    fn finish_proof(&mut self, n: u8) {
        if self.proofs.is_empty() {
            return;
        }
        let (replica, batch, proof) = self.proofs.swap_remove(usize::from(n) % self.proofs.len());
        let leases = &mut self.replicas[replica].leases;
        match proof {
            Some(proof) => self.grants.extend(leases.proved(&batch, proof)),
            None => leases.failed(&batch),
        }
    }

    fn grant(&mut self, n: u8) {
        if self.grants.is_empty() {
            return;
        }
        let grant = self.grants[usize::from(n) % self.grants.len()];
        let number = usize::try_from(grant.renewal.node).expect("small");
        let broker = &mut self.brokers[number];
        let same = grant.renewal.incarnation == IncarnationId([broker.incarnation; 16]);
        let events_first = broker.view >= grant.commit || self.fault == Fault::GrantOvertakes;
        if same && events_first {
            let sent = broker.sent[usize::try_from(grant.renewal.sequence).expect("small")];
            broker.fresh_until = broker.fresh_until.max(Some(sent + grant.lease));
        }
    }

    fn lease(&mut self, broker: usize, replica: usize) {
        self.renew(broker);
        let last = |len: usize| u8::try_from(len.saturating_sub(1) % 256).expect("below 256");
        if self.network.len() > 256 {
            return;
        }
        self.carry(last(self.network.len()), replica);
        let Some(batch) = self.replicas[replica].leases.begin_proof() else { return };
        self.proofs.push((replica, batch, None));
        self.prove(last(self.proofs.len()));
        self.finish_proof(last(self.proofs.len()));
        if self.grants.len() <= 256 {
            self.grant(last(self.grants.len()));
        }
    }

    fn settle(&mut self, replica: usize) {
        if self.leader == Some(replica) {
            let proof = Proof { term: self.term, commit: self.commit() };
            self.replicas[replica].leases.led(proof);
            self.apply(replica);
        }
    }

    fn fence(&mut self, replica: usize, n: u8) {
        let replica = &self.replicas[replica];
        let revision = if n.is_multiple_of(2) { replica.applied } else { 1 + u64::from(n) % replica.applied };
        let now = replica.clock.read(self.now);
        let bounded = replica
            .leases
            .fence(now, revision, revision)
            .iter()
            .all(|line| !matches!(line.standing, super::Standing::Unconfirmed { .. }));
        let covers = match self.fault {
            Fault::LateDeposed => replica.leases.settled(),
            _ => replica.leases.covers(revision),
        };
        if replica.leads && covers && bounded && replica.leases.waiting(now, revision).nodes == 0 {
            self.fenced = self.fenced.max(revision);
        }
    }

    /// The broker that may serve somebody whom a completed fence promised to be cut.
    pub(super) fn violation(&self) -> Option<usize> {
        self.brokers.iter().position(|broker| {
            let now = broker.clock.read(self.now);
            let serving = broker.fresh_until.is_some_and(|end| match self.terms_at(broker.view).grace {
                StaleGrace::Bounded(grace) => now < end + grace,
                StaleGrace::Never => true,
            });
            serving && broker.view < self.fenced
        })
    }
}
