//! Passwords: what is kept of one, and how it is named among the credentials.
//!
//! A password is known to its device alone. Kept is its verifier for SCRAM-SHA-256 (RFC 5802 section 3, RFC 7677),
//! with which a device can be verified and not be imitated.

use std::fmt;

use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::ids::{Fingerprint, Millis, Revision};
use crate::limits::{ITERATIONS_MAX, ITERATIONS_MIN, SALT_BYTES_MAX, SALT_BYTES_MIN};
use crate::names::{DeviceName, NameError, TenantName, Username};
use crate::state::Status;

/// The verifier of a password (RFC 5802 section 3). Whoever has it can guess the password as fast as the iterations
/// allow: it is a secret, and is not printed.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Verifier {
    #[cbor(n(0), with = "minicbor::bytes")]
    salt: Vec<u8>,
    #[n(1)]
    iterations: u32,
    #[cbor(n(2), with = "minicbor::bytes")]
    stored_key: [u8; 32],
    #[cbor(n(3), with = "minicbor::bytes")]
    server_key: [u8; 32],
}

impl Verifier {
    /// From its parts: a salt of [`SALT_BYTES_MIN`] to [`SALT_BYTES_MAX`] bytes, [`ITERATIONS_MIN`] to
    /// [`ITERATIONS_MAX`] iterations.
    ///
    /// # Errors
    /// Names the part that is out of its range.
    pub fn new(
        salt: Vec<u8>,
        iterations: u32,
        stored_key: [u8; 32],
        server_key: [u8; 32],
    ) -> Result<Verifier, NameError> {
        if !(SALT_BYTES_MIN..=SALT_BYTES_MAX).contains(&salt.len()) {
            let value = format!("{} bytes", salt.len());
            return Err(NameError::new("salt", &value, "8 to 64 bytes"));
        }
        check_iterations(iterations)?;
        Ok(Verifier { salt, iterations, stored_key, server_key })
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// How often the hash is iterated: what one guess costs.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// SHA-256 of the `ClientKey`, by which a client's proof is verified.
    pub fn stored_key(&self) -> &[u8; 32] {
        &self.stored_key
    }

    /// With which the server proves that it has the verifier.
    pub fn server_key(&self) -> &[u8; 32] {
        &self.server_key
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// Is this a number of iterations?
///
/// # Errors
/// Outside of [`ITERATIONS_MIN`] to [`ITERATIONS_MAX`].
pub fn check_iterations(iterations: u32) -> Result<(), NameError> {
    if (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
        return Ok(());
    }
    Err(NameError::new("iterations", &iterations.to_string(), "a number from 4096 to 1000000"))
}

/// A password of a device. One username has one password; setting it again makes another credential, and ends this one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Password {
    /// Where it lives.
    #[n(0)]
    pub tenant: TenantName,
    /// What it is called, with the tenant.
    #[n(1)]
    pub username: Username,
    /// Whose it is.
    #[n(2)]
    pub device: DeviceName,
    /// Names it among the credentials; see [`Password::fingerprint_of`].
    #[n(3)]
    pub fingerprint: Fingerprint,
    /// By which it is verified.
    #[n(4)]
    pub verifier: Verifier,
    /// The only client identifier that may use it.
    #[n(5)]
    pub client_id: Option<String>,
    /// Its own state.
    #[n(6)]
    pub status: Status,
    /// When it was set.
    #[n(7)]
    pub set: Millis,
    /// When it first authenticated.
    #[n(8)]
    pub first_used: Option<Millis>,
    /// When it last authenticated; coarse, batched by the brokers.
    #[n(9)]
    pub last_used: Option<Millis>,
    /// The revision of its last change of state.
    #[n(10)]
    pub revision: Revision,
}

impl Password {
    /// Names the password that is set at a revision. Another one of the same username has another name, so that what is
    /// denied of one is not of the other. No certificate has this name: DER never begins with an `r`.
    pub fn fingerprint_of(tenant: &TenantName, username: &Username, revision: Revision) -> Fingerprint {
        named(b"revoq-password-1\n", tenant, username, &revision.0.to_be_bytes())
    }

    /// Names what a look-up of a username is kept by, whatever password it has.
    pub fn look_up_key(tenant: &TenantName, username: &Username) -> Fingerprint {
        named(b"revoq-username-1\n", tenant, username, &[])
    }
}

/// No name holds a zero byte.
fn named(domain: &[u8], tenant: &TenantName, username: &Username, rest: &[u8]) -> Fingerprint {
    let parts = [domain, tenant.as_str().as_bytes(), &[0], username.as_str().as_bytes(), &[0], rest];
    Fingerprint(parts.iter().fold(Sha256::new(), Digest::chain_update).finalize().into())
}
