//! The end of a connection: first out of everything that is shared, then the closing words, within a deadline.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use revoq_session::{Cause, CloseReason, Delivery, Message, Output, SessionState};

use super::{Attached, Connection, Event};
use crate::clock;
use crate::gate::Shut;
use crate::node::Node;
use crate::sessions::{Away, DelayedWill};

impl Connection {
    /// Closes, within the deadline. After that the socket only needs to be dropped.
    pub(super) async fn close(&mut self, event: Event) {
        let why = match &event {
            Event::Shut(why) => Some(*why),
            Event::Closed(_) | Event::Connect(_) => None,
        };
        let reason = match event {
            Event::Closed(reason) => Some(reason),
            Event::Shut(why) => self.cut(why),
            Event::Connect(_) => None,
        };
        match reason.as_ref().map(|reason| &reason.cause) {
            Some(Cause::Failed(fault)) => _ = self.node.metrics.faults(fault.reason_code()).inc(),
            Some(Cause::Refused(_)) => _ = self.node.metrics.refused.inc(),
            Some(Cause::Disconnected(_) | Cause::ConnectionLost | Cause::Cut(_)) | None => {}
        }
        self.detach(reason, why);
        let deadline = self.node.view.load().settings().cut_deadline;
        let closed = tokio::time::timeout(deadline, poll_fn(|cx| self.poll_close(cx))).await;
        if closed.is_err() {
            self.stream.reset_on_drop();
            self.node.metrics.resets.inc();
        }
    }

    /// Nothing of the session leaves any more but the closing word. Half a packet that has left already stays half:
    /// the closing word cannot follow it.
    fn cut(&mut self, why: Shut) -> Option<CloseReason> {
        if let Some(streams) = self.stream.take_data_streams() {
            streams.reset();
        }
        let unwritten = std::mem::take(&mut self.unwritten);
        let is_half = (self.is_midway && !unwritten.is_empty()) || self.stream.is_midway();
        if !is_half {
            self.session.put_back(unwritten);
        }
        self.session.handle_cut(clock::tick(clock::now()), self.node.reason_code(why));
        if is_half {
            self.session.write_buffer().clear();
        }
        loop {
            match self.session.poll_output()? {
                Output::Closed(reason) => return Some(reason),
                Output::Authenticate(_)
                | Output::Connect(_)
                | Output::Publish { .. }
                | Output::Subscribe { .. }
                | Output::Unsubscribe { .. } => {}
            }
        }
    }

    /// Takes the client out of registry and router, or leaves its session there; publishes its will, or lets it wait.
    fn detach(&mut self, reason: Option<CloseReason>, why: Option<Shut>) {
        let Some(attached) = self.attached.take() else { return };
        let entry = attached.registered.entry();
        // Also after an orderly end: what is posted from now on would wait for nobody.
        entry.gate.shut(Shut::Ordered);
        if let Some(mut reason) = reason {
            tracing::debug!(connection = entry.id, cause = ?reason.cause, "connection ended");
            if why.is_some_and(Shut::is_cut) && !self.node.view.load().settings().will_on_cut {
                reason.will = None;
            }
            let session = reason.session.take();
            match session.filter(|_| !self.node.ends_session(&entry.principal)) {
                Some(state) => keep(&self.node, attached, reason, state),
                None => end(&self.node, attached, reason.will.as_ref(), reason.transferable),
            }
        } else {
            end(&self.node, attached, None, Vec::new());
        }
        self.count_losses();
    }

    /// Writes what is left, ends our direction, and waits for the client to end its own: a socket that is closed over
    /// unread bytes resets, and the closing word may be lost.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.poll_close_step(cx)) {
                Ok(true) => {}
                Ok(false) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// False: it is done.
    fn poll_close_step(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            // The closing word stands behind what was on its way already.
            if self.unwritten.is_empty() {
                self.unwritten = std::mem::take(self.session.write_buffer());
            }
            if self.unwritten.is_empty() {
                break;
            }
            let count = ready!(self.stream.poll_write(cx, &self.unwritten))?;
            if count == 0 {
                return Poll::Ready(Ok(false));
            }
            self.unwritten.advance(count);
        }
        ready!(self.stream.poll_flush(cx))?;
        ready!(self.stream.poll_shutdown(cx))?;
        let mut scrap = [0; 512];
        let count = ready!(self.stream.poll_read(cx, &mut scrap))?;
        Poll::Ready(Ok(count > 0))
    }
}

/// The session ends with the connection.
fn end(node: &Node, attached: Attached, will: Option<&Arc<Message>>, transferable: Vec<Delivery>) {
    let Attached { registered, subscriptions } = attached;
    let unread = registered.entry().mailbox.close();
    node.sessions.release(registered.entry());
    if let Some(will) = will {
        subscriptions.publish(node, will);
    }
    subscriptions.end(transferable.into_iter().chain(unread), node);
}

/// The session waits for its client.
fn keep(node: &Node, attached: Attached, reason: CloseReason, state: Box<SessionState>) {
    let Attached { registered, mut subscriptions } = attached;
    let entry = registered.entry();
    let now = clock::now().boot;
    let after = |seconds: u32| match seconds {
        u32::MAX => u64::MAX,
        seconds => now.saturating_add(u64::from(seconds) * 1000),
    };
    let expires = after(state.expiry_s());
    let will = match reason.will {
        Some(will) if reason.will_delay_s == 0 => {
            subscriptions.publish(node, &will);
            None
        }
        will => will.map(|message| DelayedWill { message, due: after(reason.will_delay_s) }),
    };
    subscriptions.keep(entry, state, node);
    let principal = entry.principal.clone();
    let away = Box::new(Away { principal, subscriptions, will, expires });
    if let Err(not_kept) = node.sessions.keep(entry, away) {
        if not_kept.is_full {
            node.metrics.limits.sessions.inc();
        }
        not_kept.away.end(node);
    }
    // Kept, then judged: an event that came in between has found it, or is seen here.
    if node.ends_session(&entry.principal) {
        for fingerprint in entry.principal.fingerprints() {
            node.discard_sessions(Some(&fingerprint));
        }
    }
}
