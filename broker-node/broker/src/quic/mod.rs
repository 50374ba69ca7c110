//! MQTT over QUIC: one bidirectional stream of a connection, which the client opens, carries the bytes that TCP would. In the
//! multi-stream form, which a listener may permit, that is the control stream, and data streams may follow it.
//!
//! ALPN is `mqtt`. There are no early data (they could be replayed), no datagrams and no unidirectional streams. TLS asks the
//! same verifier, and tickets are the same, so the same verdict follows the handshake.

mod streams;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    ConnectionError, Endpoint, EndpointConfig, Incoming, ReadError, RecvStream, SendStream, StoppedError,
    TokioRuntime, TransportConfig, VarInt,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::connection::{self, Entrance};
use crate::listener::{Slots, canonical};
use crate::node::Node;
pub(crate) use streams::{DataStream, DataStreams};

/// After this long without a packet a peer is gone, whatever the keep alive of MQTT says.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Well below that, and below the 30 s after which many NATs forget.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// Bytes on their way to us that a stream may hold, and on their way from us that a connection may.
const WINDOW: u32 = 256 * 1024;
/// Of a connection that is not accepted yet, bytes that are kept; ...
const INCOMING_BUFFER: u64 = 16 * 1024;
/// ... of all of them.
const INCOMING_BUFFERS: u64 = 16 * 1024 * 1024;
/// What the application closes with: MQTT over QUIC defines no codes.
const CLOSED: VarInt = VarInt::from_u32(0);

/// Starts to speak QUIC at a bound socket, with so many data streams for each connection. Must be called within a tokio runtime.
pub(crate) fn endpoint(
    socket: UdpSocket,
    tls: Arc<rustls::ServerConfig>,
    data_streams_max: u32,
) -> Result<Endpoint, Error> {
    let crypto =
        QuicServerConfig::try_from(tls).map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.incoming_buffer_size(INCOMING_BUFFER).incoming_buffer_size_total(INCOMING_BUFFERS);
    config.transport_config(Arc::new(transport(data_streams_max)));
    let address = socket.local_addr();
    Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime)).map_err(|source| {
        let address = address.unwrap_or_else(|_| SocketAddr::from(([0; 4], 0)));
        Error::Listen { what: "MQTT over QUIC", address, source }
    })
}

fn transport(data_streams_max: u32) -> TransportConfig {
    let streams_max = data_streams_max.saturating_add(1);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(WINDOW))
        // One that is not read takes none of the others' room.
        .receive_window(VarInt::from_u32(WINDOW.saturating_mul(streams_max)))
        .send_window(u64::from(WINDOW))
        .max_idle_timeout(Some(IDLE_MAX.try_into().expect("a minute is far below 2^62 ms")))
        .keep_alive_interval(Some(KEEP_ALIVE));
    transport
}

/// Everything that a listener needs to serve its connections.
pub(crate) struct Listener {
    pub(crate) node: Arc<Node>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) endpoint: Endpoint,
    /// Whether connections may have data streams.
    pub(crate) multi_stream: bool,
    pub(crate) tasks: TaskTracker,
}

impl Listener {
    /// Accepts until `stop`, then refuses until the last connection is closed.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while let Some(Some(incoming)) = stop.run_until_cancelled(self.endpoint.accept()).await {
            self.serve(incoming);
        }
        let refuse = async {
            while let Some(incoming) = self.endpoint.accept().await {
                incoming.refuse();
            }
        };
        tokio::select! {
            () = refuse => {}
            () = self.endpoint.wait_idle() => {}
        }
    }

    fn serve(&self, incoming: Incoming) {
        // An address that is not proved may be anybody's: it takes no place that others need.
        if !incoming.remote_address_validated() && incoming.may_retry() && self.slots.are_precious() {
            if let Err(error) = incoming.retry() {
                tracing::debug!(%error, "no retry");
            }
            return;
        }
        let address = canonical(incoming.remote_address());
        let Some(slot) = self.slots.take(&self.node, Some(address)) else {
            incoming.refuse();
            return;
        };
        let entrance = Entrance::Quic(Box::new(incoming), self.multi_stream);
        self.tasks.spawn(connection::serve(self.node.clone(), entrance, slot));
    }
}

/// The server's end of the stream on which CONNECT comes, with its connection.
pub(crate) struct Quic {
    connection: quinn::Connection,
    send: SendStream,
    receive: RecvStream,
    /// Ready when the client has everything.
    delivered: Option<Delivered>,
    /// Where the connection may have any.
    pub(crate) data: Option<Box<DataStreams>>,
}

type Delivered = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

impl Quic {
    pub(crate) fn new(
        connection: quinn::Connection,
        (send, receive): (SendStream, RecvStream),
        multi_stream: bool,
    ) -> Quic {
        let data = multi_stream.then(|| Box::new(DataStreams::new(connection.clone())));
        Quic { connection, send, receive, delivered: None, data }
    }

    /// Reads into `buffer`; zero is the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match ready!(self.receive.poll_read(cx, buffer)) {
            // Closed by one of the two in order.
            Err(ReadError::ConnectionLost(
                ConnectionError::ApplicationClosed(_) | ConnectionError::LocallyClosed,
            )) => Poll::Ready(Ok(0)),
            read => Poll::Ready(read.map_err(Into::into)),
        }
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send).poll_write(cx, bytes).map_err(Into::into)
    }

    /// The end of the stream, and when the client has that, of the connection: what is closed earlier loses it.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.close_reason().is_some() {
            return Poll::Ready(Ok(()));
        }
        let delivered = self.delivered.get_or_insert_with(|| {
            // It may be closed already.
            let _ = self.send.finish();
            Box::pin(self.send.stopped())
        });
        // If it was stopped or lost, there is nothing to wait for either.
        let _ = ready!(delivered.as_mut().poll(cx));
        self.close();
        Poll::Ready(Ok(()))
    }

    /// Closes the connection at once, and throws away what has not left.
    pub(crate) fn close(&self) {
        self.connection.close(CLOSED, b"");
    }
}
