//! Data streams of the multi-stream form: a client opens as many as it may, beside the control stream.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use quinn::{ConnectionError, RecvStream, SendStream};
use revoq_session::StreamId;

use super::CLOSED;
use crate::metrics::{Counted, Level};

type Accepting = Pin<Box<dyn Future<Output = Result<(SendStream, RecvStream), ConnectionError>> + Send>>;

/// Those of one connection; the transport's limit bounds their number.
pub(crate) struct DataStreams {
    connection: quinn::Connection,
    accepting: Option<Accepting>,
    pub(crate) open: Vec<DataStream>,
}

/// The server's end of one.
pub(crate) struct DataStream {
    pub(crate) id: StreamId,
    send: SendStream,
    pub(crate) receive: RecvStream,
    /// The start of a packet that is not whole yet.
    pub(crate) unread: BytesMut,
    /// Bytes on their way to the client.
    pub(crate) unwritten: BytesMut,
    state: State,
    _counted: Counted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The client has closed its direction; what is unwritten is the last.
    Ending,
    Over,
}

impl DataStreams {
    pub(super) fn new(connection: quinn::Connection) -> DataStreams {
        DataStreams { connection, accepting: None, open: Vec::new() }
    }

    /// The next that the client opened: it is there when its first byte is. Never ready again once the connection is lost,
    /// which the control stream tells.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(SendStream, RecvStream)> {
        let connection = &self.connection;
        let accepting = self.accepting.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_bi().await })
        });
        let accepted = ready!(accepting.as_mut().poll(cx));
        self.accepting = if accepted.is_ok() { None } else { Some(Box::pin(pending())) };
        accepted.map_or(Poll::Pending, Poll::Ready)
    }

    /// Throws away what has not left.
    pub(crate) fn reset(self) {
        for mut stream in self.open {
            stream.reset();
        }
    }
}

impl DataStream {
    pub(crate) fn new(id: StreamId, (send, receive): (SendStream, RecvStream), open: &Level) -> DataStream {
        DataStream {
            id,
            send,
            receive,
            unread: BytesMut::new(),
            unwritten: BytesMut::new(),
            state: State::Open,
            _counted: Counted::new(open),
        }
    }

    /// Writes a part of what is unwritten.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let count = ready!(Pin::new(&mut self.send).poll_write(cx, &self.unwritten))?;
        self.unwritten.advance(count);
        Poll::Ready(Ok(()))
    }

    /// The client has closed its direction; these are the last bytes of ours.
    pub(crate) fn end(&mut self, last: BytesMut) {
        self.unwritten.unsplit(last);
        self.state = State::Ending;
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.state != State::Open
    }

    /// The last byte is written.
    pub(crate) fn finish_if_ending(&mut self) {
        if self.state == State::Ending {
            // It may be closed already.
            let _ = self.send.finish();
            self.state = State::Over;
        }
    }

    /// Ends both directions at once, and throws away what has not left.
    pub(crate) fn reset(&mut self) {
        // They may be closed already.
        let _ = (self.send.reset(CLOSED), self.receive.stop(CLOSED));
        self.state = State::Over;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }
}
