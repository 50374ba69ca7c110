//! The replicated machine over its rows: commands in, rows and events out. Stands for `machine.rs` of
//! control-plane/control and for `state.rs` of control-plane/consensus; `apply` itself is the real one.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use revoq_credentials::{
    Change, Command, Event, MemoryStore, Operation, Outcome, Refusal, Revision, Write, apply,
};

use super::feed::{Feed, FeedEvent};
use crate::clock::Time;
use crate::fault::Fault;
use crate::oracle::Digest;
use crate::raft::{Entry, Members, Payload, Position};

/// What a command came to.
pub(crate) type Answered = Result<Outcome, Refusal>;

/// A change of a setting that the keeper of the leases has yet to see.
#[derive(Clone, Debug)]
pub(crate) struct SettingChange {
    pub(crate) revision: u64,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// What in the state changed since the keeper last looked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    /// The revision at which rows of nodes last changed.
    pub(crate) nodes: u64,
    /// How often the state was replaced as a whole.
    pub(crate) restored: u64,
    pub(crate) settings: VecDeque<SettingChange>,
}

impl Marks {
    pub(crate) fn note(&mut self, event: &Event) {
        for change in &event.changes {
            if let Change::Setting { key, value } = change {
                let (revision, key, value) = (event.revision.0, key.clone(), value.clone());
                self.settings.push_back(SettingChange { revision, key, value });
            }
        }
    }
}

/// The state at an index, as it is sent to a member that lacks it and kept for a restart.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) at: Position,
    pub(crate) members: Rc<Members>,
    store: MemoryStore,
    digest: Digest,
    changes: BTreeMap<u64, Rc<[u8]>>,
    changes_floor: u64,
}

impl Image {
    /// A state that no log leads to: the beginning of a run.
    pub(crate) fn new(at: Position, members: Rc<Members>, store: MemoryStore) -> Image {
        let digest = Digest::of(&store);
        Image { at, members, store, digest, changes: BTreeMap::new(), changes_floor: at.index }
    }
}

/// The state of one replica.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) store: MemoryStore,
    pub(crate) at: Position,
    pub(crate) digest: Digest,
    pub(crate) marks: Marks,
    pub(crate) feed: Feed,
    /// Encoded events, as in the change rows; everything after the floor is there.
    changes: BTreeMap<u64, Rc<[u8]>>,
    changes_floor: u64,
    changes_kept: u64,
    /// What a restart of the machine finds.
    checkpoint: Rc<Image>,
    fault: Option<Fault>,
}

impl Machine {
    pub(crate) fn new(image: &Rc<Image>, ring: usize, changes_kept: u64, fault: Option<Fault>) -> Machine {
        let mut machine = Machine {
            store: MemoryStore::new(),
            at: Position::default(),
            digest: Digest::default(),
            marks: Marks::default(),
            feed: Feed::new(ring),
            changes: BTreeMap::new(),
            changes_floor: 0,
            changes_kept,
            checkpoint: Rc::clone(image),
            fault,
        };
        machine.restore(image);
        machine.restored();
        machine
    }

    fn restore(&mut self, image: &Image) {
        self.store = image.store.clone();
        (self.at, self.digest) = (image.at, image.digest);
        (self.changes, self.changes_floor) = (image.changes.clone(), image.changes_floor);
    }

    /// The state was replaced by what another replica sent.
    pub(crate) fn install(&mut self, image: &Rc<Image>) {
        self.restore(image);
        self.checkpoint = Rc::clone(image);
        self.restored();
    }

    fn restored(&mut self) {
        self.marks.nodes = self.at.index;
        self.marks.restored += 1;
        self.feed.restored(self.at.index);
    }

    /// The state as it is now.
    pub(crate) fn image(&self, members: Rc<Members>) -> Rc<Image> {
        Rc::new(Image {
            at: self.at,
            members,
            store: self.store.clone(),
            digest: self.digest,
            changes: self.changes.clone(),
            changes_floor: self.changes_floor,
        })
    }

    /// Makes the state as it is now what a restart finds.
    pub(crate) fn keep(&mut self, members: Rc<Members>) {
        self.checkpoint = self.image(members);
    }

    pub(crate) fn checkpoint(&self) -> &Image {
        &self.checkpoint
    }

    /// A start after a crash: `entries` follow the checkpoint and were committed. What was applied before the
    /// crash is not published again.
    pub(crate) fn restart(&mut self, entries: impl Iterator<Item = Entry>) {
        let checkpoint = Rc::clone(&self.checkpoint);
        self.restore(&checkpoint);
        let (ring, restored) = (self.feed.events_max(), self.marks.restored);
        (self.marks, self.feed) = (Marks { restored, ..Marks::default() }, Feed::new(ring));
        for entry in entries {
            self.take(&entry);
        }
        self.prune();
        self.restored();
    }

    /// Applies the entry that comes next and publishes its event; what a command came to.
    pub(crate) fn apply(&mut self, now: Time, entry: &Entry) -> Option<Answered> {
        let (answer, event, nodes) = self.take(entry);
        self.prune();
        let applied = self.at.index;
        if let Some(event) = event {
            self.marks.note(&event);
            let nodes = nodes || event.changes.iter().any(|change| matches!(change, Change::NodeRemoved(_)));
            if nodes {
                self.marks.nodes = applied;
            }
            self.feed.publish(applied, Some(FeedEvent { revision: applied, event, applied: now }));
        } else {
            self.feed.publish(applied, None);
        }
        answer
    }

    fn take(&mut self, entry: &Entry) -> (Option<Answered>, Option<Rc<Event>>, bool) {
        self.at = Position { index: self.at.index + 1, term: entry.term };
        let Payload::Command(bytes) = &entry.payload else { return (None, None, false) };
        let command = Command::decode(bytes).expect("the log holds what was encoded");
        let applied = apply(&self.store, Revision(self.at.index), &command).expect("the rows are sound");
        self.write(applied.writes);
        let nodes = matches!(command.operation, Operation::JoinNode { .. } | Operation::RemoveNode { .. });
        if let Some(event) = &applied.event {
            self.changes.insert(self.at.index, event.encode().into());
        }
        (Some(applied.result), applied.event.map(Rc::new), nodes)
    }

    fn write(&mut self, mut writes: Vec<Write>) {
        match self.fault {
            Some(Fault::SkippedWrite) if self.at.index.is_multiple_of(16) => {
                writes.pop();
            }
            Some(Fault::AuditGap) if self.at.index.is_multiple_of(16) => {
                writes.retain(|write| !matches!(write, Write::Put(key, _) if key.starts_with(b"an")));
            }
            _ => {}
        }
        self.digest.write(&mut self.store, &writes);
    }

    fn prune(&mut self) {
        let floor = self.at.index.saturating_sub(self.changes_kept);
        self.changes_floor = self.changes_floor.max(floor);
        self.changes = self.changes.split_off(&(self.changes_floor + 1));
    }

    /// The stored events after `after`, in order; `None` where some of them are gone.
    pub(crate) fn changes(&self, after: u64) -> Option<impl Iterator<Item = Rc<Event>> + '_> {
        let decode = |bytes: &Rc<[u8]>| Rc::new(Event::decode(bytes).expect("a row is what was encoded"));
        (after >= self.changes_floor)
            .then(|| self.changes.range(after + 1..).map(move |(_, row)| decode(row)))
    }

    /// Everything after this index is in the change rows.
    pub(crate) fn changes_floor(&self) -> u64 {
        self.changes_floor
    }

    pub(super) fn passes_compaction_over(&self) -> bool {
        self.fault == Some(Fault::CompactionPassedOver)
    }
}
