//! The other replicas, as this one calls them.
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use revoq_consensus::Dial;
use revoq_proto::GRPC_MESSAGE_MAX;
use revoq_proto::v1::peer_client::PeerClient;
use tonic::Status;
use tonic::transport::Channel;

/// Connections that are kept; more addresses than a cluster has replicas are those of the past.
const CHANNELS_MAX: usize = 64;

/// The other replicas, as this one calls them: a connection each, made at first use.
pub(crate) struct Peers {
    dial: Arc<dyn Dial>,
    channels: Mutex<HashMap<String, PeerClient<Channel>>>,
}

impl Peers {
    pub(crate) fn new(dial: Arc<dyn Dial>) -> Peers {
        Peers { dial, channels: Mutex::default() }
    }

    pub(crate) fn client(&self, address: &str) -> Result<PeerClient<Channel>, Status> {
        let mut channels = self.channels.lock();
        if let Some(client) = channels.get(address) {
            return Ok(client.clone());
        }
        let channel = self.dial.channel(address).map_err(|error| Status::unavailable(error.to_string()))?;
        let client = PeerClient::new(channel)
            .max_decoding_message_size(GRPC_MESSAGE_MAX)
            .max_encoding_message_size(GRPC_MESSAGE_MAX);
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(address.to_owned(), client.clone());
        Ok(client)
    }
}
