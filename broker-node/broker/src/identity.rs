//! Who this node is in the cluster: a certificate got with a join token, its key never leaving memory, or one from
//! files.

use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use revoq_credentials::NodeId;
use revoq_proto::client::{ControlChannel, Identity, Options, Persistence, Tls};
use revoq_proto::token::JoinToken;
use revoq_proto::{pem, v1};
use tonic::{Code, Status};

use crate::Error;
use crate::config::{Config, IdentityFiles};

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A member of the cluster.
pub(crate) struct Member {
    pub(crate) node: NodeId,
    pub(crate) identity: Identity,
    /// Its key dies with the process, and its place in the cluster can go with it.
    pub(crate) joined: bool,
}

/// Becomes a member. Waits for the control plane as long as it takes; a refusal is final.
pub(crate) async fn obtain(config: &Config) -> Result<Member, Error> {
    match (&config.identity, &config.join_token) {
        (Some(files), _) => from_files(files),
        (None, Some(token)) => join(config, &token.parse()?).await,
        (None, None) => {
            Err(Error::Incomplete("neither a join token nor a node certificate is given".to_owned()))
        }
    }
}

fn from_files(files: &IdentityFiles) -> Result<Member, Error> {
    let read = |what: &'static str, path: &Path| {
        std::fs::read_to_string(path).map_err(|source| Error::File { what, path: path.to_owned(), source })
    };
    let identity = Identity {
        certificates_pem: read("node certificate", &files.certificate)?,
        key_pem: read("node key", &files.key)?,
        authority_pem: read("cluster authority", &files.authority)?,
    };
    Ok(Member { node: NodeId(files.node), identity, joined: false })
}

async fn join(config: &Config, token: &JoinToken) -> Result<Member, Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| own(&error))?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, config.name.as_str());
    let csr = parameters.serialize_request(&key).map_err(|error| own(&error))?;
    let request = v1::JoinRequest {
        token: token.to_string(),
        kind: v1::NodeKind::Broker.into(),
        name: config.name.clone(),
        csr: csr.der().to_vec().into(),
        address: String::new(),
    };
    let channel = ControlChannel::new(
        &config.control_plane,
        &Tls::anonymous(&token.authority_der),
        Options::default(),
    )?;
    let response = ask(&channel, &request).await?;
    if response.cluster_authority[..] != token.authority_der[..] {
        return Err(Error::Join(
            "the cluster answers with another authority than the token names".to_owned(),
        ));
    }
    tracing::info!(node = response.node, cluster = %response.cluster, "joined");
    let identity = Identity {
        certificates_pem: pem::encode_certificates(&response.certificates),
        key_pem: key.serialize_pem(),
        authority_pem: pem::encode(pem::CERTIFICATE, &token.authority_der),
    };
    Ok(Member { node: NodeId(response.node), identity, joined: true })
}

/// Asks again while it is sure that nothing happened; a token may be good for one time only.
async fn ask(channel: &ControlChannel, request: &v1::JoinRequest) -> Result<v1::JoinResponse, Error> {
    let mut pause = PAUSE_MIN;
    loop {
        let joined = channel.call(Persistence::CHANGE, |channel| {
            let mut client = v1::node_client::NodeClient::new(channel);
            let request = request.clone();
            async move { client.join(request).await }
        });
        match joined.await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) if is_final(&status) => return Err(Error::Join(status.message().to_owned())),
            Err(status) => tracing::warn!(reason = status.message(), "cannot join yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The control plane understood, and said no.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::AlreadyExists
            | Code::NotFound
            | Code::FailedPrecondition
            | Code::Unimplemented
    )
}

fn own(error: &rcgen::Error) -> Error {
    Error::Certificate { what: "the node's own key and request".to_owned(), problem: error.to_string() }
}
