//! Selectors: what a transition is about.

use std::fmt;

use minicbor::{Decode, Encode};

use crate::ids::{CertificateId, Fingerprint, Millis, Serial, to_hex};
use crate::names::{AuthorityName, DeviceName, LabelKey, LabelValue, TenantName, Username};

/// Credentials that one command may name. Their event must fit into one message of 4 MiB on the watch stream,
/// at about 60 bytes each. Tenants and authorities are not expanded and have no such limit.
pub const SELECTOR_MATCH_MAX: usize = 50_000;

/// How an issuer is named.
#[derive(Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Issuer {
    /// As an RFC 4514 string. Case, spaces around `,` and `=`, and the direction of the RDNs do not matter, so
    /// that what openssl prints can be pasted.
    #[n(0)]
    Text(#[n(0)] String),
    /// The DER of the Name.
    #[n(1)]
    Der(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Issuer::Text(text) => f.write_str(text),
            Issuer::Der(der) => f.write_str(&to_hex(der)),
        }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a transition is about.
///
/// `Tenant` and `Authority` change the state of that row, in one event, whatever is below it. `Device` changes the
/// state of the device, and its credentials with it: their own states stay, unless it is deleted. All others name
/// credentials and change each one's own state; `Label` names the credentials of the devices that carry the
/// label, and leaves the devices themselves alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Selector {
    /// One certificate.
    #[n(0)]
    Id(#[n(0)] CertificateId),
    /// One certificate.
    #[n(1)]
    Fingerprint(#[n(0)] Fingerprint),
    /// The certificates of this issuer and serial number: one, unless leaves were registered that are at odds
    /// with RFC 5280.
    #[n(2)]
    Serial {
        /// Who issued it.
        #[n(0)]
        issuer: Issuer,
        /// Its number.
        #[n(1)]
        serial: Serial,
    },
    /// A device.
    #[n(3)]
    Device {
        /// Where it lives.
        #[n(0)]
        tenant: TenantName,
        /// Its name.
        #[n(1)]
        name: DeviceName,
    },
    /// The credentials of the devices that carry a label.
    #[n(4)]
    Label {
        /// Where they live.
        #[n(0)]
        tenant: TenantName,
        /// The label's key.
        #[n(1)]
        key: LabelKey,
        /// The label's value, exactly.
        #[n(2)]
        value: LabelValue,
    },
    /// A tenant.
    #[n(5)]
    Tenant(#[n(0)] TenantName),
    /// An authority.
    #[n(6)]
    Authority {
        /// Where it lives.
        #[n(0)]
        tenant: TenantName,
        /// Its name.
        #[n(1)]
        name: AuthorityName,
    },
    /// The certificates that were issued or registered before a time, whatever their notBefore says.
    #[n(7)]
    IssuedBefore {
        /// Where they live.
        #[n(0)]
        tenant: TenantName,
        /// Who issued them; `None`: every authority of the tenant, and registered leaves.
        #[n(1)]
        authority: Option<AuthorityName>,
        /// Exclusive.
        #[n(2)]
        time: Millis,
    },
    /// One password.
    #[n(8)]
    Password {
        /// Where it lives.
        #[n(0)]
        tenant: TenantName,
        /// What it is called by.
        #[n(1)]
        username: Username,
    },
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selector::Id(id) => write!(f, "certificate {id}"),
            Selector::Fingerprint(fingerprint) => write!(f, "certificate with fingerprint {fingerprint}"),
            Selector::Serial { issuer, serial } => write!(f, "certificate {serial} of issuer {issuer}"),
            Selector::Device { tenant, name } => write!(f, "device {tenant}/{name}"),
            Selector::Label { tenant, key, value } => write!(f, "label {key}={value} of tenant {tenant}"),
            Selector::Tenant(name) => write!(f, "tenant {name}"),
            Selector::Authority { tenant, name } => write!(f, "authority {tenant}/{name}"),
            Selector::Password { tenant, username } => write!(f, "password {tenant}/{username}"),
            Selector::IssuedBefore { tenant, authority: None, time } => {
                write!(f, "certificates of tenant {tenant} issued before {time}")
            }
            Selector::IssuedBefore { tenant, authority: Some(authority), time } => {
                write!(f, "certificates of authority {tenant}/{authority} issued before {time}")
            }
        }
    }
}
