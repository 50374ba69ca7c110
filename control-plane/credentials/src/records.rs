//! The stored rows. Fields are numbered, so that later ones can be added; a number is never used twice.

use std::fmt;

use minicbor::{Decode, Encode};

use crate::codec::numbered;
use crate::ids::{CertificateId, Fingerprint, Millis, NodeId, Revision, Serial};
use crate::names::{AdministratorName, AuthorityName, DeviceName, Labels, NodeName, TenantName};
use crate::state::Status;

/// The cluster itself; one row.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Cluster {
    /// What its operators call it.
    #[n(0)]
    pub name: String,
    /// The certificate of the cluster authority, DER.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub authority_der: Vec<u8>,
    /// Its private key, sealed by the key-encryption key of the replicas.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sealed_authority_key: Vec<u8>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An isolated namespace.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Tenant {
    /// Its name.
    #[n(0)]
    pub name: TenantName,
    /// A denied tenant denies everything below it.
    #[n(1)]
    pub status: Status,
    /// When it was created.
    #[n(2)]
    pub created: Millis,
}

/// The thing that owns credentials.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Device {
    /// Where it lives.
    #[n(0)]
    pub tenant: TenantName,
    /// Its name.
    #[n(1)]
    pub name: DeviceName,
    /// For selectors.
    #[n(2)]
    pub labels: Labels,
    /// A denied device denies its certificates.
    #[n(3)]
    pub status: Status,
    /// When it was created.
    #[n(4)]
    pub created: Millis,
    /// How many certificates it has, those revoked included, those deleted not.
    #[n(5)]
    pub certificates: u32,
}

/// A certificate authority that we issue with or trust.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Authority {
    /// Where it lives.
    #[n(0)]
    pub tenant: TenantName,
    /// Its name.
    #[n(1)]
    pub name: AuthorityName,
    /// A denied authority denies what it issued.
    #[n(2)]
    pub status: Status,
    /// Its certificate.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub der: Vec<u8>,
    /// SHA-256 of the DER.
    #[n(4)]
    pub fingerprint: Fingerprint,
    /// Valid from.
    #[n(5)]
    pub not_before: Millis,
    /// Valid until, inclusive.
    #[n(6)]
    pub not_after: Millis,
    /// When it was created or first trusted.
    #[n(7)]
    pub created: Millis,
    /// Its private key, sealed; absent for a trusted external authority, and once it is deleted.
    #[cbor(n(8), with = "crate::codec::optional_bytes", has_nil)]
    pub sealed_key: Option<Vec<u8>>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("tenant", &self.tenant)
            .field("name", &self.name)
            .field("status", &self.status)
            .field("fingerprint", &self.fingerprint)
            .field("signs", &self.sealed_key.is_some())
            .finish_non_exhaustive()
    }
}

/// A certificate of a device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Certificate {
    /// What we call it.
    #[n(0)]
    pub id: CertificateId,
    /// Where it lives.
    #[n(1)]
    pub tenant: TenantName,
    /// Whose it is.
    #[n(2)]
    pub device: DeviceName,
    /// Who issued it; `None` for a leaf that was registered as it is.
    #[n(3)]
    pub authority: Option<AuthorityName>,
    /// SHA-256 of the DER.
    #[n(4)]
    pub fingerprint: Fingerprint,
    /// The serial number.
    #[n(5)]
    pub serial: Serial,
    /// The issuer, DER of the Name.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub issuer: Vec<u8>,
    /// The issuer as an RFC 4514 string.
    #[n(7)]
    pub issuer_text: String,
    /// The subject as an RFC 4514 string.
    #[n(8)]
    pub subject_text: String,
    /// Valid from.
    #[n(9)]
    pub not_before: Millis,
    /// Valid until, inclusive.
    #[n(10)]
    pub not_after: Millis,
    /// Its own state; see [`query::effective`](crate::query::effective) for what brokers see.
    #[n(11)]
    pub status: Status,
    /// When we issued or registered it.
    #[n(12)]
    pub issued: Millis,
    /// When it first authenticated.
    #[n(13)]
    pub first_used: Option<Millis>,
    /// When it last authenticated; coarse, batched by the brokers.
    #[n(14)]
    pub last_used: Option<Millis>,
    /// The revision of its last change of state.
    #[n(15)]
    pub revision: Revision,
    /// The certificate. In a row of its own, so that a change of state does not rewrite it; queries that answer
    /// with certificates fill it in.
    #[cbor(skip)]
    pub der: Vec<u8>,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    /// A process of the control plane.
    Replica,
    /// A broker node.
    Broker,
}

