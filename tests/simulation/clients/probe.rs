//! A tenant of its own for the end of a run: whatever became of the others, its device is permitted.

use revoq_credentials::{NewCertificate, Operation};

use super::beginning::START;
use super::book::{Book, authority, evidence, name};
use super::devices::Device;

const TENANT: &str = "probe";

fn certificate() -> NewCertificate {
    Book::with_number(1_000_000).certificate(TENANT, "p", Some("ca"), START)
}

/// The changes that permit the device.
pub(crate) fn setup() -> Vec<Operation> {
    vec![
        Operation::CreateTenant { name: name(TENANT) },
        Operation::CreateAuthority { authority: authority(TENANT, "ca", START) },
        Operation::AddCertificate { certificate: Box::new(certificate()) },
    ]
}

/// The device.
pub(crate) fn device() -> Device {
    Device::with(evidence(&certificate()))
}
