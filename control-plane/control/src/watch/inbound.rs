//! What a broker says on its watch stream.
use std::sync::Arc;
use std::time::Duration;

use revoq_credentials::NodeId;
use revoq_lease::IncarnationId;
use revoq_proto::v1::BrokerMessage;
use revoq_proto::v1::broker_message::{Hello, Message};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::debug;

use super::links::Links;
use super::outbound::Opening;
use super::watcher::{ACK_CUTS_MAX, Watcher};
use crate::counts::Limit;

/// A stream must begin within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads what a broker sends until its stream ends, one way or the other.
///
/// `opened` is told how the stream begins; `gone` is cancelled when the outbound side is.
pub(crate) async fn inbound(
    links: Arc<Links>,
    node: NodeId,
    messages: impl Stream<Item = Result<BrokerMessage, Status>> + Unpin,
    opened: oneshot::Sender<Result<Opening, Status>>,
    gone: CancellationToken,
) {
    let mut messages = messages;
    let hello = tokio::select! {
        hello = timeout(HELLO_TIMEOUT, messages.next()) => read_hello(hello.ok().flatten()),
        () = gone.cancelled() => return,
    };
    let opening = hello.and_then(|hello| open(&links, node, &hello));
    let watcher = opening.as_ref().ok().map(|opening| Arc::clone(&opening.watcher));
    if opened.send(opening).is_err() {
        debug!(node = node.0, "a broker left before its stream began");
    }
    let Some(watcher) = watcher else { return };
    let reason = tokio::select! {
        reason = converse(&links, &watcher, messages) => reason,
        () = gone.cancelled() => Status::cancelled("the broker has gone"),
        () = watcher.closed.cancelled() => Status::cancelled("closed"),
    };
    debug!(node = node.0, reason = reason.message(), "a watch stream ends");
    watcher.close(reason);
    links.watchers.leave(&watcher);
}

fn read_hello(first: Option<Result<BrokerMessage, Status>>) -> Result<Hello, Status> {
    match first {
        Some(Ok(BrokerMessage { message: Some(Message::Hello(hello)) })) => Ok(hello),
        Some(Err(status)) => Err(status),
        Some(Ok(_)) => Err(Status::invalid_argument("message: a watch begins with hello")),
        None => Err(Status::deadline_exceeded("a watch begins with hello; none came in time")),
    }
}

fn open(links: &Links, node: NodeId, hello: &Hello) -> Result<Opening, Status> {
    let incarnation = IncarnationId::try_from(hello.incarnation.as_ref()).map_err(|_| {
        let length = hello.incarnation.len();
        Status::invalid_argument(format!("hello.incarnation has {length} bytes: it must have 16"))
    })?;
    let watcher = Arc::new(Watcher::new(node, incarnation));
    links.watchers.enter(&watcher)?;
    Ok(Opening { watcher, revision: hello.revision })
}

async fn converse(
    links: &Links,
    watcher: &Watcher,
    mut messages: impl Stream<Item = Result<BrokerMessage, Status>> + Unpin,
) -> Status {
    while let Some(message) = messages.next().await {
        watcher.heard();
        if let Err(status) = message.and_then(|message| hear(links, watcher, message)) {
            return status;
        }
    }
    Status::cancelled("the broker ended its stream")
}

fn hear(links: &Links, watcher: &Watcher, message: BrokerMessage) -> Result<(), Status> {
    match message.message {
        Some(Message::Renew(renew)) => links.liaison.send(watcher.renew(renew)),
        Some(Message::Ack(ack)) => {
            links.counts.limit(Limit::AckCuts, ack.cuts.len().saturating_sub(ACK_CUTS_MAX));
            links.liaison.send(watcher.acknowledge(ack));
        }
        Some(Message::Farewell(_)) => links.liaison.send(watcher.farewell()),
        Some(Message::Usage(usage)) => links.usage.report(&usage, links.clock.now()),
        Some(Message::Sessions(reply)) => {
            links.counts.limit(Limit::AnswerSessions, watcher.reply(reply));
        }
        Some(Message::Hello(_)) => return Err(Status::invalid_argument("message: hello comes once, first")),
        // Of a later version, perhaps.
        None => debug!(node = watcher.node.0, "a message of an unknown kind"),
    }
    Ok(())
}
