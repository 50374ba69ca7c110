//! The keys of the rows: a two-letter table, then its parts, each text ended by a zero byte, numbers big-endian.
//! No name holds a zero byte, so no key of one table is a prefix of another's, and parts sort as their rows should.
//!
//! | table | key | row |
//! |---|---|---|
//! | `cl` | | [`Cluster`](crate::Cluster) |
//! | `te` | tenant | [`Tenant`](crate::Tenant), those deleted included: names are not used twice |
//! | `au` | tenant, authority | [`Authority`](crate::Authority), those deleted included |
//! | `af` | fingerprint | tenant and name of an authority that is not deleted |
//! | `de` | tenant, device | [`Device`](crate::Device) |
//! | `la` | tenant, key, value, device | – |
//! | `ce` | id | [`Certificate`](crate::Certificate); those deleted that an authority issued stay until they expire |
//! | `cx` | id | its DER |
//! | `cf` | fingerprint | id |
//! | `ci` | SHA-256 of the issuer's DER, serial, id | – |
//! | `ct` | SHA-256 of the issuer's text in normal form, serial, id | – |
//! | `cd` | tenant, device, id | –; this and the next two without those deleted |
//! | `ca` | tenant, authority (empty: registered leaf), time of issue, id | – |
//! | `cn` | tenant, time of issue, id | – |
//! | `pw` | tenant, username | [`Password`](crate::Password) |
//! | `pf` | fingerprint | tenant and username of a password |
//! | `pd` | tenant, device, username | username |
//! | `dn` | fingerprint | [`Denial`](crate::Denial): the denied set |
//! | `dx` | notAfter, fingerprint | – |
//! | `se` | key | value |
//! | `no` | node | [`Node`](crate::Node) |
//! | `nf` | fingerprint | node |
//! | `ad` | administrator | [`Administrator`](crate::Administrator) |
//! | `df` | fingerprint | administrator |
//! | `jt` | hash | [`JoinToken`](crate::JoinToken) |
//! | `tk` | | ticket keys |
//! | `nu` | | [`Counts`](crate::query::Counts) of the cluster |
//! | `nt` | tenant | counts of a tenant |
//! | `na` | tenant, authority | certificates of an authority |
//! | `ah` | | number and hash of the last audit entry |
//! | `an` | number | [`AuditEntry`](crate::AuditEntry) |

use sha2::{Digest, Sha256};

use crate::ids::{CertificateId, Fingerprint, Millis, NodeId, Serial};
use crate::names::{
    AdministratorName, AuthorityName, DeviceName, LabelKey, LabelValue, TenantName, Username,
};

/// A key under construction.
#[derive(Debug, Clone)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    fn of(table: &[u8; 2]) -> Key {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(table);
        Key(bytes)
    }

    fn text(mut self, text: impl AsRef<str>) -> Key {
        self.0.extend_from_slice(text.as_ref().as_bytes());
        self.0.push(0);
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Key {
        self.0.extend_from_slice(bytes);
        self
    }

    fn number(self, number: u64) -> Key {
        self.bytes(&number.to_be_bytes())
    }

    fn serial(self, serial: &Serial) -> Key {
        let length = u8::try_from(serial.as_bytes().len()).expect("a serial has at most 20 bytes");
        self.bytes(&[length]).bytes(serial.as_bytes())
    }

    fn end(self) -> Vec<u8> {
        self.0
    }
}

/// All keys that begin with a prefix: from, and to (exclusive).
pub(crate) fn prefix(prefix: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let mut to = prefix.clone();
    while let Some(last) = to.pop() {
        if last < u8::MAX {
            to.push(last + 1);
            break;
        }
    }
    (prefix, to)
}

/// The whole of a table.
pub(crate) fn table(table: [u8; 2]) -> Vec<u8> {
    table.to_vec()
}

pub(crate) fn cluster() -> Vec<u8> {
    table(*b"cl")
}

pub(crate) const TENANTS: [u8; 2] = *b"te";

pub(crate) fn tenant(name: &TenantName) -> Vec<u8> {
    Key::of(&TENANTS).text(name).end()
}

pub(crate) const AUTHORITIES: [u8; 2] = *b"au";

pub(crate) fn authorities(tenant: &TenantName) -> Vec<u8> {
    Key::of(&AUTHORITIES).text(tenant).end()
}

pub(crate) fn authority(tenant: &TenantName, name: &AuthorityName) -> Vec<u8> {
    Key::of(&AUTHORITIES).text(tenant).text(name).end()
}

pub(crate) fn authority_fingerprint(fingerprint: &Fingerprint) -> Vec<u8> {
    Key::of(b"af").bytes(&fingerprint.0).end()
}

pub(crate) fn devices(tenant: &TenantName) -> Vec<u8> {
    Key::of(b"de").text(tenant).end()
}

pub(crate) fn device(tenant: &TenantName, name: &DeviceName) -> Vec<u8> {
    Key::of(b"de").text(tenant).text(name).end()
}

pub(crate) fn labelled(tenant: &TenantName, key: &LabelKey, value: &LabelValue) -> Vec<u8> {
    Key::of(b"la").text(tenant).text(key).text(value).end()
}

pub(crate) fn label(tenant: &TenantName, key: &LabelKey, value: &LabelValue, device: &DeviceName) -> Vec<u8> {
    Key(labelled(tenant, key, value)).text(device).end()
}

