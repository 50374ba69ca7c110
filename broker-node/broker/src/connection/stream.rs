//! What carries the bytes of MQTT, polled in both directions by one task.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::quic::{DataStreams, Quic};
use crate::tls::TlsSocket;
use crate::websocket::WebSocket;

/// The transport of a connection.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TlsSocket>>),
    WebSocket(Box<WebSocket<TcpStream>>),
    SecureWebSocket(Box<WebSocket<TlsStream<TlsSocket>>>),
    Quic(Box<Quic>),
}

impl Stream {
    /// Reads into `buffer`; zero is the end. A peer that ends TLS without `close_notify` has ended all the same.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = match self {
            Stream::Plain(socket) => poll_read(socket, cx, buffer),
            Stream::Tls(stream) => poll_read(&mut **stream, cx, buffer),
            Stream::WebSocket(stream) => stream.poll_read(cx, buffer),
            Stream::SecureWebSocket(stream) => stream.poll_read(cx, buffer),
            Stream::Quic(stream) => stream.poll_read(cx, buffer),
        };
        match read {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            read => read,
        }
    }

    /// Writes a part of `bytes`. What was begun is gone on with: see [`Stream::is_midway`].
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::WebSocket(stream) => stream.poll_write(cx, bytes),
            Stream::SecureWebSocket(stream) => stream.poll_write(cx, bytes),
            Stream::Quic(stream) => stream.poll_write(cx, bytes),
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::WebSocket(stream) => stream.poll_flush(cx),
            Stream::SecureWebSocket(stream) => stream.poll_flush(cx),
            // quinn sends what it has.
            Stream::Quic(_) => Poll::Ready(Ok(())),
        }
    }

    /// Close frame, `close_notify`, then the end of our direction; of QUIC, the end of the connection.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::WebSocket(stream) => stream.poll_shutdown(cx),
            Stream::SecureWebSocket(stream) => stream.poll_shutdown(cx),
            Stream::Quic(stream) => stream.poll_shutdown(cx),
        }
    }

    /// Has the transport announced bytes that have not left? Then nothing else can be written before them.
    pub(super) fn is_midway(&self) -> bool {
        match self {
            Stream::Plain(_) | Stream::Tls(_) | Stream::Quic(_) => false,
            Stream::WebSocket(stream) => stream.is_midway(),
            Stream::SecureWebSocket(stream) => stream.is_midway(),
        }
    }

    /// Has the transport something of its own to write, such as a pong? Flushing does it.
    pub(super) fn owes(&self) -> bool {
        match self {
            Stream::Plain(_) | Stream::Tls(_) | Stream::Quic(_) => false,
            Stream::WebSocket(stream) => stream.owes(),
            Stream::SecureWebSocket(stream) => stream.owes(),
        }
    }

    /// Takes out the data streams, where there may be any.
    pub(super) fn take_data_streams(&mut self) -> Option<Box<DataStreams>> {
        match self {
            Stream::Quic(stream) => stream.data.take(),
            Stream::Plain(_) | Stream::Tls(_) | Stream::WebSocket(_) | Stream::SecureWebSocket(_) => None,
        }
    }

    /// Puts them back.
    pub(super) fn put_data_streams(&mut self, streams: Box<DataStreams>) {
        if let Stream::Quic(stream) = self {
            stream.data = Some(streams);
        }
    }

    /// The socket will be reset when it is dropped, and what the kernel still holds for it thrown away: a peer that
    /// does not read cannot make it linger.
    pub(super) fn reset_on_drop(&self) {
        let socket = match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref().0.tcp(),
            Stream::WebSocket(stream) => stream.get_ref(),
            Stream::SecureWebSocket(stream) => stream.get_ref().get_ref().0.tcp(),
            Stream::Quic(stream) => return stream.close(),
        };
        if let Err(error) = socket.set_zero_linger() {
            tracing::debug!(%error, "cannot set SO_LINGER");
        }
    }
}

fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    Pin::new(stream).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What most connections are must not pay for what few are.
    #[expect(dead_code, reason = "its size is looked at")]
    enum WithoutTheOthers {
        Plain(TcpStream),
        Tls(Box<TlsStream<TlsSocket>>),
    }

    #[test]
    fn the_transports_beside_tcp_and_tls_cost_an_idle_connection_nothing() {
        assert_eq!(size_of::<Stream>(), size_of::<WithoutTheOthers>());
        assert!(size_of::<WebSocket<TcpStream>>() <= 384, "{}", size_of::<WebSocket<TcpStream>>());
    }
}
