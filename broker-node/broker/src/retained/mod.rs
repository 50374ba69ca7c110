//! What publishers of a tenant left for those who subscribe later (RETAIN, MQTT 5.0 section 3.3.1.3).

mod memory;

use revoq_credentials::TenantName;
use revoq_mqtt::{Topic, TopicFilter};
use revoq_session::{Delivery, Message, StreamId, SubscriptionTerms, Tick};

pub(crate) use memory::MemoryStore;

/// The last message with RETAIN of each topic of one tenant: in the memory of this node, or, once there is one, in a store
/// that outlives it.
///
/// No call waits: packets are being handled. A store that is elsewhere too is read from a copy that is here.
pub(crate) trait RetainedStore: Send + Sync {
    /// Keeps a message in the place of the one before; one without payload takes that out. False if there is no room: that too
    /// takes it out, so that what is retained is never older than what was published.
    fn keep(&self, message: &Message) -> bool;

    /// The next deliveries of a cursor that are not expired, in order of their topics, at most `count`, and one where that is
    /// zero. False with the last.
    fn read(&self, cursor: &mut Cursor, now: Tick, count: usize, out: &mut Vec<Delivery>) -> bool;

    /// Messages, and bytes of their topics, properties and payloads.
    fn len(&self) -> (usize, usize);
}

/// Makes the store of a tenant.
pub(crate) type NewStore = Box<dyn Fn(&TenantName) -> Box<dyn RetainedStore> + Send + Sync>;

/// How far a new subscription has come through what is retained.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) filter: TopicFilter,
    terms: SubscriptionTerms,
    after: Option<Topic>,
}

impl Cursor {
    pub(crate) fn new(filter: TopicFilter, terms: SubscriptionTerms) -> Cursor {
        Cursor { filter, terms, after: None }
    }

    /// Where its messages go.
    pub(crate) fn stream(&self) -> StreamId {
        self.terms.stream
    }
}
