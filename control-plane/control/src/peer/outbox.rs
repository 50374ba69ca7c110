//! Messages that wait for the stream to the leader.
use std::collections::VecDeque;

use parking_lot::Mutex;
use revoq_proto::v1::PeerMessage;
use tokio::sync::Notify;

/// Messages that wait at most. When there are more, all are dropped and the stream ends, to begin anew with what
/// every broker said last.
const WAITING_MAX: usize = 16_384;

/// Messages that wait for the stream to the leader, of bounded number.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<PeerMessage>,
    overflowed: bool,
}

impl Outbox {
    /// False when this one found no room: then there is none for those before it nor after it either.
    pub(crate) fn push(&self, message: PeerMessage) -> bool {
        let mut state = self.state.lock();
        let overflows = state.waiting.len() == WAITING_MAX;
        if overflows {
            state.waiting = VecDeque::new();
            state.overflowed = true;
        }
        if !state.overflowed {
            state.waiting.push_back(message);
        }
        drop(state);
        self.wake.notify_one();
        !overflows
    }

    /// The next message; `None` when some were dropped.
    pub(crate) async fn next(&self) -> Option<PeerMessage> {
        loop {
            {
                let mut state = self.state.lock();
                if state.overflowed {
                    return None;
                }
                if let Some(message) = state.waiting.pop_front() {
                    return Some(message);
                }
            }
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_overflow_ends_the_stream() {
        let outbox = Outbox::default();
        assert!(outbox.push(PeerMessage::default()));
        assert!(outbox.next().await.is_some());
        let told = (0..=WAITING_MAX).filter(|_| !outbox.push(PeerMessage::default())).count();
        assert_eq!(told, 1, "once");
        assert_eq!(outbox.next().await, None);
        outbox.push(PeerMessage::default());
        assert_eq!(outbox.next().await, None, "for good");
    }
}
