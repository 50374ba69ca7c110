//! A state with many certificates, made by the commands that issuing makes.

use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use revoq_control::Replica;
use revoq_credentials::{
    AuthorityName, CertificateId, Fingerprint, Millis, NewCertificate, Operation, Selector, Serial,
    TenantName, Transition,
};

use super::{AUTHORITY, Fill, Filled};

/// Commands in flight: enough that they share commits.
const IN_FLIGHT: usize = 256;
/// Certificates of one device.
const PER_DEVICE: usize = 100;
/// About the size of a certificate that the control plane issues.
const DER_BYTES: usize = 640;
const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// Adds certificates of the authority [`AUTHORITY`], which is there, then suspends some of them one by one. What
/// stands for a certificate's DER is only as large as one: the state keeps it and hashes it, and does not read it.
pub(super) async fn fill(replica: &Replica, wanted: Fill) -> Result<Filled> {
    let authority: AuthorityName = AUTHORITY.parse()?;
    let not_after = revoq_control::Clock::system().now().plus(YEAR_MS);
    let begun = Instant::now();
    let add = |n| {
        let certificate = Box::new(certificate(n, &authority, not_after));
        replica.commit(Operation::AddCertificate { certificate })
    };
    stream::iter(0..wanted.certificates)
        .map(|n| Ok(add(n)))
        .try_buffer_unordered(IN_FLIGHT)
        .try_for_each(async |_| Ok(()))
        .await
        .context("adding certificates")?;
    let added_s = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    // Spread over all of them.
    let step = wanted.certificates / wanted.denied.max(1);
    let suspend = |n: usize| {
        let selector = Selector::Fingerprint(fingerprint(n * step));
        replica.commit(Operation::Transition {
            selector,
            transition: Transition::Suspend,
            comment: String::new(),
        })
    };
    let revisions: Vec<u64> = stream::iter(0..wanted.denied)
        .map(|n| Ok(suspend(n)))
        .try_buffer_unordered(IN_FLIGHT)
        .map_ok(|outcome| outcome.revision.0)
        .try_collect()
        .await
        .context("suspending certificates")?;
    let revision = revisions.into_iter().max().unwrap_or_default();
    Ok(Filled { added_s, denied_s: begun.elapsed().as_secs_f64(), revision })
}

fn certificate(n: usize, authority: &AuthorityName, not_after: Millis) -> NewCertificate {
    let der = der(n);
    let mut id = [0; 16];
    id[8..].copy_from_slice(&(n as u64 + 1).to_be_bytes());
    NewCertificate {
        id: CertificateId(id),
        tenant: TenantName::default(),
        device: format!("device-{}", n / PER_DEVICE).parse().expect("a device's name"),
        authority: Some(authority.clone()),
        fingerprint: Fingerprint::of(&der),
        serial: Serial::from_bytes(&der[..16]).expect("16 bytes"),
        issuer: vec![0x30; 40],
        issuer_text: "CN=filled".to_owned(),
        subject_text: format!("CN=device-{n}"),
        not_before: Millis(0),
        not_after,
        der,
    }
}

/// By which certificate `n` of them is known.
pub(crate) fn fingerprint(n: usize) -> Fingerprint {
    Fingerprint::of(&der(n))
}

fn der(n: usize) -> Vec<u8> {
    let mut der = vec![0x30; DER_BYTES];
    der[1..17].copy_from_slice(&Fingerprint::of(&n.to_be_bytes()).0[..16]);
    der[..8].copy_from_slice(&(n as u64 + (1 << 62)).to_be_bytes());
    der
}
