//! Rows: what queries answer with.
use revoq_credentials::{
    Administrator, AuditEntry, Authority, AuthorityView, Certificate, Device, Millis, Node, Password,
    Revision, RevocationReason, State, Status, Tenant, Verifier,
};

use super::ConvertError;
use super::values::{
    array, certificate_id, fingerprint, labels, optional_time, parse, parse_optional, revocation_reason,
    role, serial, state, to_bytes, to_labels,
};
use crate::v1;

impl From<&Tenant> for v1::Tenant {
    fn from(tenant: &Tenant) -> v1::Tenant {
        v1::Tenant {
            name: tenant.name.to_string(),
            state: v1::State::from(tenant.status.state).into(),
            created_ms: tenant.created.0,
        }
    }
}

impl From<&Device> for v1::Device {
    fn from(device: &Device) -> v1::Device {
        v1::Device {
            tenant: device.tenant.to_string(),
            name: device.name.to_string(),
            labels: to_labels(&device.labels),
            state: v1::State::from(device.status.state).into(),
            created_ms: device.created.0,
            certificates: device.certificates,
        }
    }
}

impl TryFrom<v1::Device> for Device {
    type Error = ConvertError;

    fn try_from(wire: v1::Device) -> Result<Device, ConvertError> {
        Ok(Device {
            tenant: parse("device.tenant", &wire.tenant)?,
            name: parse("device.name", &wire.name)?,
            labels: labels("device.labels", &wire.labels)?,
            status: status(state("device.state", wire.state)?, RevocationReason::Unspecified),
            created: Millis(wire.created_ms),
            certificates: wire.certificates,
        })
    }
}

impl From<&Authority> for v1::Authority {
    fn from(authority: &Authority) -> v1::Authority {
        v1::Authority::from(&AuthorityView::from(authority))
    }
}

impl From<&Certificate> for v1::Certificate {
    fn from(certificate: &Certificate) -> v1::Certificate {
        let reason = certificate.status.reason.unwrap_or_default();
        v1::Certificate {
            id: certificate.id.to_string(),
            tenant: certificate.tenant.to_string(),
            device: certificate.device.to_string(),
            authority: certificate.authority.as_ref().map(ToString::to_string).unwrap_or_default(),
            fingerprint: to_bytes(&certificate.fingerprint.0),
            serial: to_bytes(certificate.serial.as_bytes()),
            issuer: to_bytes(&certificate.issuer),
            issuer_text: certificate.issuer_text.clone(),
            subject_text: certificate.subject_text.clone(),
            not_before_ms: certificate.not_before.0,
            not_after_ms: certificate.not_after.0,
            state: v1::State::from(certificate.status.state).into(),
            reason: v1::RevocationReason::from(reason).into(),
            issued_ms: certificate.issued.0,
            first_used_ms: certificate.first_used.unwrap_or_default().0,
            last_used_ms: certificate.last_used.unwrap_or_default().0,
            revision: certificate.revision.0,
            der: to_bytes(&certificate.der),
        }
    }
}

impl From<&Password> for v1::Password {
    /// Without the verifier, which is for brokers alone.
    fn from(password: &Password) -> v1::Password {
        let reason = password.status.reason.unwrap_or_default();
        v1::Password {
            tenant: password.tenant.to_string(),
            username: password.username.to_string(),
            device: password.device.to_string(),
            fingerprint: to_bytes(&password.fingerprint.0),
            state: v1::State::from(password.status.state).into(),
            reason: v1::RevocationReason::from(reason).into(),
            iterations: password.verifier.iterations(),
            client_id: password.client_id.clone().unwrap_or_default(),
            set_ms: password.set.0,
            first_used_ms: password.first_used.unwrap_or_default().0,
            last_used_ms: password.last_used.unwrap_or_default().0,
            revision: password.revision.0,
        }
    }
}

impl From<&Verifier> for v1::Verifier {
    fn from(verifier: &Verifier) -> v1::Verifier {
        v1::Verifier {
            salt: to_bytes(verifier.salt()),
            iterations: verifier.iterations(),
            stored_key: to_bytes(verifier.stored_key()),
            server_key: to_bytes(verifier.server_key()),
        }
    }
}

impl TryFrom<v1::Verifier> for Verifier {
    type Error = ConvertError;

    fn try_from(wire: v1::Verifier) -> Result<Verifier, ConvertError> {
        // Errors name lengths and ranges, never the keys.
        let stored_key = array("verifier.stored_key", &wire.stored_key)?;
        let server_key = array("verifier.server_key", &wire.server_key)?;
        Verifier::new(wire.salt.to_vec(), wire.iterations, stored_key, server_key)
            .map_err(|error| ConvertError::name("verifier", error))
    }
}

