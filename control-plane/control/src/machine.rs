//! The replicated machine: commands of the domain in, rows and events out.
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use revoq_consensus::{Applied, Machine};
use revoq_credentials::{
    Change, Command, Event, Operation, Outcome, ReadError, Reader, Refusal, Revision, SealedTicketKeys, apply,
};
use revoq_lease::Moment;
use revoq_proto::convert::event_for_broker;
use tokio::sync::watch;
use tracing::warn;

use crate::lease::moment;
use crate::seal::Seal;
use crate::tickets::open_ticket_keys;
use crate::watch::{EVENT_BYTES_MAX, Feed, FeedEvent};

/// What the proposer of a command is answered, in the log's encoding.
pub(crate) type Response = Result<Outcome, Refusal>;

/// A change of a setting that the keepers of leases have yet to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettingChange {
    pub(crate) revision: u64,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// What in the state changed since its readers last looked. It is marked before anybody who watches is woken.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// The revision at which rows of nodes last changed.
    nodes: watch::Sender<u64>,
    /// When ticket keys were last replaced, in ms of the wall clock.
    ticket_keys: AtomicU64,
    /// How often the state was replaced as a whole.
    restored: AtomicU64,
    settings: Mutex<VecDeque<SettingChange>>,
}

impl Marks {
    pub(crate) fn nodes(&self) -> u64 {
        *self.nodes.borrow()
    }

    /// As `nodes`, as it moves.
    pub(crate) fn watch_nodes(&self) -> watch::Receiver<u64> {
        self.nodes.subscribe()
    }

    pub(crate) fn ticket_keys(&self) -> u64 {
        self.ticket_keys.load(Ordering::SeqCst)
    }

    pub(crate) fn restored(&self) -> u64 {
        self.restored.load(Ordering::SeqCst)
    }

    /// The changes of settings since the last call, in order.
    pub(crate) fn take_settings(&self) -> VecDeque<SettingChange> {
        std::mem::take(&mut *self.settings.lock())
    }

    /// Notes what an event changed.
    pub(crate) fn note(&self, event: &Event) {
        for change in &event.changes {
            match change {
                Change::Setting { key, value } => self.settings.lock().push_back(SettingChange {
                    revision: event.revision.0,
                    key: key.clone(),
                    value: value.clone(),
                }),
                Change::TicketKeys(_) => self.ticket_keys.store(event.time.0, Ordering::SeqCst),
                _ => {}
            }
        }
    }
}

/// The machine of the group "credentials". What it applies it publishes to its [`Feed`].
pub(crate) struct Credentials {
    feed: Arc<Feed>,
    marks: Arc<Marks>,
    seal: Arc<dyn Seal>,
}

impl Credentials {
    /// A machine that publishes to `feed`; `seal` opens ticket keys for brokers.
    pub(crate) fn new(feed: Arc<Feed>, seal: Arc<dyn Seal>) -> Credentials {
        Credentials { feed, marks: Arc::default(), seal }
    }

    pub(crate) fn marks(&self) -> Arc<Marks> {
        Arc::clone(&self.marks)
    }

    /// The event in the form in which it goes to brokers, made once.
    pub(crate) fn feed_event(&self, event: Event, nodes: bool, applied: Moment) -> FeedEvent {
        let mut open = |sealed: &SealedTicketKeys| self.open(sealed);
        let wire = event_for_broker(&event, &mut open);
        let wire = (wire.encoded_len() <= EVENT_BYTES_MAX).then(|| Bytes::from(wire.encode_to_vec()));
        let nodes = nodes || event.changes.iter().any(|change| matches!(change, Change::NodeRemoved(_)));
        FeedEvent { revision: event.revision.0, event: Arc::new(event), wire, applied, nodes }
    }

    /// Ticket keys as brokers get them; none if this replica's key does not open them.
    pub(crate) fn open(&self, sealed: &SealedTicketKeys) -> Option<revoq_proto::v1::TicketKeys> {
        let opened = open_ticket_keys(self.seal.as_ref(), sealed);
        opened.inspect_err(|error| warn!(%error, "ticket keys are kept from the brokers")).ok()
    }
}

impl Machine for Credentials {
    type Event = Arc<FeedEvent>;

