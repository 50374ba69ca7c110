//! What administrators know of the cluster: names, certificates, nodes. It may be out of date.

use revoq_credentials::{
    Authority, CertificateId, Credential, Fingerprint, Millis, NameError, NewCertificate, Principal, Serial,
    Status, TenantName,
};

use crate::broker::Evidence;

pub(crate) const DAY: u64 = 86_400_000;

/// Names of things that there are, or may be, or are no more.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Every certificate that was ever asked for, with the device that holds its key.
    pub(crate) certificates: Vec<(usize, NewCertificate)>,
    pub(crate) tenants: Vec<TenantName>,
    /// Tenant and name.
    pub(crate) authorities: Vec<(TenantName, String)>,
    /// Nodes that run or may come back, and those that never will.
    pub(crate) nodes: Vec<u64>,
    pub(crate) gone: Vec<u64>,
    numbers: u32,
}

/// Any name.
pub(crate) fn name<T: std::str::FromStr<Err = NameError>>(text: &str) -> T {
    text.parse().expect("a valid name")
}

impl Book {
    /// Whose numbers begin elsewhere.
    pub(super) fn with_number(numbers: u32) -> Book {
        Book { numbers, ..Book::default() }
    }

    /// A number that was never used.
    pub(crate) fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// A certificate for a device, of an authority or without one.
    pub(crate) fn certificate(
        &mut self,
        tenant: &str,
        device: &str,
        authority: Option<&str>,
        now: Millis,
    ) -> NewCertificate {
        let number = self.number();
        let der = format!("certificate {number}").into_bytes();
        let fingerprint = Fingerprint::of(&der);
        let mut id = [0; 16];
        id.copy_from_slice(&fingerprint.0[..16]);
        let issuer = authority.unwrap_or(device);
        NewCertificate {
            id: CertificateId(id),
            tenant: name(tenant),
            device: name(device),
            authority: authority.map(name),
            fingerprint,
            serial: Serial::from_bytes(&number.to_be_bytes()).expect("a serial number"),
            issuer: issuer.as_bytes().to_vec(),
            issuer_text: format!("CN={issuer}"),
            subject_text: format!("CN={device}"),
            not_before: now.minus(DAY),
            not_after: now.plus(365 * DAY),
            der,
        }
    }
}

/// An authority that signs.
pub(crate) fn authority(tenant: &str, of: &str, now: Millis) -> Authority {
    let der = format!("{tenant}/{of}").into_bytes();
    Authority {
        tenant: name(tenant),
        name: name(of),
        status: Status::ACTIVE,
        fingerprint: Fingerprint::of(&der),
        der,
        not_before: now.minus(DAY),
        not_after: now.plus(3_650 * DAY),
        created: now,
        sealed_key: Some(vec![1]),
    }
}

/// What a device with this certificate shows.
pub(crate) fn evidence(new: &NewCertificate) -> Evidence {
    let (fingerprint, not_after) = (new.fingerprint, new.not_after);
    let Some(authority) = &new.authority else { return Evidence::Leaf { fingerprint, not_after } };
    let credential = Credential::Certificate { fingerprint, authority: Some(authority.clone()), not_after };
    Evidence::Vouched(Principal {
        tenant: new.tenant.clone(),
        device: Some(new.device.clone()),
        credential,
        password: None,
    })
}
