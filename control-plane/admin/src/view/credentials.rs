//! Tenants, devices, authorities, certificates.
use std::collections::BTreeMap;

use revoq_credentials::Serial;
use revoq_proto::{pem, v1};
use serde::Serialize;

use super::{Password, Timestamp, View, hex, reason, state};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the wire's `Tenant`")]
pub struct Tenant {
    pub name: String,
    pub state: String,
    pub created: Timestamp,
}

impl From<v1::Tenant> for Tenant {
    fn from(wire: v1::Tenant) -> Tenant {
        Tenant { name: wire.name, state: state(wire.state), created: wire.created_ms.into() }
    }
}

impl View for Tenant {
    const COLUMNS: &'static [&'static str] = &["name", "state", "created"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("state", self.state.clone()),
            ("created", self.created.to_string()),
        ]
    }
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the wire's `Device`")]
pub struct Device {
    pub tenant: String,
    pub name: String,
    pub state: String,
    pub labels: BTreeMap<String, String>,
    pub certificates: u32,
    pub created: Timestamp,
}

impl From<v1::Device> for Device {
    fn from(wire: v1::Device) -> Device {
        Device {
            tenant: wire.tenant,
            name: wire.name,
            state: state(wire.state),
            labels: wire.labels.into_iter().map(|label| (label.key, label.value)).collect(),
            certificates: wire.certificates,
            created: wire.created_ms.into(),
        }
    }
}

impl View for Device {
    const COLUMNS: &'static [&'static str] = &["name", "state", "certificates", "labels", "created"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        vec![
            ("tenant", self.tenant.clone()),
            ("name", self.name.clone()),
            ("state", self.state.clone()),
            ("certificates", self.certificates.to_string()),
            ("labels", labels.join(",")),
            ("created", self.created.to_string()),
        ]
    }
}

/// A device with its certificates and passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in `ShowDeviceResponse`")]
pub struct DeviceDetails {
    #[serde(flatten)]
    pub device: Device,
    pub all_certificates: Vec<Certificate>,
    pub passwords: Vec<Password>,
    pub revision: u64,
}

/// An authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the wire's `Authority`")]
pub struct Authority {
    pub tenant: String,
    pub name: String,
    pub state: String,
    pub kind: String,
    pub fingerprint: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub created: Timestamp,
    pub pem: String,
}

impl From<v1::Authority> for Authority {
    fn from(wire: v1::Authority) -> Authority {
        Authority {
            tenant: wire.tenant,
            name: wire.name,
            state: state(wire.state),
            kind: if wire.signs { "issuing" } else { "trusted" }.to_owned(),
            fingerprint: hex(&wire.fingerprint),
            not_before: wire.not_before_ms.into(),
            not_after: wire.not_after_ms.into(),
            created: wire.created_ms.into(),
            pem: pem::encode(pem::CERTIFICATE, &wire.certificate),
        }
    }
}

impl View for Authority {
    const COLUMNS: &'static [&'static str] = &["name", "state", "kind", "not_after", "fingerprint"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("tenant", self.tenant.clone()),
            ("name", self.name.clone()),
            ("state", self.state.clone()),
            ("kind", self.kind.clone()),
            ("fingerprint", self.fingerprint.clone()),
            ("not_before", self.not_before.to_string()),
            ("not_after", self.not_after.to_string()),
            ("created", self.created.to_string()),
        ]
    }
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the wire's `Certificate`")]
pub struct Certificate {
    pub id: String,
    pub tenant: String,
    pub device: String,
    pub state: String,
    pub reason: Option<String>,
    pub authority: Option<String>,
    pub fingerprint: String,
    pub serial: String,
    pub issuer: String,
    pub subject: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub issued: Timestamp,
    pub first_used: Timestamp,
    pub last_used: Timestamp,
    pub revision: u64,
    /// Left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

impl From<v1::Certificate> for Certificate {
    fn from(wire: v1::Certificate) -> Certificate {
        let state = state(wire.state);
        let reason = reason(&state, wire.reason);
        let serial = Serial::from_bytes(&wire.serial);
        Certificate {
            id: wire.id,
            tenant: wire.tenant,
            device: wire.device,
            state,
            reason,
            authority: (!wire.authority.is_empty()).then_some(wire.authority),
            fingerprint: hex(&wire.fingerprint),
            serial: serial.map_or_else(|_| hex(&wire.serial), |serial| serial.to_string()),
            issuer: wire.issuer_text,
            subject: wire.subject_text,
            not_before: wire.not_before_ms.into(),
            not_after: wire.not_after_ms.into(),
            issued: wire.issued_ms.into(),
            first_used: wire.first_used_ms.into(),
            last_used: wire.last_used_ms.into(),
            revision: wire.revision,
            pem: (!wire.der.is_empty()).then(|| pem::encode(pem::CERTIFICATE, &wire.der)),
        }
    }
}

impl Certificate {
    /// For lists.
    #[must_use]
    pub fn without_pem(self) -> Certificate {
        Certificate { pem: None, ..self }
    }
}

impl View for Certificate {
    const COLUMNS: &'static [&'static str] = &["id", "device", "state", "authority", "not_after", "serial"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("id", self.id.clone()),
            ("tenant", self.tenant.clone()),
            ("device", self.device.clone()),
            ("state", self.state.clone()),
            ("reason", self.reason.clone().unwrap_or_default()),
            ("authority", self.authority.clone().unwrap_or_else(|| "(registered)".to_owned())),
            ("fingerprint", self.fingerprint.clone()),
            ("serial", self.serial.clone()),
            ("issuer", self.issuer.clone()),
            ("subject", self.subject.clone()),
            ("not_before", self.not_before.to_string()),
            ("not_after", self.not_after.to_string()),
            ("issued", self.issued.to_string()),
            ("first_used", self.first_used.to_string()),
            ("last_used", self.last_used.to_string()),
            ("revision", self.revision.to_string()),
        ]
    }
}

/// Would it be let in now?
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in `ExplainResponse`")]
pub struct Explanation {
    pub allowed: bool,
    pub revision: u64,
    pub checks: Vec<Check>,
}

/// One check of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in `ExplainResponse.Check`")]
pub struct Check {
    pub passed: bool,
    pub subject: String,
    pub finding: String,
}

impl From<v1::ExplainResponse> for Explanation {
    fn from(wire: v1::ExplainResponse) -> Explanation {
        let check = |c: v1::explain_response::Check| Check {
            passed: c.passed,
            subject: c.subject,
            finding: c.finding,
        };
        Explanation {
            allowed: wire.allowed,
            revision: wire.revision,
            checks: wire.checks.into_iter().map(check).collect(),
        }
    }
}

impl View for Check {
    const COLUMNS: &'static [&'static str] = &["check", "subject", "finding"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("check", if self.passed { "ok" } else { "REFUSED" }.to_owned()),
            ("subject", self.subject.clone()),
            ("finding", self.finding.clone()),
        ]
    }
}
