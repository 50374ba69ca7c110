//! Data streams, where a connection has any: each into the session and out again, as the control stream is.

use std::io;
use std::task::{Context, Poll};

use super::run::{Progress, read_once};
use super::{Connection, Event};
use crate::clock::{self, Now};
use crate::quic::{DataStream, DataStreams};

impl Connection {
    /// Opens, reads, writes and ends the data streams of a client that is let in: what it sent on them before that stays unread
    /// until then.
    pub(super) fn poll_streams(&mut self, cx: &mut Context<'_>, now: Now) -> Result<Progress, Event> {
        if self.attached.is_none() {
            return Ok(false);
        }
        let Some(mut streams) = self.stream.take_data_streams() else { return Ok(false) };
        let progress = self.serve_streams(cx, now, &mut streams);
        self.stream.put_data_streams(streams);
        progress
    }

    fn serve_streams(
        &mut self,
        cx: &mut Context<'_>,
        now: Now,
        streams: &mut DataStreams,
    ) -> Result<Progress, Event> {
        while let Poll::Ready(opened) = streams.poll_accept(cx) {
            // The transport lets in no more than the session takes.
            if let Some(id) = self.session.open_stream() {
                streams.open.push(DataStream::new(id, opened, &self.node.metrics.data_streams));
            }
        }
        let (mut progress, mut index) = (false, 0);
        while let Some(stream) = streams.open.get_mut(index) {
            progress |= self.serve_stream(cx, now, stream)?;
            if stream.is_over() {
                streams.open.swap_remove(index);
            } else {
                index += 1;
            }
        }
        Ok(progress)
    }

    fn serve_stream(
        &mut self,
        cx: &mut Context<'_>,
        now: Now,
        stream: &mut DataStream,
    ) -> Result<Progress, Event> {
        let mut held = !stream.is_ending() && !self.session.wants_stream_bytes(stream.id);
        let read = if held || stream.is_ending() { Poll::Pending } else { read_stream(cx, stream) };
        // As of the control stream: once more, so that the task is woken by what comes.
        let mut progress = matches!(read, Poll::Ready(Ok(1..))) && read_stream(cx, stream).is_ready();
        if let Some(event) = self.drain(now, stream.id, &mut stream.unread) {
            return Err(event);
        }
        held |= !stream.is_ending() && !self.session.wants_stream_bytes(stream.id);
        let ended = match read {
            // While it is held, whole packets may be left; the end is found again.
            Poll::Ready(Ok(0)) if !held => {
                stream.end(self.session.close_stream(clock::tick(now), stream.id));
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
        };
        match ended.and_then(|()| self.write_stream(cx, stream)) {
            Ok(written) => progress |= written,
            Err(error) => {
                tracing::debug!(%error, "data stream lost");
                self.session.close_stream(clock::tick(now), stream.id);
                stream.reset();
            }
        }
        Ok(progress || held && self.session.wants_stream_bytes(stream.id))
    }

    /// As [`Connection::poll_write`].
    fn write_stream(&mut self, cx: &mut Context<'_>, stream: &mut DataStream) -> io::Result<Progress> {
        loop {
            if stream.unwritten.is_empty() {
                stream.unwritten = self.session.take_stream_bytes(stream.id);
            }
            if stream.unwritten.is_empty() {
                break;
            }
            if self.shut_by(clock::now()).is_some() {
                // The next round says why.
                return Ok(true);
            }
            if stream.poll_write(cx)?.is_pending() {
                return Ok(false);
            }
        }
        stream.finish_if_ending();
        Ok(self.wants_retained())
    }
}

fn read_stream(cx: &mut Context<'_>, stream: &mut DataStream) -> Poll<io::Result<usize>> {
    read_once(&mut stream.unread, |scratch| stream.receive.poll_read(cx, scratch).map_err(Into::into))
}