pub(crate) fn certificate(id: &CertificateId) -> Vec<u8> {
    Key::of(b"ce").bytes(&id.0).end()
}

pub(crate) fn certificate_der(id: &CertificateId) -> Vec<u8> {
    Key::of(b"cx").bytes(&id.0).end()
}

pub(crate) fn certificate_fingerprint(fingerprint: &Fingerprint) -> Vec<u8> {
    Key::of(b"cf").bytes(&fingerprint.0).end()
}

/// Certificates of an issuer (DER) and serial; the id follows.
pub(crate) fn issuer_serial(issuer: &[u8], serial: &Serial) -> Vec<u8> {
    Key::of(b"ci").bytes(&Sha256::digest(issuer)).serial(serial).end()
}

/// Certificates of an issuer (text in normal form) and serial; the id follows.
pub(crate) fn issuer_text_serial(normal_form: &str, serial: &Serial) -> Vec<u8> {
    Key::of(b"ct").bytes(&Sha256::digest(normal_form)).serial(serial).end()
}

/// Certificates of a device; the id follows.
pub(crate) fn of_device(tenant: &TenantName, device: &DeviceName) -> Vec<u8> {
    Key::of(b"cd").text(tenant).text(device).end()
}

/// Certificates of an authority, or registered leaves; time of issue and id follow.
pub(crate) fn of_authority(tenant: &TenantName, authority: Option<&AuthorityName>) -> Vec<u8> {
    Key::of(b"ca").text(tenant).text(authority.map_or("", AuthorityName::as_str)).end()
}

/// Certificates of a tenant; time of issue and id follow.
pub(crate) fn of_tenant(tenant: &TenantName) -> Vec<u8> {
    Key::of(b"cn").text(tenant).end()
}

/// A key of one of the above with the time of issue.
pub(crate) fn issued(prefix: Vec<u8>, issued: Millis) -> Vec<u8> {
    Key(prefix).number(issued.0).end()
}

/// A key of one of the above with the id.
pub(crate) fn with_id(prefix: Vec<u8>, id: &CertificateId) -> Vec<u8> {
    Key(prefix).bytes(&id.0).end()
}

pub(crate) fn passwords(tenant: &TenantName) -> Vec<u8> {
    Key::of(b"pw").text(tenant).end()
}

pub(crate) fn password(tenant: &TenantName, username: &Username) -> Vec<u8> {
    Key(passwords(tenant)).text(username).end()
}

pub(crate) fn password_fingerprint(fingerprint: &Fingerprint) -> Vec<u8> {
    Key::of(b"pf").bytes(&fingerprint.0).end()
}

pub(crate) fn passwords_of_device(tenant: &TenantName, device: &DeviceName) -> Vec<u8> {
    Key::of(b"pd").text(tenant).text(device).end()
}

pub(crate) fn password_of_device(tenant: &TenantName, device: &DeviceName, username: &Username) -> Vec<u8> {
    Key(passwords_of_device(tenant, device)).text(username).end()
}

pub(crate) const DENIED: [u8; 2] = *b"dn";

pub(crate) fn denied(fingerprint: &Fingerprint) -> Vec<u8> {
    Key::of(&DENIED).bytes(&fingerprint.0).end()
}

/// Denials by when their certificates expire; the fingerprint follows.
pub(crate) fn denied_until(not_after: Millis) -> Vec<u8> {
    Key::of(b"dx").number(not_after.0).end()
}

pub(crate) fn denied_expiry(not_after: Millis, fingerprint: &Fingerprint) -> Vec<u8> {
    Key(denied_until(not_after)).bytes(&fingerprint.0).end()
}

pub(crate) fn setting(key: &str) -> Vec<u8> {
    Key::of(b"se").text(key).end()
}

pub(crate) const NODES: [u8; 2] = *b"no";

pub(crate) fn node(id: NodeId) -> Vec<u8> {
    Key::of(&NODES).number(id.0).end()
}

pub(crate) fn node_fingerprint(fingerprint: &Fingerprint) -> Vec<u8> {
    Key::of(b"nf").bytes(&fingerprint.0).end()
}

pub(crate) const ADMINISTRATORS: [u8; 2] = *b"ad";

pub(crate) fn administrator(name: &AdministratorName) -> Vec<u8> {
    Key::of(&ADMINISTRATORS).text(name).end()
}

pub(crate) fn administrator_fingerprint(fingerprint: &Fingerprint) -> Vec<u8> {
    Key::of(b"df").bytes(&fingerprint.0).end()
}

pub(crate) const JOIN_TOKENS: [u8; 2] = *b"jt";

pub(crate) fn join_token(hash: &[u8; 32]) -> Vec<u8> {
    Key::of(&JOIN_TOKENS).bytes(hash).end()
}

pub(crate) fn ticket_keys() -> Vec<u8> {
    table(*b"tk")
}

pub(crate) fn counts() -> Vec<u8> {
    table(*b"nu")
}

pub(crate) fn tenant_counts(name: &TenantName) -> Vec<u8> {
    Key::of(b"nt").text(name).end()
}

pub(crate) fn authority_count(tenant: &TenantName, name: &AuthorityName) -> Vec<u8> {
    Key::of(b"na").text(tenant).text(name).end()
}

pub(crate) fn audit_head() -> Vec<u8> {
    table(*b"ah")
}

pub(crate) const AUDIT: [u8; 2] = *b"an";

pub(crate) fn audit(number: u64) -> Vec<u8> {
    Key::of(&AUDIT).number(number).end()
}
