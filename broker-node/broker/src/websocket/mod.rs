//! MQTT over WebSocket, RFC 6455 and MQTT 5.0 section 6: a stream of bytes in binary frames.
//!
//! tungstenite parses requests and frame headers. Its own stream is not used: it collects whole messages in a buffer of
//! each connection, where MQTT only wants the bytes, which may be cut into frames anywhere. Here a payload is unmasked
//! where it was read, and an idle connection holds no buffer.

mod frames;
#[cfg(test)]
mod tests;
mod upgrade;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::coding::CloseCode;

use frames::{Head, Reader, control};
pub(crate) use upgrade::{Refused, Terms, upgrade};

/// What a frame and a message may hold beyond the largest packet, bytes: several packets may share a message.
const BEYOND_PACKET: u64 = 64 * 1024;

/// The server's end of a WebSocket, polled in both directions by one task.
pub(crate) struct WebSocket<S> {
    io: S,
    reader: Reader,
    /// Of the data frame that is being written.
    head: Head,
    /// Payload of that frame that has not left yet.
    announced: usize,
    /// A control frame on its way, ...
    control: Bytes,
    /// ... and the payload of the pong that follows it: the latest ping's, RFC 6455 section 5.5.3.
    pong: Option<Bytes>,
    /// What our close frame will say.
    code: CloseCode,
    /// It is on its way, or has left.
    is_closing: bool,
    /// The client broke the protocol: nothing of what it sends is looked at any more.
    is_broken: bool,
}

impl<S> WebSocket<S> {
    /// After the upgrade; `packet_size_max` in bytes.
    fn new(io: S, packet_size_max: u32) -> WebSocket<S> {
        WebSocket {
            io,
            reader: Reader::new(u64::from(packet_size_max) + BEYOND_PACKET),
            head: Head::default(),
            announced: 0,
            control: Bytes::new(),
            pong: None,
            code: CloseCode::Normal,
            is_closing: false,
            is_broken: false,
        }
    }

    /// What carries it.
    pub(crate) fn get_ref(&self) -> &S {
        &self.io
    }

    /// Has a part of a frame left? Then nothing can follow but its rest.
    pub(crate) fn is_midway(&self) -> bool {
        self.announced > 0 && self.head.has_begun()
    }

    /// Does a control frame wait to be written by [`WebSocket::poll_flush`]?
    pub(crate) fn owes(&self) -> bool {
        (self.pong.is_some() || !self.control.is_empty()) && !self.is_midway()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Reads payload into `buffer`; zero is the end. What breaks RFC 6455 or a limit is an error of the kind
    /// `InvalidData`.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        // Frames without payload may come for ever; that each read costs tokio's budget bounds the loop.
        loop {
            if self.reader.is_closed() || (self.is_broken && !self.is_closing) {
                return Poll::Ready(Ok(0));
            }
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            let count = read.filled().len();
            if count == 0 || self.is_broken {
                return Poll::Ready(Ok(count));
            }
            let payload = match self.reader.take(&mut buffer[..count]) {
                Ok(payload) => payload,
                Err(fault) => {
                    (self.code, self.is_broken) = (fault.code(), true);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
                }
            };
            if let Some(code) = self.reader.close_code() {
                self.code = code;
            }
            if let Some(ping) = self.reader.take_ping() {
                self.pong = Some(ping);
                // Where it has to wait, `owes` says so.
                if let Poll::Ready(Err(error)) = self.poll_controls(cx) {
                    return Poll::Ready(Err(error));
                }
            }
            if payload > 0 {
                return Poll::Ready(Ok(payload));
            }
        }
    }

    /// Writes all of `bytes` as one frame; the count is of payload. Until [`WebSocket::is_midway`] is false again, the
    /// next call must bring the rest.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.is_midway() {
            ready!(self.poll_controls(cx))?;
            (self.head, self.announced) = (Head::new(bytes.len()), bytes.len());
        }
        loop {
            let payload = &bytes[..self.announced.min(bytes.len())];
            let head = self.head.rest();
            let written = if head.is_empty() {
                Pin::new(&mut self.io).poll_write(cx, payload)
            } else {
                Pin::new(&mut self.io).poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(payload)])
            };
            let count = ready!(written)?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_payload = count - self.head.advance(count);
            if of_payload > 0 {
                self.announced -= of_payload;
                return Poll::Ready(Ok(of_payload));
            }
        }
    }

    /// Control frames that wait, and what the carrier holds back.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_controls(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// A close frame, unless half a frame has left, and then the end of our direction of the carrier.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_controls(cx))?;
        if !self.is_closing {
            self.is_closing = true;
            if !self.is_midway() {
                self.control = control::close(self.code);
            }
        }
        ready!(self.poll_controls(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Writes the control frames that wait. Within a data frame there is no place for them.
    fn poll_controls(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_midway() {
            return Poll::Ready(Ok(()));
        }
        loop {
            while !self.control.is_empty() {
                let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.control))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.control.advance(count);
            }
            match self.pong.take() {
                // Nothing follows a close frame.
                Some(ping) if !self.is_closing => self.control = control::pong(&ping),
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
