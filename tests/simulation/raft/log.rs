//! A replica's log: what of it is on disk, what was compacted, and who the members are by it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;

/// What an entry carries.
#[derive(Clone)]
pub(crate) enum Payload {
    /// The first of a term.
    Blank,
    /// An encoded [`Command`](revoq_credentials::Command).
    Command(Rc<[u8]>),
    /// Who belongs to the group from here on.
    Members(Rc<Members>),
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payload::Blank => f.write_str("blank"),
            Payload::Command(bytes) => write!(f, "{} bytes", bytes.len()),
            Payload::Members(members) => write!(f, "{:?}", members.voters),
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        match (self, other) {
            (Payload::Blank, Payload::Blank) => true,
            (Payload::Command(one), Payload::Command(other)) => one == other,
            (Payload::Members(one), Payload::Members(other)) => one == other,
            _ => false,
        }
    }
}

/// One entry. Its index is its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) term: u64,
    pub(crate) payload: Payload,
}

/// Who belongs to the group. A change adds or takes away one voter at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) voters: BTreeSet<u64>,
    /// They are sent everything, and count for nothing.
    pub(crate) learners: BTreeSet<u64>,
    /// At which address each is.
    pub(crate) seats: BTreeMap<u64, u8>,
}

impl Members {
    /// Whether these are a majority of the voters.
    pub(crate) fn is_quorum(&self, of: &BTreeSet<u64>) -> bool {
        of.intersection(&self.voters).count() * 2 > self.voters.len()
    }

    /// Everybody but `me`.
    pub(crate) fn others(&self, me: u64) -> impl Iterator<Item = u64> + '_ {
        self.voters.union(&self.learners).copied().filter(move |id| *id != me)
    }
}

/// An index and the term of its entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

impl Position {
    /// A log that ends here has at least as much as one that ends at `other`.
    pub(crate) fn is_up_to_date(self, other: Position) -> bool {
        (self.term, self.index) >= (other.term, other.index)
    }
}

/// The log. Entries before `base` are in the state only.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    base: Position,
    entries: VecDeque<Entry>,
    /// Every entry up to this index is on disk.
    durable: u64,
    /// Counts truncations, so that a flush that began before one says nothing about what came after.
    generation: u64,
    /// Each membership in the log, the one at `base` first.
    members: Vec<(u64, Rc<Members>)>,
}

impl Log {
    pub(crate) fn new(base: Position, members: Rc<Members>) -> Log {
        let members = vec![(base.index, members)];
        Log { base, entries: VecDeque::new(), durable: base.index, generation: 0, members }
    }

    pub(crate) fn base(&self) -> Position {
        self.base
    }

    pub(crate) fn last(&self) -> Position {
        let index = self.base.index + self.entries.len() as u64;
        Position { index, term: self.entries.back().map_or(self.base.term, |entry| entry.term) }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn members(&self) -> &Rc<Members> {
        &self.members.last().expect("the first is that of the base").1
    }

    /// The index of the entry that the present membership is from.
    pub(crate) fn members_at(&self) -> u64 {
        self.members.last().expect("the first is that of the base").0
    }

    /// The membership that holds at an index.
    pub(crate) fn members_of(&self, index: u64) -> Rc<Members> {
        let mut known = self.members.iter().rev();
        let known = known.find(|(at, _)| *at <= index).unwrap_or(&self.members[0]);
        Rc::clone(&known.1)
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Entry> {
        let place = index.checked_sub(self.base.index + 1)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// The term of the entry at an index, if it is known here.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        if index == self.base.index { Some(self.base.term) } else { self.get(index).map(|entry| entry.term) }
    }

    /// The entries from an index on, at most `most`.
    pub(crate) fn from(&self, index: u64, most: usize) -> Vec<Entry> {
        let place = usize::try_from(index - self.base.index - 1).expect("a log is short");
        self.entries.iter().skip(place).take(most).cloned().collect()
    }

    pub(crate) fn append(&mut self, entry: Entry) -> u64 {
        let index = self.last().index + 1;
        if let Payload::Members(members) = &entry.payload {
            self.members.push((index, Rc::clone(members)));
        }
        self.entries.push_back(entry);
        index
    }

    /// Drops the entry at `index` and all that follow.
    pub(crate) fn truncate(&mut self, index: u64) {
        let keep = usize::try_from(index - self.base.index - 1).expect("a log is short");
        self.entries.truncate(keep);
        self.durable = self.durable.min(index - 1);
        self.generation += 1;
        self.members.retain(|(at, _)| *at < index || *at <= self.base.index);
    }

    /// What was appended up to `upto` reached the disk.
    pub(crate) fn flushed(&mut self, upto: u64, generation: u64) {
        if generation == self.generation {
            self.durable = self.durable.max(upto.min(self.last().index));
        }
    }

    /// The machine failed: what was not on disk is gone.
    pub(crate) fn crash(&mut self) {
        self.truncate(self.durable + 1);
    }

    /// Entries up to `index` are not needed any more.
    pub(crate) fn compact(&mut self, index: u64) {
        let Some(term) = self.term(index).filter(|_| index > self.base.index) else { return };
        self.entries.drain(..usize::try_from(index - self.base.index).expect("a log is short"));
        let members = self.members_of(index);
        self.members.retain(|(at, _)| *at > index);
        self.members.insert(0, (index, members));
        self.base = Position { index, term };
        self.durable = self.durable.max(index);
    }

    /// A snapshot replaced the state: what the log has beyond it stays, if it goes on from there.
    pub(crate) fn install(&mut self, at: Position, members: &Rc<Members>) {
        if self.term(at.index) == Some(at.term) {
            self.compact(at.index);
            return;
        }
        let generation = self.generation + 1;
        *self = Log { generation, ..Log::new(at, Rc::clone(members)) };
    }
}
