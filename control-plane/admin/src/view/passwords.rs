//! Passwords, without themselves.
use revoq_proto::v1;
use serde::Serialize;

use super::{Fence, Timestamp, View, hex, reason, state};

/// The password of a username.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the wire's `Password`")]
pub struct Password {
    pub tenant: String,
    pub username: String,
    pub device: String,
    pub state: String,
    pub reason: Option<String>,
    pub client_id: Option<String>,
    pub iterations: u32,
    pub fingerprint: String,
    pub set: Timestamp,
    pub first_used: Timestamp,
    pub last_used: Timestamp,
    pub revision: u64,
}

impl From<v1::Password> for Password {
    fn from(wire: v1::Password) -> Password {
        let state = state(wire.state);
        let reason = reason(&state, wire.reason);
        Password {
            tenant: wire.tenant,
            username: wire.username,
            device: wire.device,
            state,
            reason,
            client_id: (!wire.client_id.is_empty()).then_some(wire.client_id),
            iterations: wire.iterations,
            fingerprint: hex(&wire.fingerprint),
            set: wire.set_ms.into(),
            first_used: wire.first_used_ms.into(),
            last_used: wire.last_used_ms.into(),
            revision: wire.revision,
        }
    }
}

impl View for Password {
    const COLUMNS: &'static [&'static str] =
        &["username", "device", "state", "client_id", "set", "last_used"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("username", self.username.clone()),
            ("tenant", self.tenant.clone()),
            ("device", self.device.clone()),
            ("state", self.state.clone()),
            ("reason", self.reason.clone().unwrap_or_default()),
            ("client_id", self.client_id.clone().unwrap_or_else(|| "(any)".to_owned())),
            ("iterations", self.iterations.to_string()),
            ("fingerprint", self.fingerprint.clone()),
            ("set", self.set.to_string()),
            ("first_used", self.first_used.to_string()),
            ("last_used", self.last_used.to_string()),
            ("revision", self.revision.to_string()),
        ]
    }
}

/// A password was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PasswordSet {
    /// Its position in the log.
    pub revision: u64,
    /// As it stands.
    pub password: Password,
    /// With `--wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}
