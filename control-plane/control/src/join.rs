//! Joining a cluster with a one-time token, as a new replica.

use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType};
use revoq_proto::client::{ControlChannel, Identity, Options, Persistence, Tls};
use revoq_proto::pem;
use revoq_proto::token::JoinToken;
use revoq_proto::v1;
use revoq_proto::v1::node_client::NodeClient;
use tonic::Request;

use crate::config::{Config, Join};
use crate::data::{DataFolder, Member};
use crate::error::Error;
use crate::seal::KeyEncryptionKey;
use crate::signer::{GeneratedKey, signing};

/// How long the replicas of the cluster are asked before the start fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// One call.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Exchanges the token for an identity and writes it into the data folder, which then is complete.
pub(crate) async fn join(
    config: &Config,
    join: &Join,
    data: &DataFolder,
    address: &str,
    member: impl FnOnce(u64, String) -> Member,
) -> Result<Member, Error> {
    let token: JoinToken =
        join.token.parse().map_err(|error: revoq_proto::Error| Error::Join(error.to_string()))?;
    let again = data.is_joining();
    data.begin_joining()?;
    let key = GeneratedKey::new()?;
    let request = v1::JoinRequest {
        token: join.token.clone(),
        kind: v1::NodeKind::Replica.into(),
        name: config.name.clone(),
        csr: request(&key, &config.name)?.into(),
        address: address.to_owned(),
    };
    let response =
        call(join, &token, request).await.map_err(|error| if again { begun_before(error) } else { error })?;
    let identity = Identity {
        certificates_pem: pem::encode_certificates(&response.certificates),
        key_pem: pem::encode(pem::PRIVATE_KEY, &key.private()),
        authority_pem: pem::encode(pem::CERTIFICATE, &response.cluster_authority),
    };
    let key_encryption_key = KeyEncryptionKey::from_bytes(&response.key_encryption_key)
        .map_err(|_| Error::Join("the answer has no key-encryption key".to_owned()))?;
    data.write_key_encryption_key(&key_encryption_key)?;
    data.write_identity(&identity)?;
    let member = member(response.node, response.cluster);
    data.complete(&member)?;
    Ok(member)
}

/// A token is used up before the answer arrives: the start before may have been cut short in between.
fn begun_before(error: Error) -> Error {
    match error {
        Error::Join(reason) => Error::Join(format!(
            "{reason} (an earlier start has begun to join: if `revoqctl cluster nodes` shows this replica, remove it, and \
             use a new token)"
        )),
        other => other,
    }
}

async fn call(join: &Join, token: &JoinToken, request: v1::JoinRequest) -> Result<v1::JoinResponse, Error> {
    let tls = Tls::anonymous(&token.authority_der);
    let channel = ControlChannel::new(&join.endpoints, &tls, Options::default())
        .map_err(|error| Error::Join(error.to_string()))?;
    let response = channel
        .call(Persistence::CHANGE.with_patience(PATIENCE), |channel| {
            let mut request = Request::new(request.clone());
            request.set_timeout(CALL_TIMEOUT);
            async move { NodeClient::new(channel).join(request).await }
        })
        .await;
    let response = response.map_err(|status| Error::Join(status.message().to_owned()))?.into_inner();
    if response.cluster_authority != token.authority_der {
        return Err(Error::Join("the cluster's authority is not the token's".to_owned()));
    }
    Ok(response)
}

/// A PKCS#10 request, DER.
fn request(key: &GeneratedKey, name: &str) -> Result<Vec<u8>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params.serialize_request(key.pair()).map_err(signing)?.der().to_vec())
}
