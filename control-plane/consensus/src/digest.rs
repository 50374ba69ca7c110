//! The digest of a state: a hash chain over everything that was written into it.
use revoq_credentials::Write;
use sha2::{Digest as _, Sha256};

/// Replicas with the same digest at the same index hold the same state.
pub(crate) type Digest = [u8; 32];

/// The digest after the entry at `index` wrote `writes` and its change row.
pub(crate) fn advance(previous: &Digest, index: u64, writes: &[Write], change: Option<&[u8]>) -> Digest {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(index.to_be_bytes());
    for write in writes {
        match write {
            Write::Put(key, value) => {
                part(&mut hash, b'p', key);
                part(&mut hash, b'v', value);
            }
            Write::Delete(key) => part(&mut hash, b'd', key),
        }
    }
    if let Some(change) = change {
        part(&mut hash, b'c', change);
    }
    hash.finalize().into()
}

fn part(hash: &mut Sha256, kind: u8, bytes: &[u8]) {
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}
