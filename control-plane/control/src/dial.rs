//! How replicas reach each other.

use revoq_consensus::{Dial, Error};
use revoq_proto::client::{Identity, Options, Tls, endpoint};
use tonic::transport::Channel;

/// Channels with the certificate of this replica.
pub(crate) struct MutualTls {
    tls: Tls,
}

impl MutualTls {
    pub(crate) fn new(identity: Identity) -> MutualTls {
        MutualTls { tls: Tls::Mutual(identity) }
    }
}

impl Dial for MutualTls {
    fn channel(&self, address: &str) -> Result<Channel, Error> {
        let wrong = |error: revoq_proto::Error| Error::Address {
            address: address.to_owned(),
            reason: error.to_string(),
        };
        Ok(endpoint(address, &self.tls, Options::default()).map_err(wrong)?.connect_lazy())
    }
}
