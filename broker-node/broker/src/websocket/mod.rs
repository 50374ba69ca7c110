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
use revoq_mqtt::{PACKET_SIZE_MAX, Peek, peek};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::coding::CloseCode;

use frames::{DataFrame, Reader, control};
pub(crate) use upgrade::{Refused, Terms, upgrade};

/// What a frame and a message may hold beyond the largest packet, bytes: several packets may share a message.
const BEYOND_PACKET: u64 = 64 * 1024;
/// Frames of ours that are written in one call at most. Room for all is made on the stack, for a lone one too.
const FRAMES_MAX: usize = 32;

/// The server's end of a WebSocket, polled in both directions by one task.
pub(crate) struct WebSocket<S> {
    io: S,
    reader: Reader,
    /// The data frame that is being written.
    begun: DataFrame,
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
            begun: DataFrame::default(),
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
        self.begun.is_midway()
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

    /// Writes packets, each as a frame; the count is of payload. Until [`WebSocket::is_midway`] is false again, the next
    /// call must bring the rest.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut frames = [DataFrame::default(); FRAMES_MAX];
            let count = if self.is_midway() {
                frames[0] = self.begun;
                1
            } else {
                ready!(self.poll_controls(cx))?;
                split(bytes, &mut frames)
            };
            let written = ready!(self.poll_write_frames(cx, &frames[..count], bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let payload = self.advance(&frames[..count], written);
            if payload > 0 {
                return Poll::Ready(Ok(payload));
            }
        }
    }

    /// Header and payload of each frame in one call.
    fn poll_write_frames(
        &mut self,
        cx: &mut Context<'_>,
        frames: &[DataFrame],
        mut bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); 2 * FRAMES_MAX];
        for (frame, slices) in frames.iter().zip(slices.chunks_exact_mut(2)) {
            let (payload, rest) = bytes.split_at(frame.left.min(bytes.len()));
            (slices[0], slices[1]) = (IoSlice::new(frame.head()), IoSlice::new(payload));
            bytes = rest;
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..2 * frames.len()])
    }

    /// That many bytes of the frames have left: how many of them were payload.
    fn advance(&mut self, frames: &[DataFrame], mut written: usize) -> usize {
        let mut payload = 0;
        for frame in frames {
            self.begun = *frame;
            let (of_head, of_payload) = self.begun.advance(written);
            payload += of_payload;
            written -= of_head + of_payload;
            if self.begun.left > 0 {
                break;
            }
        }
        payload
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

/// A frame for each packet at the start of `bytes`: how many. The standard lets several share one (MQTT 5.0 section 6), but
/// paho's C library leaves what follows the first until the next frame comes.
fn split(mut bytes: &[u8], frames: &mut [DataFrame]) -> usize {
    let mut count = 0;
    for frame in frames {
        let packet = match peek(bytes, PACKET_SIZE_MAX) {
            Ok(Peek::Frame(size)) => size,
            Ok(Peek::Need(_)) | Err(_) => bytes.len(),
        };
        if packet == 0 {
            break;
        }
        *frame = DataFrame::new(packet);
        bytes = &bytes[packet..];
        count += 1;
    }
    count
}
