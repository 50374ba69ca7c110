//! The cluster: its status, nodes, administrators and settings.
use revoq_proto::convert::values;
use revoq_proto::v1;
use serde::Serialize;

use super::{Timestamp, View, hex, named};

/// The state of the cluster, as one replica sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in `ClusterStatusResponse`")]
pub struct Status {
    pub cluster: String,
    pub node: u64,
    pub leader: Option<u64>,
    pub revision: u64,
    pub lease_ms: u64,
    pub tenants: u64,
    pub devices: u64,
    pub certificates: u64,
    pub denied: u64,
    pub digest: String,
    pub nodes: Vec<Node>,
}

impl From<v1::ClusterStatusResponse> for Status {
    fn from(wire: v1::ClusterStatusResponse) -> Status {
        Status {
            cluster: wire.cluster,
            node: wire.node,
            leader: (wire.leader != 0).then_some(wire.leader),
            revision: wire.revision,
            lease_ms: wire.lease_ms,
            tenants: wire.tenants,
            devices: wire.devices,
            certificates: wire.certificates,
            denied: wire.denied,
            digest: hex(&wire.digest),
            nodes: wire.nodes.into_iter().map(Node::from).collect(),
        }
    }
}

impl View for Status {
    const COLUMNS: &'static [&'static str] = &["cluster", "leader", "revision"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("cluster", self.cluster.clone()),
            ("leader", self.leader.map_or("none: no quorum".to_owned(), |node| format!("node {node}"))),
            ("revision", self.revision.to_string()),
            ("lease", format!("{} ms", self.lease_ms)),
            ("tenants", self.tenants.to_string()),
            ("devices", self.devices.to_string()),
            ("certificates", format!("{}, {} of them denied", self.certificates, self.denied)),
            ("answered by", format!("node {}", self.node)),
        ]
    }
}

/// A replica or a broker node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in `NodeStatus`")]
pub struct Node {
    pub node: u64,
    pub name: String,
    pub kind: String,
    pub status: String,
    pub revision: u64,
    pub sessions: u64,
    pub address: String,
    pub joined: Timestamp,
    pub lease_until: Timestamp,
}

impl From<v1::NodeStatus> for Node {
    fn from(wire: v1::NodeStatus) -> Node {
        Node {
            node: wire.node,
            name: wire.name,
            kind: named(values::node_kind("kind", wire.kind), wire.kind),
            status: wire.status,
            revision: wire.revision,
            sessions: wire.sessions,
            address: wire.address,
            joined: wire.joined_ms.into(),
            lease_until: wire.lease_until_ms.into(),
        }
    }
}

impl View for Node {
    const COLUMNS: &'static [&'static str] =
        &["node", "name", "kind", "status", "revision", "sessions", "address", "joined"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        // A replica has no sessions; 0 would say that it could.
        let sessions = if self.kind == "replica" { String::new() } else { self.sessions.to_string() };
        vec![
            ("node", self.node.to_string()),
            ("name", self.name.clone()),
            ("kind", self.kind.clone()),
            ("status", self.status.clone()),
            ("revision", self.revision.to_string()),
            ("sessions", sessions),
            ("address", self.address.clone()),
            ("joined", self.joined.to_string()),
            ("lease_until", self.lease_until.to_string()),
        ]
    }
}

/// Somebody who may use the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the wire's `Administrator`")]
pub struct Administrator {
    pub name: String,
    pub role: String,
    pub fingerprint: String,
    pub not_after: Timestamp,
}

impl From<v1::Administrator> for Administrator {
    fn from(wire: v1::Administrator) -> Administrator {
        Administrator {
            name: wire.name,
            role: named(values::role("role", wire.role), wire.role),
            fingerprint: hex(&wire.fingerprint),
            not_after: wire.not_after_ms.into(),
        }
    }
}

impl View for Administrator {
    const COLUMNS: &'static [&'static str] = &["name", "role", "not_after", "fingerprint"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("role", self.role.clone()),
            ("not_after", self.not_after.to_string()),
            ("fingerprint", self.fingerprint.clone()),
        ]
    }
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the wire's `Setting`")]
pub struct Setting {
    pub key: String,
    pub value: String,
    pub default: String,
    pub description: String,
}

impl From<v1::Setting> for Setting {
    fn from(wire: v1::Setting) -> Setting {
        Setting { key: wire.key, value: wire.value, default: wire.default, description: wire.description }
    }
}

impl View for Setting {
    const COLUMNS: &'static [&'static str] = &["key", "value", "default", "description"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("key", self.key.clone()),
            ("value", self.value.clone()),
            ("default", self.default.clone()),
            ("description", self.description.clone()),
        ]
    }
}
