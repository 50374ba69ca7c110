//! The audit log: a chain of hashes, so that an entry cannot be changed, dropped or moved without a trace.
//!
//! The hash of an entry is SHA-256 over these bytes, numbers big-endian:
//!
//! ```text
//!   "revoq-audit-1\n"                 14 bytes
//!   previous_hash                     32 bytes; the hash of the entry before, zeros for number 1
//!   number, revision, time            8 bytes each; time in milliseconds since the Unix epoch
//!   actor, action, subject,           each: length in bytes as 4 bytes, then UTF-8
//!   before, after, detail, outcome
//! ```
//!
//! Whoever holds the hash of the last entry can verify all that came before it, with nothing but the entries.

use sha2::{Digest, Sha256};

use crate::records::AuditEntry;

/// What an entry is hashed with, so that no other use of SHA-256 can stand for it.
const DOMAIN: &[u8] = b"revoq-audit-1\n";

/// The hash before the first entry.
pub const GENESIS: [u8; 32] = [0; 32];

/// Where a chain is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// An entry is missing, repeated or moved.
    #[error("entry {found} stands where entry {expected} should: entries were removed, added or moved")]
    Number {
        /// What should come.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// An entry does not follow from the one before it.
    #[error("entry {number} does not continue the entry before it: one of the two was replaced")]
    Chain {
        /// Which.
        number: u64,
    },
    /// An entry's own hash does not fit its fields.
    #[error("entry {number} was changed: its hash does not fit its fields")]
    Hash {
        /// Which.
        number: u64,
    },
}

/// Verifies a chain entry by entry, from number 1 or from the first that it is given.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    last: Option<(u64, [u8; 32])>,
}

impl Verifier {
    /// That takes any entry as the first.
    pub fn new() -> Verifier {
        Verifier::default()
    }

    /// Takes the next entry. After an error the verifier stays where it was.
    pub fn check(&mut self, entry: &AuditEntry) -> Result<(), AuditFault> {
        let number = entry.number;
        if let Some((last, _)) = self.last
            && number != last + 1
        {
            return Err(AuditFault::Number { expected: last + 1, found: number });
        }
        let previous = match self.last {
            Some((_, hash)) => hash,
            None if number == 1 => GENESIS,
            None => entry.previous_hash,
        };
        if entry.previous_hash != previous {
            return Err(AuditFault::Chain { number });
        }
        if entry.hash != hash(entry) {
            return Err(AuditFault::Hash { number });
        }
        self.last = Some((number, entry.hash));
        Ok(())
    }

    /// The number and hash of the last entry that was good.
    pub fn last(&self) -> Option<(u64, [u8; 32])> {
        self.last
    }
}

/// Verifies consecutive entries; the first may be any.
pub fn verify<'a>(entries: impl IntoIterator<Item = &'a AuditEntry>) -> Result<(), AuditFault> {
    let mut verifier = Verifier::new();
    entries.into_iter().try_for_each(|entry| verifier.check(entry))
}

/// The hash of an entry, from its fields and `previous_hash`.
pub fn hash(entry: &AuditEntry) -> [u8; 32] {
    let mut sha = Sha256::new();
    sha.update(DOMAIN);
    sha.update(entry.previous_hash);
    for number in [entry.number, entry.revision.0, entry.time.0] {
        sha.update(number.to_be_bytes());
    }
    let AuditEntry { actor, action, subject, before, after, detail, outcome, .. } = entry;
    for text in [actor, action, subject, before, after, detail, outcome] {
        let length = u32::try_from(text.len()).expect("texts of an entry are bounded when it is written");
        sha.update(length.to_be_bytes());
        sha.update(text.as_bytes());
    }
    sha.finalize().into()
}
