//! The cluster authority: who is a replica, a broker or an administrator.
//!
//! Two certificates. The root is what everybody trusts; its key signs once, when the cluster is founded, and can
//! then be taken away from the machine. The issuing authority below it signs nodes and administrators; its key
//! is sealed and replicated.

use revoq_credentials::{Cluster, Millis, NodeKind, Role};
use revoq_proto::SERVER_NAME;
use zeroize::Zeroizing;

use super::profile::{not_before, seconds};
use super::{
    AuthorityProfile, FileSigner, GeneratedKey, Issuing, LeafProfile, PublicKey, San, Signer, Subject, Usage,
    random_serial, signing,
};
use crate::error::Error;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const ROOT_TTL_MS: u64 = 20 * 365 * DAY_MS;
/// Ends before the root does.
const ISSUING_TTL_MS: u64 = ROOT_TTL_MS - DAY_MS;
/// Nodes keep their certificate until they are removed.
const NODE_TTL_MS: u64 = 10 * 365 * DAY_MS;
/// Certificates of listeners; a broker asks for a new one at two thirds.
const SERVER_TTL_MS: u64 = 90 * DAY_MS;

/// The subject organization, from which a role is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClusterRole {
    Replica,
    Broker,
    Administrator(Role),
}

impl ClusterRole {
    pub(crate) fn organization(self) -> &'static str {
        match self {
            ClusterRole::Replica => "revoq:replica",
            ClusterRole::Broker => "revoq:broker",
            ClusterRole::Administrator(Role::Administrator) => "revoq:administrator",
            ClusterRole::Administrator(Role::Operator) => "revoq:operator",
            ClusterRole::Administrator(Role::Auditor) => "revoq:auditor",
        }
    }

    pub(crate) fn parse(organization: &str) -> Option<ClusterRole> {
        let roles = [Role::Administrator, Role::Operator, Role::Auditor].map(ClusterRole::Administrator);
        [ClusterRole::Replica, ClusterRole::Broker]
            .into_iter()
            .chain(roles)
            .find(|role| role.organization() == organization)
    }
}

impl From<NodeKind> for ClusterRole {
    fn from(kind: NodeKind) -> ClusterRole {
        match kind {
            NodeKind::Replica => ClusterRole::Replica,
            NodeKind::Broker => ClusterRole::Broker,
        }
    }
}

/// For whom a certificate of the cluster authority is.
pub(crate) struct NodeRequest<'a> {
    pub(crate) role: ClusterRole,
    pub(crate) name: &'a str,
    pub(crate) public_key: PublicKey,
    pub(crate) now: Millis,
    /// `None`: as long as nodes have.
    pub(crate) ttl_ms: Option<u64>,
}

/// The issuing authority of the cluster.
pub(crate) struct ClusterAuthority {
    signer: FileSigner,
    root: Vec<u8>,
    issuing: Vec<u8>,
    sealed_key: Vec<u8>,
}

impl ClusterAuthority {
    /// From the replicated row.
    pub(crate) fn open(signer: FileSigner, cluster: &Cluster) -> Result<ClusterAuthority, Error> {
        let (issuing, sealed_key) = unpack(&cluster.sealed_authority_key)
            .ok_or_else(|| Error::corrupt("the cluster authority", "the issuing certificate is cut short"))?;
        let (issuing, sealed_key) = (issuing.to_vec(), sealed_key.to_vec());
        Ok(ClusterAuthority { signer, root: cluster.authority_der.clone(), issuing, sealed_key })
    }

    /// The root certificate, DER.
    pub(crate) fn root(&self) -> &[u8] {
        &self.root
    }

    /// Leaf first, then the issuing authority.
    pub(crate) fn issue(&self, request: NodeRequest<'_>) -> Result<Vec<Vec<u8>>, Error> {
        let (usage, names) = match request.role {
            ClusterRole::Replica => (Usage::Both, vec![San::Dns(SERVER_NAME.to_owned())]),
            _ => (Usage::Client, Vec::new()),
        };
        let ttl = request.ttl_ms.unwrap_or(NODE_TTL_MS);
        self.sign(LeafProfile {
            serial: random_serial()?,
            subject: Subject {
                organization: Some(request.role.organization().to_owned()),
                common_name: Some(request.name.to_owned()),
            },
            public_key: request.public_key,
            names,
            usage,
            not_before: not_before(request.now),
            not_after: seconds(Millis(request.now.0.saturating_add(ttl))),
        })
    }

    /// For a broker's listeners: it authenticates nobody towards the control plane.
    pub(crate) fn issue_server(
        &self,
        name: &str,
        public_key: PublicKey,
        names: Vec<San>,
        now: Millis,
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.sign(LeafProfile {
            serial: random_serial()?,
            subject: Subject { organization: None, common_name: Some(name.to_owned()) },
            public_key,
            names,
            usage: Usage::Server,
            not_before: not_before(now),
            not_after: seconds(Millis(now.0 + SERVER_TTL_MS)),
        })
    }

    fn sign(&self, mut leaf: LeafProfile) -> Result<Vec<Vec<u8>>, Error> {
        leaf.not_after = leaf.not_after.min(end_of(&self.issuing)?);
        let issuing = Issuing { certificate: &self.issuing, sealed_key: &self.sealed_key };
        Ok(vec![self.signer.sign(issuing, &leaf)?, self.issuing.clone()])
    }
}

/// A founded cluster: its replicated row, and the root key for the operator to take away (PKCS#8).
pub(crate) struct Founded {
    pub(crate) cluster: Cluster,
    pub(crate) root_key: Zeroizing<Vec<u8>>,
}

/// Makes root and issuing authority.
pub(crate) fn new_cluster_authority(signer: &FileSigner, name: &str, now: Millis) -> Result<Founded, Error> {
    let profile = |common_name: String, ttl, path_length| AuthorityProfile {
        common_name,
        not_before: not_before(now),
        not_after: seconds(Millis(now.0 + ttl)),
        path_length,
    };
    let key = GeneratedKey::new()?;
    let root_params = profile(format!("{name} cluster root"), ROOT_TTL_MS, 1).params()?;
    let root = root_params.self_signed(key.pair()).map_err(signing)?.der().to_vec();
    let parent = key.issuer(&root)?;
    let below = profile(format!("{name} nodes and administrators"), ISSUING_TTL_MS, 0);
    let issuing = signer.new_authority(&below, Some(&parent))?;
    let sealed_authority_key = pack(&issuing.certificate, &issuing.sealed_key);
    Ok(Founded {
        cluster: Cluster { name: name.to_owned(), authority_der: root, sealed_authority_key },
        root_key: key.private(),
    })
}

fn end_of(certificate: &[u8]) -> Result<Millis, Error> {
    let parsed = revoq_credentials::x509::parse(certificate);
    Ok(parsed.map_err(|error| Error::corrupt("the cluster authority", error))?.not_after)
}

/// The issuing certificate travels in front of its sealed key: length, certificate, key.
fn pack(certificate: &[u8], sealed_key: &[u8]) -> Vec<u8> {
    let length = u32::try_from(certificate.len()).expect("a certificate made here is about 500 bytes");
    [&length.to_be_bytes(), certificate, sealed_key].concat()
}

fn unpack(packed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = packed.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
