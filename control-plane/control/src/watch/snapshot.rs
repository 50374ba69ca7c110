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
        Snapshot {
            reader,
            revision,
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
        while self.ready.len() < CHUNK_CHANGES_MAX && !self.exhausted {
            let (part, next) = query::snapshot(self.reader.as_ref(), self.cursor.take(), CHUNK_CHANGES_MAX)?;
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
            if changes.len() == CHUNK_CHANGES_MAX || (bytes > CHUNK_BYTES_MAX && !changes.is_empty()) {
                break;
            }
            changes.extend(self.ready.pop_front());
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use revoq_credentials::{Command, MemoryStore, Millis, Operation, Revision, TenantName, apply};
    use revoq_proto::v1::change::Change;

    use super::*;

    /// A state with so many tenants.
    fn state(tenants: u64) -> MemoryStore {
        let mut store = MemoryStore::new();
        for number in 1..=tenants {
            let name: TenantName = format!("t{number}").parse().expect("a name");
            let operation = Operation::CreateTenant { name };
            let command = Command { version: 1, actor: "test".to_owned(), time: Millis(number), operation };
            let applied = apply(&store, Revision(number), &command).expect("readable");
            applied.result.expect("a new name");
            store.commit(&applied.writes);
        }
        store
    }

    fn chunks(tenants: u64) -> Vec<SnapshotChunk> {
        let mut snapshot = Snapshot::new(Box::new(state(tenants)), tenants);
        std::iter::from_fn(|| snapshot.next_chunk(&mut |_| None).expect("readable")).collect()
    }

    #[test]
    fn an_empty_state_is_one_chunk() {
        let chunks = chunks(0);
        assert_eq!(chunks.len(), 1);
        assert!(chunks[0].first && chunks[0].last);
        let setting = |change: &v1::Change| matches!(change.change, Some(Change::Setting(_)));
        assert!(chunks[0].changes.iter().all(setting) && !chunks[0].changes.is_empty());
    }

    #[test]
    fn chunks_are_bounded_and_hold_everything_once() {
        let chunks = chunks(4_500);
        assert!(chunks.len() >= 3);
        for (at, chunk) in chunks.iter().enumerate() {
            assert_eq!((chunk.first, chunk.last), (at == 0, at + 1 == chunks.len()));
            assert_eq!(chunk.revision, 4_500);
            assert!(chunk.changes.len() <= CHUNK_CHANGES_MAX && chunk.encoded_len() <= 2 * CHUNK_BYTES_MAX);
        }
        let tenant = |change: v1::Change| match change.change {
            Some(Change::Tenant(tenant)) => Some(tenant.name),
            _ => None,
        };
        let mut names: Vec<String> =
            chunks.into_iter().flat_map(|chunk| chunk.changes).filter_map(tenant).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 4_500);
    }
}
