//! The digest of a state: a hash chain over everything that was written into it.
use std::collections::VecDeque;
use std::fmt::Write as _;

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

/// The start of a digest, for people.
pub(crate) fn shown(digest: &Digest) -> String {
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing into a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Indices whose digests are remembered: those of a replica that lags by no more can be compared.
const RECENT_MAX: usize = 8192;

/// The digests at the last indices, one after the other.
#[derive(Default)]
pub(crate) struct Recent(VecDeque<(u64, Digest)>);

impl Recent {
    /// The state was replaced: what was before it is unknown.
    pub(crate) fn restart(&mut self, index: u64, digest: Digest) {
        self.0.clear();
        self.0.push_back((index, digest));
    }

    pub(crate) fn extend(&mut self, digests: impl IntoIterator<Item = (u64, Digest)>) {
        for digest in digests {
            if self.0.len() == RECENT_MAX {
                self.0.pop_front();
            }
            self.0.push_back(digest);
        }
    }

    /// The last one at `index` or before.
    pub(crate) fn until(&self, index: u64) -> Option<(u64, Digest)> {
        let known = self.0.partition_point(|(at, _)| *at <= index);
        self.0.get(known.checked_sub(1)?).copied()
    }

    /// The one at `index`.
    pub(crate) fn at(&self, index: u64) -> Option<Digest> {
        self.until(index).filter(|(at, _)| *at == index).map(|(_, digest)| digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_digests_are_found_by_index() {
        let mut recent = Recent::default();
        assert_eq!(recent.until(9), None);
        recent.restart(5, [5; 32]);
        recent.extend((6..=8_u8).map(|index| (index.into(), [index; 32])));
        assert_eq!(recent.until(4), None);
        assert_eq!(recent.until(7), Some((7, [7; 32])));
        assert_eq!(recent.until(99), Some((8, [8; 32])));
        assert_eq!((recent.at(8), recent.at(9)), (Some([8; 32]), None));
        let last = 8 + RECENT_MAX as u64;
        recent.extend((9..=last).map(|index| (index, [1; 32])));
        assert_eq!((recent.at(8), recent.at(9)), (None, Some([1; 32])), "bounded");
        recent.restart(3, [3; 32]);
        assert_eq!(recent.until(last), Some((3, [3; 32])));
        assert_eq!(shown(&[0xab; 32]), "abababababababab");
    }
}
