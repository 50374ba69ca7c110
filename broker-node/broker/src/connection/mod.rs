//! One connection from accept to close: a task of its own, which polls both directions.

mod authenticate;
mod close;
mod handshake;
mod run;
mod stream;
mod streams;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::BytesMut;
use revoq_session::{Admission, CloseReason, ConnectRequest, Session};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::admission::{Admitted, Arrival, admit};
use crate::clock;
use crate::gate::Shut;
use crate::listener::{Layers, Slot};
use crate::node::Node;
use crate::registry::Registered;
use authenticate::Exchange;
use stream::Stream;
pub(crate) use subscriptions::Subscriptions;

/// A connection whose handshake is done.
///
/// The state of an idle one is small on purpose: buffers are allocated when there are bytes and dropped when there
/// are none, the handshake's future is boxed and gone.
struct Connection {
    node: Arc<Node>,
    stream: Stream,
    session: Session,
    /// The start of a packet that is not whole yet.
    unread: BytesMut,
    /// Bytes on their way to the client, ...
    unwritten: BytesMut,
    /// ... of which some have left: what follows must be their rest.
    is_midway: bool,
    needs_flush: bool,
    /// A message that is to be acknowledged went to somebody, ...
    has_posted: bool,
    /// ... and who got it was let go first.
    gave_way: bool,
    timer: Option<Timer>,
    /// From CONNECT on.
    attached: Option<Attached>,
    /// Until then.
    arrival: Option<Arc<Arrival>>,
    /// While the client authenticates.
    exchange: Option<Box<Exchange>>,
}

/// Fires at `at`, boot clock milliseconds.
struct Timer {
    at: u64,
    /// It wakes the connection's task, which has polled it.
    is_armed: bool,
    sleep: Pin<Box<Sleep>>,
}

/// What a client has that was let in.
struct Attached {
    registered: Registered,
    subscriptions: Subscriptions,
}

/// Why the task stopped handling packets.
enum Event {
    /// A client wants to be let in.
    Connect(Box<ConnectRequest>),
    /// The session ended by itself; its last bytes are to be written.
    Closed(CloseReason),
    /// The gate was shut: nothing more passes.
    Shut(Shut),
}

/// What a listener accepted.
pub(crate) enum Entrance {
    /// A socket, its peer, and what lies between it and MQTT.
    Socket(TcpStream, SocketAddr, Arc<Layers>),
    /// And whether it may have data streams.
    Quic(Box<quinn::Incoming>, bool),
}

/// Serves one connection to its end.
pub(crate) async fn serve(node: Arc<Node>, entrance: Entrance, slot: Slot) {
    let stopping = node.stopping.clone();
    let start = Box::pin(start(node, entrance, &slot));
    let Some(Some((mut connection, ended))) = stopping.run_until_cancelled(start).await else { return };
    let event = match ended {
        Some(event) => event,
        None => poll_fn(|cx| connection.poll(cx)).await,
    };
    connection.close(event).await;
}

/// Handshake, CONNECT and the verdict: a large future, which is gone while the session lives. With an event the
/// connection has ended already; `None` comes when there was none to speak of.
async fn start(node: Arc<Node>, entrance: Entrance, slot: &Slot) -> Option<(Box<Connection>, Option<Event>)> {
    let (stream, arrival) = handshake::handshake(&node, slot, entrance).await?;
    let arrival = Arc::new(arrival);
    let mut connection = Box::new(Connection::new(node, stream, arrival.clone()));
    let event = poll_fn(|cx| connection.poll(cx)).await;
    let Event::Connect(request) = event else { return Some((connection, Some(event))) };
    connection.arrival = None;
    let admission = connection.admit(&arrival, &request).await;
    connection.session.handle_admission(clock::tick(clock::now()), admission);
    Some((connection, None))
}

impl Connection {
    fn new(node: Arc<Node>, stream: Stream, arrival: Arc<Arrival>) -> Connection {
        let session = Session::new(node.session_config.clone(), clock::tick(clock::now()));
        Connection {
            node,
            stream,
            session,
            unread: BytesMut::new(),
            unwritten: BytesMut::new(),
            is_midway: false,
            needs_flush: false,
            has_posted: false,
            gave_way: false,
            timer: None,
            attached: None,
            arrival: Some(arrival),
            exchange: None,
        }
    }

    async fn admit(&mut self, arrival: &Arrival, request: &ConnectRequest) -> Admission {
        let proven = self.exchange.take().and_then(|exchange| exchange.proven());
        match admit(&self.node, arrival, request, proven).await {
            Ok(Admitted { registered, subscriptions, accept }) => {
                self.node.metrics.admitted.inc();
                self.attached = Some(Attached { registered, subscriptions });
                Admission::Accept(accept)
            }
            Err(refused) => {
                tracing::debug!(address = %arrival.address, ?refused, "refused");
                refused.into()
            }
        }
    }
}
