//! Who calls.

use std::fmt;

use revoq_credentials::{AdministratorName, NodeId, NodeKind, NodeName, Role};
use tonic::Request;

/// A caller, once the door has let it in. In the extensions of each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Without a client certificate.
    Anonymous,
    Administrator {
        name: AdministratorName,
        role: Role,
    },
    Broker {
        node: NodeId,
        name: NodeName,
    },
    Replica {
        name: String,
    },
    /// Not a node yet: it shows a join token.
    Joining {
        kind: NodeKind,
        name: NodeName,
    },
    /// The process itself.
    Local,
}

impl Caller {
    /// What it is, for a message.
    pub(crate) fn kind(&self) -> String {
        match self {
            Caller::Anonymous => "anonymous".to_owned(),
            Caller::Administrator { role, .. } => format!("an administrator with the role {role}"),
            Caller::Broker { .. } => "a broker node".to_owned(),
            Caller::Replica { .. } => "a replica".to_owned(),
            Caller::Joining { .. } => "a node that joins".to_owned(),
            Caller::Local => "this replica".to_owned(),
        }
    }
}

/// As in the audit log.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Anonymous => f.write_str("anonymous"),
            Caller::Administrator { name, .. } => write!(f, "{name}"),
            Caller::Broker { name, .. } => write!(f, "broker {name}"),
            Caller::Replica { name } => write!(f, "replica {name}"),
            Caller::Joining { kind, name } => write!(f, "joining {kind} {name}"),
            Caller::Local => f.write_str("control-plane"),
        }
    }
}

/// Who made a request.
pub(crate) fn caller<T>(request: &Request<T>) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or(Caller::Anonymous)
}
