//! Events and audit entries.
use revoq_proto::v1::change::Change as Wire;
use revoq_proto::{convert::ConvertError, v1};
use serde::{Deserialize, Serialize};

use super::{Timestamp, View, hex, state};
use crate::screen::printable;

/// One change of the credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its position in the log.
    pub revision: u64,
    /// When it was proposed.
    pub time: Timestamp,
    /// Who asked.
    pub actor: String,
    /// What was asked.
    pub action: String,
    /// What it changed for the brokers.
    pub changes: Vec<EventChange>,
}

/// One of the changes of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventChange {
    /// `denied`, `allowed`, `tenant`, `authority`, `setting`, `registered`, `node_removed`.
    pub kind: String,
    /// A fingerprint or a name.
    pub subject: String,
    /// The new state or value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
}

impl From<v1::Event> for Event {
    fn from(wire: v1::Event) -> Event {
        Event {
            revision: wire.revision,
            time: wire.time_ms.into(),
            actor: wire.actor,
            action: wire.action,
            changes: wire
                .changes
                .into_iter()
                .filter_map(|change| change.change)
                .map(EventChange::from)
                .collect(),
        }
    }
}

impl From<Wire> for EventChange {
    fn from(wire: Wire) -> EventChange {
        let change = |kind: &str, subject: String, value: String| EventChange {
            kind: kind.to_owned(),
            subject,
            value,
        };
        let nothing = String::new;
        match wire {
            Wire::Denied(denied) => change("denied", hex(&denied.fingerprint), state(denied.state)),
            Wire::Allowed(allowed) => change("allowed", hex(&allowed.fingerprint), nothing()),
            Wire::Tenant(tenant) => change("tenant", tenant.name, state(tenant.state)),
            Wire::Authority(of) => change("authority", format!("{}/{}", of.tenant, of.name), state(of.state)),
            Wire::Setting(setting) => change("setting", setting.key, setting.value),
            Wire::Registered(of) => change("registered", hex(&of.fingerprint), nothing()),
            Wire::NodeRemoved(removed) => change("node_removed", removed.node.to_string(), nothing()),
            Wire::TicketKeys(_) => change("ticket_keys", nothing(), nothing()),
        }
    }
}

impl Event {
    /// A line for the event and one for each change.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![format!("{}  {}  {}  {}", self.revision, self.time, self.actor, self.action)];
        lines.extend(self.changes.iter().map(|c| format!("    {} {} {}", c.kind, c.subject, c.value)));
        lines.iter().map(|line| printable(line.trim_end()) + "\n").collect()
    }
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "as in the wire's `AuditEntry`")]
pub struct AuditEntry {
    pub number: u64,
    pub revision: u64,
    pub time: Timestamp,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub before: String,
    pub after: String,
    pub detail: String,
    pub outcome: String,
    pub previous_hash: String,
    pub hash: String,
}

impl From<v1::AuditEntry> for AuditEntry {
    fn from(wire: v1::AuditEntry) -> AuditEntry {
        AuditEntry {
            number: wire.number,
            revision: wire.revision,
            time: wire.time_ms.into(),
            actor: wire.actor,
            action: wire.action,
            subject: wire.subject,
            before: wire.before,
            after: wire.after,
            detail: wire.detail,
            outcome: wire.outcome,
            previous_hash: hex(&wire.previous_hash),
            hash: hex(&wire.hash),
        }
    }
}

impl TryFrom<AuditEntry> for revoq_credentials::AuditEntry {
    type Error = ConvertError;

    fn try_from(view: AuditEntry) -> Result<revoq_credentials::AuditEntry, ConvertError> {
        let hash = |field, text: &str| {
            // A fingerprint is 32 bytes in hexadecimal too.
            let parsed = text.parse::<revoq_credentials::Fingerprint>();
            parsed
                .map(|hash| hash.0)
                .map_err(|_| ConvertError::new(field, text, "expected 64 hexadecimal digits"))
        };
        Ok(revoq_credentials::AuditEntry {
            number: view.number,
            revision: revoq_credentials::Revision(view.revision),
            time: view.time.0.unwrap_or_default(),
            previous_hash: hash("previous_hash", &view.previous_hash)?,
            hash: hash("hash", &view.hash)?,
            actor: view.actor,
            action: view.action,
            subject: view.subject,
            before: view.before,
            after: view.after,
            detail: view.detail,
            outcome: view.outcome,
        })
    }
}

impl View for AuditEntry {
    const COLUMNS: &'static [&'static str] =
        &["number", "time", "actor", "action", "subject", "before", "after", "outcome", "detail"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("number", self.number.to_string()),
            ("revision", self.revision.to_string()),
            ("time", self.time.to_string()),
            ("actor", self.actor.clone()),
            ("action", self.action.clone()),
            ("subject", self.subject.clone()),
            ("before", self.before.clone()),
            ("after", self.after.clone()),
            ("outcome", self.outcome.clone()),
            ("detail", self.detail.clone()),
            ("previous_hash", self.previous_hash.clone()),
            ("hash", self.hash.clone()),
        ]
    }
}
