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
    pub(crate) fn push(&self, message: PeerMessage) {
        let mut state = self.state.lock();
        if state.waiting.len() == WAITING_MAX {
            state.waiting.clear();
            state.overflowed = true;
        }
        if !state.overflowed {
            state.waiting.push_back(message);
        }
        drop(state);
        self.wake.notify_one();
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
        outbox.push(PeerMessage::default());
        assert!(outbox.next().await.is_some());
        for _ in 0..=WAITING_MAX {
            outbox.push(PeerMessage::default());
        }
        assert_eq!(outbox.next().await, None);
        outbox.push(PeerMessage::default());
        assert_eq!(outbox.next().await, None, "for good");
    }
}
