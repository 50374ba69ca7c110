//! Channels to the other replicas.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use revoq_proto::v1::RaftCall;
use revoq_proto::v1::raft_call::Kind;
use revoq_proto::v1::raft_client::RaftClient;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::Error;
use crate::config::MESSAGE_SIZE_MAX;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEPALIVE: Duration = Duration::from_secs(2);
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// How replicas reach each other: the process supplies identity and trust.
pub trait Dial: Send + Sync + 'static {
    /// A channel that connects when it is first used, and again whenever it is broken.
    ///
    /// # Errors
    /// The address makes no sense.
    fn channel(&self, address: &str) -> Result<Channel, Error>;
}

/// Sets an endpoint up for traffic between replicas: small messages at once, dead peers noticed.
#[must_use]
pub fn tune(endpoint: Endpoint) -> Endpoint {
    endpoint
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
}

/// What shares a connection. Bulk has its own, so that it delays nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    Log,
    Heartbeat,
    Snapshot,
}

/// The channels of one group, made on first use.
pub(crate) struct Channels {
    pub(crate) group: u32,
    dial: Arc<dyn Dial>,
    open: Mutex<HashMap<(String, Lane), RaftClient<Channel>>>,
}

impl Channels {
    pub(crate) fn new(group: u32, dial: Arc<dyn Dial>) -> Self {
        Self { group, dial, open: Mutex::new(HashMap::new()) }
    }

    pub(crate) fn client(&self, address: &str, lane: Lane) -> Result<RaftClient<Channel>, Error> {
        let mut open = self.open.lock();
        let key = (address.to_owned(), lane);
        if let Some(client) = open.get(&key) {
            return Ok(client.clone());
        }
        let client = RaftClient::new(self.dial.channel(address)?)
            .max_decoding_message_size(MESSAGE_SIZE_MAX)
            .max_encoding_message_size(MESSAGE_SIZE_MAX);
        open.insert(key, client.clone());
        Ok(client)
    }

    /// One call to the group at `address`.
    pub(crate) async fn call(
        &self,
        address: &str,
        node: u64,
        lane: Lane,
        kind: Kind,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let mut client = self.client(address, lane).map_err(|e| CallError::Unsent(e.to_string()))?;
        let call = RaftCall { group: self.group, kind: kind.into(), payload: payload.into(), node };
        match tokio::time::timeout(timeout, client.call(call)).await {
            Ok(Ok(reply)) => Ok(reply.into_inner().payload),
            Ok(Err(status)) => Err(CallError::from(status)),
            Err(_) => Err(CallError::Timeout(timeout)),
        }
    }
}

/// For calls that whoever has the address may answer.
pub(crate) const ANYBODY: u64 = 0;

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// It was never sent.
    #[error("not reachable: {0}")]
    Unsent(String),
    /// The peer would not do it, and has not.
    #[error("rejected: {0}")]
    Rejected(String),
    /// The peer or the connection failed after it may have been sent.
    #[error("failed: {0}")]
    Broken(String),
    /// No answer came.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl From<tonic::Status> for CallError {
    fn from(status: tonic::Status) -> Self {
        let mut source = std::error::Error::source(&status);
        while let Some(error) = source {
            if error.is::<tonic::ConnectError>() {
                return Self::Unsent(error.to_string());
            }
            source = error.source();
        }
        let text = format!("{}: {}", status.code(), status.message());
        match status.code() {
            Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::InvalidArgument
            | Code::Unimplemented => Self::Rejected(text),
            _ => Self::Broken(text),
        }
    }
}
