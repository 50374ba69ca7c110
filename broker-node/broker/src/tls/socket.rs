//! The socket under TLS: it looks at the first byte, and lets a session ticket travel with what follows it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Content types of TLS records, RFC 8446 section 5.1: a handshake starts with the first; from `ServerHello` on all it
/// has to say looks like the second.
const HANDSHAKE: u8 = 0x16;
const APPLICATION_DATA: u8 = 0x17;
/// Records that are written in one call at most, as rustls has it.
const SLICES_MAX: usize = 64;

/// A TCP socket under TLS.
///
/// A server's last words in a handshake of TLS 1.3 are tickets (RFC 8446 section 4.6.1), and no client waits for them. In a
/// packet of their own they cost as much as the answer to CONNECT, so they wait here for that.
pub(crate) struct TlsSocket {
    tcp: TcpStream,
    phase: Phase,
    /// Goes before everything else.
    held: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was read yet.
    Silent,
    /// What came first is no TLS.
    Foreign,
    Handshake,
    Open,
}

impl TlsSocket {
    pub(crate) fn new(tcp: TcpStream) -> TlsSocket {
        TlsSocket { tcp, phase: Phase::Silent, held: Vec::new() }
    }

    /// The handshake is done: from now on what is held goes out with what is written, or by a flush.
    pub(crate) fn open(&mut self) {
        self.phase = Phase::Open;
    }

    /// Whether the peer said nothing at all before the handshake failed.
    pub(crate) fn is_silent(&self) -> bool {
        self.phase == Phase::Silent
    }

    /// Whether the handshake failed because what came first is no TLS.
    pub(crate) fn is_foreign(&self) -> bool {
        self.phase == Phase::Foreign
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// In a handshake the peer waits for what starts in clear; what does not is a ticket, or an alert as the handshake fails.
    fn may_wait(&self, first: Option<&u8>) -> bool {
        self.phase == Phase::Handshake && (first == Some(&APPLICATION_DATA) || !self.held.is_empty())
    }

    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.held))?;
            self.release(written)?;
        }
        Poll::Ready(Ok(()))
    }

    /// So much of what is held has left.
    fn release(&mut self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.held.drain(..written);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        Ok(())
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buffer))?;
        if self.phase == Phase::Silent
            && let Some(first) = buffer.filled().get(start)
        {
            if *first != HANDSHAKE {
                self.phase = Phase::Foreign;
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            self.phase = Phase::Handshake;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.may_wait(slices.iter().find_map(|slice| slice.first())) {
            self.held.extend(slices.iter().flat_map(|slice| slice.iter()));
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        while !self.held.is_empty() {
            let this = &mut *self;
            let held = IoSlice::new(&this.held);
            let all: Vec<_> = std::iter::once(held).chain(slices.iter().copied()).take(SLICES_MAX).collect();
            let written = ready!(Pin::new(&mut this.tcp).poll_write_vectored(cx, &all))?;
            let of_held = written.min(this.held.len());
            this.release(of_held)?;
            if written > of_held {
                return Poll::Ready(Ok(written - of_held));
            }
        }
        Pin::new(&mut self.tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.phase == Phase::Open {
            ready!(self.poll_held(cx))?;
        }
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TlsSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (TlsSocket::new(server.expect("it is accepted").0), client.expect("it listens"))
    }

    /// What has arrived, in one read.
    async fn arrived(peer: &mut TcpStream) -> Vec<u8> {
        let mut bytes = [0; 4096];
        let count = peer.read(&mut bytes).await.expect("it is open");
        bytes[..count].to_vec()
    }

    async fn in_handshake() -> (TlsSocket, TcpStream) {
        let (mut socket, mut peer) = pair().await;
        assert!(socket.is_silent());
        peer.write_all(&[HANDSHAKE, 3, 1]).await.expect("it is open");
        socket.read_exact(&mut [0; 3]).await.expect("it is a handshake");
        assert!(!socket.is_silent() && !socket.is_foreign());
        (socket, peer)
    }

    #[tokio::test]
    async fn a_ticket_goes_with_what_comes_next() {
        let (mut socket, mut peer) = in_handshake().await;
        let flight = [IoSlice::new(&[HANDSHAKE, 1]), IoSlice::new(&[APPLICATION_DATA, 2])];
        assert_eq!(socket.write_vectored(&flight).await.expect("it is open"), 4);
        assert_eq!(arrived(&mut peer).await, [HANDSHAKE, 1, APPLICATION_DATA, 2]);
        socket.write_all(&[APPLICATION_DATA, 3]).await.expect("it is open");
        socket.flush().await.expect("it is open");
        assert_eq!(peer.try_read(&mut [0; 9]).expect_err("it waits").kind(), io::ErrorKind::WouldBlock);
        socket.open();
        let more = [IoSlice::new(&[APPLICATION_DATA]), IoSlice::new(&[4])];
        assert_eq!(socket.write_vectored(&more).await.expect("it is open"), 2);
        assert_eq!(arrived(&mut peer).await, [APPLICATION_DATA, 3, APPLICATION_DATA, 4]);
        socket.write_all(&[5]).await.expect("it is open");
        assert_eq!(arrived(&mut peer).await, [5]);
    }

    #[tokio::test]
    async fn what_is_held_leaves_with_a_flush_and_at_the_end() {
        let (mut socket, mut peer) = in_handshake().await;
        socket.write_all(&[APPLICATION_DATA, 1]).await.expect("it is open");
        socket.open();
        socket.flush().await.expect("it is open");
        assert_eq!(arrived(&mut peer).await, [APPLICATION_DATA, 1]);
        let (mut failed, mut peer) = in_handshake().await;
        failed.write_all(&[APPLICATION_DATA, 2]).await.expect("it is open");
        failed.shutdown().await.expect("it is open");
        assert_eq!(arrived(&mut peer).await, [APPLICATION_DATA, 2]);
        assert!(arrived(&mut peer).await.is_empty());
    }

    #[tokio::test]
    async fn what_is_held_is_written_whole_to_a_peer_that_does_not_read() {
        let (mut socket, mut peer) = in_handshake().await;
        let large = [&[APPLICATION_DATA][..], &vec![7; 8 * 1024 * 1024]].concat();
        socket.write_all(&large).await.expect("it waits");
        socket.open();
        let write = async {
            socket.write_all(&[8; 1000]).await.expect("it is open");
            socket.shutdown().await.expect("it is open");
        };
        let mut all = Vec::new();
        let (read, ()) = tokio::join!(peer.read_to_end(&mut all), write);
        assert_eq!(read.expect("it is open"), large.len() + 1000);
        assert!(all.starts_with(&large) && all.ends_with(&[8; 1000]));
    }

    #[tokio::test]
    async fn what_is_no_handshake_is_refused() {
        let (mut socket, mut peer) = pair().await;
        peer.write_all(b"GET / HTTP/1.1").await.expect("it is open");
        let error = socket.read(&mut [0; 99]).await.expect_err("it is no TLS");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(socket.is_foreign());
    }
}