    fn apply(
        &self,
        reader: &dyn Reader,
        index: u64,
        command: &[u8],
    ) -> Result<Applied<Arc<FeedEvent>>, ReadError> {
        let begun = moment();
        let command = match Command::decode(command) {
            Ok(command) => command,
            Err(error) => return Ok(undecodable(&error)),
        };
        let done = apply(reader, Revision(index), &command)?;
        let nodes = matches!(
            command.operation,
            Operation::Initialize { .. } | Operation::JoinNode { .. } | Operation::RemoveNode { .. }
        );
        let change = done.event.as_ref().map(Event::encode);
        let event = done.event.map(|event| Arc::new(self.feed_event(event, nodes, begun)));
        Ok(Applied { writes: done.writes, change, response: encode_response(&done.result), event })
    }

    fn publish(&self, applied: u64, events: Vec<(u64, Arc<FeedEvent>)>) {
        for (_, event) in &events {
            self.marks.note(&event.event);
            if event.nodes {
                self.marks.nodes.send_replace(applied);
            }
        }
        self.feed.publish(applied, events.into_iter().map(|(_, event)| event));
    }

    fn restored(&self, applied: u64) {
        self.marks.nodes.send_replace(applied);
        self.marks.restored.fetch_add(1, Ordering::SeqCst);
        self.feed.restored(applied);
    }
}

/// Every replica answers the same to bytes that are no command, and changes nothing.
fn undecodable(error: &minicbor::decode::Error) -> Applied<Arc<FeedEvent>> {
    let refusal = Refusal::Invalid {
        field: "command".to_owned(),
        value: error.to_string().chars().take(64).collect(),
        remedy: "an operation that every replica of the cluster knows".to_owned(),
    };
    Applied { writes: Vec::new(), change: None, response: encode_response(&Err(refusal)), event: None }
}

fn encode_response(response: &Response) -> Vec<u8> {
    minicbor::to_vec(response).expect("a vector takes every byte")
}

pub(crate) fn decode_response(bytes: &[u8]) -> Result<Response, crate::Error> {
    minicbor::decode(bytes).map_err(|error| crate::Error::corrupt("the leader's response", error))
}

#[cfg(test)]
mod tests {
    use revoq_credentials::{MemoryStore, Millis};

    use super::*;
    use crate::seal::KeyEncryptionKey;

    fn machine() -> Result<Credentials, crate::Error> {
        Ok(Credentials::new(Arc::default(), Arc::new(KeyEncryptionKey::generate()?)))
    }

    #[test]
    fn bytes_that_are_no_command_are_refused_and_change_nothing() -> Result<(), crate::Error> {
        let applied = machine()?.apply(&MemoryStore::new(), 1, b"\xff\x00rubbish")?;
        assert!(applied.writes.is_empty() && applied.change.is_none() && applied.event.is_none());
        let response = decode_response(&applied.response)?;
        assert!(matches!(response, Err(Refusal::Invalid { field, .. }) if field == "command"));
        Ok(())
    }

    #[test]
    fn marks_precede_the_wake_and_come_once() -> Result<(), crate::Error> {
        let machine = machine()?;
        let (marks, feed) = (machine.marks(), Arc::clone(&machine.feed));
        let event = Event {
            revision: Revision(3),
            time: Millis(77),
            actor: "a".to_owned(),
            action: "setting.set".to_owned(),
            changes: vec![
                Change::Setting { key: "lease".to_owned(), value: "3s".to_owned() },
                Change::TicketKeys(SealedTicketKeys(vec![1, 2, 3])),
            ],
        };
        let event = machine.feed_event(event, true, Moment::ZERO);
        let wire = revoq_proto::v1::Event::decode(event.wire.clone().expect("small")).expect("our own");
        assert_eq!(wire.changes.len(), 1, "keys that do not open are left out");
        machine.publish(4, vec![(3, Arc::new(event))]);
        assert_eq!((marks.nodes(), marks.ticket_keys(), feed.revision()), (4, 77, 4));
        let expected = SettingChange { revision: 3, key: "lease".to_owned(), value: "3s".to_owned() };
        assert_eq!(marks.take_settings(), [expected]);
        assert!(marks.take_settings().is_empty());
        Ok(())
    }
}
