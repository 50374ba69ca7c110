//! The loop of a connection: mailbox, socket and timer into the session, and out again.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use revoq_mqtt::ReasonCode;
use revoq_session::{Counters, Delivery, Output, StreamId};
use tokio::runtime::Handle;
use tokio::task::coop::has_budget_remaining;
use tokio::time::Instant;

use super::{Attached, Connection, Event, Timer};
use crate::clock::{self, Now};
use crate::gate::Shut;

const READ_SIZE: usize = 16 * 1024;
/// Rounds before other tasks get their turn.
const ROUNDS_MAX: u32 = 16;
/// A timer is looked at again after this long, milliseconds, however far its moment: the wall clock may be moved, and
/// notAfter is by that.
const TIMER_MAX: u64 = 3_600_000;

thread_local! {
    /// Every read of a thread goes here first, so that idle connections hold no buffer.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into());
    static DELIVERIES: RefCell<Vec<Delivery>> = const { RefCell::new(Vec::new()) };
}

/// Whether a step changed anything, so that another round makes sense.
pub(super) type Progress = bool;

impl Connection {
    /// Handles what there is until something must be decided or ends.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let polled = self.poll_rounds(cx);
        self.count_losses();
        polled
    }

    /// What the client did not get, as it happens: a session may live for months.
    pub(super) fn count_losses(&mut self) {
        let lost = self.session.take_counters();
        if lost != Counters::default() {
            let metrics = &self.node.metrics;
            metrics.dropped.inc_by(lost.dropped_queue_full);
            if let Some(attached) = &self.attached {
                attached.subscriptions.count_dropped(lost.dropped_queue_full);
            }
            metrics.expired.inc_by(lost.dropped_expired);
            metrics.oversized.inc_by(lost.dropped_too_large);
            metrics.limits.filters.inc_by(lost.filters_refused);
            metrics.limits.publish_rate.inc_by(lost.paused);
        }
    }

    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        // First register, then look: whatever happens after this wakes the task again.
        if let Some(attached) = &self.attached {
            attached.registered.entry().gate.register(cx.waker());
        }
        for _ in 0..ROUNDS_MAX {
            let now = clock::now();
            if let Some(why) = self.shut_by(now) {
                return Poll::Ready(Event::Shut(why));
            }
            self.take_mail(now);
            let served = match self.poll_streams(cx, now) {
                Ok(served) => served,
                Err(event) => return Poll::Ready(event),
            };
            // What was not read, or not handled, goes on when what is written makes room: what was read first, before an end is.
            let mut held = !self.session.wants_bytes();
            if !held
                && !self.unread.is_empty()
                && let Some(event) = self.drain_outputs(now)
            {
                return Poll::Ready(event);
            }
            let read = self.poll_read(cx, now);
            if let Some(event) = self.drain_outputs(now) {
                return Poll::Ready(event);
            }
            let fetched = self.take_retained(now);
            let answered = self.poll_exchange(cx, now);
            held |= !self.session.wants_bytes();
            if read.is_ok() && self.gives_way() {
                // Behind those that are ready.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let written = self.poll_write(cx);
            let fired = self.poll_timer(cx, now);
            match (read, written) {
                (Ok(read), Ok(written)) => {
                    let progress = read || fired || fetched || answered || written || served;
                    if !(progress || held && self.session.wants_bytes()) {
                        return Poll::Pending;
                    }
                }
                (Err(error), _) | (_, Err(error)) => {
                    tracing::debug!(%error, "connection lost");
                    self.session.handle_eof(clock::tick(now));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Where one thread serves all, who got a message comes before its publisher is answered: the client's part of it takes
    /// time, which passes while the answer is written. Every other time only, so that a client that goes on publishing is
    /// answered too. With several threads another would be woken for it, which costs more than is gained.
    fn gives_way(&mut self) -> bool {
        let has_posted = std::mem::take(&mut self.has_posted);
        self.gave_way = !self.gave_way
            && has_posted
            && !self.session.write_buffer().is_empty()
            && Handle::current().metrics().num_workers() == 1;
        self.gave_way
    }

    /// Is the gate shut? It is shut here when the packets' own clock says so.
    pub(super) fn shut_by(&self, now: Now) -> Option<Shut> {
        let entry = self.attached.as_ref()?.registered.entry();
        if entry.gate.is_open() {
            let why = if self.node.is_lapsed(now) {
                Shut::Lapsed
            } else if entry.not_after().is_some_and(|not_after| not_after < now.millis()) {
                Shut::Expired
            } else {
                return None;
            };
            if entry.gate.shut(why) {
                self.node.metrics.cuts(why).inc();
            }
        }
        entry.gate.shut_by()
    }

    fn take_mail(&mut self, now: Now) {
        let Some(attached) = &self.attached else { return };
        // After the end it stays where it is: the session that is kept takes it from there.
        if self.session.is_closed() {
            return;
        }
        DELIVERIES.with_borrow_mut(|deliveries| {
            attached.registered.entry().mailbox.take(deliveries);
            for delivery in deliveries.drain(..) {
                self.session.handle_delivery(clock::tick(now), &delivery);
                if self.session.is_closed() {
                    // Its queue is full: neither this nor what follows has a place.
                    self.node.metrics.dropped.inc();
                }
            }
        });
    }

    /// Retained messages come as the client takes them: a page, once it has taken the one before.
    fn take_retained(&mut self, now: Now) -> Progress {
        let Some(attached) = &mut self.attached else { return false };
        let tick = clock::tick(now);
        DELIVERIES.with_borrow_mut(|deliveries| {
            let flows = |stream| self.session.wants_stream_deliveries(stream);
            let fetched = attached.subscriptions.read_retained(tick, flows, deliveries);
            for delivery in deliveries.drain(..) {
                self.session.handle_delivery(tick, &delivery);
            }
            fetched
        })
    }

    /// Whether retained messages have room that had none.
    pub(super) fn wants_retained(&mut self) -> bool {
        let Some(attached) = &self.attached else { return false };
        attached.subscriptions.awaits_retained(|stream| self.session.wants_stream_deliveries(stream))
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, now: Now) -> io::Result<Progress> {
        if !self.session.wants_bytes() {
            return Ok(false);
        }
        match self.read_once(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(0)) => {
                self.session.handle_eof(clock::tick(now));
                Ok(true)
            }
            // Once more, so that the task is woken by what comes and needs no round to find that nothing has: mostly
            // that takes no system call. An end or a fault is found again, after what came before it was handled.
            Poll::Ready(Ok(_)) => Ok(self.read_once(cx).is_ready()),
        }
    }

    fn read_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        read_once(&mut self.unread, |scratch| self.stream.poll_read(cx, scratch))
    }

    /// Feeds what was read, and does what the session says, until neither has anything more.
    pub(super) fn drain_outputs(&mut self, now: Now) -> Option<Event> {
        let mut unread = std::mem::take(&mut self.unread);
        let event = self.drain(now, StreamId::CONTROL, &mut unread);
        self.unread = unread;
        event
    }

    /// The same for any stream.
    pub(super) fn drain(&mut self, now: Now, stream: StreamId, unread: &mut BytesMut) -> Option<Event> {
        loop {
            if !unread.is_empty() {
                self.session.handle_stream_bytes(clock::tick(now), stream, unread);
                if unread.is_empty() {
                    // Packets are slices of it: it is freed with the last of them.
                    *unread = BytesMut::new();
                }
            }
            let mut any = false;
            while let Some(output) = self.session.poll_output() {
                any = true;
                if let Some(event) = self.carry_out(now, output) {
                    return Some(event);
                }
            }
            if !any {
                return None;
            }
        }
    }

    fn carry_out(&mut self, now: Now, output: Output) -> Option<Event> {
        // Before each packet and by a new reading of the clock: a read may bring hundreds, and the process may have been
        // stopped between two of them for longer than lease and grace.
        if matches!(output, Output::Publish { .. })
            && let Some(why) = self.shut_by(clock::now())
        {
            return Some(Event::Shut(why));
        }
        let tick = clock::tick(now);
        match (output, &mut self.attached) {
            (Output::Authenticate(request), _) => self.authenticate(now, &request),
            (Output::Connect(request), _) => return Some(Event::Connect(request)),
            (Output::Closed(reason), _) => return Some(Event::Closed(reason)),
            (Output::Publish { message, token }, Some(Attached { subscriptions, .. })) => {
                let reason = subscriptions.publish(&self.node, &message);
                if let Some(token) = token {
                    self.session.handle_published(tick, token, reason);
                    self.has_posted |= reason == ReasonCode::Success;
                }
            }
            (
                Output::Subscribe { stream, packet_id, filters },
                Some(Attached { registered, subscriptions }),
            ) => {
                let reasons = subscriptions.add(registered.entry(), filters);
                self.session.handle_subscribed(tick, stream, packet_id, reasons);
            }
            (Output::Unsubscribe { stream, packet_id, filters }, Some(Attached { subscriptions, .. })) => {
                let reasons = subscriptions.remove(&filters);
                self.session.handle_unsubscribed(tick, stream, packet_id, reasons);
            }
            // A session asks for these only after it was let in.
            (Output::Publish { .. } | Output::Subscribe { .. } | Output::Unsubscribe { .. }, None) => {
                tracing::error!("a session that was not let in wants to be served");
                self.session.handle_eof(tick);
            }
        }
        None
    }

    /// True if there is a reason for another round: all that can be written now is written here.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<Progress> {
        loop {
            if self.unwritten.is_empty() {
                self.unwritten = std::mem::take(self.session.write_buffer());
                self.is_midway = false;
            }
            if self.unwritten.is_empty() {
                break;
            }
            if self.shut_by(clock::now()).is_some() {
                // The next round says why.
                return Ok(true);
            }
            match self.stream.poll_write(cx, &self.unwritten) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.unwritten.advance(count);
                    (self.is_midway, self.needs_flush) = (true, true);
                }
            }
        }
        self.unwritten = BytesMut::new();
        if (self.needs_flush || self.stream.owes()) && self.stream.poll_flush(cx)?.is_ready() {
            self.needs_flush = false;
        }
        Ok(self.wants_retained())
    }

    /// True if a moment came. The timer is moved only when it would fire too late: one that fires early is set anew.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Now) -> Progress {
        let Some(due) = self.due(now) else { return false };
        let at = due.min(now.boot.saturating_add(TIMER_MAX));
        let armed = |timer: &Timer| timer.is_armed && timer.at <= at && now.boot < timer.at;
        if self.timer.as_ref().is_some_and(armed) {
            return false;
        }
        let until = Instant::now() + Duration::from_millis(at.saturating_sub(now.boot));
        let timer = self.timer.get_or_insert_with(|| {
            let sleep = Box::pin(tokio::time::sleep_until(until));
            Timer { at, is_armed: false, sleep }
        });
        if at < timer.at {
            timer.at = at;
            timer.sleep.as_mut().reset(until);
        }
        // Without budget a poll does nothing but wake the task again.
        timer.is_armed = has_budget_remaining();
        if Pin::new(&mut timer.sleep).poll(cx).is_pending() {
            return false;
        }
        self.timer = None;
        self.session.handle_timeout(clock::tick(now));
        true
    }

    fn due(&self, now: Now) -> Option<u64> {
        let session = self.session.next_timeout().map(|tick| tick.0);
        let not_after = self.attached.as_ref().and_then(|attached| attached.registered.entry().not_after());
        let expiry = not_after
            .map(|not_after| now.boot.saturating_add(not_after.0.saturating_sub(now.wall)).saturating_add(1));
        match (session, expiry) {
            (Some(session), Some(expiry)) => Some(session.min(expiry)),
            (session, expiry) => session.or(expiry),
        }
    }
}

/// A read by way of the thread's buffer.
pub(super) fn read_once(
    unread: &mut BytesMut,
    poll_read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let read = poll_read(scratch);
        if let Poll::Ready(Ok(count @ 1..)) = read {
            unread.extend_from_slice(&scratch[..count]);
        }
        read
    })
}
