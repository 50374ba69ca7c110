//! Commands: the entries of the log. Everything that is not a function of the state before is in them: time,
//! identifiers, keys, signatures.

use std::fmt;

use minicbor::{Decode, Encode};

use crate::codec;
use crate::ids::{CertificateId, Fingerprint, Millis, NodeId, Serial};
use crate::names::{AdministratorName, AuthorityName, DeviceName, Labels, NodeName, TenantName, Username};
use crate::password::Verifier;
use crate::records::{Administrator, Authority, Cluster, JoinToken, Node, NodeKind, SealedTicketKeys};
use crate::selector::Selector;
use crate::state::Transition;

/// The version of commands that this build proposes, and the highest that it applies.
pub const COMMAND_VERSION: u16 = 1;

/// A change that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Command {
    /// [`COMMAND_VERSION`] of the proposer.
    #[n(0)]
    pub version: u16,
    /// Who asks; for the audit log. At most 256 bytes.
    #[n(1)]
    pub actor: String,
    /// When, by the proposer's clock.
    #[n(2)]
    pub time: Millis,
    /// What.
    #[n(3)]
    pub operation: Operation,
}

impl Command {
    /// A command of this build's version.
    pub fn new(actor: impl Into<String>, time: Millis, operation: Operation) -> Command {
        Command { version: COMMAND_VERSION, actor: actor.into(), time, operation }
    }

    /// For the log.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// From the log.
    pub fn decode(bytes: &[u8]) -> Result<Command, minicbor::decode::Error> {
        codec::decode(bytes)
    }
}

/// A certificate to add. Its state, times of use and revision are `apply`'s to set.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[expect(missing_docs, reason = "as in `Certificate`")]
pub struct NewCertificate {
    #[n(0)]
    pub id: CertificateId,
    #[n(1)]
    pub tenant: TenantName,
    #[n(2)]
    pub device: DeviceName,
    #[n(3)]
    pub authority: Option<AuthorityName>,
    #[n(4)]
    pub fingerprint: Fingerprint,
    #[n(5)]
    pub serial: Serial,
    #[cbor(n(6), with = "minicbor::bytes")]
    pub issuer: Vec<u8>,
    #[n(7)]
    pub issuer_text: String,
    #[n(8)]
    pub subject_text: String,
    #[n(9)]
    pub not_before: Millis,
    #[n(10)]
    pub not_after: Millis,
    #[cbor(n(11), with = "minicbor::bytes")]
    pub der: Vec<u8>,
}

/// A password to set. Its state, fingerprint, times of use and revision are `apply`'s to set.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[expect(missing_docs, reason = "as in `Password`")]
pub struct NewPassword {
    #[n(0)]
    pub tenant: TenantName,
    #[n(1)]
    pub username: Username,
    #[n(2)]
    pub device: DeviceName,
    #[n(3)]
    pub verifier: Verifier,
    #[n(4)]
    pub client_id: Option<String>,
}

impl fmt::Display for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NewPassword { tenant, username, device, .. } = self;
        write!(f, "password {tenant}/{username} of device {tenant}/{device}")
    }
}

