//! What is kept of a password: made here, so that the password itself goes nowhere.
use std::num::NonZeroU32;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, Tag, sign};
use aws_lc_rs::pbkdf2::{PBKDF2_HMAC_SHA256, derive};
use aws_lc_rs::rand;
use revoq_credentials::limits::SALT_BYTES_DEFAULT;
use revoq_credentials::{Verifier, check_iterations};

use crate::error::Error;

/// Characters of a password, at most.
const PASSWORD_CHARACTERS_MAX: usize = 256;
const LENGTH: usize = 32;

/// The verifier of a password with a random salt, for SCRAM-SHA-256 (RFC 5802 section 3, RFC 7677). The password is
/// prepared by `SASLprep` (RFC 4013), as clients do it: what looks the same is the same.
///
/// # Errors
/// [`Error::Value`] for a password that is empty, too long, or has characters that `SASLprep` prohibits, and for a number
/// of iterations that is out of range. The password is not repeated.
pub fn verifier(password: &str, iterations: u32) -> Result<Verifier, Error> {
    let mut salt = vec![0; SALT_BYTES_DEFAULT];
    rand::fill(&mut salt).map_err(|_| Error::Usage("the system gives no random numbers".to_owned()))?;
    with_salt(password, salt, iterations)
}

fn with_salt(password: &str, salt: Vec<u8>, iterations: u32) -> Result<Verifier, Error> {
    let wrong = |remedy: &str| Error::value("password", "…", remedy.to_owned());
    let prohibited =
        |_| wrong("it has characters that SASLprep (RFC 4013) does not allow, such as control characters");
    let prepared = stringprep::saslprep(password).map_err(prohibited)?;
    if prepared.is_empty() || prepared.chars().count() > PASSWORD_CHARACTERS_MAX {
        return Err(wrong("give 1 to 256 characters"));
    }
    let out_of_range =
        |error: revoq_credentials::NameError| Error::value("--iterations", &error.value, error.rule);
    check_iterations(iterations).map_err(out_of_range)?;
    let rounds = NonZeroU32::new(iterations).expect("at least 4096");
    let mut salted = [0; LENGTH];
    derive(PBKDF2_HMAC_SHA256, rounds, &salt, prepared.as_bytes(), &mut salted);
    let salted = Key::new(HMAC_SHA256, &salted);
    let stored_key = digest(&SHA256, tag(&sign(&salted, b"Client Key")).as_ref());
    let stored_key = stored_key.as_ref().try_into().expect("SHA-256 has 32 bytes");
    Verifier::new(salt, iterations, stored_key, tag(&sign(&salted, b"Server Key"))).map_err(out_of_range)
}

fn tag(tag: &Tag) -> [u8; LENGTH] {
    tag.as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::hex;

    /// RFC 7677 section 3: the keys of its exchange, which the broker's own test goes through.
    #[test]
    fn the_example_of_rfc_7677() {
        let salt = b"\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81".to_vec();
        let verifier = with_salt("pencil", salt, 4_096).expect("a password");
        let stored_key = "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6";
        let server_key = "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5";
        assert_eq!(
            (hex(verifier.stored_key()), hex(verifier.server_key())),
            (stored_key.into(), server_key.into())
        );
    }

    #[test]
    fn passwords_are_prepared() {
        let keys = |password: &str| {
            let verifier = with_salt(password, vec![7; 16], 4_096).expect("a password");
            (*verifier.stored_key(), *verifier.server_key())
        };
        assert_eq!(keys("I\u{ad}X"), keys("IX"), "a soft hyphen is nothing (RFC 4013 section 3)");
        assert_eq!(keys("\u{2168}"), keys("IX"), "the Roman numeral nine");
        assert_eq!(keys("a\u{a0}b"), keys("a b"));
        assert_ne!(keys("user"), keys("USER"));
        for (wrong, expected) in [
            ("", "1 to 256"),
            ("\u{ad}", "1 to 256"),
            ("a\u{7}b", "SASLprep"),
            (&"x".repeat(257), "1 to 256"),
        ] {
            let error = verifier(wrong, 4_096).expect_err("no password").to_string();
            assert!(error.contains(expected) && !error.contains('x'), "{error}");
        }
        for wrong in [0, 4_095, 1_000_001] {
            assert!(verifier("good", wrong).expect_err("out of range").to_string().contains("--iterations"));
        }
    }

    #[test]
    fn salts_differ() {
        let of = || verifier("good", 4_096).expect("a password");
        assert_ne!(of().salt(), of().salt());
    }
}
