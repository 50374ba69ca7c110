//! One client, one session (MQTT 5.0 section 3.1.4): who holds a client id on this node, and the sessions of clients that
//! are away.

mod keeper;
mod memory;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use revoq_credentials::{Fingerprint, Principal};
use revoq_session::Message;

pub(crate) use keeper::keep;
pub(crate) use memory::MemoryStore;

use crate::clock;
use crate::connection::Subscriptions;
use crate::node::Node;
use crate::registry::Entry;
use crate::router::{Publisher, Space};

/// Where client ids are claimed, and sessions are while their clients are away: in the memory of this node, or, once
/// there is one, in a store that outlives it.
///
/// **Keep, then judge.** A session is kept first, and only then looked at by the view, whether its credential was revoked; an
/// event is applied to the view first, and only then are sessions discarded. So one of the two sees the other.
pub(crate) trait SessionStore: Send + Sync {
    /// Gives the client id of a registered connection to it. The gate of the one that had it is shut before this
    /// returns. With `clean_start`, and for another device, what was there ends.
    fn claim<'a>(&'a self, entry: &'a Arc<Entry>, clean_start: bool) -> BoxFuture<'a, Result<Claimed, Busy>>;

    /// The client is away from now on. Its session comes back where another connection has the client id, or where there are
    /// too many sessions: then it ends.
    fn keep(&self, entry: &Arc<Entry>, away: Box<Away>) -> Result<(), NotKept>;

    /// Takes the client id back, unless another connection has claimed it since.
    fn release(&self, entry: &Arc<Entry>);

    /// Takes out the sessions that end: of one credential, or of all, those whose principal `ends`.
    fn discard(&self, of: Option<&Fingerprint>, ends: &dyn Fn(&Principal) -> bool) -> Vec<Away>;

    /// Waits until something has become due, and takes it out. Nobody else waits.
    fn due(&self) -> BoxFuture<'_, Vec<Due>>;

    /// Client ids that connections hold, and sessions of clients that are away.
    fn len(&self) -> (usize, usize);
}

/// A session whose client is away. Its place in the router stays, and takes what comes.
pub(crate) struct Away {
    pub(crate) principal: Principal,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) will: Option<DelayedWill>,
    /// When it ends, boot clock milliseconds; `u64::MAX` is never.
    pub(crate) expires: u64,
}

/// A will that is published unless the client is back before (section 3.1.3.2.2).
pub(crate) struct DelayedWill {
    pub(crate) message: Arc<Message>,
    /// Boot clock milliseconds.
    pub(crate) due: u64,
}

/// What came of a claim.
pub(crate) struct Claimed {
    /// A live session was cut for it.
    pub(crate) took_over: bool,
    pub(crate) before: Before,
}

/// The session that the client id had.
pub(crate) enum Before {
    Nothing,
    /// It goes on.
    Resumed(Box<Away>),
    /// It ends here.
    Ended(Box<Away>),
}

/// The connection that holds the client id did not leave in time.
#[derive(Debug)]
pub(crate) struct Busy;

/// A session that ends because it is not kept.
pub(crate) struct NotKept {
    pub(crate) away: Box<Away>,
    /// Too many are kept.
    pub(crate) is_full: bool,
}

/// What time brings.
pub(crate) enum Due {
    Will { space: Arc<Space>, from: Publisher, message: Arc<Message> },
    Expired(Box<Away>),
}

impl Away {
    /// Does a client that shows this get this session? A client id alone does not prove who it is.
    fn is_of(&self, principal: &Principal) -> bool {
        is_same(&self.principal, principal)
    }

    fn due(&self) -> u64 {
        self.will.as_ref().map_or(u64::MAX, |will| will.due).min(self.expires)
    }

    /// The session ends: its will does not wait any longer ([MQTT-3.1.2-8]).
    pub(crate) fn end(self, node: &Node) {
        if let Some(will) = &self.will {
            publish_will(node, self.subscriptions.space(), self.subscriptions.publisher(), &will.message);
        }
        self.subscriptions.end([], node);
    }
}

/// The same device, or two clients that showed nothing.
fn is_same(one: &Principal, other: &Principal) -> bool {
    one.tenant == other.tenant && one.device == other.device
}

/// A will that waited: its expiry interval begins now (section 3.1.3.2.4).
fn publish_will(node: &Node, space: &Space, from: Publisher, will: &Message) {
    let will = Arc::new(will.received_at(clock::tick(clock::now())));
    space.publish(&will, from, node);
}
