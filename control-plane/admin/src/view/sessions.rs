//! Live sessions.
use revoq_proto::v1;
use serde::Serialize;

use super::{Timestamp, View, hex};

/// A live session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the wire's `Session`")]
pub struct Session {
    pub client_id: String,
    pub tenant: String,
    pub device: Option<String>,
    pub fingerprint: Option<String>,
    pub authority: Option<String>,
    pub password: Option<String>,
    pub node: u64,
    pub node_name: String,
    pub connection: u64,
    pub address: String,
    pub protocol: String,
    pub transport: String,
    pub connected: Timestamp,
}

fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl From<v1::Session> for Session {
    fn from(wire: v1::Session) -> Session {
        Session {
            client_id: wire.client_id,
            tenant: wire.tenant,
            device: present(wire.device),
            fingerprint: present(hex(&wire.fingerprint)),
            authority: present(wire.authority),
            password: present(hex(&wire.password)),
            node: wire.node,
            node_name: wire.node_name,
            connection: wire.connection,
            address: wire.address,
            protocol: wire.protocol,
            transport: wire.transport,
            connected: wire.connected_ms.into(),
        }
    }
}

impl View for Session {
    const COLUMNS: &'static [&'static str] =
        &["client_id", "device", "node_name", "protocol", "transport", "address", "connected"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("client_id", self.client_id.clone()),
            ("tenant", self.tenant.clone()),
            ("device", self.device.clone().unwrap_or_default()),
            ("fingerprint", self.fingerprint.clone().unwrap_or_default()),
            ("authority", self.authority.clone().unwrap_or_default()),
            ("password", self.password.clone().unwrap_or_default()),
            ("node", self.node.to_string()),
            ("node_name", self.node_name.clone()),
            ("connection", self.connection.to_string()),
            ("protocol", self.protocol.clone()),
            ("transport", self.transport.clone()),
            ("address", self.address.clone()),
            ("connected", self.connected.to_string()),
        ]
    }
}

/// Some of the live sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionList {
    /// How many there are; more than are listed where there is a limit.
    pub total: u64,
    /// Broker nodes that did not answer.
    pub missing: Vec<String>,
    /// The sessions.
    pub items: Vec<Session>,
}

impl From<v1::ListSessionsResponse> for SessionList {
    fn from(wire: v1::ListSessionsResponse) -> SessionList {
        SessionList {
            total: wire.total,
            missing: wire.missing,
            items: wire.sessions.into_iter().map(Session::from).collect(),
        }
    }
}

/// How many sessions a broker node has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the wire's `SessionCount`")]
pub struct NodeCount {
    pub node: u64,
    pub node_name: String,
    pub sessions: u64,
}

impl From<v1::SessionCount> for NodeCount {
    fn from(wire: v1::SessionCount) -> NodeCount {
        NodeCount { node: wire.node, node_name: wire.node_name, sessions: wire.sessions }
    }
}

impl View for NodeCount {
    const COLUMNS: &'static [&'static str] = &["node", "name", "sessions"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("node", self.node.to_string()),
            ("name", self.node_name.clone()),
            ("sessions", self.sessions.to_string()),
        ]
    }
}
