//! Certificates of all kinds, made in memory.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, SanType,
    SigningKey,
};
use revoq_credentials::{AuthorityView, Change, Fingerprint, Millis, Revision, State, TenantName, View};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::clock;

/// A certificate with its key.
pub(crate) struct Leaf {
    pub(crate) der: Vec<u8>,
    key: Vec<u8>,
}

impl Leaf {
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from(self.der.clone())]
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
}

/// An authority of the tenant `default`.
pub(crate) struct Authority {
    pub(crate) der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key();
        let der = parameters.self_signed(&key).expect("it is signed").der().to_vec();
        Authority { der, issuer: Issuer::new(parameters, key) }
    }

    /// As the control plane issues: the subject alternative name says whose it is.
    pub(crate) fn issue(&self, uri: &str) -> Leaf {
        self.issue_until(uri, 4000)
    }

    pub(crate) fn issue_until(&self, uri: &str, year: i32) -> Leaf {
        let mut parameters = CertificateParams::default();
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        self.sign(parameters, uri)
    }

    /// Valid for so long, in whole seconds.
    pub(crate) fn issue_for(&self, uri: &str, life: std::time::Duration) -> Leaf {
        let mut parameters = CertificateParams::default();
        parameters.not_after = (std::time::SystemTime::now() + life).into();
        self.sign(parameters, uri)
    }

    fn sign(&self, mut parameters: CertificateParams, uri: &str) -> Leaf {
        parameters.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
        let key = key();
        let der = parameters.signed_by(&key, &self.issuer).expect("it is signed").der().to_vec();
        Leaf { der, key: key.serialize_der() }
    }

    pub(crate) fn change(&self, name: &str, state: State, signs: bool) -> Change {
        Change::Authority(AuthorityView {
            tenant: TenantName::default(),
            name: name.parse().expect("a name"),
            state,
            der: self.der.clone(),
            fingerprint: Fingerprint::of(&self.der),
            not_before: Millis(0),
            not_after: Millis(u64::MAX),
            created: Millis(0),
            signs,
        })
    }
}

/// `openssl req -x509`: self-signed and CA:TRUE.
pub(crate) fn self_signed_ca() -> Leaf {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = key();
    Leaf { der: parameters.self_signed(&key).expect("it is signed").der().to_vec(), key: key.serialize_der() }
}

/// `openssl x509 -req` without extensions: X.509 v1, which no builder makes any more.
pub(crate) fn version_1() -> Leaf {
    let key = key();
    // ecdsa-with-SHA256
    let algorithm = tlv(0x30, &[&[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]]);
    let common_name = tlv(0x30, &[&[0x06, 0x03, 0x55, 0x04, 0x03], &tlv(0x0c, &[b"meter"])]);
    let name = tlv(0x30, &[&tlv(0x31, &[&common_name])]);
    let validity = tlv(0x30, &[&tlv(0x17, &[b"200101000000Z"]), &tlv(0x17, &[b"491231235959Z"])]);
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
    let to_be_signed = tlv(0x30, &[&tlv(0x02, &[&[7]]), &algorithm, &name, &validity, &name, &spki]);
    let signature = key.sign(&to_be_signed).expect("it is signed");
    let der = tlv(0x30, &[&to_be_signed, &algorithm, &tlv(0x03, &[&[0], &signature])]);
    Leaf { der, key: key.serialize_der() }
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u16::try_from(body.len()).expect("short").to_be_bytes();
    let head = match length {
        [0, short @ 0..0x80] => vec![tag, short],
        [0, short] => vec![tag, 0x81, short],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [head, body].concat()
}

/// A view with the tenant `default` and these changes.
pub(crate) fn view(changes: impl IntoIterator<Item = Change>) -> View {
    let tenant = Change::Tenant { name: TenantName::default(), state: State::Active, created: Millis(0) };
    View::from_snapshot(Revision(1), std::iter::once(tenant).chain(changes))
}

pub(crate) fn setting(key: &str, value: &str) -> Change {
    Change::Setting { key: key.to_owned(), value: value.to_owned() }
}

pub(crate) fn denied(leaf: &Leaf) -> Change {
    let not_after = Millis(clock::now().wall + 1_000_000);
    Change::Denied(revoq_credentials::Denial {
        fingerprint: leaf.fingerprint(),
        state: State::Suspended,
        reason: None,
        not_after,
    })
}
