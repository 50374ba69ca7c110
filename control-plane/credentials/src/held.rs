//! What a device holds: its credentials, of whatever kind. They have one state machine.

use std::fmt;

use crate::ids::{Fingerprint, Millis, Revision};
use crate::names::{DeviceName, TenantName};
use crate::password::Password;
use crate::records::Certificate;
use crate::state::Status;

/// A credential of a device. Shown as the audit log names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// A certificate, without its DER.
    Certificate(Box<Certificate>),
    /// A password.
    Password(Box<Password>),
}

impl Held {
    /// Where it lives.
    pub fn tenant(&self) -> &TenantName {
        match self {
            Held::Certificate(certificate) => &certificate.tenant,
            Held::Password(password) => &password.tenant,
        }
    }

    /// Whose it is.
    pub fn device(&self) -> &DeviceName {
        match self {
            Held::Certificate(certificate) => &certificate.device,
            Held::Password(password) => &password.device,
        }
    }

    /// Names it in the denied set.
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Held::Certificate(certificate) => certificate.fingerprint,
            Held::Password(password) => password.fingerprint,
        }
    }

    /// Its own state.
    pub fn status(&self) -> Status {
        match self {
            Held::Certificate(certificate) => certificate.status,
            Held::Password(password) => password.status,
        }
    }

    /// When it last authenticated.
    pub fn last_used(&self) -> Option<Millis> {
        match self {
            Held::Certificate(certificate) => certificate.last_used,
            Held::Password(password) => password.last_used,
        }
    }

    /// It authenticated; with a status, that changed its state at a revision.
    pub(crate) fn note_use(&mut self, time: Millis, changed: Option<(Status, Revision)>) {
        let (status, revision, first, last) = match self {
            Held::Certificate(of) => {
                (&mut of.status, &mut of.revision, &mut of.first_used, &mut of.last_used)
            }
            Held::Password(of) => (&mut of.status, &mut of.revision, &mut of.first_used, &mut of.last_used),
        };
        if let Some(changed) = changed {
            (*status, *revision) = changed;
        }
        first.get_or_insert(time);
        *last = (*last).max(Some(time));
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tenant, device) = (self.tenant(), self.device());
        match self {
            Held::Certificate(certificate) => write!(f, "certificate {}", certificate.id)?,
            Held::Password(password) => write!(f, "password {tenant}/{}", password.username)?,
        }
        write!(f, " of device {tenant}/{device}")
    }
}