impl NodeKind {
    /// The number in rows and on the wire.
    pub fn code(self) -> u8 {
        match self {
            NodeKind::Replica => 1,
            NodeKind::Broker => 2,
        }
    }

    /// The kind of a number.
    pub fn from_code(code: u8) -> Option<NodeKind> {
        [NodeKind::Replica, NodeKind::Broker].into_iter().find(|kind| kind.code() == code)
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            NodeKind::Replica => "replica",
            NodeKind::Broker => "broker",
        })
    }
}

numbered!(NodeKind, "node kind");

/// A replica or a broker node that has joined.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Node {
    /// Never used twice.
    #[n(0)]
    pub id: NodeId,
    /// What it calls itself. Broker nodes may share one: each start without a certificate is a new node.
    #[n(1)]
    pub name: NodeName,
    /// What it is.
    #[n(2)]
    pub kind: NodeKind,
    /// `host:port` at which other replicas reach it; replicas only.
    #[n(3)]
    pub address: Option<String>,
    /// Of its certificate of the cluster authority.
    #[n(4)]
    pub fingerprint: Fingerprint,
    /// When it joined.
    #[n(5)]
    pub joined: Millis,
    /// The revision at which it joined: a broker node has no older view. Absent where that was not noted.
    #[n(6)]
    pub revision: Option<Revision>,
}

/// What an administrator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything.
    Administrator,
    /// Everything about credentials and sessions; not nodes, administrators, authorities, tenants, settings.
    Operator,
    /// Reads only.
    Auditor,
}

impl Role {
    /// The number in rows and on the wire.
    pub fn code(self) -> u8 {
        match self {
            Role::Administrator => 1,
            Role::Operator => 2,
            Role::Auditor => 3,
        }
    }

    /// The role of a number.
    pub fn from_code(code: u8) -> Option<Role> {
        [Role::Administrator, Role::Operator, Role::Auditor].into_iter().find(|role| role.code() == code)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Administrator => "administrator",
            Role::Operator => "operator",
            Role::Auditor => "auditor",
        })
    }
}

numbered!(Role, "role");

/// Somebody whose client certificate the API accepts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Administrator {
    /// Its name.
    #[n(0)]
    pub name: AdministratorName,
    /// What it may do.
    #[n(1)]
    pub role: Role,
    /// Of its certificate of the cluster authority.
    #[n(2)]
    pub fingerprint: Fingerprint,
    /// When that ends.
    #[n(3)]
    pub not_after: Millis,
}

/// Lets nodes join. The secret itself is shown once and stored nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JoinToken {
    /// SHA-256 of the secret.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub hash: [u8; 32],
    /// What may join with it.
    #[n(1)]
    pub kind: NodeKind,
    /// How often; `None` without limit, brokers only.
    #[n(2)]
    pub uses_left: Option<u32>,
    /// Until when.
    #[n(3)]
    pub expires: Millis,
}

/// The keys of TLS session tickets, as opaque bytes: sealed on their way through the log and in rows; a broker
/// puts what the wire gave it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct SealedTicketKeys(#[cbor(n(0), with = "minicbor::bytes")] pub Vec<u8>);

impl fmt::Debug for SealedTicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedTicketKeys({} bytes)", self.0.len())
    }
}

/// One line of the audit log; see [`audit`](crate::audit) for the hash.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AuditEntry {
    /// From 1, without gaps.
    #[n(0)]
    pub number: u64,
    /// The revision of the command.
    #[n(1)]
    pub revision: Revision,
    /// When the command was proposed.
    #[n(2)]
    pub time: Millis,
    /// Who asked.
    #[n(3)]
    pub actor: String,
    /// What was asked: `suspend`, `issue`, `setting.set` …
    #[n(4)]
    pub action: String,
    /// What it was about.
    #[n(5)]
    pub subject: String,
    /// The state or value before; empty where there is none, or more than one.
    #[n(6)]
    pub before: String,
    /// The state or value after.
    #[n(7)]
    pub after: String,
    /// Comment, counts, the text of a refusal.
    #[n(8)]
    pub detail: String,
    /// `ok`, or the code of the refusal.
    #[n(9)]
    pub outcome: String,
    /// The hash of the entry before; zeros for the first.
    #[cbor(n(10), with = "minicbor::bytes")]
    pub previous_hash: [u8; 32],
    /// SHA-256 over the hash before and the other fields.
    #[cbor(n(11), with = "minicbor::bytes")]
    pub hash: [u8; 32],
}
