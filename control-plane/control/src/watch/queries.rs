//! Questions to a broker about its sessions, and the answers as they come in.
use std::collections::{HashMap, VecDeque};

use revoq_proto::v1;
use revoq_proto::v1::broker_message::SessionsReply;
use revoq_proto::v1::control_message::SessionsQuery;
use tokio::sync::oneshot;

/// Questions to one broker that are open at the same time.
const QUERIES_MAX: usize = 64;

/// Sessions in one broker's answer; a broker that sends more is cut short.
pub(crate) const ANSWER_SESSIONS_MAX: usize = 100_000;

/// A broker's answer, complete.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// How many sessions it means.
    pub(crate) count: u64,
    /// Those that were asked for.
    pub(crate) sessions: Vec<v1::Session>,
}

#[derive(Debug)]
struct Open {
    answer: Answer,
    reply: oneshot::Sender<Answer>,
}

/// What a broker was asked and has not answered.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    last: u64,
    unsent: VecDeque<SessionsQuery>,
    open: HashMap<u64, Open>,
}

impl Queries {
    /// Asks; `None` if too many questions are open. Dropping the receiver takes the question back.
    pub(crate) fn ask(&mut self, mut query: SessionsQuery) -> Option<oneshot::Receiver<Answer>> {
        self.open.retain(|_, open| !open.reply.is_closed());
        if self.open.len() >= QUERIES_MAX {
            return None;
        }
        self.last += 1;
        query.query = self.last;
        let (reply, answer) = oneshot::channel();
        self.open.insert(self.last, Open { answer: Answer::default(), reply });
        self.unsent.push_back(query);
        Some(answer)
    }

    /// The next question to send.
    pub(crate) fn next(&mut self) -> Option<SessionsQuery> {
        let open = &self.open;
        loop {
            let query = self.unsent.pop_front()?;
            if open.get(&query.query).is_some_and(|open| !open.reply.is_closed()) {
                return Some(query);
            }
        }
    }

    /// A part of an answer. So many of its sessions found no room.
    pub(crate) fn reply(&mut self, reply: SessionsReply) -> usize {
        let Some(open) = self.open.get_mut(&reply.query) else { return 0 };
        open.answer.count = open.answer.count.max(reply.count);
        let room = ANSWER_SESSIONS_MAX - open.answer.sessions.len();
        let left_out = reply.sessions.len().saturating_sub(room);
        open.answer.sessions.extend(reply.sessions.into_iter().take(room));
        if !reply.more
            && let Some(open) = self.open.remove(&reply.query)
        {
            // Nobody may wait any more; then nobody misses it.
            _ = open.reply.send(open.answer);
        }
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(query: u64, count: u64, more: bool) -> SessionsReply {
        SessionsReply { query, count, sessions: vec![v1::Session::default()], more }
    }

    #[test]
    fn parts_make_one_answer() {
        let mut queries = Queries::default();
        let mut answer = queries.ask(SessionsQuery::default()).expect("room");
        let query = queries.next().expect("unsent").query;
        queries.reply(reply(query, 2, true));
        answer.try_recv().expect_err("more follows");
        queries.reply(reply(query + 1, 9, false));
        queries.reply(reply(query, 2, false));
        let answer = answer.try_recv().expect("complete");
        assert_eq!((answer.count, answer.sessions.len()), (2, 2));
        queries.reply(reply(query, 2, false));
    }

    #[test]
    fn questions_are_bounded_and_can_be_taken_back() {
        let mut queries = Queries::default();
        let waiting: Vec<_> =
            (0..QUERIES_MAX).map(|_| queries.ask(SessionsQuery::default()).expect("room")).collect();
        assert!(queries.ask(SessionsQuery::default()).is_none(), "full");
        drop(waiting);
        assert!(queries.next().is_none(), "nobody wants to know");
        assert!(queries.ask(SessionsQuery::default()).is_some(), "room again");
    }
}
