//! What is committed, revision by revision: the state, the view and the settings that follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use revoq_credentials::{
    Command, Credential, DeviceName, Event, Fingerprint, Millis, NodeKind, Operation, Principal, Revision,
    StaleGrace, TenantName, Verdict, View, query,
};

use super::Digest;
use super::history::number;
use crate::fault::Fault;
use crate::raft::{Entry, Payload};
use crate::replica::{Answered, Image, Machine};

/// A leaf's owner: a leaf that is registered anew may belong to another device.
type Owners = BTreeMap<Fingerprint, (TenantName, DeviceName)>;

/// One entry of the log, and what it came to.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) entry: Option<Entry>,
    /// The number of the change, if an administrator asked for it.
    pub(crate) operation: Option<u64>,
    pub(crate) answer: Option<Answered>,
    pub(crate) has_event: bool,
    pub(crate) digest: Digest,
    pub(crate) view: View,
    /// Broker nodes that have a row.
    pub(crate) nodes: Rc<BTreeSet<u64>>,
    owners: Rc<Owners>,
}

/// All that is committed.
#[derive(Debug)]
pub(crate) struct Truth {
    machine: Machine,
    first: u64,
    changes: Vec<Change>,
    /// Certificates that no authority vouches for, registered or not.
    leaves: BTreeSet<Fingerprint>,
}

impl Truth {
    /// From the state that the world begins with.
    pub(crate) fn new(image: &Rc<Image>, leaves: BTreeSet<Fingerprint>, fault: Option<Fault>) -> Truth {
        // A fault that is the same on every replica is the truth's too.
        let fault = fault.filter(|fault| *fault == Fault::AuditGap);
        let machine = Machine::new(image, 1, 1, fault);
        let index = machine.at.index;
        let mut truth = Truth { machine, first: index, changes: Vec::new(), leaves };
        let view = View::from_snapshot(Revision(index), snapshot(&truth.machine));
        let beginning = Change {
            entry: None,
            operation: None,
            answer: None,
            has_event: false,
            digest: truth.machine.digest,
            view,
            nodes: Rc::new(truth.nodes()),
            owners: Rc::new(truth.owners()),
        };
        truth.changes.push(beginning);
        truth
    }

    /// The index of the last entry.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.changes.len() as u64 - 1
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn at(&self, index: u64) -> Option<&Change> {
        self.changes.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// The last revision up to `index` that has an event.
    pub(crate) fn last_event(&self, index: u64) -> u64 {
        let mut upto = (self.first..=index).rev();
        upto.find(|index| self.at(*index).is_some_and(|change| change.has_event)).unwrap_or(self.first)
    }

    pub(crate) fn latest(&self) -> &Change {
        self.changes.last().expect("there is a beginning")
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The changes after the beginning, with their indices.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (u64, &Change)> {
        (self.first..).zip(&self.changes).skip(1)
    }

    /// A leader takes an entry for committed.
    pub(crate) fn commit(&mut self, index: u64, entry: &Entry) -> Result<(), String> {
        if let Some(known) = self.at(index) {
            let same = known.entry.as_ref().is_none_or(|known| known == entry);
            return if same {
                Ok(())
            } else {
                Err(format!("index {index} was committed as {:?} and is now {entry:?}", known.entry))
            };
        }
        if index != self.last() + 1 {
            return Err(format!("index {index} is committed before {} is", self.last() + 1));
        }
        let operation = self.note(entry);
        let answer = self.machine.apply(0, entry);
        let event = self.event(index);
        let before = self.latest();
        let (mut view, mut nodes, mut owners) =
            (before.view.clone(), Rc::clone(&before.nodes), Rc::clone(&before.owners));
        if let Some(event) = &event {
            view.apply(event);
            if matches!(event.action.as_str(), "node.join" | "node.remove") {
                nodes = Rc::new(self.nodes());
            } else {
                owners = Rc::new(self.owners());
            }
        }
        view.advance(Revision(index));
        let (digest, has_event) = (self.machine.digest, event.is_some());
        let entry = Some(entry.clone());
        self.changes.push(Change { entry, operation, answer, has_event, digest, view, nodes, owners });
        Ok(())
    }

    /// Reads in a command what has to be known of it beforehand.
    fn note(&mut self, entry: &Entry) -> Option<u64> {
        let Payload::Command(bytes) = &entry.payload else { return None };
        let command = Command::decode(bytes).expect("the log holds what was encoded");
        if let Operation::AddCertificate { certificate } = &command.operation
            && certificate.authority.is_none()
        {
            self.leaves.insert(certificate.fingerprint);
        }
        number(&command.actor)
    }

    fn event(&self, index: u64) -> Option<Rc<Event>> {
        let events = self.machine.changes(index - 1);
        events.into_iter().flatten().next()
    }

    fn nodes(&self) -> BTreeSet<u64> {
        let nodes = query::nodes(&self.machine.store).expect("the rows are sound");
        nodes.into_iter().filter(|node| node.kind == NodeKind::Broker).map(|node| node.id.0).collect()
    }

    fn owners(&self) -> Owners {
        let owner = |fingerprint: &Fingerprint| {
            let row = query::certificate_by_fingerprint(&self.machine.store, fingerprint)
                .expect("the rows are sound");
            row.map(|certificate| (*fingerprint, (certificate.tenant, certificate.device)))
        };
        self.leaves.iter().filter_map(owner).collect()
    }

    /// May a principal have a session by the state at `index`, whatever the time?
    pub(crate) fn allows(&self, index: u64, principal: &Principal) -> bool {
        let Some(change) = self.at(index) else { return false };
        if change.view.verdict(principal, Millis(0)) != Verdict::Allow {
            return false;
        }
        let Credential::Certificate { fingerprint, authority: None, .. } = &principal.credential else {
            return true;
        };
        let owner = change.owners.get(fingerprint);
        owner.is_none_or(|(tenant, device)| {
            *tenant == principal.tenant && Some(device) == principal.device.as_ref()
        })
    }

    /// Whether a principal may have a session by the state at `since` or by any later one.
    pub(crate) fn lets_in(&self, since: u64, principal: &Principal) -> bool {
        (since.max(self.first)..=self.last()).rev().any(|index| self.allows(index, principal))
    }

    /// Whether the grace was ever without a bound.
    pub(crate) fn never_in_force(&self) -> bool {
        self.changes.iter().any(|change| change.view.settings().stale_grace == StaleGrace::Never)
    }
}

fn snapshot(machine: &Machine) -> impl Iterator<Item = revoq_credentials::Change> {
    let mut changes = Vec::new();
    let mut cursor = None;
    loop {
        let (part, next) = query::snapshot(&machine.store, cursor, 1_000).expect("the rows are sound");
        changes.extend(part);
        cursor = next;
        if cursor.is_none() {
            return changes.into_iter();
        }
    }
}
