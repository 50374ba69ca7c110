//! Driver: accepts connections and shakes hands, off the accept path.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::counts::Limit;
use crate::metrics::{Handshake, Metrics};
use crate::tls::PeerCertificate;

/// Connections that have shaken hands and wait for the server to take them.
const READY_MAX: usize = 64;
/// After a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The listener of a replica.
pub(crate) struct Listener {
    pub(crate) tcp: TcpListener,
    pub(crate) tls: TlsAcceptor,
    pub(crate) handshake_timeout: Duration,
    /// Connections open at a time; more wait in the kernel's queue.
    pub(crate) connections_max: usize,
    /// Handshakes in flight; more are dropped.
    pub(crate) handshakes_max: usize,
    /// Breaks the connections that are still open.
    pub(crate) cut: CancellationToken,
    pub(crate) metrics: Arc<Metrics>,
}

impl Listener {
    /// Connections, until `shutdown`.
    pub(crate) fn incoming(self, shutdown: CancellationToken) -> ReceiverStream<io::Result<Connection>> {
        let (sender, receiver) = mpsc::channel(READY_MAX);
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.run(sender) => {}
            }
        });
        ReceiverStream::new(receiver)
    }

    async fn run(self, ready: mpsc::Sender<io::Result<Connection>>) {
        let connections = Arc::new(Semaphore::new(self.connections_max.min(Semaphore::MAX_PERMITS)));
        let handshakes = Arc::new(Semaphore::new(self.handshakes_max.min(Semaphore::MAX_PERMITS)));
        loop {
            self.metrics.counts.limit(Limit::Connections, usize::from(connections.available_permits() == 0));
            let Ok(connection) = Arc::clone(&connections).acquire_owned().await else { return };
            let (stream, peer) = match self.tcp.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "cannot accept connections");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(handshake) = Arc::clone(&handshakes).try_acquire_owned() else {
                self.metrics.handshake(Handshake::Dropped);
                continue;
            };
            let shake = self.shake(stream, peer, connection, ready.clone());
            tokio::spawn(async move {
                shake.await;
                drop(handshake);
            });
        }
    }

    fn shake(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
        ready: mpsc::Sender<io::Result<Connection>>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (tls, limit, metrics) = (self.tls.clone(), self.handshake_timeout, Arc::clone(&self.metrics));
        // One of its own: each read of each connection looks at it, and they would wait for each other.
        let cut = self.cut.child_token();
        async move {
            // Only a hint to the kernel: a socket that takes none is merely slower.
            let _ = stream.set_nodelay(true);
            let outcome = match timeout(limit, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    // Fails only at shutdown, when nobody takes connections any more.
                    let _ = ready.send(Ok(Connection::new(stream, peer, permit, cut))).await;
                    Handshake::Done
                }
                Ok(Err(error)) => {
                    debug!(%peer, %error, "handshake failed");
                    Handshake::Failed
                }
                Err(_) => Handshake::Late,
            };
            metrics.handshake(outcome);
        }
    }
}

/// Who is at the other end; in the extensions of each of its requests.
#[derive(Clone, Debug)]
pub(crate) struct PeerInfo {
    pub(crate) certificate: Option<Arc<PeerCertificate>>,
}

/// A connection after its handshake.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    info: PeerInfo,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(
        stream: TlsStream<TcpStream>,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
        cut: CancellationToken,
    ) -> Connection {
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = leaf.and_then(|leaf| PeerCertificate::read(leaf)).map(Arc::new);
        debug!(%peer, name = certificate.as_ref().map_or("anonymous", |c| c.name.as_str()), "connected");
        let cut = Box::pin(cut.cancelled_owned());
        Connection { stream, info: PeerInfo { certificate }, cut, _permit: permit }
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A server waits for its open streams, and those of this API may never end by themselves.
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