/// A node to add. Its number is `apply`'s to allot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[expect(missing_docs, reason = "as in `Node`")]
pub struct NewNode {
    #[n(0)]
    pub name: NodeName,
    #[n(1)]
    pub kind: NodeKind,
    #[n(2)]
    pub address: Option<String>,
    #[n(3)]
    pub fingerprint: Fingerprint,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Operation {
    /// The first command of a cluster. Creates the tenant `default`.
    #[n(0)]
    Initialize {
        /// The cluster and its authority.
        #[n(0)]
        cluster: Cluster,
        /// The first replica.
        #[n(1)]
        node: Node,
        /// The first administrator.
        #[n(2)]
        administrator: Administrator,
        /// For TLS session tickets.
        #[n(3)]
        ticket_keys: SealedTicketKeys,
    },
    /// Creates a tenant.
    #[n(1)]
    CreateTenant {
        /// Its name.
        #[n(0)]
        name: TenantName,
    },
    /// Creates an authority, or trusts an external one (without a key). Its status and time of creation are set
    /// by `apply`.
    #[n(2)]
    CreateAuthority {
        /// The authority.
        #[n(0)]
        authority: Authority,
    },
    /// Creates a device.
    #[n(3)]
    CreateDevice {
        /// Where.
        #[n(0)]
        tenant: TenantName,
        /// Its name.
        #[n(1)]
        name: DeviceName,
        /// Its labels.
        #[n(2)]
        labels: Labels,
    },
    /// Adds a certificate that was issued, or registers a leaf; creates the device where it is absent.
    #[n(4)]
    AddCertificate {
        /// The certificate.
        #[n(0)]
        certificate: Box<NewCertificate>,
    },
    /// Changes states.
    #[n(5)]
    Transition {
        /// Of what.
        #[n(0)]
        selector: Selector,
        /// How.
        #[n(1)]
        transition: Transition,
        /// For the audit log; at most 256 bytes.
        #[n(2)]
        comment: String,
    },
    /// Changes a setting.
    #[n(6)]
    SetSetting {
        /// Which; see [`settings::definitions`](crate::settings::definitions).
        #[n(0)]
        key: String,
        /// `None`: back to the default.
        #[n(1)]
        value: Option<String>,
    },
    /// Credentials that authenticated. Makes inactive ones active; unknown ones are passed over.
    #[n(7)]
    RecordUsage {
        /// Which; at most 1,000.
        #[n(0)]
        used: Vec<Fingerprint>,
        /// When.
        #[n(1)]
        time: Millis,
    },
    /// Lets nodes join.
    #[n(8)]
    CreateJoinToken {
        /// The token.
        #[n(0)]
        token: JoinToken,
    },
    /// Adds a node, using up a join token.
    #[n(9)]
    JoinNode {
        /// SHA-256 of the token's secret.
        #[cbor(n(0), with = "minicbor::bytes")]
        token: [u8; 32],
        /// The node.
        #[n(1)]
        node: NewNode,
    },
    /// Removes a node.
    #[n(10)]
    RemoveNode {
        /// Which.
        #[n(0)]
        node: NodeId,
    },
    /// Adds an administrator.
    #[n(11)]
    AddAdministrator {
        /// The administrator.
        #[n(0)]
        administrator: Administrator,
    },
    /// Removes an administrator.
    #[n(12)]
    RemoveAdministrator {
        /// Which.
        #[n(0)]
        name: AdministratorName,
    },
    /// Replaces the keys of TLS session tickets.
    #[n(13)]
    RotateTicketKeys {
        /// The whole new list.
        #[n(0)]
        keys: SealedTicketKeys,
    },
    /// Something that was refused before it came to a command, such as a call of a wrong role. Audit only.
    #[n(14)]
    RecordRefusal {
        /// What was asked.
        #[n(0)]
        action: String,
        /// About what.
        #[n(1)]
        subject: String,
        /// The code of the refusal.
        #[n(2)]
        code: String,
        /// Its text.
        #[n(3)]
        detail: String,
    },
    /// Gives a username a password, the first or another; creates the device where it is absent.
    #[n(15)]
    SetPassword {
        /// The password.
        #[n(0)]
        password: Box<NewPassword>,
    },
}

impl Operation {
    /// Its name in events and in the audit log.
    pub fn action(&self) -> &str {
        match self {
            Operation::Initialize { .. } => "initialize",
            Operation::CreateTenant { .. } => "tenant.create",
            Operation::CreateAuthority { authority } if authority.sealed_key.is_none() => "authority.trust",
            Operation::CreateAuthority { .. } => "authority.create",
            Operation::CreateDevice { .. } => "device.create",
            Operation::AddCertificate { certificate } if certificate.authority.is_none() => "register",
            Operation::AddCertificate { .. } => "issue",
            Operation::Transition { transition: Transition::Suspend, .. } => "suspend",
            Operation::Transition { transition: Transition::Reactivate, .. } => "reactivate",
            Operation::Transition { transition: Transition::Revoke(_), .. } => "revoke",
            Operation::Transition { transition: Transition::Delete, .. } => "delete",
            Operation::SetSetting { .. } => "setting.set",
            Operation::RecordUsage { .. } => "activate",
            Operation::CreateJoinToken { .. } => "token.create",
            Operation::JoinNode { .. } => "node.join",
            Operation::RemoveNode { .. } => "node.remove",
            Operation::AddAdministrator { .. } => "administrator.add",
            Operation::RemoveAdministrator { .. } => "administrator.remove",
            Operation::RotateTicketKeys { .. } => "ticket-keys.rotate",
            Operation::RecordRefusal { action, .. } => action,
            Operation::SetPassword { .. } => "password.set",
        }
    }

    /// What it is about, for the audit log.
    pub fn subject(&self) -> String {
        match self {
            Operation::Initialize { cluster, .. } => format!("cluster {}", cluster.name),
            Operation::CreateTenant { name } => format!("tenant {name}"),
            Operation::CreateAuthority { authority } => {
                format!("authority {}/{}", authority.tenant, authority.name)
            }
            Operation::CreateDevice { tenant, name, .. } => format!("device {tenant}/{name}"),
            Operation::AddCertificate { certificate } => {
                let NewCertificate { id, tenant, device, .. } = &**certificate;
                format!("certificate {id} of device {tenant}/{device}")
            }
            Operation::Transition { selector, .. } => selector.to_string(),
            Operation::SetSetting { key, .. } => format!("setting {key}"),
            Operation::RecordUsage { used, .. } => format!("{} credentials", used.len()),
            Operation::CreateJoinToken { token } => format!("join token for a {}", token.kind),
            Operation::JoinNode { node, .. } => format!("{} {}", node.kind, node.name),
            Operation::RemoveNode { node } => format!("node {node}"),
            Operation::AddAdministrator { administrator } => format!("administrator {}", administrator.name),
            Operation::RemoveAdministrator { name } => format!("administrator {name}"),
            Operation::RotateTicketKeys { .. } => "ticket keys".to_owned(),
            Operation::RecordRefusal { subject, .. } => subject.clone(),
            Operation::SetPassword { password } => password.to_string(),
        }
    }
}