impl TryFrom<v1::Certificate> for Certificate {
    type Error = ConvertError;

    /// The state before a suspension is not on the wire: active is assumed.
    fn try_from(wire: v1::Certificate) -> Result<Certificate, ConvertError> {
        let reason = revocation_reason("certificate.reason", wire.reason)?;
        Ok(Certificate {
            id: certificate_id("certificate.id", &wire.id)?,
            tenant: parse("certificate.tenant", &wire.tenant)?,
            device: parse("certificate.device", &wire.device)?,
            authority: parse_optional("certificate.authority", &wire.authority)?,
            fingerprint: fingerprint("certificate.fingerprint", &wire.fingerprint)?,
            serial: serial("certificate.serial", &wire.serial)?,
            issuer: wire.issuer.to_vec(),
            issuer_text: wire.issuer_text,
            subject_text: wire.subject_text,
            not_before: Millis(wire.not_before_ms),
            not_after: Millis(wire.not_after_ms),
            status: status(state("certificate.state", wire.state)?, reason),
            issued: Millis(wire.issued_ms),
            first_used: optional_time(wire.first_used_ms),
            last_used: optional_time(wire.last_used_ms),
            revision: Revision(wire.revision),
            der: wire.der.to_vec(),
        })
    }
}

/// A status out of what the wire says of it.
fn status(state: State, reason: RevocationReason) -> Status {
    let before = (state == State::Suspended).then_some(State::Active);
    let outlives = state == State::Deleted && reason != RevocationReason::Unspecified;
    let reason = (state == State::Revoked || outlives).then_some(reason);
    Status::from_parts(state, before, reason).expect("each state comes with the parts that it needs")
}

impl From<&Administrator> for v1::Administrator {
    fn from(administrator: &Administrator) -> v1::Administrator {
        v1::Administrator {
            name: administrator.name.to_string(),
            role: v1::Role::from(administrator.role).into(),
            fingerprint: to_bytes(&administrator.fingerprint.0),
            not_after_ms: administrator.not_after.0,
        }
    }
}

impl TryFrom<v1::Administrator> for Administrator {
    type Error = ConvertError;

    fn try_from(wire: v1::Administrator) -> Result<Administrator, ConvertError> {
        Ok(Administrator {
            name: parse("administrator.name", &wire.name)?,
            role: role("administrator.role", wire.role)?,
            fingerprint: fingerprint("administrator.fingerprint", &wire.fingerprint)?,
            not_after: Millis(wire.not_after_ms),
        })
    }
}

impl From<&Node> for v1::NodeStatus {
    /// What is stored; status, revision, sessions and lease are for the caller to fill in.
    fn from(node: &Node) -> v1::NodeStatus {
        v1::NodeStatus {
            node: node.id.0,
            name: node.name.to_string(),
            kind: v1::NodeKind::from(node.kind).into(),
            address: node.address.clone().unwrap_or_default(),
            joined_ms: node.joined.0,
            ..Default::default()
        }
    }
}

impl From<&Node> for v1::Replica {
    fn from(node: &Node) -> v1::Replica {
        v1::Replica {
            node: node.id.0,
            name: node.name.to_string(),
            address: node.address.clone().unwrap_or_default(),
        }
    }
}

impl From<&AuditEntry> for v1::AuditEntry {
    fn from(entry: &AuditEntry) -> v1::AuditEntry {
        v1::AuditEntry {
            number: entry.number,
            revision: entry.revision.0,
            time_ms: entry.time.0,
            actor: entry.actor.clone(),
            action: entry.action.clone(),
            subject: entry.subject.clone(),
            before: entry.before.clone(),
            after: entry.after.clone(),
            detail: entry.detail.clone(),
            outcome: entry.outcome.clone(),
            previous_hash: to_bytes(&entry.previous_hash),
            hash: to_bytes(&entry.hash),
        }
    }
}

impl TryFrom<v1::AuditEntry> for AuditEntry {
    type Error = ConvertError;

    fn try_from(wire: v1::AuditEntry) -> Result<AuditEntry, ConvertError> {
        Ok(AuditEntry {
            number: wire.number,
            revision: Revision(wire.revision),
            time: Millis(wire.time_ms),
            actor: wire.actor,
            action: wire.action,
            subject: wire.subject,
            before: wire.before,
            after: wire.after,
            detail: wire.detail,
            outcome: wire.outcome,
            previous_hash: array("entry.previous_hash", &wire.previous_hash)?,
            hash: array("entry.hash", &wire.hash)?,
        })
    }
}
