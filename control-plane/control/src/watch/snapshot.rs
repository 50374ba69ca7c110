//! A snapshot in chunks: what a broker must know at a revision.
use std::collections::VecDeque;

use prost::Message as _;
use revoq_credentials::query::{self, SnapshotCursor};
use revoq_credentials::{Reader, SealedTicketKeys};
use revoq_proto::convert::change_for_broker;
use revoq_proto::v1;
use revoq_proto::v1::control_message::SnapshotChunk;

/// Changes in one chunk.
const CHUNK_CHANGES_MAX: usize = 2_000;

/// Encoded bytes in one chunk, unless a single change has more.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// A snapshot that is being sent. It reads one consistent state, part by part, as fast as the broker takes it.
pub(crate) struct Snapshot {
    reader: Box<dyn Reader + Send>,
    revision: u64,
    /// Changes in one chunk.
    changes_max: usize,
    /// Read and not sent.
    ready: VecDeque<v1::Change>,
    /// Where the next part begins.
    cursor: Option<SnapshotCursor>,
    /// Everything is read.
    exhausted: bool,
    begun: bool,
    done: bool,
}

impl Snapshot {
    /// The state of `reader`, which stands at `revision`.
    pub(crate) fn new(reader: Box<dyn Reader + Send>, revision: u64) -> Snapshot {
        Snapshot::of_size(reader, revision, CHUNK_CHANGES_MAX)
    }

    fn of_size(reader: Box<dyn Reader + Send>, revision: u64, changes_max: usize) -> Snapshot {
        Snapshot {
            reader,
            revision,
            changes_max,
            ready: VecDeque::new(),
            cursor: None,
            exhausted: false,
            begun: false,
            done: false,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The next chunk; `None` after the last. `open` unseals ticket keys.
    pub(crate) fn next_chunk(
        &mut self,
        open: &mut dyn FnMut(&SealedTicketKeys) -> Option<v1::TicketKeys>,
    ) -> Result<Option<SnapshotChunk>, crate::Error> {
        if self.done {
            return Ok(None);
        }
        while self.ready.len() < self.changes_max && !self.exhausted {
            let (part, next) = query::snapshot(self.reader.as_ref(), self.cursor.take(), self.changes_max)?;
            self.ready.extend(part.iter().filter_map(|change| change_for_broker(change, open)));
            self.exhausted = next.is_none();
            self.cursor = next;
        }
        let changes = self.take_ready();
        let first = !self.begun;
        self.begun = true;
        self.done = self.exhausted && self.ready.is_empty();
        Ok(Some(SnapshotChunk { revision: self.revision, changes, first, last: self.done }))
    }

    fn take_ready(&mut self) -> Vec<v1::Change> {
        let mut changes = Vec::new();
        let mut bytes = 0;
        while let Some(change) = self.ready.front() {
            bytes += change.encoded_len();
            if changes.len() == self.changes_max || (bytes > CHUNK_BYTES_MAX && !changes.is_empty()) {
                break;
            }
            changes.extend(self.ready.pop_front());
        }
        changes
    }
}

#[cfg(test)]
pub(super) mod tests {
    use revoq_credentials::settings::definitions;
    use revoq_credentials::{
        Administrator, Cluster, Command, Fingerprint, MemoryStore, Millis, Node, NodeId, NodeKind, Operation,
        Revision, Role, apply,
    };
    use revoq_proto::v1::change::Change;

    use super::*;

    /// A cluster with so many tenants beside the first one.
    pub(in super::super) fn state(tenants: u64) -> MemoryStore {
        let mut store = MemoryStore::new();
        let tenant =
            |number: u64| Operation::CreateTenant { name: format!("t{number}").parse().expect("a name") };
        for (revision, operation) in (1..).zip(std::iter::once(initialize()).chain((0..tenants).map(tenant)))
        {
            let command = Command { version: 1, actor: "test".to_owned(), time: Millis(revision), operation };
            let applied = apply(&store, Revision(revision), &command).expect("readable");
            applied.result.expect("a good command");
            store.commit(&applied.writes);
        }
        store
    }

    fn initialize() -> Operation {
        Operation::Initialize {
            cluster: Cluster {
                name: "test".to_owned(),
                authority_der: vec![1],
                sealed_authority_key: vec![2],
            },
            node: Node {
                id: NodeId(1),
                name: "replica".parse().expect("a name"),
                kind: NodeKind::Replica,
                address: Some("localhost:1".to_owned()),
                fingerprint: Fingerprint([1; 32]),
                joined: Millis(1),
                revision: None,
            },
            administrator: Administrator {
                name: "admin".parse().expect("a name"),
                role: Role::Administrator,
                fingerprint: Fingerprint([2; 32]),
                not_after: Millis(9),
            },
            ticket_keys: SealedTicketKeys(vec![3]),
        }
    }

    fn chunks(tenants: u64) -> Vec<SnapshotChunk> {
        let mut snapshot = Snapshot::of_size(Box::new(state(tenants)), tenants, 100);
        std::iter::from_fn(|| snapshot.next_chunk(&mut |_| None).expect("readable")).collect()
    }

    #[test]
    fn a_small_state_is_one_chunk() {
        let chunks = chunks(0);
        assert_eq!(chunks.len(), 1);
        assert!(chunks[0].first && chunks[0].last);
        let setting = |change: &&v1::Change| matches!(change.change, Some(Change::Setting(_)));
        assert_eq!(chunks[0].changes.iter().filter(setting).count(), definitions().len());
        let sealed = |change: &v1::Change| matches!(change.change, Some(Change::TicketKeys(_)));
        assert!(!chunks[0].changes.iter().any(sealed), "keys that do not open are left out");
    }

    #[test]
    fn chunks_are_bounded_and_hold_everything_once() {
        let chunks = chunks(450);
        assert!(chunks.len() >= 5);
        for (at, chunk) in chunks.iter().enumerate() {
            assert_eq!((chunk.first, chunk.last), (at == 0, at + 1 == chunks.len()));
            assert_eq!(chunk.revision, 450);
            assert!(chunk.changes.len() <= 100 && chunk.encoded_len() <= 2 * CHUNK_BYTES_MAX);
        }
        let tenant = |change: v1::Change| match change.change {
            Some(Change::Tenant(tenant)) => Some(tenant.name),
            _ => None,
        };
        let mut names: Vec<String> =
            chunks.into_iter().flat_map(|chunk| chunk.changes).filter_map(tenant).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 451, "and `default`");
    }
}
